package stormsight.probe;

import java.util.List;
import stormsight.image.Box;
import stormsight.image.RgbImage;
import stormsight.model.Processor;
import stormsight.model.Views;

/**
 * Which patches show an object. The object is painted red on green in the size of the image and goes through the
 * image's own preprocessing; a patch shows it if one of its pixels is exactly red then. A pixel that is only partly the
 * object's does not count.
 */
public final class ObjectPatches {
    private static final int RED = 255;

    private ObjectPatches() {}

    /**
     * Patches that boxes touch. A box of w x h pixels covers just these; parts outside of the image are cut off.
     *
     * @param image the image that the boxes are of
     * @return rows of the image's features, rising; empty if the object is too small to be seen after the resize
     * @throws IllegalArgumentException if a box lies outside of the image
     */
    public static List<Integer> of(Processor processor, RgbImage image, List<Box> boxes) {
        boolean[] marked = new boolean[Math.multiplyExact(image.width(), image.height())];
        for (Box box : boxes) {
            int left = (int) Math.max(0, Math.floor(box.x()));
            int top = (int) Math.max(0, Math.floor(box.y()));
            int right = (int) Math.min(image.width(), Math.ceil(box.x() + box.width()));
            int bottom = (int) Math.min(image.height(), Math.ceil(box.y() + box.height()));
            if (left >= right || top >= bottom) {
                throw new IllegalArgumentException(
                        "the box at " + box.x() + "," + box.y() + " of " + box.width() + " x " + box.height()
                                + " lies outside of the image of " + image.width() + " x " + image.height());
            }
            for (int y = top; y < bottom; y++) {
                for (int x = left; x < right; x++) {
                    marked[y * image.width() + x] = true;
                }
            }
        }
        return of(processor, image.width(), image.height(), marked);
    }

    /**
     * Patches that a mask marks: its pixels that are not black.
     *
     * @return as for boxes
     * @throws IllegalArgumentException if mask and image differ in size
     */
    public static List<Integer> of(Processor processor, RgbImage image, RgbImage mask) {
        if (mask.width() != image.width() || mask.height() != image.height()) {
            throw new IllegalArgumentException("a mask of " + mask.width() + " x " + mask.height() + " for an image of "
                    + image.width() + " x " + image.height());
        }
        boolean[] marked = new boolean[Math.multiplyExact(image.width(), image.height())];
        for (int i = 0; i < marked.length; i++) {
            marked[i] = (mask.rgb()[3 * i] | mask.rgb()[3 * i + 1] | mask.rgb()[3 * i + 2]) != 0;
        }
        return of(processor, image.width(), image.height(), marked);
    }

    private static List<Integer> of(Processor processor, int width, int height, boolean[] marked) {
        byte[] painted = new byte[Math.multiplyExact(3, marked.length)];
        for (int i = 0; i < marked.length; i++) {
            painted[3 * i + (marked[i] ? 0 : 1)] = (byte) RED;
        }
        return processor.views(new RgbImage(width, height, painted)).rowsWhere(ObjectPatches::red);
    }

    private static boolean red(Views.Square square) {
        for (int y = square.y(); y < square.y() + square.size(); y++) {
            for (int x = square.x(); x < square.x() + square.size(); x++) {
                if (square.view().sample(x, y, 0) == RED && square.view().sample(x, y, 1) == 0) {
                    return true;
                }
            }
        }
        return false;
    }
}
