package stormsight.backend.cpu;

/**
 * Constants that turn binary16 into binary32 in vectors: exponent and mantissa move up by 13 bits, and a product with
 * 2^112 mends the exponent's bias, for subnormals too. Infinity and NaN then get the largest exponent, and the sign
 * comes last.
 */
final class Half {
    static final float REBIAS = 0x1p112f;

    /** The shifted bits of infinity; NaN has larger ones. */
    static final int INFINITE = 0x7C00 << 13;

    static final int INFINITY_BITS = 0x7F800000;
    static final int SIGN = 0x80000000;

    private Half() {}
}
