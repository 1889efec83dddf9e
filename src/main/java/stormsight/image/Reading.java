package stormsight.image;

import java.util.Iterator;
import java.util.Optional;
import java.util.function.Consumer;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;

/**
 * A file that is being read: what its format asks for on the way.
 *
 * @param name stands in messages for the file
 * @param orientation takes the metadata that the format finds
 * @param warning takes what a user should know although the image could be read
 */
record Reading(String name, long maxPixels, Orientation orientation, Consumer<String> warning) {
    /** Longest side. Beyond it a resize's first pass, which keeps the other side, would pass the size of an array. */
    private static final int MAX_SIDE = 1 << 19;

    /** To be called before memory is taken for the pixels. */
    void checkSize(int width, int height) {
        if (width < 1 || height < 1) {
            throw new ImageException(name, "an image of " + width + " x " + height + " pixels");
        }
        if (width > MAX_SIDE || height > MAX_SIDE) {
            throw new ImageException(name, width + " x " + height + " pixels: a side is longer than " + MAX_SIDE);
        }
        if ((long) width * height > maxPixels) {
            throw new ImageException(name, width + " x " + height + " pixels are more than the limit of " + maxPixels);
        }
    }

    void warn(String what) {
        warning.accept(name + ": " + what);
    }

    /** A remark on bytes that follow an image. */
    static Optional<String> behindTheEnd(int bytes) {
        return bytes > 0 ? Optional.of(bytes + " bytes behind the end of the image are not read") : Optional.empty();
    }

    /**
     * The JDK's reader of a format. Others on the class path may offer the same formats; the JDK's are the ones that
     * are tested.
     */
    static ImageReader jdkReader(String format) {
        for (Iterator<ImageReader> readers = ImageIO.getImageReadersByFormatName(format); readers.hasNext();) {
            ImageReader reader = readers.next();
            if ("java.desktop".equals(reader.getClass().getModule().getName())) {
                return reader;
            }
        }
        throw new IllegalStateException("this JDK has no reader for " + format);
    }
}
