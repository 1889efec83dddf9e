package stormsight.report;

/** Colours for numbers from 0 to 1. */
public enum ColorMap {
    /** Matplotlib's "jet": blue, cyan, yellow, red, as in the published attention maps. */
    JET(new double[][] {{0, 0}, {0.35, 0}, {0.66, 1}, {0.89, 1}, {1, 0.5}},
            new double[][] {{0, 0}, {0.125, 0}, {0.375, 1}, {0.64, 1}, {0.91, 0}, {1, 0}},
            new double[][] {{0, 0.5}, {0.11, 1}, {0.34, 1}, {0.65, 0}, {1, 0}});

    /** As fine as matplotlib's table. */
    private static final int STEPS = 256;

    private final int[] table = new int[STEPS];

    ColorMap(double[][] red, double[][] green, double[][] blue) {
        for (int i = 0; i < STEPS; i++) {
            double x = i / (STEPS - 1.0);
            table[i] = channel(red, x) << 16 | channel(green, x) << 8 | channel(blue, x);
        }
    }

    private static int channel(double[][] corners, double x) {
        int right = 1;
        while (corners[right][0] < x) {
            right++;
        }
        double[] from = corners[right - 1];
        double[] to = corners[right];
        double value = from[1] + (to[1] - from[1]) * (x - from[0]) / (to[0] - from[0]);
        return (int) Math.round(255 * value);
    }

    /** The colour {@code 0xRRGGBB} of a number, which is clamped to 0 .. 1. */
    public int rgb(double value) {
        return table[Math.clamp((int) (value * STEPS), 0, STEPS - 1)];
    }
}
