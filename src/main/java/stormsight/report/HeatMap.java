package stormsight.report;

/**
 * A map of numbers over an image, such as one number a patch.
 *
 * @param title what the map shows, drawn above it
 * @param values [rows, columns], not copied and not to be changed
 */
public record HeatMap(String title, int columns, int rows, float[] values) {
    /**
     * @throws IllegalArgumentException if a side is not positive, the values are not rows x columns, or one is not
     * finite
     */
    public HeatMap {
        if (columns < 1 || rows < 1 || (long) columns * rows != values.length) {
            throw new IllegalArgumentException(values.length + " values for a map of " + columns + " x " + rows);
        }
        for (int i = 0; i < values.length; i++) {
            if (!Float.isFinite(values[i])) {
                throw new IllegalArgumentException("map \"" + title + "\": value " + i + " is " + values[i]);
            }
        }
    }

    /** Smallest value. */
    public float min() {
        float min = values[0];
        for (float value : values) {
            min = Math.min(min, value);
        }
        return min;
    }

    /** Largest value. */
    public float max() {
        float max = values[0];
        for (float value : values) {
            max = Math.max(max, value);
        }
        return max;
    }

    /**
     * The value at a place, bilinear between the middles of patches and constant beyond the outermost.
     *
     * @param x 0 at the left edge of the map, {@code columns} at the right one
     * @param y 0 at the upper edge, {@code rows} at the lower one
     */
    double at(double x, double y) {
        double column = Math.clamp(x - 0.5, 0, columns - 1);
        double row = Math.clamp(y - 0.5, 0, rows - 1);
        int left = (int) column;
        int top = (int) row;
        int right = Math.min(left + 1, columns - 1);
        int bottom = Math.min(top + 1, rows - 1);
        double across = column - left;
        double down = row - top;
        double upper = values[top * columns + left] * (1 - across) + values[top * columns + right] * across;
        double lower = values[bottom * columns + left] * (1 - across) + values[bottom * columns + right] * across;
        return upper * (1 - down) + lower * down;
    }
}
