package stormsight.checkpoint;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Function;

/**
 * Normally distributed values for F32, F16 and BF16 tensors. An element depends on the seed, the tensor's name and its
 * place in the tensor alone, so the same seed gives the same checkpoint however it is split and written.
 *
 * <p>16 random bits choose one of 65536 values drawn beforehand: fast enough to keep a disk busy from one core.
 */
public final class RandomWeights implements SafetensorsWriter.Content {
    /** A normal distribution. */
    public record Distribution(float mean, float deviation) {
        public Distribution {
            if (!Float.isFinite(mean) || !(deviation >= 0 && Float.isFinite(deviation))) {
                throw new IllegalArgumentException("mean " + mean + ", deviation " + deviation);
            }
        }
    }

    private record TableKey(StoredType type, Distribution distribution) {}

    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort SHORT =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /** Values that one 64-bit draw yields. */
    private static final int GROUP = 4;
    private static final int MASK = 0xffff;

    /** The increment of SplitMix64. */
    private static final long GOLDEN = 0x9e3779b97f4a7c15L;

    private static final float[] NORMAL = normal();

    private final long seed;
    private final Function<SafetensorsWriter.Entry, Distribution> distributions;
    private final Map<TableKey, int[]> tables = new ConcurrentHashMap<>();

    /** @param distributions what the values of each tensor are drawn from */
    public RandomWeights(long seed, Function<SafetensorsWriter.Entry, Distribution> distributions) {
        this.seed = seed;
        this.distributions = distributions;
    }

    /** @throws IllegalArgumentException if the tensor is not F32, F16 or BF16 */
    @Override
    public void fill(SafetensorsWriter.Entry tensor, long firstByte, MemorySegment piece) {
        int[] table =
                tables.computeIfAbsent(new TableKey(tensor.type(), distributions.apply(tensor)), RandomWeights::table);
        long stream = mix(seed);
        for (int i = 0; i < tensor.name().length(); i++) {
            stream = mix(stream ^ tensor.name().charAt(i));
        }
        int elementBytes = tensor.type().bits() / Byte.SIZE;
        long first = firstByte / elementBytes;
        long count = piece.byteSize() / elementBytes;
        if (first % GROUP != 0) {
            throw new IllegalArgumentException("a piece of " + tensor.name() + " begins at element " + first);
        }
        long whole = count - count % GROUP;
        if (tensor.type() == StoredType.F32) {
            for (long i = 0; i < whole; i += GROUP) {
                long draw = draw(stream, first + i);
                piece.set(INT, i * 4, table[(int) draw & MASK]);
                piece.set(INT, i * 4 + 4, table[(int) (draw >>> 16) & MASK]);
                piece.set(INT, i * 4 + 8, table[(int) (draw >>> 32) & MASK]);
                piece.set(INT, i * 4 + 12, table[(int) (draw >>> 48)]);
            }
        } else {
            for (long i = 0; i < whole; i += GROUP) {
                long draw = draw(stream, first + i);
                long low = table[(int) draw & MASK] | (long) table[(int) (draw >>> 16) & MASK] << 16;
                long high = table[(int) (draw >>> 32) & MASK] | (long) table[(int) (draw >>> 48)] << 16;
                piece.set(LONG, i * 2, low | high << 32);
            }
        }
        for (long i = whole; i < count; i++) {
            int value = table[(int) (draw(stream, first + whole) >>> 16 * (i - whole)) & MASK];
            if (tensor.type() == StoredType.F32) {
                piece.set(INT, i * 4, value);
            } else {
                piece.set(SHORT, i * 2, (short) value);
            }
        }
    }

    /** 64 random bits for the {@value #GROUP} elements from {@code element} on. */
    private static long draw(long stream, long element) {
        return mix(stream + element * GOLDEN);
    }

    /**
     * The output function of SplitMix64.
     *
     * @see <a href="https://doi.org/10.1145/2660193.2660195">Steele, Lea, Flood: Fast splittable pseudorandom number
     * generators</a>
     */
    private static long mix(long z) {
        z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
        z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
        return z ^ (z >>> 31);
    }

    /** The bits of every value that an element of that type and distribution can have. */
    private static int[] table(TableKey key) {
        int[] table = new int[NORMAL.length];
        for (int i = 0; i < table.length; i++) {
            float value = key.distribution().mean() + key.distribution().deviation() * NORMAL[i];
            table[i] = switch (key.type()) {
                case F32 -> Float.floatToRawIntBits(value);
                case F16 -> Float.floatToFloat16(value) & MASK;
                case BF16 -> bf16(value);
                default -> throw new IllegalArgumentException("no random values for " + key.type());
            };
        }
        return table;
    }

    /** The bits of a value as BF16, rounded to the nearest, ties to even. */
    static int bf16(float value) {
        if (Float.isNaN(value)) {
            return 0x7fc0;
        }
        int bits = Float.floatToRawIntBits(value);
        return bits + 0x7fff + (bits >>> 16 & 1) >>> 16;
    }

    /**
     * 65536 values of mean 0 and deviation 1. {@link Random} is specified to the bit, so they are the same on every
     * JVM.
     */
    private static float[] normal() {
        Random random = new Random(0);
        double[] half = new double[(MASK + 1) / 2];
        double squares = 0;
        for (int i = 0; i < half.length; i++) {
            half[i] = random.nextGaussian();
            squares += half[i] * half[i];
        }
        double scale = 1 / Math.sqrt(squares / half.length);
        float[] values = new float[MASK + 1];
        for (int i = 0; i < half.length; i++) {
            values[2 * i] = (float) (half[i] * scale);
            values[2 * i + 1] = -values[2 * i];
        }
        return values;
    }
}
