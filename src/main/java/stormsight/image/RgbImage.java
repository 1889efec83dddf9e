package stormsight.image;

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
            throw new IllegalArgumentException(rgb.length + " bytes for an image of " + width + " x " + height + " x 3");
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
        RgbImage crop = black(size, size);
        int left = (width - size) / 2;
        int top = (height - size) / 2;
        for (int y = 0; y < size; y++) {
            System.arraycopy(rgb, 3 * ((top + y) * width + left), crop.rgb, 3 * y * size, 3 * size);
        }
        return crop;
    }
}
