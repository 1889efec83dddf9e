package stormsight.generate;

import stormsight.image.Box;
import stormsight.image.Mask;

/**
 * What the mask decoder makes of 16 codes: above 0 where the object is, as if its box were a square.
 *
 * @param values {@value #SIDE} x {@value #SIDE}, row by row; not copied and not to be changed
 */
public record MaskMap(float[] values) {
    public static final int SIDE = 64;

    /** @throws IllegalArgumentException if there is another number of values */
    public MaskMap {
        if (values.length != SIDE * SIDE) {
            throw new IllegalArgumentException(values.length + " values of a mask");
        }
    }

    /**
     * The map in another size, bilinear between the centres of its values, row by row.
     *
     * @return [height, width]
     */
    public float[] resized(int width, int height) {
        float[] resized = new float[Math.multiplyExact(width, height)];
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                resized[y * width + x] = at(x, y, width, height);
            }
        }
        return resized;
    }

    private float at(int x, int y, int width, int height) {
        float column = place(x, width);
        float row = place(y, height);
        int left = (int) column;
        int top = (int) row;
        int right = Math.min(left + 1, SIDE - 1);
        int bottom = Math.min(top + 1, SIDE - 1);
        float across = column - left;
        float down = row - top;
        return (1 - down) * ((1 - across) * values[top * SIDE + left] + across * values[top * SIDE + right])
                + down * ((1 - across) * values[bottom * SIDE + left] + across * values[bottom * SIDE + right]);
    }

    private static float place(int pixel, int pixels) {
        return Math.max(0, (pixel + 0.5f) * ((float) SIDE / pixels) - 0.5f);
    }

    /**
     * The pixels of an image that the map says are of an object.
     *
     * @param box of the object, in whole pixels; what lies outside of the image is cut
     */
    public Mask pasted(Box box, int width, int height) {
        boolean[] inside = new boolean[Math.multiplyExact(width, height)];
        int left = (int) Math.rint(box.x());
        int top = (int) Math.rint(box.y());
        int across = Math.max(1, (int) Math.rint(box.width()));
        int down = Math.max(1, (int) Math.rint(box.height()));
        for (int y = Math.max(0, top); y < Math.min(height, top + down); y++) {
            for (int x = Math.max(0, left); x < Math.min(width, left + across); x++) {
                inside[y * width + x] = at(x - left, y - top, across, down) > 0;
            }
        }
        return new Mask(width, height, inside);
    }
}
