package stormsight.image;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Reads PNG, JPEG, GIF, BMP and WebP files into 8-bit RGB, with the samples that Pillow's {@code convert("RGB")} gives,
 * bit for bit: alpha is dropped without compositing, palettes are expanded, gray is replicated, CMYK is converted by
 * its formula; colour profiles and gamma are ignored. Of several frames the first is read, on its canvas. Of 16-bit
 * samples the high byte is taken; Pillow clips 16-bit gray at 255 instead, which turns most of such an image white.
 *
 * <p>An image of which pixels are missing is refused. Where all are there and only the file's end is not, or more
 * follows it, a line is logged. Time and memory follow the size of the file and the pixels that it has, not those that
 * it claims.
 *
 * @param applyOrientation whether the image is turned as its EXIF or XMP data says
 * @param maxPixels images of more pixels are refused before they are decoded
 * @param maxBytes files of more bytes are refused
 */
public record ImageDecoder(boolean applyOrientation, long maxPixels, int maxBytes) {
    /** Where Pillow refuses an image: twice its MAX_IMAGE_PIXELS. */
    public static final long DEFAULT_MAX_PIXELS = 178_956_970;

    /** More than an uncompressed image of ordinary size; a limit for what comes from a pipe. */
    public static final int DEFAULT_MAX_BYTES = 512 << 20;

    /** An array of three bytes a pixel holds no more. */
    public static final long MOST_PIXELS = (Integer.MAX_VALUE - 8) / 3;

    private static final String BROKEN = "the image is broken";

    /** Why an image cannot be read where memory is missing. */
    public static final String TOO_LITTLE_MEMORY = "the image takes more memory than this Java process may use";

    private static final Logger LOG = LoggerFactory.getLogger(ImageDecoder.class);

    public ImageDecoder {
        if (maxPixels < 1 || maxPixels > MOST_PIXELS || maxBytes < 1 || maxBytes > Integer.MAX_VALUE - 16) {
            throw new IllegalArgumentException(maxPixels + " pixels, " + maxBytes + " bytes at most");
        }
    }

    /** Applies the orientation, with the default limits. */
    public ImageDecoder() {
        this(true, DEFAULT_MAX_PIXELS, DEFAULT_MAX_BYTES);
    }

    /** @throws ImageException if the file cannot be read as an image, whatever is wrong with it */
    public RgbImage decode(Path file) {
        if (Files.isDirectory(file)) {
            throw new ImageException(file.toString(), "is a directory");
        }
        try (InputStream in = Files.newInputStream(file)) {
            return decode(in, file.toString());
        } catch (NoSuchFileException e) {
            throw new ImageException(file.toString(), "no such file", e);
        } catch (AccessDeniedException e) {
            throw new ImageException(file.toString(), "not permitted to read it", e);
        } catch (IOException e) {
            throw new ImageException(file.toString(), problem(e), e);
        }
    }

    /**
     * Reads the stream to its end and leaves it open.
     *
     * @param name stands in messages for the file
     * @throws ImageException if the bytes cannot be read as an image, whatever is wrong with them
     */
    public RgbImage decode(InputStream in, String name) {
        return decode(in, name, LOG::warn);
    }

    /** @param warning takes a line for each thing that a user should know although the image can be read */
    RgbImage decode(InputStream in, String name, Consumer<String> warning) {
        try {
            byte[] file = in.readNBytes(maxBytes + 1);
            if (file.length > maxBytes) {
                throw new ImageException(name, "more than " + maxBytes + " bytes");
            }
            Reading reading = new Reading(name, maxPixels, new Orientation(), warning);
            RgbImage image = read(new Bytes(file), reading);
            return applyOrientation ? Orientation.upright(image, orientation(reading)) : image;
        } catch (IOException e) {
            throw new ImageException(name, problem(e), e);
        } catch (ImageException e) {
            throw e;
        } catch (RuntimeException e) {
            // The JDK's readers of broken data meet indexes, sizes and references that are out of their range.
            throw new ImageException(name, BROKEN + " (" + e + ")", e);
        } catch (OutOfMemoryError e) {
            // Sizes are the file's claim, so that this is a property of the file, and no state of ours
            // is left half changed.
            throw new ImageException(name, TOO_LITTLE_MEMORY, e);
        }
    }

    private static RgbImage read(Bytes in, Reading reading) throws IOException {
        if (in.startsWith(Png.MAGIC)) {
            return Png.read(in, reading);
        }
        if (in.startsWith("\u00ff\u00d8\u00ff")) {
            return Jpeg.read(in, reading);
        }
        if (in.startsWith("GIF87a") || in.startsWith("GIF89a")) {
            return Gif.read(in, reading);
        }
        if (in.startsWith("BM")) {
            return Bmp.read(in, reading);
        }
        if (in.startsWith("RIFF") && in.is(8, "WEBP")) {
            return Webp.read(in, reading);
        }
        throw new IOException(UnknownFormat.describe(in));
    }

    /** Broken metadata does not make an image unreadable. */
    private static int orientation(Reading reading) {
        try {
            return reading.orientation().value();
        } catch (Orientation.MetadataException e) {
            reading.warn(e.getMessage() + "; an orientation in it is not applied");
            return Orientation.UPRIGHT;
        }
    }

    /**
     * One line on what went wrong. The JDK's readers wrap what they meet, memory included, in exceptions that say
     * little.
     */
    private static String problem(IOException e) {
        String message = e.getMessage();
        for (Throwable cause = e.getCause(); cause != null; cause = cause.getCause()) {
            if (cause instanceof OutOfMemoryError) {
                return TOO_LITTLE_MEMORY;
            }
            message = cause.getMessage() == null ? message : cause.getMessage();
        }
        if (message == null || message.isBlank()) {
            return e instanceof EOFException ? Bytes.ENDS_EARLY : BROKEN + " (" + e.getClass().getSimpleName() + ")";
        }
        return message.strip().replaceAll("\\s+", " ");
    }
}
