package stormsight.tornado;

import uk.ac.manchester.tornado.api.types.arrays.FloatArray;

/**
 * Powers of two by sign and exponent. Not every language that TornadoVM generates can turn the bits of a float into a
 * float; a kernel that multiplies the entry with the significand, an integer, runs everywhere and is exact.
 */
final class DecodeTables {
    private DecodeTables() {}

    /** Entry s x 256 + e is {@code (-1)^s 2^(e - 127) / 128}; 0 for subnormal numbers. */
    static void fillBf16(FloatArray table) {
        for (int e = 1; e < 256; e++) {
            // The largest exponent stands for infinity and NaN, which makes the product infinite.
            float scale = e == 255 ? Float.POSITIVE_INFINITY : Math.scalb(1f, e - 127 - 7);
            table.set(e, scale);
            table.set(256 + e, -scale);
        }
    }

    /** Entry s x 32 + e is {@code (-1)^s 2^(e - 15) / 1024}; 0 for subnormal numbers. */
    static void fillF16(FloatArray table) {
        for (int e = 1; e < 32; e++) {
            float scale = e == 31 ? Float.POSITIVE_INFINITY : Math.scalb(1f, e - 15 - 10);
            table.set(e, scale);
            table.set(32 + e, -scale);
        }
    }
}
