package stormsight.image;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.List;

/**
 * Turns an image into the rows that a patch embedding multiplies: pixel = (sample * rescale - mean) / std in F32, as
 * transformers computes it.
 */
public final class Patches {
    private static final ValueLayout.OfFloat FLOAT =
            ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /** [3, 256]: the pixel of every sample of every channel. */
    private final float[][] pixel = new float[3][256];

    /**
     * @param rescale multiplies a sample in double precision, mostly 1/255
     * @param mean of red, green and blue
     * @param std of red, green and blue
     * @throws IllegalArgumentException if mean or std is not of three values or one of std is 0
     */
    public Patches(double rescale, List<Double> mean, List<Double> std) {
        if (mean.size() != 3 || std.size() != 3 || std.contains(0.0)) {
            throw new IllegalArgumentException("mean " + mean + ", std " + std + ": 3 values each expected, std not 0");
        }
        for (int channel = 0; channel < 3; channel++) {
            float m = mean.get(channel).floatValue();
            float s = std.get(channel).floatValue();
            for (int sample = 0; sample < 256; sample++) {
                pixel[channel][sample] = ((float) (sample * rescale) - m) / s;
            }
        }
    }

    /** How many patches an image of this size has: surplus pixels at the right and bottom are not used. */
    public static int count(int width, int height, int patchSize) {
        return (width / patchSize) * (height / patchSize);
    }

    /**
     * Writes the patches row by row. Within a patch the order is that of a convolution weight [out, 3, patchSize,
     * patchSize]: channel, y, x.
     *
     * @param out [count, 3 * patchSize * patchSize] F32, little-endian, of any alignment
     * @throws IllegalArgumentException if the image is smaller than a patch or out is not of that size
     */
    public void write(RgbImage image, int patchSize, MemorySegment out) {
        if (patchSize < 1 || patchSize > Math.min(image.width(), image.height())) {
            throw new IllegalArgumentException(
                    "patches of " + patchSize + " from an image of " + image.width() + " x " + image.height());
        }
        int across = image.width() / patchSize;
        int down = image.height() / patchSize;
        requireSize(out, 3L * across * down * patchSize * patchSize);
        // By an array, as no compiler has seen this code when a first image comes: an interpreted access to a segment
        // takes some hundred nanoseconds.
        float[] patch = new float[3 * patchSize * patchSize];
        long at = 0;
        for (int row = 0; row < down; row++) {
            for (int column = 0; column < across; column++) {
                int place = 0;
                for (int channel = 0; channel < 3; channel++) {
                    for (int y = 0; y < patchSize; y++) {
                        for (int x = 0; x < patchSize; x++) {
                            int sample = image.sample(column * patchSize + x, row * patchSize + y, channel);
                            patch[place++] = pixel[channel][sample];
                        }
                    }
                }
                MemorySegment.copy(patch, 0, out, FLOAT, at, patch.length);
                at += (long) Float.BYTES * patch.length;
            }
        }
    }

    /**
     * Writes the pixels in the order in which transformers has its pixel_values.
     *
     * @param out [3, height, width] F32, little-endian, of any alignment
     * @throws IllegalArgumentException if out is not of that size
     */
    public void writePixels(RgbImage image, MemorySegment out) {
        requireSize(out, 3L * image.width() * image.height());
        long at = 0;
        for (int channel = 0; channel < 3; channel++) {
            for (int y = 0; y < image.height(); y++) {
                for (int x = 0; x < image.width(); x++) {
                    out.set(FLOAT, at, pixel[channel][image.sample(x, y, channel)]);
                    at += Float.BYTES;
                }
            }
        }
    }

    private static void requireSize(MemorySegment out, long floats) {
        if (out.byteSize() != floats * Float.BYTES) {
            throw new IllegalArgumentException(out.byteSize() + " bytes for " + floats + " F32 values");
        }
    }
}
