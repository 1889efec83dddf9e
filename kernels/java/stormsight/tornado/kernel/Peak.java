package stormsight.tornado.kernel;

import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;

/** Kernels that reach what a device does at most: none is an operation of a model. */
public final class Peak {
    /**
     * Floating-point operations of one round of {@link #multiplyAdd}, a multiplication and an addition in each of its
     * sums.
     */
    public static final int ROUND_OPERATIONS = 2 * 8;

    private Peak() {}

    /**
     * {@code out[item] = sum of x[item * itemStride + i * stride]} over i below {@code count}. An item reads every so
     * many elements on a GPU, whose neighbouring items are to read neighbours, and elements that follow each other on a
     * CPU.
     */
    public static void read(KernelContext context, FloatArray x, FloatArray out, int count, int itemStride,
            int stride) {
        int item = context.globalIdx;
        int first = item * itemStride;
        float a = 0;
        float b = 0;
        float c = 0;
        float d = 0;
        for (int i = 0; i < count; i += 4) {
            a += x.get(first + i * stride);
            b += x.get(first + (i + 1) * stride);
            c += x.get(first + (i + 2) * stride);
            d += x.get(first + (i + 3) * stride);
        }
        out.set(item, a + b + c + d);
    }

    /** {@code out[item] = x[item]}. */
    public static void copy(KernelContext context, FloatArray x, FloatArray out) {
        int item = context.globalIdx;
        out.set(item, x.get(item));
    }

    /**
     * Eight sums of an item that do not wait for each other: {@code a = a * factor + addend}, as often as
     * {@code rounds} says. A kernel has the name of its method, which must be none of OpenCL's functions.
     */
    public static void multiplyAdd(KernelContext context, FloatArray factors, FloatArray out, int rounds) {
        int item = context.globalIdx;
        float factor = factors.get(0);
        float addend = factors.get(1);
        float a = item;
        float b = a + 1;
        float c = a + 2;
        float d = a + 3;
        float e = a + 4;
        float f = a + 5;
        float g = a + 6;
        float h = a + 7;
        for (int i = 0; i < rounds; i++) {
            a = a * factor + addend;
            b = b * factor + addend;
            c = c * factor + addend;
            d = d * factor + addend;
            e = e * factor + addend;
            f = f * factor + addend;
            g = g * factor + addend;
            h = h * factor + addend;
        }
        out.set(item, a + b + c + d + e + f + g + h);
    }
}
