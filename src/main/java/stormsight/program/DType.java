package stormsight.program;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** The type of a tensor's elements, with all that follows from it alone. All multi-byte types are little-endian. */
public enum DType {
    /** IEEE 754 binary32: activations, norms, caches, and weights that are stored so. */
    F32(4, true, true, 0),
    /** IEEE 754 binary16. */
    F16(2, true, false, 0),
    /** The upper half of a binary32. */
    BF16(2, true, false, 0),
    /** Eight-bit integers in {@link #isBlocked blocks} of {@value #Q8_BLOCK}. */
    Q8(1, true, false, DType.Q8_BLOCK),
    /** Token ids. */
    I32(4, false, false, 0),
    /** Flags of a mask. */
    U8(1, false, false, 0);

    /** {@link #block} of {@link #Q8}, as a constant of inner loops. */
    public static final int Q8_BLOCK = 32;

    private final int elementBytes;
    private final boolean weight;
    private final boolean cache;
    private final int block;

    DType(int elementBytes, boolean weight, boolean cache, int block) {
        this.elementBytes = elementBytes;
        this.weight = weight;
        this.cache = cache;
        this.block = block;
    }

    /** What matrices of other types can be turned into. */
    public static List<DType> blocked() {
        return Arrays.stream(values()).filter(DType::isBlocked).toList();
    }

    /** Whether matrices of products and tables of rows can have it. */
    public boolean isWeight() {
        return weight;
    }

    /** Whether the rows that an attention reads can have it. */
    public boolean isCache() {
        return cache;
    }

    /**
     * Whether one F32 scale goes with every {@link #block} elements of a row. A matrix [rows, columns] then holds its
     * elements, and, from the next multiple of 4 bytes, rows x ceil(columns / block) scales.
     */
    public boolean isBlocked() {
        return block > 0;
    }

    /** Elements that share one scale, 0 if there are no scales. */
    public int block() {
        return block;
    }

    /** Bytes of one element, without its share of a scale. */
    public int elementBytes() {
        return elementBytes;
    }

    /** Bytes of the elements of a tensor, without scales. */
    public long elementBytes(Shape shape) {
        return Math.multiplyExact(shape.elements(), elementBytes);
    }

    /** Bytes of a whole tensor, scales included. */
    public long bytes(Shape shape) {
        return isBlocked()
                ? scalesOffset(shape) + shape.rows() * scalesPerRow(shape) * Float.BYTES
                : elementBytes(shape);
    }

    /** Offset of the first scale, in bytes. */
    public long scalesOffset(Shape shape) {
        return (elementBytes(shape) + 3) & ~3L;
    }

    /** Scales of one row, 0 if there are none. */
    public long scalesPerRow(Shape shape) {
        return isBlocked() ? Math.ceilDiv(shape.columns(), block) : 0;
    }

    /** As users write it: {@code bf16}. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}
