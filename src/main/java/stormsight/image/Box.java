package stormsight.image;

/**
 * A rectangle of an image.
 *
 * @param x left edge in pixels of the image as it is seen, orientation applied
 * @param y upper edge
 * @param width in pixels, positive
 * @param height in pixels, positive
 */
public record Box(double x, double y, double width, double height) {
    public Box {
        if (!(width > 0 && height > 0) || !Double.isFinite(x + y + width + height)) {
            throw new IllegalArgumentException("a box at " + x + "," + y + " of " + width + " x " + height);
        }
    }

    /** @throws IllegalArgumentException if the text is not {@code x,y,w,h} */
    public static Box parse(String text) {
        String[] parts = text.split(",", -1);
        if (parts.length == 4) {
            try {
                return new Box(Double.parseDouble(parts[0]), Double.parseDouble(parts[1]), Double.parseDouble(parts[2]),
                        Double.parseDouble(parts[3]));
            } catch (NumberFormatException e) {
                throw new IllegalArgumentException("'" + text + "' is not a box x,y,w,h in pixels", e);
            }
        }
        throw new IllegalArgumentException("'" + text + "' is not a box x,y,w,h in pixels");
    }
}
