package stormsight.match;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.Goldens;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.RunListener;
import stormsight.checkpoint.CheckpointException;
import stormsight.image.ImageDecoder;
import stormsight.image.ImageException;
import stormsight.image.RgbImage;
import stormsight.model.ImageEncoder;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Views;
import stormsight.model.family.Families;

/** Several images or texts in one run become what each becomes alone. */
class EmbedderTest {
    private static final Path HELD_OUT = Path.of("models", "shapes-dual", "heldout");
    private static final List<String> TEXTS = List.of("a red star", "a blue ring", "two triangles", "a", "a red star");
    /** Of towers with so few rows that one image is multiplied by other loops than several. */
    private static final float ROUNDING = 1e-6f;

    @TempDir
    private Path temporary;

    private static List<Path> files() {
        return List.of("star/red", "ring/blue", "cross/white", "star/red", "circle/green").stream()
                .map(name -> HELD_OUT.resolve(name + ".png"))
                .toList();
    }

    private static List<RgbImage> images() {
        return files().stream().map(new ImageDecoder()::decode).toList();
    }

    private static List<Views> views(ImageEncoder model, int from, int to) {
        return images().subList(from, to).stream().map(model::views).toList();
    }

    private static ModelDirectory open(String model) {
        Path path = model.equals("shapes-dual") ? Path.of("models", model) : Goldens.folder(model);
        return Families.open(path, Optional.empty());
    }

    private static float[][][] embedded(String model, String backendName, int together) {
        try (ModelDirectory directory = open(model);
                Backend backend = Backends.open(backendName, BackendOptions.DEFAULT);
                Embedder embedder =
                        Embedder.open(directory, backend, Options.DEFAULT, together, RunListener.NONE)) {
            float[][] images = embedder.images(views(directory.dualEncoder(), 0, 5));
            // What an earlier run with more images left behind does not matter.
            assertArrayEquals(
                    Embedder.normalized(images[2]),
                    Embedder.normalized(embedder.image(images().get(2))),
                    ROUNDING);
            return new float[][][] {images, embedder.texts(TEXTS)};
        }
    }

    /** The embedded model's towers have more than 16 rows: equal to the last bit. */
    @Test
    void runsOfAnySizeAreEqual() {
        float[][][] alone = embedded("shapes-dual", "cpu", 1);
        for (int together : new int[] {3, 16}) {
            float[][][] several = embedded("shapes-dual", "cpu", together);
            assertEquals(5, several[0].length);
            assertArrayEquals(alone[0], several[0]);
            assertArrayEquals(alone[1], several[1]);
        }
        assertArrayEquals(alone[0][0], alone[0][3]);
        assertTrue(Similarity.cosine(Embedder.normalized(alone[0][0]), Embedder.normalized(alone[0][1])) < 0.9);
    }

    /** A pooling head, class tokens, texts of one length and of their own. */
    @ParameterizedTest
    @CsvSource({"zeroshot-siglip, cpu", "zeroshot-clip, cpu", "zeroshot-siglip, scalar", "zeroshot-clip, scalar"})
    void everyFamilyTakesSeveral(String model, String backend) {
        float[][][] alone = embedded(model, backend, 1);
        float[][][] several = embedded(model, backend, 4);
        for (int kind = 0; kind < 2; kind++) {
            assertEquals(5, several[kind].length);
            for (int i = 0; i < 5; i++) {
                assertArrayEquals(
                        Embedder.normalized(alone[kind][i]), Embedder.normalized(several[kind][i]), ROUNDING);
            }
        }
    }

    @Test
    void aClassifierTakesSeveral() {
        List<double[]> found = new ArrayList<>();
        try (ModelDirectory directory = open("vit");
                Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
            for (int together : new int[] {1, 3}) {
                try (Labeller labeller =
                        Labeller.open(directory, backend, Options.DEFAULT, together, RunListener.NONE)) {
                    for (int i = 0; i < 3; i += together) {
                        found.addAll(List.of(labeller.probabilities(views(labeller.model(), i, i + together))));
                    }
                }
            }
        }
        for (int i = 0; i < 3; i++) {
            assertArrayEquals(found.get(i), found.get(3 + i), ROUNDING);
        }
    }

    /** As transformers cuts them: [702, 320, 520, 64, 703] of 18 tokens where model_max_length is 5. */
    @Test
    void textsAreCutWhereTheTokenizerSays() throws IOException {
        Goldens.copy("zeroshot-clip", temporary);
        Path config = temporary.resolve("tokenizer_config.json");
        String before = Files.readString(config);
        Files.writeString(config, before.replace("\"model_max_length\": 77", "\"model_max_length\": 5"));
        try (ModelDirectory directory = Families.open(temporary, Optional.empty())) {
            assertArrayEquals(
                    new int[] {702, 320, 520, 64, 703},
                    directory.dualEncoder().ids("a star a star a star a star"));
        }
        Files.writeString(config, before.replace("\"model_max_length\": 77", "\"model_max_length\": 1e30"));
        try (ModelDirectory directory = Families.open(temporary, Optional.empty())) {
            assertEquals(18, directory.dualEncoder().ids("a star a star a star a star").length);
        }
    }

    @Test
    void imagesDoWithoutWhatTextsNeed() throws IOException {
        Goldens.copy("zeroshot-clip", temporary);
        Path config = Files.writeString(temporary.resolve("tokenizer_config.json"), "{");
        try (ModelDirectory directory = Families.open(temporary, Optional.empty());
                Backend backend = Backends.open("cpu", BackendOptions.DEFAULT);
                Embedder embedder = Embedder.open(directory, backend, Options.DEFAULT, 1, RunListener.NONE)) {
            assertEquals(1, embedder.images(views(directory.dualEncoder(), 0, 1)).length);
            String message = assertThrows(CheckpointException.class, () -> embedder.text("a star")).getMessage();
            assertTrue(message.startsWith(config + ": "), message);
        }
    }

    /** Padding is seen, so that every text would become something else than there. */
    @Test
    void textsThatAreFilledUpToLessAreRefused() throws IOException {
        Goldens.copy("zeroshot-siglip", temporary);
        Path config = temporary.resolve("tokenizer_config.json");
        Files.writeString(config, Files.readString(config)
                .replaceFirst("\"model_max_length\": \\d+", "\"model_max_length\": 5"));
        try (ModelDirectory directory = Families.open(temporary, Optional.empty())) {
            String message = assertThrows(
                            CheckpointException.class, () -> directory.dualEncoder().ids("a star"))
                    .getMessage();
            assertTrue(message.startsWith(config + ": model_max_length: transformers fills texts up to 5"), message);
        }
    }

    /** A file that is no image has its problem in its place; the others of the run are embedded. */
    @Test
    void aBrokenImageIsItsOwnError() throws IOException {
        Path broken = Files.writeString(temporary.resolve("broken.png"), "no image");
        List<Path> files = new ArrayList<>(files());
        files.add(1, broken);
        files.add(temporary.resolve("none.png"));
        try (ModelDirectory directory = open("shapes-dual");
                Backend backend = Backends.open("cpu", BackendOptions.DEFAULT);
                Embedder embedder = Embedder.open(directory, backend, Options.DEFAULT, 4, RunListener.NONE)) {
            Iterator<FileEmbedder.Embedded> made = new FileEmbedder(embedder, false, 3).images(files);
            float[][] alone = embedder.images(views(directory.dualEncoder(), 0, 5));
            for (int i = 0; i < files.size(); i++) {
                FileEmbedder.Embedded each = made.next();
                if (i == 1 || i == 6) {
                    String said = assertThrows(ImageException.class, each::orThrow).getMessage();
                    assertTrue(said.contains(files.get(i).toString()), said);
                } else {
                    assertArrayEquals(alone[i == 0 ? 0 : i - 1], each.orThrow());
                }
            }
            assertTrue(!made.hasNext());
        }
    }

    /** A file with too long a side is an error of its own, in a run of any size. */
    @ParameterizedTest
    @ValueSource(ints = {1, 4})
    void aThinImageIsItsOwnError(int together) throws IOException {
        List<Path> files = new ArrayList<>(files());
        Path thin = temporary.resolve("thin.png");
        ImageIO.write(new BufferedImage(1, 900_000, BufferedImage.TYPE_INT_RGB), "png", thin.toFile());
        files.add(2, thin);
        try (ModelDirectory directory = open("zeroshot-clip");
                Backend backend = Backends.open("cpu", BackendOptions.DEFAULT);
                Embedder embedder = Embedder.open(directory, backend, Options.DEFAULT, together, RunListener.NONE)) {
            Iterator<FileEmbedder.Embedded> made = new FileEmbedder(embedder, false, 3).images(files);
            for (int i = 0; i < files.size(); i++) {
                FileEmbedder.Embedded each = made.next();
                if (i == 2) {
                    String said = assertThrows(ImageException.class, each::orThrow).getMessage();
                    assertTrue(said.startsWith(files.get(i) + ": "), said);
                } else {
                    assertEquals(embedder.model().columns(), each.orThrow().length);
                }
            }
        }
    }
}
