package stormsight.model.family;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import stormsight.checkpoint.TemporaryFolder;
import stormsight.image.ImageDecoder;
import stormsight.image.Resampling;
import stormsight.image.RgbImage;
import stormsight.model.ModelDirectory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The small checkpoints in the box, and images to ask them about. */
public final class EmbeddedModel {
    /** What users read in place of a directory. */
    public static final String NAME = "shapes (embedded)";

    /** The same of the dual encoder. */
    public static final String ENCODER_NAME = "shapes-dual (embedded)";

    private static final String MODEL = "/models/shapes/";
    private static final String ENCODER = "/models/shapes-dual/";
    private static final List<String> FILES = List.of("config.json", "generation_config.json", "model.safetensors",
            "preprocessor_config.json", "tokenizer.json");
    private static final List<String> ENCODER_FILES = List.of("config.json", "model.safetensors",
            "preprocessor_config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json");
    private static final String EXAMPLES = "/examples/";

    private EmbeddedModel() {}

    /**
     * A question about an example image.
     *
     * @param task caption, color, shape, count, existence, relation or detect
     * @param expected the right answer
     */
    public record Example(String image, String task, String prompt, String expected) {
        /** The image of the question. */
        public RgbImage decode() {
            try (InputStream in = resource(EXAMPLES + image)) {
                return new ImageDecoder().decode(in, image);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    /** Opens the model that answers. Mapping needs files, so it is unpacked into a temporary folder. */
    public static ModelDirectory open(Optional<Resampling> resize) {
        return open(MODEL, FILES, resize);
    }

    /** Opens the dual encoder, see {@link #open}. */
    public static ModelDirectory openEncoder(Optional<Resampling> resize) {
        return open(ENCODER, ENCODER_FILES, resize);
    }

    private static ModelDirectory open(String from, List<String> names, Optional<Resampling> resize) {
        try {
            Path directory = TemporaryFolder.create();
            for (String name : names) {
                Path file = directory.resolve(name);
                try (InputStream in = resource(from + name)) {
                    Files.copy(in, file);
                }
            }
            return Families.open(directory, resize);
        } catch (IOException e) {
            throw new UncheckedIOException("the embedded model cannot be unpacked: " + e.getMessage(), e);
        }
    }

    /** One question of each task about the example images. */
    public static List<Example> examples() {
        try (InputStream in = resource(EXAMPLES + "answers.json")) {
            JsonNode scenes = JsonMapper.shared().readTree(in).get("scenes");
            return scenes.valueStream()
                    .flatMap(scene -> scene.get("questions")
                            .valueStream()
                            .map(question -> new Example(
                                    scene.get("image").asString(),
                                    question.get("task").asString(),
                                    question.get("prompt").asString(),
                                    question.get("expected").asString())))
                    .toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static InputStream resource(String name) {
        InputStream in = EmbeddedModel.class.getResourceAsStream(name);
        if (in == null) {
            throw new IllegalStateException("the build left out " + name);
        }
        return in;
    }
}
