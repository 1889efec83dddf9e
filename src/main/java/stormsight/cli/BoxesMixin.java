package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import stormsight.generate.Answer;
import stormsight.generate.Detections;
import stormsight.image.RgbImage;
import stormsight.model.ModelDirectory;
import stormsight.report.RegionFigure.Region;
import stormsight.report.RegionFigure;
import stormsight.report.RegionFile;

/** Options for the objects that an answer marks. */
final class BoxesMixin {
    /** Characters of a label in the name of a file. */
    private static final int LONGEST_NAME = 40;

    /** Formats as users name them. */
    enum Form {
        JSON,
        COCO,
        TEXT;

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    @Option(
            names = "--boxes",
            paramLabel = "FORM",
            description = "Print the objects that the answer marks instead of the answer, boxes as x, y, width and "
                    + "height in pixels of the image. json; coco, a data set of the image; text, a line for each "
                    + "object.")
    private Form form;

    @Option(
            names = "--draw",
            paramLabel = "FILE",
            description = "Draw the objects on the image, .png, with their labels and masks.")
    private Path figure;

    @Option(
            names = "--masks",
            paramLabel = "DIR",
            description = "Write the mask of each object into this folder, a PNG of the image's size, white on black.")
    private Path masks;

    @Mixin
    private ObjectsMixin reading;

    /** Before anything is computed. */
    void check(boolean json) {
        reading.check();
        if (form != null && json) {
            throw new UsageException("--boxes and --json exclude each other; --json holds the objects too");
        }
        if (figure != null) {
            if (!figure.toString().toLowerCase(Locale.ROOT).endsWith(".png")) {
                throw new UsageException("--draw " + figure + " does not end in .png");
            }
            OutputOption.requireWritable("--draw", figure);
        }
        if (masks != null) {
            OutputOption.requireFolder("--masks", masks);
        }
    }

    /** Tells a model how its masks are decoded. */
    void choose(ModelDirectory directory) {
        reading.choose(directory);
        if (masks != null && directory.maskDecoder().isEmpty()) {
            throw new UsageException("--masks: there is no decoder; put " + ModelDirectory.MASK_DECODER
                    + " of big_vision " + ObjectsMixin.PLACE);
        }
    }

    /** Whether objects are printed in the answer's place. */
    boolean printed() {
        return form != null;
    }

    /** Whether anything is done with objects. */
    boolean wanted() {
        return form != null || figure != null || masks != null;
    }

    /** The objects of an answer; what is malformed, or that there are none, is told where they are wanted. */
    List<RegionFile.Scored> objects(PrintWriter err, Answer answer, RgbImage image) {
        Detections detections = reading.read(answer, image);
        if (wanted()) {
            ObjectsMixin.warn(err, answer, detections);
        }
        return ObjectsMixin.scored(detections);
    }

    /** Prints, draws and writes what was asked for. */
    void tell(PrintWriter out, String file, RgbImage image, List<RegionFile.Scored> objects) {
        if (form != null) {
            switch (form) {
                case TEXT -> out.print(RegionFile.text(objects));
                case JSON -> JsonMixin.print(out, RegionFile.json(objects));
                case COCO -> JsonMixin.print(out, RegionFile.coco(file, image.width(), image.height(), objects));
            }
            out.flush();
        }
        if (figure != null) {
            RegionFigure.write(figure, image, objects.stream().map(RegionFile.Scored::region).toList());
        }
        if (masks != null) {
            for (int i = 0; i < objects.size(); i++) {
                Region object = objects.get(i).region();
                Path png = masks.resolve(name(i + 1, object.label()));
                object.mask().ifPresent(mask -> RegionFigure.write(png, mask));
            }
        }
    }

    /** Letters and digits of the label alone, as a label may hold anything. */
    private static String name(int number, String label) {
        String plain = label.replaceAll("[^\\p{L}\\p{N}]+", "-").replaceAll("^-|-$", "");
        String shortened = plain.substring(0, Math.min(plain.length(), LONGEST_NAME));
        return String.format(Locale.ROOT, "%02d%s.png", number, shortened.isEmpty() ? "" : "-" + shortened);
    }
}
