package stormsight.report;

import java.util.Locale;

/**
 * Colours for numbers from 0 to 1, as matplotlib has them under these names.
 *
 * @see <a href="https://bids.github.io/colormap/">why viridis and inferno rise in even steps</a>
 */
public enum ColorMap {
    /**
     * Violet, blue, green, yellow: equal steps of a number look equal, also in gray and to eyes that do not tell red
     * from green.
     */
    VIRIDIS(
            0x440154, 0x470d60, 0x48186a, 0x482374, 0x472d7b, 0x453781, 0x424086, 0x3e4989, 0x3b528b, 0x375b8d,
            0x33638d, 0x2f6b8e, 0x2c728e, 0x297a8e, 0x26828e, 0x23898e, 0x21918c, 0x1f978b, 0x1f9f88, 0x21a685,
            0x27ad81, 0x31b57b, 0x3dbc74, 0x4cc26c, 0x5cc863, 0x6ece58, 0x81d34d, 0x95d840, 0xaadc32, 0xc0df25,
            0xd5e21a, 0xeae51a, 0xfde725),
    /** Black, violet, red, orange, pale yellow, in equal steps like viridis. */
    INFERNO(
            0x000004, 0x040312, 0x0b0724, 0x150b37, 0x210c4a, 0x2f0a5b, 0x3d0965, 0x4a0c6b, 0x57106e, 0x64156e,
            0x71196e, 0x7d1e6d, 0x8a226a, 0x972766, 0xa32c61, 0xb0315b, 0xbc3754, 0xc63d4d, 0xd04545, 0xda4e3c,
            0xe35933, 0xeb6429, 0xf1711f, 0xf67e14, 0xf98c0a, 0xfb9b06, 0xfcaa0f, 0xfbba1f, 0xf9c932, 0xf5d949,
            0xf2e865, 0xf3f586, 0xfcffa4),
    /**
     * Blue, cyan, yellow, red, as in many published attention maps. Its bright bands look like edges where the numbers
     * have none.
     */
    JET(new double[][] {{0, 0}, {0.35, 0}, {0.66, 1}, {0.89, 1}, {1, 0.5}},
            new double[][] {{0, 0}, {0.125, 0}, {0.375, 1}, {0.64, 1}, {0.91, 0}, {1, 0}},
            new double[][] {{0, 0.5}, {0.11, 1}, {0.34, 1}, {0.65, 0}, {1, 0}});

    /** As fine as matplotlib's tables. */
    static final int STEPS = 256;

    private final int[] table = new int[STEPS];

    /** @param rgb {@code 0xRRGGBB} at equal distances; what lies between is within 2 of 255 of matplotlib's table */
    ColorMap(int... rgb) {
        for (int i = 0; i < STEPS; i++) {
            double at = i / (STEPS - 1.0) * (rgb.length - 1);
            int left = Math.min((int) at, rgb.length - 2);
            for (int shift = 16; shift >= 0; shift -= 8) {
                int from = rgb[left] >> shift & 0xff;
                int to = rgb[left + 1] >> shift & 0xff;
                table[i] |= (int) Math.round(from + (at - left) * (to - from)) << shift;
            }
        }
    }

    /** Corners of each channel, between which it is linear. */
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

    /** The name in small letters, as users type it. */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
