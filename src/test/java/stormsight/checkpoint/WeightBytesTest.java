package stormsight.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class WeightBytesTest {
    @TempDir
    private Path folder;

    @Test
    void countsFilesOfWeightsAlone() throws IOException {
        Files.write(folder.resolve("model-00001-of-00002.safetensors"), new byte[30]);
        Files.write(folder.resolve("model-00002-of-00002.safetensors"), new byte[5]);
        Files.write(folder.resolve("tokenizer.json"), new byte[100]);
        assertEquals(35, ModelPath.weightBytes(folder));
    }

    @Test
    void countsGguf() throws IOException {
        Files.write(folder.resolve("decoder.gguf"), new byte[7]);
        assertEquals(7, ModelPath.weightBytes(folder));
    }

    /** Whoever opens the model says what is wrong with it. */
    @Test
    void countsNothingWhereThereIsNoFolder() throws IOException {
        assertEquals(0, ModelPath.weightBytes(folder.resolve("none")));
        assertEquals(0, ModelPath.weightBytes(Files.write(folder.resolve("file.safetensors"), new byte[7])));
    }
}
