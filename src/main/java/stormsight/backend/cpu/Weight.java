package stormsight.backend.cpu;

import stormsight.program.DType;
import stormsight.program.Shape;

/**
 * A matrix of weights where it lies in memory.
 *
 * @param address of element [0, 0]
 * @param scales address of the first scale, 0 if there are none
 */
record Weight(DType dtype, long address, long scales, int scalesPerRow, int rows, int columns) {
    /** @throws IllegalArgumentException if the type is none of weights */
    static Weight of(DType dtype, Shape shape, long address) {
        if (!dtype.isWeight()) {
            throw new IllegalArgumentException("a weight of type " + dtype + shape);
        }
        long scales = dtype.isBlocked() ? address + dtype.scalesOffset(shape) : 0;
        return new Weight(
                dtype, address, scales, Math.toIntExact(dtype.scalesPerRow(shape)), Math.toIntExact(shape.rows()),
                shape.columns());
    }

    long rowBytes() {
        return dtype.elementBytes((long) columns);
    }

    /** Bytes of the scales of a row. */
    long scaleBytes() {
        return (long) scalesPerRow * dtype.scaleType().elementBytes();
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
                long rowScales = scales + row * scaleBytes();
                int block = dtype.block();
                for (int i = 0; i < columns; i++) {
                    float blockScale = Memory.f32(rowScales + i / block * 4L);
                    Memory.f32(to + 4L * i, scale * (blockScale * Memory.i8(from + i)));
                }
            }
            case Q4 -> {
                long rowScales = scales + row * scaleBytes();
                int half = DType.Q4_BLOCK / 2;
                for (int i = 0; i < columns; i++) {
                    int block = i / DType.Q4_BLOCK;
                    float blockScale = Float.intBitsToFloat(Memory.i16(rowScales + 2L * block) << 16);
                    int pair = Memory.i8(from + (long) block * half + i % half);
                    int level = i % DType.Q4_BLOCK < half ? pair << 28 >> 28 : pair >> 4;
                    Memory.f32(to + 4L * i, scale * (blockScale * level));
                }
            }
            case I32, U8 -> throw new IllegalStateException("weights of type " + dtype);
        }
    }
}
