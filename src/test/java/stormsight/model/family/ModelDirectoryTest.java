package stormsight.model.family;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.Goldens;
import stormsight.model.ModelDirectory;

class ModelDirectoryTest {
    /** A checkpoint that was trained further has the same names and shapes, and other values in any of its tensors. */
    @Test
    void theFingerprintTellsValuesOfLargeTensorsApart(@TempDir Path folder) throws IOException {
        String tensor = "language_model.model.embed_tokens.weight";
        Goldens.copy("paligemma2", folder);
        String before = fingerprint(folder);
        assertEquals(before, fingerprint(Goldens.folder("paligemma2")));
        try (ModelDirectory directory = Families.open(folder, Optional.empty())) {
            assertTrue(directory.checkpoint().info(tensor).bytes() > 1 << 16);
        }
        Goldens.change(folder, tensor, 0.125f);
        assertNotEquals(before, fingerprint(folder));
    }

    private static String fingerprint(Path folder) {
        try (ModelDirectory directory = Families.open(folder, Optional.empty())) {
            return directory.fingerprint();
        }
    }
}
