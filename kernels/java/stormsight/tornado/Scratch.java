package stormsight.tornado;

/**
 * Device memory that the kernels of one operation use among each other. Operations run one after the other, so one
 * piece serves all of them.
 *
 * @param floats of {@link Tasks#scratch()}
 * @param parts words of {@link Tasks#parts(int) parts(0)}
 * @param moreParts words of {@link Tasks#parts(int) parts(1)}
 * @param planes words of {@link Tasks#planes(int) planes(0)}
 * @param morePlanes words of {@link Tasks#planes(int) planes(1)}
 */
public record Scratch(int floats, int parts, int moreParts, int planes, int morePlanes) {
    public static final Scratch NONE = new Scratch(0, 0, 0, 0, 0);

    public static Scratch ofFloats(int floats) {
        return new Scratch(floats, 0, 0, 0, 0);
    }

    /** Room for either. */
    Scratch or(Scratch other) {
        return new Scratch(Math.max(floats, other.floats), Math.max(parts, other.parts),
                Math.max(moreParts, other.moreParts), Math.max(planes, other.planes),
                Math.max(morePlanes, other.morePlanes));
    }

    long bytes() {
        return (long) floats * Float.BYTES + ((long) parts + moreParts + planes + morePlanes) * Long.BYTES;
    }
}
