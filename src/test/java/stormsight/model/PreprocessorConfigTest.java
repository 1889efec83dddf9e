package stormsight.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.checkpoint.CheckpointException;
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

    private void assertRefused(String json, Preprocessing published, String key) throws IOException {
        write("preprocessor_config.json", json);
        CheckpointException e =
                assertThrows(CheckpointException.class, () -> PreprocessorConfig.read(folder, published), json);
        assertTrue(e.getMessage().contains("preprocessor_config.json: " + key + ": "), e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{}",
        "{\"size\": 28, \"crop_size\": 28, \"do_center_crop\": true}",
        "{\"size\": {\"shortest_edge\": 28}, \"crop_size\": {\"height\": 28, \"width\": 28}, \"do_pad\": false}",
        "{\"size\": {\"shortest_edge\": 28, \"height\": null}, \"do_pad\": null}"})
    void cropsAsPublished(String json) throws IOException {
        write("preprocessor_config.json", json);
        assertEquals(Preprocessing.clip(SIZE), PreprocessorConfig.read(folder, Preprocessing.clip(SIZE)));
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{}",
        "{\"size\": 28}",
        "{\"size\": {\"height\": 28, \"width\": 28}, \"do_center_crop\": false, \"crop_size\": 28, \"crop_pct\": null}",
        "{\"size\": {\"height\": 28, \"width\": 28, \"shortest_edge\": null}, \"do_pad\": false}"})
    void stretchesAsPublished(String json) throws IOException {
        write("preprocessor_config.json", json);
        assertEquals(Preprocessing.siglip(SIZE), PreprocessorConfig.read(folder, Preprocessing.siglip(SIZE)));
    }

    @Test
    void refusesOtherWaysToFitAnImage() throws IOException {
        Preprocessing crops = Preprocessing.clip(SIZE);
        assertRefused("{\"size\": {\"height\": 28, \"width\": 28}, \"crop_size\": 28}", crops, "size");
        assertRefused("{\"size\": {}}", crops, "size");
        assertRefused("{\"size\": {\"shortest_edge\": 28}, \"do_pad\": true}", crops, "do_pad");
        Preprocessing stretches = Preprocessing.siglip(SIZE);
        assertRefused("{\"size\": {\"shortest_edge\": 28}, \"crop_pct\": 0.875}", stretches, "size");
        assertRefused("{\"size\": 28, \"crop_pct\": 0.875}", stretches, "crop_pct");
        assertRefused("{\"size\": 28, \"do_center_crop\": true}", stretches, "do_center_crop");
        assertRefused("{\"size\": {\"height\": 28, \"width\": 28}, \"do_pad\": true}", stretches, "do_pad");
    }

    /** LLaVA-NeXT's files ask for padding, of batches. */
    @Test
    void tilesNeedNoFit() throws IOException {
        write("preprocessor_config.json", "{\"size\": {\"height\": 28, \"width\": 28}, \"do_pad\": true}");
        assertEquals(Preprocessing.clip(SIZE), PreprocessorConfig.readOfTiles(folder, Preprocessing.clip(SIZE)));
    }
}
