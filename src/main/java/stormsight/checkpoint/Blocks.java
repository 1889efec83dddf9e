package stormsight.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import stormsight.program.DType;
import stormsight.program.Shape;

/**
 * Weights of a {@link DType#isBlocked blocked} type: {@code q = round(w / scale)}, half to even, with
 * {@code scale = max |w| / 127} over each block of a row. A file holds them as two tensors: NAME, the integers, and
 * NAME.scales.
 */
public final class Blocks {
    private static final int LARGEST = 127;
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /** Ends the name of the scales. */
    private static final String SCALES = ".scales";

    private Blocks() {}

    /** The name of the scales beside a matrix. */
    static String scales(String matrix) {
        return matrix + SCALES;
    }

    /** The name of the matrix whose scales have this name. */
    static String matrix(String scales) {
        return scales.substring(0, scales.length() - SCALES.length());
    }

    /** Whether a tensor of a file has the name of scales. */
    static boolean isScales(String name) {
        return name.endsWith(SCALES);
    }

    /** How a file holds the integers. */
    static final StoredType LEVELS = StoredType.I8;

    /** Shape of the scales of a matrix. */
    static Shape scales(DType type, Shape shape) {
        Shape matrix = shape.matrix();
        return Shape.of(Math.toIntExact(matrix.rows()), Math.toIntExact(type.scalesPerRow(matrix)));
    }

    /** The type of a matrix of {@link #LEVELS} in a file, if the other tensor is its scales. */
    static Optional<DType> type(TensorInfo matrix, TensorInfo scales) {
        return DType.blocked().stream()
                .filter(type -> scales.type() == StoredType.F32
                        && matrix.shape().rank() >= 2
                        && scales.shape().equals(scales(type, matrix.shape())))
                .findFirst();
    }

    /**
     * The tensor in a blocked type, rows shared among the machine's cores. A block that holds a NaN or an infinity
     * becomes NaN as a whole.
     *
     * @param tensor F32, F16 or BF16, of any number of layers
     * @param to its new type
     * @param arena where the result is allocated; it must allow access by other threads
     * @throws IllegalArgumentException if the type is another one
     */
    public static HostTensor quantize(HostTensor tensor, DType to, Arena arena) {
        if (tensor.dtype().isBlocked() || !tensor.dtype().isWeight() || !to.isBlocked()) {
            throw new IllegalArgumentException("cannot turn weights of type " + tensor.dtype() + " into " + to);
        }
        Shape shape = tensor.shape();
        List<MemorySegment> layers = new ArrayList<>();
        for (MemorySegment from : tensor.layers()) {
            MemorySegment blocks = arena.allocate(to.bytes(shape), Float.BYTES);
            IntStream.range(0, Math.toIntExact(shape.rows()))
                    .parallel()
                    .forEach(row -> row(tensor.dtype(), shape, row, from, to, blocks));
            layers.add(blocks);
        }
        return new HostTensor(to, shape, layers);
    }

    private static void row(DType dtype, Shape shape, int row, MemorySegment from, DType type, MemorySegment to) {
        int columns = shape.columns();
        long first = (long) row * columns;
        long scales = type.scalesOffset(shape) + row * type.scalesPerRow(shape) * Float.BYTES;
        for (int start = 0; start < columns; start += type.block()) {
            int count = Math.min(type.block(), columns - start);
            float scale = scale(dtype, from, first + start, count);
            to.set(F32, scales + (long) start / type.block() * Float.BYTES, scale);
            levels(dtype, from, first + start, count, scale, to, first + start);
        }
    }

    /** The scale of a block; NaN if one of its values is none that a scale can serve. */
    private static float scale(DType dtype, MemorySegment from, long first, int count) {
        float largest = 0;
        for (long i = first; i < first + count; i++) {
            largest = Math.max(largest, Math.abs(value(dtype, from, i)));
        }
        float scale = largest / LARGEST;
        return Float.isInfinite(scale) ? Float.NaN : scale;
    }

    private static void levels(
            DType dtype, MemorySegment from, long first, int count, float scale, MemorySegment to, long at) {
        for (int i = 0; i < count; i++) {
            // A scale of 0 divides to NaN, which becomes 0; one that is subnormal may round up past the largest.
            double q = Math.rint(value(dtype, from, first + i) / (double) scale);
            to.set(ValueLayout.JAVA_BYTE, at + i, (byte) Math.clamp((long) q, -LARGEST, LARGEST));
        }
    }

    /**
     * A piece of the integers of a matrix, as {@link #quantize} makes them.
     *
     * @param tensor F32, F16 or BF16, of one layer; seen as a {@link Shape#matrix matrix}
     * @param type blocked
     * @param first element
     * @param to a byte an element
     */
    static void levels(HostTensor tensor, DType type, long first, MemorySegment to) {
        int columns = tensor.shape().matrix().columns();
        MemorySegment from = tensor.layers().getFirst();
        long element = first;
        while (element < first + to.byteSize()) {
            long row = element / columns * columns;
            long block = element - (element - row) % type.block();
            int count = (int) Math.min(type.block(), row + columns - block);
            int here = (int) (Math.min(block + count, first + to.byteSize()) - element);
            float scale = scale(tensor.dtype(), from, block, count);
            levels(tensor.dtype(), from, element, here, scale, to, element - first);
            element += here;
        }
    }

    /**
     * A piece of the scales of a matrix.
     *
     * @param tensor as for the integers
     * @param type blocked
     * @param first scale
     * @param to four bytes a scale
     */
    static void scales(HostTensor tensor, DType type, long first, MemorySegment to) {
        Shape matrix = tensor.shape().matrix();
        long perRow = type.scalesPerRow(matrix);
        for (long i = 0; i < to.byteSize() / Float.BYTES; i++) {
            long row = (first + i) / perRow;
            long column = (first + i) % perRow * type.block();
            int count = (int) Math.min(type.block(), matrix.columns() - column);
            float scale =
                    scale(tensor.dtype(), tensor.layers().getFirst(), row * matrix.columns() + column, count);
            to.set(F32, i * Float.BYTES, scale);
        }
    }

    private static float value(DType dtype, MemorySegment from, long index) {
        return switch (dtype) {
            case F32 -> from.get(F32, index * Float.BYTES);
            case F16 -> Float.float16ToFloat(from.get(I16, index * Short.BYTES));
            case BF16 -> Float.intBitsToFloat(from.get(I16, index * Short.BYTES) << 16);
            default -> throw new IllegalStateException("weights of type " + dtype);
        };
    }
}
