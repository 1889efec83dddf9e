package stormsight.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import picocli.CommandLine.Option;
import stormsight.checkpoint.CheckpointException;
import stormsight.generate.Answer;
import stormsight.generate.Detections;
import stormsight.generate.MaskDecoder;
import stormsight.image.RgbImage;
import stormsight.model.ModelDirectory;
import stormsight.report.RegionFigure.Region;
import stormsight.report.RegionFile;

/** Options that say how the objects that an answer marks are read from it. */
final class ObjectsMixin {
    /** Where to have a decoder. */
    static final String PLACE = "beside the checkpoint or name it with --mask-decoder";

    @Option(
            names = "--mask-decoder",
            paramLabel = "FILE",
            description = "What decodes masks: " + ModelDirectory.MASK_DECODER + ", as big_vision publishes it. "
                    + "Default: that file beside the checkpoint, if it is there.")
    private Path decoder;

    @Option(
            names = "--loc-divisor",
            paramLabel = "N",
            defaultValue = "1024",
            description = "What a location is a part of: 1024, as Hugging Face draws, or 1023, as big_vision "
                    + "measures; a pixel's difference at most. Default: ${DEFAULT-VALUE}.")
    private int divisor;

    /** Before anything is computed. */
    void check() {
        if (divisor != 1024 && divisor != 1023) {
            throw new UsageException("--loc-divisor " + divisor + " is neither 1024 nor 1023");
        }
        if (decoder != null) {
            MaskDecoder.check(decoder);
        }
    }

    /** Tells a model which decoder was chosen. */
    void choose(ModelDirectory directory) {
        if (decoder != null) {
            directory.decodeMasksWith(decoder);
        }
    }

    /** The objects of an answer. */
    Detections read(Answer answer, RgbImage image) {
        return Detections.of(
                answer,
                image.width(),
                image.height(),
                divisor == 1024 ? Detections.Bins.B1024 : Detections.Bins.B1023);
    }

    /** Tells what is malformed, what has no decoder, and that there are no objects. */
    static void warn(PrintWriter err, Answer answer, Detections detections) {
        detections.warnings().forEach(warning -> err.println("in the answer, " + warning));
        if (detections.found().stream().anyMatch(found -> !found.codes().isEmpty() && found.mask().isEmpty())) {
            err.println("The answer has masks, which " + ModelDirectory.MASK_DECODER
                    + " of big_vision decodes: put it " + PLACE);
        }
        if (detections.found().isEmpty()) {
            err.println("The answer marks no object: " + answer.text());
        }
        err.flush();
    }

    /** As figures and files take them. */
    static List<RegionFile.Scored> scored(Detections detections) {
        return detections.found().stream()
                .map(found ->
                        new RegionFile.Scored(new Region(found.label(), found.box(), found.mask()), found.score()))
                .toList();
    }

    /** What is to be known of an answer's objects in a line of JSON; nothing where it has none. */
    Map<String, Object> json(Answer answer, RgbImage image) {
        Detections detections = read(answer, image);
        Map<String, Object> object = new LinkedHashMap<>();
        if (!detections.found().isEmpty()) {
            object.put("objects", RegionFile.json(scored(detections)));
        }
        if (!detections.warnings().isEmpty()) {
            object.put("warnings", detections.warnings());
        }
        return object;
    }

    /** What objects depend on beside the answer: the divisor, and a checksum of the decoder. */
    Map<String, Object> chosen(ModelDirectory directory) {
        Map<String, Object> chosen = new LinkedHashMap<>();
        chosen.put("loc_divisor", divisor);
        // A number, as in files that were written before checksums were told in hexadecimal digits.
        directory.maskDecoder().ifPresent(file -> {
            try {
                chosen.put("mask_decoder", ExampleMixin.crc32(file));
            } catch (IOException e) {
                throw new CheckpointException(file, "cannot be read: " + e.getMessage(), e);
            }
        });
        return chosen;
    }
}
