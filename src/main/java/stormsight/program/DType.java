package stormsight.program;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** The type of a tensor's elements, with all that follows from it alone. All multi-byte types are little-endian. */
public enum DType {
    /** IEEE 754 binary32: activations, norms, caches, and weights that are stored so. */
    F32(32, true, true, 0),
    /** IEEE 754 binary16. */
    F16(16, true, false, 0),
    /** The upper half of a binary32. */
    BF16(16, true, false, 0),
    /** Eight-bit integers in {@link #isBlocked blocks} of {@value #Q8_BLOCK}, with scales in F32. */
    Q8(8, true, false, DType.Q8_BLOCK),
    /**
     * Four-bit integers, -8 to 7, in {@link #isBlocked blocks} of {@value #Q4_BLOCK}, with scales in BF16; rows are
     * whole blocks. Byte i of the 16 bytes of a block holds element i in its lower half and element 16 + i in its
     * upper one.
     */
    Q4(4, true, false, DType.Q4_BLOCK),
    /** Token ids. */
    I32(32, false, false, 0),
    /** Flags of a mask. */
    U8(8, false, false, 0);

    /** {@link #block} of {@link #Q8}, as a constant of inner loops. */
    public static final int Q8_BLOCK = 32;

    /** {@link #block} of {@link #Q4}, as a constant of inner loops. */
    public static final int Q4_BLOCK = 32;

    private final int bits;
    private final boolean weight;
    private final boolean cache;
    private final int block;

    DType(int bits, boolean weight, boolean cache, int block) {
        this.bits = bits;
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
     * Whether one scale goes with every {@link #block} elements of a row. A matrix [rows, columns] then holds its
     * elements, and, from the next multiple of 4 bytes, rows x ceil(columns / block) scales.
     */
    public boolean isBlocked() {
        return block > 0;
    }

    /** Elements that share one scale, 0 if there are no scales. */
    public int block() {
        return block;
    }

    /** The type of scales, where there are any. */
    public DType scaleType() {
        return this == Q4 ? BF16 : F32;
    }

    /**
     * The type that a matrix with so many columns gets where this one is asked for: Q8 if its rows are not whole blocks
     * of Q4.
     */
    public DType forRows(int columns) {
        return this == Q4 && columns % block != 0 ? Q8 : this;
    }

    /** Bits of one element, without its share of a scale. */
    public int bits() {
        return bits;
    }

    /**
     * Bytes of one element, without its share of a scale.
     *
     * @throws IllegalStateException if a byte holds several
     */
    public int elementBytes() {
        if (bits < Byte.SIZE) {
            throw new IllegalStateException(this + " holds several elements in a byte");
        }
        return bits / Byte.SIZE;
    }

    /** Bytes of so many elements of a row, without scales. */
    public long elementBytes(long elements) {
        return Math.multiplyExact(elements, bits) / Byte.SIZE;
    }

    /** Bytes of the elements of a tensor, without scales. */
    public long elementBytes(Shape shape) {
        return elementBytes(shape.elements());
    }

    /** Bytes of a whole tensor, scales included. */
    public long bytes(Shape shape) {
        return isBlocked()
                ? scalesOffset(shape) + shape.rows() * scaleBytes(shape)
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

    /** Bytes of the scales of one row. */
    public long scaleBytes(Shape shape) {
        return scalesPerRow(shape) * scaleType().elementBytes();
    }

    /** As users write it: {@code bf16}. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}
