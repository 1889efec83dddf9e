package stormsight.backend.cpu;

/**
 * Constants that turn binary16 into binary32 in vectors. The sign stays, exponent and mantissa move to below four bits
 * that are cleared; infinity and NaN, which have the largest exponent, get the largest one of binary32. A product with
 * 2^112 then mends the exponent's bias, for subnormals too.
 */
final class Half {
    /** What is left of 16 bits at the top of an integer, which are moved down by 3 with their sign. */
    static final int KEPT = 0x8FFFE000;

    /** The exponent of infinity and NaN, where it was moved. */
    static final int LARGEST = 0x7C00 << 13;

    /** The exponent of infinity and NaN in binary32. */
    static final int INFINITE = 0x7F800000;

    static final float REBIAS = 0x1p112f;

    private Half() {}
}
