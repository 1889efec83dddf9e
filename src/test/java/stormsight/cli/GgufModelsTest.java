package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.Goldens;
import stormsight.checkpoint.GgufFiles;

/** A model in GGUF answers as the same weights do in safetensors. */
class GgufModelsTest {
    private static final Path SHAPES = Path.of("models/shapes");
    private static final String IMAGE = "examples/kitchen.png";

    @TempDir
    private Path folder;

    private static String answer(Path model, String image) {
        MainTest.Run run = MainTest.run("generate", "--backend", "cpu", "-m", model.toString(), "-i", image, "-p",
                "caption en", "-n", "5");
        assertEquals(0, run.exitCode(), run.err());
        return run.out();
    }

    @Test
    void plainWeights() throws IOException {
        Path gguf = folder.resolve("gguf");
        GgufFiles.convert(SHAPES, gguf, "gemma", "stored");
        assertEquals(answer(SHAPES, IMAGE), answer(gguf.resolve("model.gguf"), IMAGE));
        Path golden = Goldens.folder("paligemma2");
        Path other = folder.resolve("gemma2");
        GgufFiles.convert(golden, other, "gemma2", "stored");
        String image = golden.resolve("input.png").toString();
        assertEquals(answer(golden, image), answer(other, image));
    }

    /** Taken apart whenever it is opened, and once for all. */
    @Test
    void blocks() throws IOException {
        String stored = answer(SHAPES, IMAGE);
        for (String[] form : new String[][] {{"Q8_0", "q8"}, {"Q4_0", "q4"}}) {
            Path gguf = folder.resolve(form[1]);
            Path written = folder.resolve(form[1] + "-written");
            GgufFiles.convert(SHAPES, gguf, "gemma", form[0]);
            assertEquals(stored, answer(gguf, IMAGE));
            MainTest.Run quantized =
                    MainTest.run("quantize", "--weights", form[1], gguf.toString(), written.toString());
            assertEquals(0, quantized.exitCode(), quantized.err());
            assertEquals(stored, answer(written, IMAGE));
            String apart = "that are taken apart when they are read";
            assertTrue(MainTest.run("inspect", gguf.toString()).out().contains(apart));
            assertFalse(MainTest.run("inspect", written.toString()).out().contains(apart));
        }
    }

    @Test
    void aFileAloneIsNoModel() throws IOException {
        Path gguf = folder.resolve("gguf");
        GgufFiles.convert(Goldens.folder("paligemma-mqa"), gguf, "gemma", "stored");
        Files.delete(gguf.resolve("tokenizer.json"));
        MainTest.fails(3, "tokenizer.json: no such file", "generate", "-m", gguf.toString(), "-i", IMAGE, "-p", "x");
        Files.delete(gguf.resolve("config.json"));
        for (Path named : new Path[] {gguf, gguf.resolve("model.gguf")}) {
            MainTest.fails(3, "config.json, tokenizer.json and preprocessor_config.json of the model as transformers",
                    "generate", "-m", named.toString(), "-i", IMAGE, "-p", "x");
        }
    }
}
