package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import picocli.CommandLine.Option;
import stormsight.generate.Answer;
import stormsight.generate.Detections;
import stormsight.image.RgbImage;
import stormsight.report.RegionFigure.Region;
import stormsight.report.RegionFigure;
import stormsight.report.RegionFile;

/** Options for the objects that an answer marks. */
final class BoxesMixin {
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
            description = "Draw the objects on the image, .png, with their labels.")
    private Path figure;

    @Option(
            names = "--loc-divisor",
            paramLabel = "N",
            defaultValue = "1024",
            description = "What a location is a part of: 1024, as Hugging Face draws, or 1023, as big_vision "
                    + "measures; a pixel's difference at most. Default: ${DEFAULT-VALUE}.")
    private int divisor;

    /** Before anything is computed. */
    void check(boolean json) {
        if (divisor != 1024 && divisor != 1023) {
            throw new UsageException("--loc-divisor " + divisor + " is neither 1024 nor 1023");
        }
        if (form != null && json) {
            throw new UsageException("--boxes and --json exclude each other; --json holds the objects too");
        }
        if (figure != null) {
            if (!figure.toString().toLowerCase(Locale.ROOT).endsWith(".png")) {
                throw new UsageException("--draw " + figure + " does not end in .png");
            }
            OutputOption.requireWritable("--draw", figure);
        }
    }

    /** Whether objects are printed in the answer's place. */
    boolean printed() {
        return form != null;
    }

    /** Whether anything is done with objects. */
    boolean wanted() {
        return form != null || figure != null;
    }

    /** The objects of an answer; what is malformed, or that there are none, is told where they are wanted. */
    List<RegionFile.Scored> objects(PrintWriter err, Answer answer, RgbImage image) {
        Detections detections = Detections.of(
                answer,
                image.width(),
                image.height(),
                divisor == 1024 ? Detections.Bins.B1024 : Detections.Bins.B1023);
        if (wanted()) {
            detections.warnings().forEach(warning -> err.println("in the answer, " + warning));
            if (detections.found().isEmpty()) {
                err.println("The answer marks no object: " + answer.text());
            }
            err.flush();
        }
        return detections.found().stream()
                .map(found -> new RegionFile.Scored(
                        new Region(found.label(), found.box(), Optional.empty()), found.score()))
                .toList();
    }

    /** Prints and draws what was asked for. */
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
    }
}
