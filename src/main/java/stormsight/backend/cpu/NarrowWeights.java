package stormsight.backend.cpu;

import static jdk.incubator.vector.VectorOperators.I2F;
import static stormsight.backend.cpu.Memory.ADDRESSES;
import static stormsight.backend.cpu.Memory.ALL;

import java.nio.ByteOrder;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;
import stormsight.program.DType;

/**
 * Rows of weights as BF16, in the order of their columns: those of blocks are multiplied with their scales and rounded
 * as {@link Narrow} rounds x. F32 ones stay as they are. For vectors of 256 bits or more.
 */
final class NarrowWeights {
    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
    private static final int LANES = F.length();
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

    /** As many shorts as a float vector has lanes. */
    private static final VectorSpecies<Short> S =
            VectorSpecies.of(short.class, VectorShape.forBitSize(F.vectorBitSize() / 2));

    private NarrowWeights() {}

    /** Bytes of a row that was written. */
    static long rowBytes(DType dtype, int columns) {
        return (long) columns * (Narrow.narrows(dtype) ? DType.BF16 : DType.F32).elementBytes();
    }

    /** Writes count rows from the first one on, dense. */
    static void rows(Weight w, int first, int count, long to) {
        for (int row = first; row < first + count; row++) {
            long from = w.address() + row * w.rowBytes();
            long scales = w.scales() + row * w.scaleBytes();
            long at = to + (row - first) * rowBytes(w.dtype(), w.columns());
            switch (w.dtype()) {
                case F32, BF16 -> Memory.copy(from, at, w.rowBytes());
                case Q8 -> q8(from, scales, w.columns(), at);
                case Q4 -> q4(from, scales, w.columns(), at);
                case F16, I32, U8 -> throw new IllegalStateException("weights of type " + w.dtype());
            }
        }
    }

    private static void q8(long from, long scales, int columns, long to) {
        int whole = columns / DType.Q8_BLOCK * DType.Q8_BLOCK;
        for (int s = 0; s < whole; s += DType.Q8_BLOCK) {
            float scale = number(Memory.f32(scales + 4L * (s / DType.Q8_BLOCK)));
            for (int i = s; i < s + DType.Q8_BLOCK; i += LANES) {
                IntVector bits = ((FloatVector) ByteVector
                        .fromMemorySegment(MatMulVectors.B, ALL, from + i & ADDRESSES, LE)
                        .convertShape(VectorOperators.B2F, F, 0)).mul(scale).reinterpretAsInts();
                bits.add(bits.lanewise(VectorOperators.LSHR, Narrow.CUT).and(1)).add(Narrow.HALF)
                        .lanewise(VectorOperators.LSHR, Narrow.CUT).convertShape(VectorOperators.I2S, S, 0)
                        .reinterpretAsShorts().intoMemorySegment(ALL, to + 2L * i & ADDRESSES, LE);
            }
        }
        for (int i = whole; i < columns; i++) {
            float weight = number(Memory.f32(scales + 4L * (i / DType.Q8_BLOCK))) * Memory.i8(from + i);
            Memory.i16(to + 2L * i, Narrow.bf16(Float.floatToRawIntBits(weight)));
        }
    }

    /** Four bits of each byte are a weight of a block's first half, the next four one of the second half. */
    private static void q4(long from, long scales, int columns, long to) {
        int half = DType.Q4_BLOCK / 2;
        for (int s = 0; s < columns; s += DType.Q4_BLOCK) {
            float scale = number(Float.intBitsToFloat(Memory.i16(scales + 2L * (s / DType.Q4_BLOCK)) << 16));
            for (int i = 0; i < half; i += LANES) {
                IntVector pairs = (IntVector) ByteVector.fromMemorySegment(MatVec.PAIRS, ALL,
                        from + s / 2 + i & ADDRESSES, LE).convertShape(VectorOperators.B2I, I, 0);
                IntVector bits = ((FloatVector) pairs.lanewise(VectorOperators.LSHL, 28)
                        .lanewise(VectorOperators.ASHR, 28).convertShape(I2F, F, 0)).mul(scale)
                        .reinterpretAsInts();
                bits.add(bits.lanewise(VectorOperators.LSHR, Narrow.CUT).and(1)).add(Narrow.HALF)
                        .lanewise(VectorOperators.LSHR, Narrow.CUT).convertShape(VectorOperators.I2S, S, 0)
                        .reinterpretAsShorts().intoMemorySegment(ALL, to + 2L * (s + i) & ADDRESSES, LE);
                bits = ((FloatVector) pairs.lanewise(VectorOperators.ASHR, 4).convertShape(I2F, F, 0))
                        .mul(scale).reinterpretAsInts();
                bits.add(bits.lanewise(VectorOperators.LSHR, Narrow.CUT).and(1)).add(Narrow.HALF)
                        .lanewise(VectorOperators.LSHR, Narrow.CUT).convertShape(VectorOperators.I2S, S, 0)
                        .reinterpretAsShorts().intoMemorySegment(ALL, to + 2L * (s + half + i) & ADDRESSES, LE);
            }
        }
    }

    /** A NaN that rounding keeps one. */
    private static float number(float scale) {
        return Float.intBitsToFloat(Float.floatToIntBits(scale));
    }
}
