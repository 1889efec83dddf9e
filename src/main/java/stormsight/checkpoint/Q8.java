package stormsight.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import stormsight.program.DType;
import stormsight.program.Shape;

/**
 * Makes {@link DType#Q8} weights: {@code q = round(w / scale)}, half to even, with {@code scale = max |w| / 127} over
 * each block of a row.
 */
public final class Q8 {
    private static final int LARGEST = 127;
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private Q8() {}

    /**
     * The tensor in Q8, rows shared among the machine's cores. A block that holds a NaN or an infinity becomes NaN as a
     * whole.
     *
     * @param tensor F32, F16 or BF16, of any number of layers
     * @param arena where the result is allocated; it must allow access by other threads
     * @throws IllegalArgumentException if the type is another one
     */
    public static HostTensor quantize(HostTensor tensor, Arena arena) {
        if (tensor.dtype() != DType.F32 && tensor.dtype() != DType.F16 && tensor.dtype() != DType.BF16) {
            throw new IllegalArgumentException("cannot quantise weights of type " + tensor.dtype());
        }
        Shape shape = tensor.shape();
        List<MemorySegment> layers = new ArrayList<>();
        for (MemorySegment from : tensor.layers()) {
            MemorySegment to = arena.allocate(DType.Q8.bytes(shape), Float.BYTES);
            IntStream.range(0, Math.toIntExact(shape.rows()))
                    .parallel()
                    .forEach(row -> row(tensor.dtype(), shape, row, from, to));
            layers.add(to);
        }
        return new HostTensor(DType.Q8, shape, layers);
    }

    private static void row(DType dtype, Shape shape, int row, MemorySegment from, MemorySegment to) {
        int columns = shape.columns();
        long first = (long) row * columns;
        long scales = DType.q8ScalesOffset(shape) + row * DType.scalesPerRow(shape) * Float.BYTES;
        for (int start = 0; start < columns; start += DType.Q8_BLOCK) {
            int end = Math.min(start + DType.Q8_BLOCK, columns);
            float largest = 0;
            for (int c = start; c < end; c++) {
                largest = Math.max(largest, Math.abs(value(dtype, from, first + c)));
            }
            float scale = largest / LARGEST;
            to.set(
                    F32,
                    scales + (long) start / DType.Q8_BLOCK * Float.BYTES,
                    Float.isInfinite(scale) ? Float.NaN : scale);
            for (int c = start; c < end; c++) {
                // A scale of 0 divides to NaN, which becomes 0; one that is subnormal may round up past the largest.
                double q = Math.rint(value(dtype, from, first + c) / (double) scale);
                to.set(ValueLayout.JAVA_BYTE, first + c, (byte) Math.clamp((long) q, -LARGEST, LARGEST));
            }
        }
    }

    private static float value(DType dtype, MemorySegment from, long index) {
        return switch (dtype) {
            case F32 -> from.get(F32, index * Float.BYTES);
            case F16 -> Float.float16ToFloat(from.get(I16, index * Short.BYTES));
            case BF16 -> Float.intBitsToFloat(from.get(I16, index * Short.BYTES) << 16);
            case Q8, I32, U8 -> throw new IllegalStateException("weights of type " + dtype);
        };
    }
}
