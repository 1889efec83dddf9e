package stormsight;

import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.nio.file.Path;
import java.util.function.Supplier;
import stormsight.image.ImageDecoder;
import stormsight.image.ImageException;
import stormsight.image.RgbImage;

/** An image to ask about, of 8-bit red, green and blue. Never changes. */
public final class Image {
    private final RgbImage pixels;

    private Image(RgbImage pixels) {
        this.pixels = pixels;
    }

    /**
     * Reads a PNG, JPEG, GIF, BMP or WebP file, and turns it as its EXIF or XMP data says. Of several frames the first
     * is taken.
     *
     * @throws StormsightException of kind IMAGE if it cannot be read
     */
    public static Image read(Path file) {
        return decoded(() -> new ImageDecoder().decode(file));
    }

    /**
     * The same of a file's bytes.
     *
     * @throws StormsightException of kind IMAGE if they cannot be read
     */
    public static Image decode(byte[] file) {
        return decoded(() -> new ImageDecoder().decode(new ByteArrayInputStream(file), "an image of " + file.length
                + " bytes"));
    }

    /** A copy of an image of AWT's; alpha is dropped without compositing. */
    public static Image of(BufferedImage image) {
        int width = image.getWidth();
        int height = image.getHeight();
        byte[] rgb = new byte[Math.multiplyExact(3, Math.multiplyExact(width, height))];
        int[] row = new int[width];
        for (int y = 0; y < height; y++) {
            image.getRGB(0, y, width, 1, row, 0, width);
            for (int x = 0; x < width; x++) {
                int at = 3 * (y * width + x);
                rgb[at] = (byte) (row[x] >> 16);
                rgb[at + 1] = (byte) (row[x] >> 8);
                rgb[at + 2] = (byte) row[x];
            }
        }
        return new Image(new RgbImage(width, height, rgb));
    }

    private static Image decoded(Supplier<RgbImage> decoding) {
        try {
            return new Image(decoding.get());
        } catch (ImageException e) {
            throw new StormsightException(StormsightException.Kind.IMAGE, e);
        }
    }

    /** In pixels. */
    public int width() {
        return pixels.width();
    }

    /** In pixels. */
    public int height() {
        return pixels.height();
    }

    RgbImage pixels() {
        return pixels;
    }
}
