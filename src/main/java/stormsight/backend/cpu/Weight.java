package stormsight.backend.cpu;

import stormsight.program.DType;
import stormsight.program.Shape;

/**
 * A matrix of weights where it lies in memory.
 *
 * @param address of element [0, 0]
 * @param scales of the first scale of a Q8 matrix, else 0
 */
record Weight(DType dtype, long address, long scales, int rows, int columns) {
    /** @throws IllegalArgumentException if the type is none of weights */
    static Weight of(DType dtype, Shape shape, long address) {
        if (dtype == DType.I32 || dtype == DType.U8) {
            throw new IllegalArgumentException("a weight of type " + dtype + shape);
        }
        long scales = dtype == DType.Q8 ? address + DType.q8ScalesOffset(shape) : 0;
        return new Weight(dtype, address, scales, Math.toIntExact(shape.rows()), shape.columns());
    }

    long rowBytes() {
        return (long) columns * dtype.elementBytes();
    }

    int scalesPerRow() {
        return (columns + DType.Q8_BLOCK - 1) / DType.Q8_BLOCK;
    }

    /** Writes {@code scale * row} as F32 to an address. */
    void decode(int row, float scale, long to) {
        long from = address + row * rowBytes();
        switch (dtype) {
            case F32 -> {
                for (int i = 0; i < columns; i++) {
                    Memory.f32(to + 4L * i, scale * Memory.f32(from + 4L * i));
                }
            }
            case F16 -> {
                for (int i = 0; i < columns; i++) {
                    Memory.f32(to + 4L * i, scale * Float.float16ToFloat(Memory.i16(from + 2L * i)));
                }
            }
            case BF16 -> {
                for (int i = 0; i < columns; i++) {
                    Memory.f32(to + 4L * i, scale * Float.intBitsToFloat(Memory.i16(from + 2L * i) << 16));
                }
            }
            case Q8 -> {
                long rowScales = scales + (long) row * scalesPerRow() * Float.BYTES;
                for (int i = 0; i < columns; i++) {
                    float blockScale = Memory.f32(rowScales + i / DType.Q8_BLOCK * 4L);
                    Memory.f32(to + 4L * i, scale * (blockScale * Memory.i8(from + i)));
                }
            }
            case I32, U8 -> throw new IllegalStateException("weights of type " + dtype);
        }
    }
}
