package stormsight.image;

import java.util.Objects;

/**
 * An image of 8-bit red, green and blue.
 *
 * @param rgb [height, width, 3], not copied and not to be changed
 */
public record RgbImage(int width, int height, byte[] rgb) {
    /** @throws IllegalArgumentException if a side is not positive or the samples are not height x width x 3 */
    public RgbImage {
        if (width < 1 || height < 1) {
            throw new IllegalArgumentException("an image of " + width + " x " + height);
        }
        if (rgb.length != 3L * width * height) {
            throw new IllegalArgumentException(
                    rgb.length + " bytes for an image of " + width + " x " + height + " x 3");
        }
    }

    /** An image in black. */
    static RgbImage black(int width, int height) {
        return new RgbImage(width, height, new byte[Math.multiplyExact(3, Math.multiplyExact(width, height))]);
    }

    /** The sample of a channel (0 red, 1 green, 2 blue), 0 .. 255. */
    public int sample(int x, int y, int channel) {
        return rgb[3 * (y * width + x) + channel] & 0xff;
    }

    /**
     * The part of {@code size x size} in the middle; an odd surplus pixel is cut at the right or bottom.
     *
     * @throws IllegalArgumentException if a side is shorter than size
     */
    public RgbImage centreCrop(int size) {
        if (size < 1 || size > width || size > height) {
            throw new IllegalArgumentException("a crop of " + size + " from an image of " + width + " x " + height);
        }
        return crop((width - size) / 2, (height - size) / 2, size, size);
    }

    /**
     * A part.
     *
     * @throws IndexOutOfBoundsException if it reaches beyond the image
     */
    public RgbImage crop(int left, int top, int columns, int rows) {
        Objects.checkFromIndexSize(left, columns, width);
        Objects.checkFromIndexSize(top, rows, height);
        RgbImage crop = black(columns, rows);
        for (int y = 0; y < rows; y++) {
            System.arraycopy(rgb, 3 * ((top + y) * width + left), crop.rgb, 3 * y * columns, 3 * columns);
        }
        return crop;
    }

    /**
     * The image on a larger black one.
     *
     * @param left columns of black before it
     * @param top rows of black above it
     * @throws IndexOutOfBoundsException if it does not fit
     */
    public RgbImage onBlack(int columns, int rows, int left, int top) {
        Objects.checkFromIndexSize(left, width, columns);
        Objects.checkFromIndexSize(top, height, rows);
        RgbImage padded = black(columns, rows);
        for (int y = 0; y < height; y++) {
            System.arraycopy(rgb, 3 * y * width, padded.rgb, 3 * ((top + y) * columns + left), 3 * width);
        }
        return padded;
    }
}
