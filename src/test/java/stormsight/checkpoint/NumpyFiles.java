package stormsight.checkpoint;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Arrays that commands wrote. */
public final class NumpyFiles {
    private NumpyFiles() {}

    /** Reads a {@code .npy} file. */
    public static NumpyArray read(Path file) {
        try {
            return NumpyArray.read(file, "", Files.readAllBytes(file));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
