package stormsight.image;

import java.util.Arrays;

/** Resizes images as the references of the models do. */
public final class Resize {
    /** Fractional bits of Pillow's weights: an int less 8 bits of sample and 2 bits for overshoot. */
    private static final int PRECISION_BITS = 32 - 8 - 2;

    private Resize() {}

    /**
     * Resizes to {@code width x height} without regard to the aspect ratio.
     *
     * @return the image itself if it has that size already
     * @throws IllegalArgumentException if a side is not positive, or the result or what lies between the passes takes
     *     2^31 bytes
     */
    public static RgbImage resize(RgbImage image, int width, int height, Resampling resampling) {
        if (width < 1 || height < 1) {
            throw new IllegalArgumentException("a resize to " + width + " x " + height);
        }
        if ((long) width * Math.max(height, image.height()) > (Integer.MAX_VALUE - 8) / 3) {
            throw new IllegalArgumentException("a resize from " + image.width() + " x " + image.height() + " to "
                    + width + " x " + height + " is too large");
        }
        if (width == image.width() && height == image.height()) {
            return image;
        }
        return switch (resampling) {
            case BICUBIC -> pillow(image, width, height, 2, Resize::cubic);
            case BILINEAR -> pillow(image, width, height, 1, Resize::triangle);
            case BILINEAR_BIG_VISION -> tensorFlow(image, width, height);
        };
    }

    /**
     * Resizes so that the shorter side becomes size; the longer one becomes {@code (int) (size * longer / shorter)}, as
     * CLIP's preprocessing has it.
     *
     * @throws IllegalArgumentException as {@link #resize}
     */
    public static RgbImage shorterSide(RgbImage image, int size, Resampling resampling) {
        long longer = (long) size * Math.max(image.width(), image.height()) / Math.min(image.width(), image.height());
        if (longer > Integer.MAX_VALUE) {
            throw new IllegalArgumentException("a side of " + longer + " pixels");
        }
        return image.width() <= image.height()
                ? resize(image, size, (int) longer, resampling)
                : resize(image, (int) longer, size, resampling);
    }

    private interface Filter {
        double at(double x);
    }

    private static double cubic(double x) {
        double a = -0.5;
        double d = Math.abs(x);
        if (d < 1) {
            return ((a + 2.0) * d - (a + 3.0)) * d * d + 1;
        }
        return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
    }

    private static double triangle(double x) {
        double d = Math.abs(x);
        return d < 1 ? 1 - d : 0;
    }

    /**
     * The weights of one output sample after another, as Pillow's Resample.c computes them: in double precision,
     * normalised, rounded to fixed point.
     */
    private static final class PillowWeights {
        private final int inputs;
        private final double scale;
        private final double filterScale;
        private final double support;
        private final Filter filter;
        private final double[] exact;
        final int[] weights;
        int first;
        int count;

        PillowWeights(int inputs, int outputs, double radius, Filter filter) {
            this.inputs = inputs;
            this.filter = filter;
            scale = (double) inputs / outputs;
            filterScale = Math.max(scale, 1);
            support = radius * filterScale;
            exact = new double[(int) Math.min((long) Math.ceil(support) * 2 + 1, inputs)];
            weights = new int[exact.length];
        }

        void moveTo(int output) {
            double centre = (output + 0.5) * scale;
            double inverse = 1 / filterScale;
            first = Math.max((int) (centre - support + 0.5), 0);
            count = Math.min((int) (centre + support + 0.5), inputs) - first;
            double sum = 0;
            for (int i = 0; i < count; i++) {
                exact[i] = filter.at((i + first - centre + 0.5) * inverse);
                sum += exact[i];
            }
            for (int i = 0; i < count; i++) {
                double weight = sum != 0 ? exact[i] / sum : exact[i];
                weights[i] = (int) ((weight < 0 ? -0.5 : 0.5) + weight * (1 << PRECISION_BITS));
            }
        }
    }

    /**
     * Rows first; since Pillow 12.2 an image over 100 times as tall as wide that becomes shorter is resized along
     * columns first.
     */
    private static RgbImage pillow(RgbImage image, int width, int height, double radius, Filter filter) {
        if (image.height() > 100L * image.width() && height < image.height()) {
            RgbImage low = pillowColumns(image, height, radius, filter);
            return low.width() == width ? low : pillowRows(low, width, radius, filter);
        }
        RgbImage wide = image.width() == width ? image : pillowRows(image, width, radius, filter);
        return image.height() == height ? wide : pillowColumns(wide, height, radius, filter);
    }

    private static RgbImage pillowRows(RgbImage image, int width, double radius, Filter filter) {
        RgbImage out = RgbImage.black(width, image.height());
        byte[] from = image.rgb();
        byte[] to = out.rgb();
        PillowWeights weights = new PillowWeights(image.width(), width, radius, filter);
        int half = 1 << (PRECISION_BITS - 1);
        for (int x = 0; x < width; x++) {
            weights.moveTo(x);
            int[] w = weights.weights;
            for (int y = 0; y < image.height(); y++) {
                int red = half;
                int green = half;
                int blue = half;
                int at = 3 * (y * image.width() + weights.first);
                for (int i = 0; i < weights.count; i++, at += 3) {
                    red += (from[at] & 0xff) * w[i];
                    green += (from[at + 1] & 0xff) * w[i];
                    blue += (from[at + 2] & 0xff) * w[i];
                }
                int target = 3 * (y * width + x);
                to[target] = clip(red);
                to[target + 1] = clip(green);
                to[target + 2] = clip(blue);
            }
        }
        return out;
    }

    private static RgbImage pillowColumns(RgbImage image, int height, double radius, Filter filter) {
        RgbImage out = RgbImage.black(image.width(), height);
        byte[] from = image.rgb();
        byte[] to = out.rgb();
        int columns = 3 * image.width();
        int[] sums = new int[columns];
        PillowWeights weights = new PillowWeights(image.height(), height, radius, filter);
        for (int y = 0; y < height; y++) {
            weights.moveTo(y);
            Arrays.fill(sums, 1 << (PRECISION_BITS - 1));
            for (int i = 0; i < weights.count; i++) {
                int weight = weights.weights[i];
                int at = (weights.first + i) * columns;
                for (int x = 0; x < columns; x++) {
                    sums[x] += (from[at + x] & 0xff) * weight;
                }
            }
            for (int x = 0; x < columns; x++) {
                to[y * columns + x] = clip(sums[x]);
            }
        }
        return out;
    }

    private static byte clip(int fixed) {
        return (byte) Math.clamp(fixed >> PRECISION_BITS, 0, 255);
    }

    /**
     * The weights of one output sample after another, as TensorFlow's ScaleAndTranslate computes them, in F32
     * throughout.
     */
    private static final class TensorFlowWeights {
        private final int inputs;
        private final float inverseScale;
        private final float kernelScale;
        final float[] weights;
        int first;
        int count;

        TensorFlowWeights(int inputs, int outputs) {
            this.inputs = inputs;
            float scale = (float) outputs / inputs;
            inverseScale = (float) (1.0 / scale);
            kernelScale = Math.max(inverseScale, 1f);
            weights = new float[(int) Math.min(2 * (long) Math.ceil(kernelScale) + 1, inputs)];
        }

        void moveTo(int output) {
            float sample = (output + 0.5f) * inverseScale;
            first = Math.clamp((long) Math.ceil(sample - kernelScale - 0.5f), 0, inputs - 1);
            count = Math.clamp((long) Math.floor(sample + kernelScale - 0.5f), 0, inputs - 1) + 1 - first;
            float inverseKernel = 1f / kernelScale;
            float sum = 0;
            for (int i = 0; i < count; i++) {
                float distance = Math.abs((first + i + 0.5f - sample) * inverseKernel);
                weights[i] = distance < 1 ? 1 - distance : 0;
                sum += weights[i];
            }
            float inverseSum = 1f / sum;
            for (int i = 0; i < count; i++) {
                weights[i] *= inverseSum;
            }
        }
    }

    private static RgbImage tensorFlow(RgbImage image, int width, int height) {
        RgbImage out = RgbImage.black(width, height);
        byte[] from = image.rgb();
        int columns = 3 * image.width();
        float[] row = new float[columns];
        TensorFlowWeights vertical = new TensorFlowWeights(image.height(), height);
        TensorFlowWeights horizontal = new TensorFlowWeights(image.width(), width);
        for (int y = 0; y < height; y++) {
            vertical.moveTo(y);
            Arrays.fill(row, 0);
            for (int i = 0; i < vertical.count; i++) {
                float weight = vertical.weights[i];
                int at = (vertical.first + i) * columns;
                for (int x = 0; x < columns; x++) {
                    row[x] += weight * (from[at + x] & 0xff);
                }
            }
            for (int x = 0; x < width; x++) {
                horizontal.moveTo(x);
                for (int channel = 0; channel < 3; channel++) {
                    float sum = 0;
                    int at = 3 * horizontal.first + channel;
                    for (int i = 0; i < horizontal.count; i++, at += 3) {
                        sum += horizontal.weights[i] * row[at];
                    }
                    out.rgb()[3 * (y * width + x) + channel] = (byte) Math.clamp((int) sum, 0, 255);
                }
            }
        }
        return out;
    }
}
