package stormsight.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemNotFoundException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.Locale;
import picocli.CommandLine.ITypeConverter;
import stormsight.checkpoint.TemporaryFolder;
import stormsight.image.ImageException;

/**
 * What people write for an image: a file, a {@code file:} URL, a {@code data:} URL as web pages hold pictures, or
 * {@code -} for standard input. The last two become files of a temporary folder, so that every command takes them.
 */
final class ImageArgument implements ITypeConverter<Path> {
    static final String STANDARD_INPUT = "-";

    /** Characters of a data URL in a message: its type. */
    private static final int SHOWN = 60;
    private static final int LONG = 500;

    @Override
    public Path convert(String text) {
        String lower = text.toLowerCase(Locale.ROOT);
        try {
            if (lower.startsWith("data:")) {
                return Files.write(TemporaryFolder.create().resolve("data-url"), data(text));
            }
            if (lower.startsWith("file:")) {
                return Path.of(URI.create(text));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(
                    "the image " + shown(text) + " cannot be kept in a temporary folder: " + e.getMessage(), e);
        } catch (FileSystemNotFoundException | IllegalArgumentException e) {
            throw new ImageException(shown(text), "is not a URL of a file on this machine: " + e.getMessage(), e);
        }
        if (lower.matches("(?s)[a-z][a-z0-9+.-]+://.*")) {
            throw new ImageException(
                    shown(text),
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
            Files.copy(System.in, file);
            return file;
        } catch (IOException e) {
            throw new UncheckedIOException(
                    "the image from standard input cannot be kept in a temporary folder: " + e.getMessage(), e);
        }
    }

    /** @see <a href="https://www.rfc-editor.org/rfc/rfc2397">RFC 2397</a> */
    private static byte[] data(String url) {
        int comma = url.indexOf(',');
        if (comma < 0) {
            throw new ImageException(shown(url), "is not a data URL: the comma before the data is missing");
        }
        // A plus is no space here.
        String content = URLDecoder.decode(url.substring(comma + 1).replace("+", "%2B"), StandardCharsets.ISO_8859_1);
        if (!url.substring(0, comma).toLowerCase(Locale.ROOT).strip().endsWith(";base64")) {
            return content.getBytes(StandardCharsets.ISO_8859_1);
        }
        try {
            return Base64.getMimeDecoder().decode(content.replace('-', '+').replace('_', '/'));
        } catch (IllegalArgumentException e) {
            throw new ImageException(shown(url), "is not base64: " + e.getMessage(), e);
        }
    }

    /** Without most of a long data URL. */
    static String shown(String text) {
        int most = text.regionMatches(true, 0, "data:", 0, 5) ? SHOWN : LONG;
        return text.length() <= most ? text : text.substring(0, most) + "...";
    }
}
