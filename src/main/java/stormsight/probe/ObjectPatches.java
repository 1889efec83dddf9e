package stormsight.probe;

import java.util.ArrayList;
import java.util.List;
import stormsight.image.Box;
import stormsight.image.Preprocessing;
import stormsight.image.RgbImage;

/**
 * Which patches show an object. The object is painted red on green in the size of the image and goes through the image's own resize; a patch shows it if one
 * of its pixels is exactly red then. A pixel that is only partly the object's does not count.
 */
public final class ObjectPatches {
    private static final int RED = 255;

    private ObjectPatches() {}

    /**
     * Patches that boxes touch. A box of w x h pixels covers just these; parts outside of the image are cut off.
     *
     * @param image the image that the boxes are of
     * @return places of the patches, row by row from 0; empty if the object is too small to be seen after the resize
     * @throws IllegalArgumentException if a box lies outside of the image
     */
    public static List<Integer> of(Preprocessing preprocessing, int patchSize, RgbImage image, List<Box> boxes) {
        boolean[] marked = new boolean[Math.multiplyExact(image.width(), image.height())];
        for (Box box : boxes) {
            int left = (int) Math.max(0, Math.floor(box.x()));
            int top = (int) Math.max(0, Math.floor(box.y()));
            int right = (int) Math.min(image.width(), Math.ceil(box.x() + box.width()));
            int bottom = (int) Math.min(image.height(), Math.ceil(box.y() + box.height()));
            if (left >= right || top >= bottom) {
                throw new IllegalArgumentException("the box at " + box.x() + "," + box.y() + " of " + box.width() + " x " + box.height()
                        + " lies outside of the image of " + image.width() + " x " + image.height());
            }
            for (int y = top; y < bottom; y++) {
                for (int x = left; x < right; x++) {
                    marked[y * image.width() + x] = true;
                }
            }
        }
        return of(preprocessing, patchSize, image.width(), image.height(), marked);
    }

    /**
     * Patches that a mask marks: its pixels that are not black.
     *
     * @return as for boxes
     * @throws IllegalArgumentException if mask and image differ in size
     */
    public static List<Integer> of(Preprocessing preprocessing, int patchSize, RgbImage image, RgbImage mask) {
        if (mask.width() != image.width() || mask.height() != image.height()) {
            throw new IllegalArgumentException("a mask of " + mask.width() + " x " + mask.height() + " for an image of " + image.width()
                    + " x " + image.height());
        }
        boolean[] marked = new boolean[Math.multiplyExact(image.width(), image.height())];
        for (int i = 0; i < marked.length; i++) {
            marked[i] = (mask.rgb()[3 * i] | mask.rgb()[3 * i + 1] | mask.rgb()[3 * i + 2]) != 0;
        }
        return of(preprocessing, patchSize, image.width(), image.height(), marked);
    }

    private static List<Integer> of(Preprocessing preprocessing, int patchSize, int width, int height, boolean[] marked) {
        byte[] painted = new byte[Math.multiplyExact(3, marked.length)];
        for (int i = 0; i < marked.length; i++) {
            painted[3 * i + (marked[i] ? 0 : 1)] = (byte) RED;
        }
        RgbImage resized = preprocessing.resize(new RgbImage(width, height, painted));
        int across = resized.width() / patchSize;
        List<Integer> patches = new ArrayList<>();
        for (int patch = 0; patch < across * (resized.height() / patchSize); patch++) {
            if (red(resized, patch % across * patchSize, patch / across * patchSize, patchSize)) {
                patches.add(patch);
            }
        }
        return patches;
    }

    private static boolean red(RgbImage image, int left, int top, int size) {
        for (int y = top; y < top + size; y++) {
            for (int x = left; x < left + size; x++) {
                if (image.sample(x, y, 0) == RED && image.sample(x, y, 1) == 0) {
                    return true;
                }
            }
        }
        return false;
    }
}
