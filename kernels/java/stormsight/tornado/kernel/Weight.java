package stormsight.tornado.kernel;

import stormsight.program.DType;
import stormsight.program.Tensor;
import stormsight.tornado.Tasks;
import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.BFloat16;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.LongArray;

/**
 * The arrays in which a kernel finds a weight matrix of any type, and the leaves that read elements of them. A kernel
 * takes all three and the type as a constant: TornadoVM compiles each task by itself, so only the branch of that type
 * is left in the generated code, and the arrays of other types are never read.
 *
 * <p>Elements of less than 32 bits are packed into words of 64, the first one in the lowest bits, those of Q4 in the
 * order that {@link stormsight.program.DType#Q4} says: TornadoVM has no wider load. An element is found by its index in
 * the whole array, so rows may begin inside of a word.
 *
 * @param type {@link #F32}, {@link #BF16}, {@link #F16}, {@link #Q8}, {@link #Q4}, or how a device decodes two of them
 *     better
 * @param f32 elements of {@link #F32}
 * @param words elements of all other types
 * @param factors decode table of {@link #BF16} and {@link #F16}, scales of {@link #Q8} and {@link #Q4}
 * @param stride elements from one layer to the next, 0 if the weight is no stack
 * @param factorStride scales from one layer to the next, 0 for other types
 */
record Weight(int type, FloatArray f32, LongArray words, FloatArray factors, int stride, int factorStride) {
    static final int F32 = 0;
    static final int BF16 = 1;
    static final int F16 = 2;
    static final int Q8 = 3;
    /** {@link #BF16} whose bits are turned into those of a float. */
    static final int BF16_SHIFTED = 4;
    /** {@link #F16} whose power of two is made of bits. */
    static final int F16_SHIFTED = 5;
    static final int Q4 = 6;

    static Weight of(Tensor tensor, Tasks tasks) {
        int stride = tasks.stride(tensor);
        FloatArray none = tasks.none();
        boolean shifts = tasks.language().equals("cuda");
        return switch (tensor.dtype()) {
            case F32 -> new Weight(F32, tasks.floats(tensor), tasks.noLongs(), none, stride, 0);
            case BF16 -> new Weight(shifts ? BF16_SHIFTED : BF16, none, tasks.words(tensor),
                    shifts ? none : tasks.bf16Table(), stride, 0);
            case F16 -> new Weight(shifts ? F16_SHIFTED : F16, none, tasks.words(tensor),
                    shifts ? none : tasks.f16Table(), stride, 0);
            case Q8 -> new Weight(Q8, none, tasks.words(tensor), tasks.scales(tensor), stride,
                    tasks.scaleStride(tensor));
            case Q4 -> new Weight(Q4, none, tasks.words(tensor), tasks.scales(tensor), stride,
                    tasks.scaleStride(tensor));
            case I32, U8 -> throw new IllegalArgumentException(tensor + " is not of a weight's type");
        };
    }

    /** The type in the name of a kernel: {@code Bf16}. */
    static String suffix(DType type) {
        return type.name().charAt(0) + type.label().substring(1);
    }

    /** Whether rows of that many columns are words of four elements. */
    static boolean fours(int type, int columns) {
        return foursInWords(type, columns) && !blocked(type);
    }

    /** Whether four elements whose index is a multiple of four lie in one word, and rows begin at such an index. */
    static boolean foursInWords(int type, int columns) {
        return type != F32 && columns % 4 == 0;
    }

    /** Whether elements have scales, and rows of that many columns are whole words. */
    static boolean levels(int type, int columns) {
        return type == Q8 && columns % 8 == 0 || type == Q4;
    }

    private static boolean blocked(int type) {
        return type == Q8 || type == Q4;
    }

    /** Elements of a word, of a type with scales. */
    static int perWord(int type) {
        return type == Q4 ? 16 : 8;
    }

    /**
     * The lowest bit, in its word, of four elements that are read together: the j-th four of a row, of a type with
     * scales.
     */
    static int shift(int type, int j) {
        return type == Q4 ? (j & 3) << 4 : (j & 1) << 5;
    }

    /**
     * The column of the e-th of four elements that are read together. Those of {@link #Q4} are of both halves of a
     * block.
     */
    static int column(int type, int j, int e) {
        return type == Q4 ? (j / 8) * DType.Q4_BLOCK + (j & 7) * 2 + (e & 1) + (e >> 1) * 16 : 4 * j + e;
    }

    /** Which four elements that are read together hold a column: j of {@link #column}. */
    static int four(int type, int column) {
        return type == Q4 ? column / DType.Q4_BLOCK * 8 + (column & 15) / 2 : column / 4;
    }

    /** The place of a column among them: e of {@link #column}. */
    static int element(int type, int column) {
        return type == Q4 ? (column & 16) / 8 + (column & 1) : column & 3;
    }

    /** The e-th of four elements that are read together, in the lowest bits, without its scale. */
    static float level(int type, int bits, int e) {
        return type == Q4 ? q4(bits >> ((e & 1) * 8 + (e >> 1) * 4)) : q8(bits >> (8 * e));
    }

    /**
     * Element {@code index}; without its scale, if it has one. Kernels multiply by the scale once for all elements
     * that share it, where they can.
     */
    static float unscaled(int type, FloatArray f32, LongArray words, FloatArray factors, int index) {
        return type == F32 ? f32.get(index) : packed(type, words, factors, index);
    }

    /** As {@link #unscaled}, of a type that is packed. */
    static float packed(int type, LongArray words, FloatArray factors, int index) {
        long word = word(type, words, index);
        return times(type, word, blocked(type) ? 1 : factor(type, word, factors, index, 0), index);
    }

    /** The word that holds an element of a type that is packed. */
    static long word(int type, LongArray words, int index) {
        if (type == Q8) {
            return words.get(index >> 3);
        } else if (type == Q4) {
            // Of the two words of a block, the first holds elements 0 to 7 and 16 to 23.
            return words.get(((index >> 5) << 1) + ((index >> 3) & 1));
        } else {
            return words.get(index >> 2);
        }
    }

    /** An element's bits, in the lowest ones, of its {@link #word}. */
    private static int bits(int type, long word, int index) {
        if (type == Q8) {
            return (int) (word >> ((index & 7) << 3));
        } else if (type == Q4) {
            return (int) (word >> (((index & 7) << 3) + ((index >> 2) & 4)));
        } else {
            return (int) (word >> ((index & 3) << 4));
        }
    }

    /**
     * What {@link #times} multiplies an element by, of a type that is packed: its scale, or that of the decode table.
     * Kernels that read many elements read the factors of all before they use one.
     */
    static float factor(int type, long word, FloatArray factors, int index, int scaleIndex) {
        if (blocked(type)) {
            return factors.get(scaleIndex);
        } else if (type == BF16) {
            return factors.get(bf16Factor(bits(type, word, index)));
        } else if (type == F16) {
            return factors.get(f16Factor(bits(type, word, index)));
        } else {
            return 1;
        }
    }

    /** An element of its {@link #word}, times its {@link #factor}. */
    static float times(int type, long word, float factor, int index) {
        int bits = bits(type, word, index);
        if (type == Q8) {
            return q8(bits) * factor;
        } else if (type == Q4) {
            return q4(bits) * factor;
        } else if (type == BF16) {
            return factor * bf16Fraction(bits);
        } else if (type == F16) {
            return factor * f16Fraction(bits);
        } else if (type == BF16_SHIFTED) {
            return BFloat16.bf16ToFloat((short) bits);
        } else {
            return f16Shifted(bits);
        }
    }

    /** Elements of a row that share a scale; as many as an int can count where there are none. */
    static int block(int type) {
        return type == Q8 ? DType.Q8_BLOCK : type == Q4 ? DType.Q4_BLOCK : Integer.MAX_VALUE;
    }

    /** Scales of a row of so many columns. */
    static int scalesPerRow(int type, int columns) {
        return blocked(type) ? (columns + block(type) - 1) / block(type) : 0;
    }

    /** An element times its scale, the factor {@code scaleIndex}, if it has one. */
    static float scaled(int type, float value, FloatArray factors, int scaleIndex) {
        return blocked(type) ? value * factors.get(scaleIndex) : value;
    }

    /** Element {@code index}, whose scale, if it has one, is the factor {@code scaleIndex}. */
    static float at(int type, FloatArray f32, LongArray words, FloatArray factors, int index, int scaleIndex) {
        return scaled(type, unscaled(type, f32, words, factors, index), factors, scaleIndex);
    }

    /** The element in the lowest 8 bits, without its scale. */
    static float q8(int bits) {
        return (bits << 24) >> 24;
    }

    /** The element in the lowest 4 bits, without its scale. */
    static float q4(int bits) {
        return (bits << 28) >> 28;
    }

    /** The element in the lowest 16 bits. */
    static float half(int type, int bits, FloatArray factors) {
        if (type == BF16) {
            return bf16(bits, factors);
        } else if (type == F16) {
            return f16(bits, factors);
        } else if (type == BF16_SHIFTED) {
            return BFloat16.bf16ToFloat((short) bits);
        } else {
            return f16Shifted(bits);
        }
    }

    /** Subnormal numbers, below 1.2e-38, become 0. */
    static float bf16(int bits, FloatArray table) {
        return table.get(bf16Factor(bits)) * bf16Fraction(bits);
    }

    /** The place of its power of two in the table. */
    private static int bf16Factor(int bits) {
        return (bits >> 7) & 0x1FF;
    }

    private static int bf16Fraction(int bits) {
        return 128 + (bits & 0x7F);
    }

    /**
     * Subnormal numbers are below 6.2e-5, so they count: they have no implicit bit, and the factor of the smallest
     * normal ones.
     */
    static float f16(int bits, FloatArray table) {
        return table.get(f16Factor(bits)) * f16Fraction(bits);
    }

    /** The place of its power of two in the table. */
    private static int f16Factor(int bits) {
        return ((bits >> 10) & 0x3F) + 1 - f16Normal(bits);
    }

    private static int f16Fraction(int bits) {
        return (f16Normal(bits) << 10) + (bits & 0x3FF);
    }

    private static int f16Normal(int bits) {
        return TornadoMath.min((bits >> 10) & 0x1F, 1);
    }

    /** As {@link #f16}, with sign and power of two, {@code 2^(e - 25)} or infinity, as a bfloat16. */
    static float f16Shifted(int bits) {
        int e = (bits >> 10) & 0x1F;
        int normal = TornadoMath.min(e, 1);
        int exponent = e + 1 - normal + 102 + e / 31 * 122;
        return BFloat16.bf16ToFloat((short) ((bits & 0x8000) | (exponent << 7))) * ((normal << 10) + (bits & 0x3FF));
    }
}
