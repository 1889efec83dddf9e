package stormsight.program;

/** The type of a tensor's elements. All multi-byte types are little-endian. */
public enum DType {
    /** IEEE 754 binary32: activations, norms, caches, and weights that are stored so. */
    F32(4),
    /** IEEE 754 binary16. */
    F16(2),
    /** The upper half of a binary32. */
    BF16(2),
    /**
     * Eight-bit integers with one F32 scale for every {@value #Q8_BLOCK} elements of a row. A matrix [rows, columns]
     * holds rows x columns bytes, then, from the next multiple of 4, rows x ceil(columns / {@value #Q8_BLOCK}) scales.
     */
    Q8(1),
    /** Token ids. */
    I32(4),
    /** Flags of a mask. */
    U8(1);

    /** Elements that share one scale in {@link #Q8}. */
    public static final int Q8_BLOCK = 32;

    private final int elementBytes;

    DType(int elementBytes) {
        this.elementBytes = elementBytes;
    }

    /** Bytes of one element; for {@link #Q8} without its share of a scale. */
    public int elementBytes() {
        return elementBytes;
    }

    /** Bytes of a whole tensor of this type, scales included. */
    public long bytes(Shape shape) {
        if (this != Q8) {
            return Math.multiplyExact(shape.elements(), elementBytes);
        }
        return q8ScalesOffset(shape) + shape.rows() * scalesPerRow(shape) * Float.BYTES;
    }

    /** Offset of the first scale in a {@link #Q8} tensor of that shape, in bytes. */
    public static long q8ScalesOffset(Shape shape) {
        return (shape.elements() + 3) & ~3L;
    }

    /** Scales of one row in a {@link #Q8} tensor of that shape. */
    public static long scalesPerRow(Shape shape) {
        return (shape.columns() + Q8_BLOCK - 1) / Q8_BLOCK;
    }
}
