package stormsight.image;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Optional;

/** The file of an image, whatever is in it. */
public final class ImageFile {
    private ImageFile() {}

    /**
     * SHA-256 of its content, which tells images of one name apart; empty where there is no such file.
     *
     * @throws UncheckedIOException if it cannot be read
     */
    public static Optional<String> hash(Path file) {
        try {
            return Files.isRegularFile(file) ? Optional.of(hash(content(file))) : Optional.empty();
        } catch (IOException e) {
            throw new UncheckedIOException(file + " cannot be read: " + e.getMessage(), e);
        }
    }

    /** The same of content that was read. */
    public static String hash(byte[] content) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every JVM has SHA-256", e);
        }
    }

    /** As much of it as tells whether it is too large to be an image. */
    public static byte[] content(Path file) throws IOException {
        try (InputStream in = Files.newInputStream(file)) {
            return in.readNBytes(ImageDecoder.DEFAULT_MAX_BYTES + 1);
        }
    }
}
