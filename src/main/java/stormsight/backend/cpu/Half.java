package stormsight.backend.cpu;

/**
 * Constants that turn binary16 into binary32 in vectors. The sign stays in the highest bit. Exponent and mantissa move
 * to bits 27 to 13, with three cleared bits above them. Infinity and NaN, whose exponent is all ones, get one of all
 * ones in binary32, too. A product with 2^112 then mends the exponent's bias, for subnormals as well.
 */
final class Half {
    /** Sign, exponent and mantissa of 16 bits at the top of an integer, once it is shifted right by 3 with its sign. */
    static final int KEPT = 0x8FFFE000;

    /** The exponent of infinity and NaN after that shift. */
    static final int LARGEST = 0x7C00 << 13;

    /** The exponent of infinity and NaN in binary32. */
    static final int INFINITE = 0x7F800000;

    static final float REBIAS = 0x1p112f;

    private Half() {}
}
