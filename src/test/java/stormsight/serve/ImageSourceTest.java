package stormsight.serve;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ImageSourceTest {
    @TempDir
    private Path folder;

    private static int status(ImageSource source, String url) {
        return assertThrows(ApiException.class, () -> source.read(url)).status();
    }

    /** What is missing below the folder is told; of what lies elsewhere nobody learns whether it is there. */
    @Test
    void linksTellNothingOfWhatLiesElsewhere() throws IOException {
        Path elsewhere = Files.createDirectory(folder.resolve("elsewhere"));
        Path secret = Files.copy(Path.of("examples", "kitchen.png"), elsewhere.resolve("secret.png"));
        Path root = Files.createDirectory(folder.resolve("root"));
        Files.createSymbolicLink(root.resolve("link"), elsewhere);
        Files.createSymbolicLink(root.resolve("secret.png"), secret);
        Files.createSymbolicLink(root.resolve("gone.png"), elsewhere.resolve("gone.png"));
        Files.copy(secret, root.resolve("image.png"));
        ImageSource source = new ImageSource(Optional.of(root), Optional.empty(), 1 << 20);
        for (String url : List.of("link/secret.png", "link/none.png", "secret.png", "gone.png", "../elsewhere/none.png",
                elsewhere.resolve("none.png").toString(), secret.toUri().toString())) {
            assertEquals(403, status(source, url), url);
        }
        for (String url : List.of("none.png", "none/none.png", "image.png/none.png", ".", "link/../none.png",
                root.resolve("none.png").toUri().toString())) {
            assertEquals(404, status(source, url), url);
        }
        assertEquals(448, source.read("link/../image.png").width());
    }
}
