package stormsight.image;

/**
 * Which pixels of an image belong to an object.
 *
 * @param inside [height, width] of the image, row by row; not copied and not to be changed
 */
public record Mask(int width, int height, boolean[] inside) {
    /** @throws IllegalArgumentException if there are not width x height pixels */
    public Mask {
        if (width < 1 || height < 1 || (long) width * height != inside.length) {
            throw new IllegalArgumentException(inside.length + " pixels for a mask of " + width + " x " + height);
        }
    }

    /** Whether a pixel is in it; false outside of the image. */
    public boolean at(int x, int y) {
        return x >= 0 && y >= 0 && x < width && y < height && inside[y * width + x];
    }

    /** Pixels in it. */
    public int area() {
        int area = 0;
        for (boolean pixel : inside) {
            area += pixel ? 1 : 0;
        }
        return area;
    }
}
