package stormsight.tornado.kernel;

import stormsight.program.DType;
import stormsight.program.Tensor;
import stormsight.tornado.Tasks;
import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.arrays.ByteArray;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.ShortArray;

/**
 * The arrays in which a kernel finds a weight matrix of any type, and the leaf that reads one element of them. A kernel takes all four
 * and the type as a constant: TornadoVM compiles each task by itself, so only the branch of that type is left in the generated code, and the
 * arrays of other types are never read.
 *
 * @param type {@link #F32}, {@link #BF16}, {@link #F16} or {@link #Q8}
 * @param f32 elements of {@link #F32}
 * @param half bits of {@link #BF16} and {@link #F16}
 * @param q8 eight-bit integers of {@link #Q8}
 * @param factors decode table of {@link #BF16} and {@link #F16}, scales of {@link #Q8}
 * @param stride elements from one layer to the next, 0 if the weight is no stack
 * @param factorStride scales from one layer to the next, 0 for other types
 */
record Weight(int type, FloatArray f32, ShortArray half, ByteArray q8, FloatArray factors, int stride, int factorStride) {
    static final int F32 = 0;
    static final int BF16 = 1;
    static final int F16 = 2;
    static final int Q8 = 3;

    static Weight of(Tensor tensor, Tasks tasks) {
        int stride = tasks.stride(tensor);
        FloatArray none = tasks.none();
        return switch (tensor.dtype()) {
            case F32 -> new Weight(F32, tasks.floats(tensor), tasks.noShorts(), tasks.noBytes(), none, stride, 0);
            case BF16 -> new Weight(BF16, none, tasks.shorts(tensor), tasks.noBytes(), tasks.bf16Table(), stride, 0);
            case F16 -> new Weight(F16, none, tasks.shorts(tensor), tasks.noBytes(), tasks.f16Table(), stride, 0);
            case Q8 -> new Weight(Q8, none, tasks.noShorts(), tasks.bytes(tensor), tasks.scales(tensor), stride,
                    tasks.scaleStride(tensor));
            case I32, U8 -> throw new IllegalArgumentException(tensor + " is not of a weight's type");
        };
    }

    /** The type in the name of a kernel: {@code bf16}. */
    static String suffix(DType type) {
        return switch (type) {
            case F32 -> "F32";
            case F16 -> "F16";
            case BF16 -> "Bf16";
            case Q8 -> "Q8";
            case I32, U8 -> throw new IllegalArgumentException(type + " is no type of a weight");
        };
    }

    /**
     * Element {@code index}; for {@link #Q8} without its scale. Kernels multiply by the scale once for all elements that share it, where they can.
     */
    static float unscaled(int type, FloatArray f32, ShortArray half, ByteArray q8, FloatArray factors, int index) {
        if (type == F32) {
            return f32.get(index);
        } else if (type == BF16) {
            return bf16(half.get(index), factors);
        } else if (type == F16) {
            return f16(half.get(index), factors);
        } else {
            return q8.get(index);
        }
    }

    /** Element {@code index}, whose scale, if it has one, is the factor {@code scaleIndex}. */
    static float at(int type, FloatArray f32, ShortArray half, ByteArray q8, FloatArray factors, int index, int scaleIndex) {
        float value = unscaled(type, f32, half, q8, factors, index);
        return type == Q8 ? value * factors.get(scaleIndex) : value;
    }

    /** Subnormal numbers, below 1.2e-38, become 0. */
    static float bf16(int bits, FloatArray table) {
        return table.get((bits >> 7) & 0x1FF) * (128 + (bits & 0x7F));
    }

    /** Subnormal numbers are below 6.2e-5, so they count: they have no implicit bit, and the factor of the smallest normal ones. */
    static float f16(int bits, FloatArray table) {
        int normal = TornadoMath.min((bits >> 10) & 0x1F, 1);
        return table.get(((bits >> 10) & 0x3F) + 1 - normal) * ((normal << 10) + (bits & 0x3FF));
    }
}
