package stormsight.serve;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Semaphore;
import stormsight.image.DataUrl;
import stormsight.image.ImageDecoder;
import stormsight.image.ImageException;
import stormsight.image.RgbImage;

/** The images that requests name: data URLs, and files below one folder. Nothing is fetched. */
final class ImageSource {
    private final Optional<Path> root;
    private final ImageDecoder decoder;
    /** An image is much larger decoded: only so many at a time. */
    private final Semaphore decoding = new Semaphore(Runtime.getRuntime().availableProcessors());

    ImageSource(Optional<Path> root, long maxPixels) {
        this.root = root;
        decoder = new ImageDecoder(true, maxPixels, ImageDecoder.DEFAULT_MAX_BYTES);
    }

    /** @throws ApiException if it cannot be read, or may not be */
    RgbImage read(String url) {
        String lower = url.toLowerCase(Locale.ROOT);
        decoding.acquireUninterruptibly();
        try {
            if (lower.startsWith("data:")) {
                byte[] file = DataUrl.bytes(url);
                return decoder.decode(new ByteArrayInputStream(file), "the image of the request");
            }
            if (lower.matches("(?s)[a-z][a-z0-9+.-]+://.*") && !lower.startsWith("file:")) {
                throw new ApiException(400, "remote_image",
                        "remote images are not fetched: send the image itself as a data: URL, such as "
                                + "data:image/png;base64,...");
            }
            return decoder.decode(allowed(url));
        } catch (ImageException e) {
            throw new ApiException(400, "invalid_image", e.getMessage());
        } finally {
            decoding.release();
        }
    }

    private Path allowed(String url) {
        Path folder = root.orElseThrow(() -> new ApiException(403, "file_not_allowed",
                "image files are not read by this server: send a data: URL, or start it with --root FOLDER"));
        try {
            Path real = folder.toRealPath();
            Path file = url.toLowerCase(Locale.ROOT).startsWith("file:") ? Path.of(URI.create(url)) : real.resolve(url);
            Path found = file.toRealPath();
            if (found.startsWith(real)) {
                return found;
            }
        } catch (IOException | IllegalArgumentException | java.nio.file.FileSystemNotFoundException e) {
            // Whether a file exists elsewhere is nobody's business.
        }
        throw new ApiException(403, "file_not_allowed",
                "there is no image file " + DataUrl.shown(url) + " below the folder that --root allows");
    }
}
