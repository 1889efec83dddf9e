package stormsight.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import stormsight.program.DType;
import stormsight.program.Shape;

/**
 * Weights of a {@link DType#isBlocked blocked} type: an integer, the level, times the scale of its block of a row. A
 * file holds them as two tensors, the levels under the matrix's NAME and NAME.scales.
 *
 * <p>Q8: {@code scale = max |w| / 127}, {@code level = round(w / scale)}, half to even.
 *
 * <p>Q4: levels are -8 to 7, the scale is a BF16 of either sign: of five near {@code w / -8}, w being the largest
 * weight of the block in magnitude, the one that leaves the least square error. Of the embedded model's matrices the
 * error is 8.4% of the weights (root mean square), of normally distributed weights 8.2%; {@code w / -8} alone leaves
 * 8.8% and 8.6%, levels of -7 to 7 9.9% and 9.7%. A minimum beside the scale, searched likewise, leaves 7.4% and 7.3%,
 * for 5 bits a weight in place of 4.5: half a bit should take away 29%, not 12%, and reading weights is what decoding
 * waits for.
 */
public final class Blocks {
    private static final int LARGEST_Q8 = 127;
    private static final int LEAST_Q4 = -8;
    private static final int LARGEST_Q4 = 7;
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /** Ends the name of the scales. */
    private static final String SCALES = ".scales";

    /** Bits of an element of the tensors that hold levels. */
    static final int LEVEL_BITS = Byte.SIZE;

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

    /** How a file holds the levels of a type: those of Q4 in pairs. */
    static StoredType levels(DType type) {
        return type == DType.Q4 ? StoredType.U8 : StoredType.I8;
    }

    /** Shape of the tensor of levels of a weight. */
    static Shape levels(DType type, Shape shape) {
        return withColumns(shape, Math.toIntExact(type.elementBytes((long) shape.columns())));
    }

    private static Shape withColumns(Shape shape, int columns) {
        int[] dimensions =
                shape.dimensions().stream().mapToInt(Integer::intValue).toArray();
        dimensions[dimensions.length - 1] = columns;
        return Shape.of(dimensions);
    }

    /** How a file holds the scales of a type. */
    static StoredType scales(DType type) {
        return StoredType.of(type.scaleType());
    }

    /** Shape of the scales of a weight. */
    static Shape scales(DType type, Shape shape) {
        Shape matrix = shape.matrix();
        return Shape.of(Math.toIntExact(matrix.rows()), Math.toIntExact(type.scalesPerRow(matrix)));
    }

    /**
     * The type of a weight that a file holds as two tensors, if they fit together.
     *
     * @param levels what has the name of the matrix
     */
    static Optional<DType> type(TensorInfo levels, TensorInfo scales) {
        return DType.blocked().stream()
                .filter(type -> levels.type() == levels(type)
                        && scales.type() == scales(type)
                        && levels.shape().rank() >= 2
                        && weight(type, levels.shape())
                                .filter(shape -> scales.shape().equals(scales(type, shape)))
                                .isPresent())
                .findFirst();
    }

    /** Shape of the weight whose levels have this one; empty if there is none of whole blocks that needs them. */
    static Optional<Shape> weight(DType type, Shape levels) {
        long columns = (long) levels.columns() * LEVEL_BITS / type.bits();
        long all = levels.elements() / Math.max(levels.dimension(0), 1) * LEVEL_BITS / type.bits();
        boolean holds = Math.max(all, columns) <= Integer.MAX_VALUE && type.forRows((int) all) == type;
        return holds ? Optional.of(withColumns(levels, (int) columns)) : Optional.empty();
    }

    /**
     * The tensor in a blocked type, rows shared among the machine's cores. A block that holds a NaN or an infinity
     * becomes NaN as a whole.
     *
     * @param tensor F32, F16 or BF16, of any number of layers
     * @param to its new type; its rows are whole blocks where the type needs them
     * @param arena where the result is allocated; it must allow access by other threads
     * @throws IllegalArgumentException if the type is another one
     */
    public static HostTensor quantize(HostTensor tensor, DType to, Arena arena) {
        Shape shape = tensor.shape();
        if (tensor.dtype().isBlocked() || !tensor.dtype().isWeight() || !to.isBlocked()
                || to.forRows(shape.columns()) != to) {
            throw new IllegalArgumentException("cannot turn weights of type " + tensor.dtype() + shape + " into " + to);
        }
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
        long scales = type.scalesOffset(shape) + row * type.scaleBytes(shape);
        float[] values = new float[type.block()];
        for (int start = 0; start < columns; start += type.block()) {
            int count = Math.min(type.block(), columns - start);
            read(dtype, from, first + start, count, values);
            float scale = scale(type, values, count);
            write(type.scaleType(), scale, to, scales + (long) start / type.block() * type.scaleType().elementBytes());
            levels(type, values, 0, count, scale, to, type.elementBytes(first + start));
        }
    }

    /** The scale of a block, as it is stored; NaN if one of its values is none that a scale can serve. */
    private static float scale(DType type, float[] values, int count) {
        float largest = 0;
        for (int i = 0; i < count; i++) {
            float value = Math.abs(values[i]);
            largest = Math.max(largest, value);
        }
        if (Float.isNaN(largest) || Float.isInfinite(largest)) {
            return Float.NaN;
        }
        return type == DType.Q4 ? q4Scale(values, count) : largest / LARGEST_Q8;
    }

    /**
     * By what the largest weight of a block is divided, in turn, for the scales that are tried. The first one takes it
     * to the least level.
     */
    private static final float[] Q4_DIVISORS = {LEAST_Q4, -7.5f, -8.5f, -7, -9};

    /** Of some scales the one with the least square error over the block; the first one of several. */
    private static float q4Scale(float[] values, int count) {
        float largest = 0;
        for (int i = 0; i < count; i++) {
            largest = Math.abs(values[i]) > Math.abs(largest) ? values[i] : largest;
        }
        if (largest == 0) {
            return 0;
        }
        float best = bf16(largest / Q4_DIVISORS[0]);
        float least = Float.POSITIVE_INFINITY;
        for (float divisor : Q4_DIVISORS) {
            float scale = bf16(largest / divisor);
            float inverse = 1 / scale;
            float error = 0;
            for (int i = 0; i < count; i++) {
                float level = Math.clamp((float) Math.rint(values[i] * inverse), LEAST_Q4, LARGEST_Q4);
                float difference = values[i] - scale * level;
                error += difference * difference;
            }
            if (error < least) {
                least = error;
                best = scale;
            }
        }
        return best;
    }

    private static float bf16(float value) {
        return Float.intBitsToFloat(RandomWeights.bf16(value) << Short.SIZE);
    }

    private static void levels(
            DType type, float[] values, int from, int count, float scale, MemorySegment to, long at) {
        if (type == DType.Q4) {
            int half = type.block() / 2;
            for (int i = 0; i < half; i++) {
                int low = level(values[i], scale, LEAST_Q4, LARGEST_Q4);
                int high = level(values[i + half], scale, LEAST_Q4, LARGEST_Q4);
                to.set(ValueLayout.JAVA_BYTE, at + i, (byte) (low & 15 | high << 4));
            }
            return;
        }
        for (int i = 0; i < count; i++) {
            to.set(ValueLayout.JAVA_BYTE, at + i, (byte) level(values[from + i], scale, -LARGEST_Q8, LARGEST_Q8));
        }
    }

    private static int level(float value, float scale, int least, int largest) {
        // A scale of 0 divides to NaN, which becomes 0; one that is subnormal may round up past the largest.
        return Math.clamp((long) Math.rint(value / (double) scale), least, largest);
    }

    /**
     * One block of Q8.
     *
     * @param from of the first of its values
     * @param levels get its levels
     * @param at of the first of them
     * @return the scale
     */
    static float q8(float[] values, int from, byte[] levels, int at) {
        float[] block = Arrays.copyOfRange(values, from, from + DType.Q8_BLOCK);
        float scale = scale(DType.Q8, block, block.length);
        for (int i = 0; i < block.length; i++) {
            levels[at + i] = (byte) level(block[i], scale, -LARGEST_Q8, LARGEST_Q8);
        }
        return scale;
    }

    /**
     * The level of an element.
     *
     * @param levels of whole blocks, as a file holds them
     * @param index counted from the first of them
     */
    static int level(DType type, byte[] levels, int index) {
        if (type != DType.Q4) {
            return levels[index];
        }
        int half = type.block() / 2;
        int pair = levels[index / type.block() * half + index % half];
        return index % type.block() < half ? pair << 28 >> 28 : pair >> 4;
    }

    /**
     * A piece of the levels of a matrix, as {@link #quantize} makes them.
     *
     * @param tensor F32, F16 or BF16, of one layer; seen as a {@link Shape#matrix matrix}
     * @param type blocked
     * @param firstByte a multiple of the bytes of a block, as is their number unless the tensor ends
     * @param to the bytes
     */
    static void levels(HostTensor tensor, DType type, long firstByte, MemorySegment to) {
        int columns = tensor.shape().matrix().columns();
        MemorySegment from = tensor.layers().getFirst();
        long first = firstByte * Byte.SIZE / type.bits();
        long end = first + to.byteSize() * Byte.SIZE / type.bits();
        float[] values = new float[type.block()];
        long element = first;
        while (element < end) {
            long row = element / columns * columns;
            long block = element - (element - row) % type.block();
            int count = (int) Math.min(type.block(), row + columns - block);
            int here = (int) (Math.min(block + count, end) - element);
            read(tensor.dtype(), from, block, count, values);
            float scale = scale(type, values, count);
            levels(type, values, (int) (element - block), here, scale, to, type.elementBytes(element - first));
            element += here;
        }
    }

    /**
     * A piece of the scales of a matrix.
     *
     * @param tensor as for the levels
     * @param type blocked
     * @param firstByte of the piece in the tensor of scales
     * @param to the scales
     */
    static void scales(HostTensor tensor, DType type, long firstByte, MemorySegment to) {
        Shape matrix = tensor.shape().matrix();
        long perRow = type.scalesPerRow(matrix);
        int bytes = type.scaleType().elementBytes();
        float[] values = new float[type.block()];
        for (long at = 0; at < to.byteSize(); at += bytes) {
            long index = (firstByte + at) / bytes;
            long row = index / perRow;
            long column = index % perRow * type.block();
            int count = (int) Math.min(type.block(), matrix.columns() - column);
            read(tensor.dtype(), tensor.layers().getFirst(), row * matrix.columns() + column, count, values);
            write(type.scaleType(), scale(type, values, count), to, at);
        }
    }

    private static void read(DType dtype, MemorySegment from, long first, int count, float[] values) {
        for (int i = 0; i < count; i++) {
            values[i] = value(dtype, from, first + i);
        }
    }

    private static void write(DType dtype, float scale, MemorySegment to, long at) {
        if (dtype == DType.BF16) {
            to.set(I16, at, (short) (Float.floatToRawIntBits(scale) >>> Short.SIZE));
        } else {
            to.set(F32, at, scale);
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
