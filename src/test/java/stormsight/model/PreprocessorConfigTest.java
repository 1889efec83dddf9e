package stormsight.model;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.image.Preprocessing;
import stormsight.image.Resampling;

/** How images are prepared, as the files of transformers 4 and 5 say it. */
class PreprocessorConfigTest {
    private static final int SIZE = 28;

    @TempDir
    private Path folder;

    private void write(String file, String json) throws IOException {
        Files.writeString(folder.resolve(file), json);
    }

    /** Published: bicubic, which is 3. */
    @Test
    void transformers5TakesProcessorConfigFirst() throws IOException {
        Preprocessing published = Preprocessing.siglip(SIZE);
        write("processor_config.json", "{\"image_processor\": {\"resample\": 2}}");
        assertEquals(Resampling.BILINEAR, PreprocessorConfig.read(folder, published).resampling());
        write("preprocessor_config.json", "{\"resample\": 3}");
        assertEquals(Resampling.BILINEAR, PreprocessorConfig.read(folder, published).resampling());
        write("processor_config.json", "{\"image_token\": \"<image>\"}");
        write("preprocessor_config.json", "{\"resample\": 2}");
        assertEquals(Resampling.BILINEAR, PreprocessorConfig.read(folder, published).resampling());
    }
}
