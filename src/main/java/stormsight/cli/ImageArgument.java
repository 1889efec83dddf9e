package stormsight.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.nio.file.FileSystemNotFoundException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import picocli.CommandLine.ITypeConverter;
import stormsight.checkpoint.TemporaryFolder;
import stormsight.image.DataUrl;
import stormsight.image.ImageDecoder;
import stormsight.image.ImageException;

/**
 * What people write for an image: a file, a {@code file:} URL, a {@code data:} URL as web pages hold pictures, or
 * {@code -} for standard input. The last two become files of a temporary folder, so that every command takes them.
 */
final class ImageArgument implements ITypeConverter<Path> {
    static final String STANDARD_INPUT = "-";

    @Override
    public Path convert(String text) {
        if (text.isEmpty()) {
            throw new ImageException("''", "is an empty name; name a file");
        }
        String lower = text.toLowerCase(Locale.ROOT);
        try {
            if (lower.startsWith("data:")) {
                return Files.write(TemporaryFolder.create().resolve("data-url"), DataUrl.bytes(text));
            }
            if (lower.startsWith("file:")) {
                return Path.of(URI.create(text));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(
                    "the image " + DataUrl.shown(text) + " cannot be kept in a temporary folder: " + e.getMessage(), e);
        } catch (FileSystemNotFoundException | IllegalArgumentException e) {
            throw new ImageException(DataUrl.shown(text),
                    "is not a URL of a file on this machine: " + e.getMessage(), e);
        }
        if (DataUrl.hasScheme(lower)) {
            throw new ImageException(
                    DataUrl.shown(text),
                    "is a URL, and nothing is downloaded here: download it first, as with curl -LO, and name the "
                            + "local file");
        }
        return Path.of(text);
    }

    /**
     * The file of an image, read from standard input where that was asked for. Once for each command: standard input
     * can be read once.
     *
     * @throws UncheckedIOException if it cannot be read or kept
     */
    static Path file(Path image) {
        if (!image.equals(Path.of(STANDARD_INPUT))) {
            return image;
        }
        try {
            Path file = TemporaryFolder.create().resolve("standard-input");
            // One byte more than an image may have is enough to refuse it.
            if (StandardInput.copy(file, ImageDecoder.DEFAULT_MAX_BYTES + 1L) == 0) {
                throw new ImageException("--image -", "standard input is empty");
            }
            return file;
        } catch (IOException e) {
            throw new UncheckedIOException(
                    "the image from standard input cannot be kept in a temporary folder: " + e.getMessage(), e);
        }
    }
}
