package stormsight.serve;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.file.FileSystemNotFoundException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Semaphore;
import stormsight.image.DataUrl;
import stormsight.image.ImageDecoder;
import stormsight.image.ImageException;
import stormsight.image.RgbImage;

/** The images that requests name: data URLs, files below one folder, and what is fetched if that is allowed. */
final class ImageSource {
    private final Optional<Path> root;
    private final Optional<RemoteImages> remote;
    private final ImageDecoder decoder;
    /** An image is much larger decoded: only so many at a time. */
    private final Semaphore decoding = new Semaphore(Runtime.getRuntime().availableProcessors());

    ImageSource(Optional<Path> root, Optional<RemoteImages> remote, long maxPixels) {
        this.root = root;
        this.remote = remote;
        decoder = new ImageDecoder(true, maxPixels, ImageDecoder.DEFAULT_MAX_BYTES);
    }

    /** @throws ApiException if it cannot be read, or may not be */
    RgbImage read(String url) {
        String lower = url.toLowerCase(Locale.ROOT);
        try {
            if (lower.startsWith("data:")) {
                return decode(new ByteArrayInputStream(DataUrl.bytes(url)), "the image of the request");
            }
            if (DataUrl.hasScheme(lower) && !lower.startsWith("file:")) {
                RemoteImages allowed = remote.orElseThrow(() -> ApiException.remote("remote images are not fetched: "
                        + "send the image itself as a data: URL, such as data:image/png;base64,..."));
                return decode(new ByteArrayInputStream(allowed.fetch(url)), DataUrl.shown(url));
            }
            try (InputStream file = Files.newInputStream(allowed(url))) {
                return decode(file, DataUrl.shown(url));
            }
        } catch (ImageException e) {
            throw ApiException.image(e.getMessage());
        } catch (IOException e) {
            throw ApiException.image(DataUrl.shown(url) + ": cannot be read");
        }
    }

    private RgbImage decode(InputStream in, String name) {
        decoding.acquireUninterruptibly();
        try {
            return decoder.decode(in, name);
        } finally {
            decoding.release();
        }
    }

    private Path allowed(String url) {
        Path folder = root.orElseThrow(() -> new ApiException(403, "file_not_allowed",
                "image files are not read by this server: send a data: URL, or start it with --root FOLDER"));
        try {
            Path real = folder.toRealPath();
            Path named =
                    url.toLowerCase(Locale.ROOT).startsWith("file:") ? Path.of(URI.create(url)) : real.resolve(url);
            Path file = named.toAbsolutePath().normalize();
            Path present = file;
            while (!Files.exists(present, LinkOption.NOFOLLOW_LINKS)) {
                present = present.getParent();
            }
            Path found = present.toRealPath();
            if (found.startsWith(real)) {
                // A pipe would never end.
                if (present.equals(file) && Files.isRegularFile(found)) {
                    return found;
                }
                throw new ApiException(404, "file_not_found",
                        "there is no image file " + DataUrl.shown(url) + " below the folder of --root");
            }
        } catch (IOException | IllegalArgumentException | FileSystemNotFoundException e) {
            // Whether a file exists elsewhere is nobody's business.
        }
        throw new ApiException(403, "file_not_allowed", DataUrl.shown(url)
                + " cannot be read: this server reads image files below the folder of --root only");
    }
}
