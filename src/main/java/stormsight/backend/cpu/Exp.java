package stormsight.backend.cpu;

/**
 * Constants of the exponential function, whose loop body is spelled out where vectors need it: with
 * {@code t = x log2(e) + ROUND}, {@code n = t - ROUND} and {@code r = x - n ln(2)}, exp(x) is
 * {@code 2^n (1 + r + r^2 (C0 + C1 r + ..))}. The lowest bits of t are n. The relative error is below 2e-7.
 *
 * @see <a href="https://www.netlib.org/cephes/">Cephes, expf</a>
 */
final class Exp {
    /** exp(x) is a normal number from here on. */
    static final float LOWEST = -87.33f;

    /** Largest x that is not clamped: 2^n is still a finite number. */
    static final float HIGHEST = 88.3f;

    static final float LOG2_E = 1.44269504088896341f;

    /** 1.5 x 2^23: adding it rounds to the nearest integer. */
    static final float ROUND = 12582912f;

    static final float LN2_HIGH = 0.693359375f;
    static final float LN2_LOW = -2.12194440e-4f;
    static final float C0 = 5.0000001201E-1f;
    static final float C1 = 1.6666665459E-1f;
    static final float C2 = 4.1665795894E-2f;
    static final float C3 = 8.3334519073E-3f;
    static final float C4 = 1.3981999507E-3f;
    static final float C5 = 1.9875691500E-4f;

    /** The bits of 1. */
    static final int ONE_BITS = 0x3F800000;

    private Exp() {}
}
