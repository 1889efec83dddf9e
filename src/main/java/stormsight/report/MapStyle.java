package stormsight.report;

/**
 * How maps are coloured.
 *
 * @param colors from the smallest number to the largest
 * @param smooth whether colours change smoothly from the middle of a patch to the middle of the next; otherwise each
 *     patch has one colour
 */
public record MapStyle(ColorMap colors, boolean smooth) {
    /** Viridis, smooth. */
    public static final MapStyle DEFAULT = new MapStyle(ColorMap.VIRIDIS, true);

    /** How much of the image the largest number covers: what is looked at most is still to be recognised. */
    private static final double LARGEST_OPACITY = 0.8;
    /** Below 1, so that numbers in the middle show on light and dark images alike. */
    private static final double OPACITY_POWER = 0.75;

    /**
     * How much of the image a number covers: nothing at the low end, so that the image keeps its colours where there is
     * nothing to see.
     *
     * @param position 0 at the low end of the colours, 1 at the high one
     */
    static double opacity(double position) {
        return LARGEST_OPACITY * Math.pow(Math.clamp(position, 0, 1), OPACITY_POWER);
    }

    /** The colour {@code 0xRRGGBB} of a position over another colour. */
    int over(int below, double position) {
        double opacity = opacity(position);
        int above = colors.rgb(position);
        int mixed = 0;
        for (int shift = 16; shift >= 0; shift -= 8) {
            double channel = (1 - opacity) * (below >> shift & 0xff) + opacity * (above >> shift & 0xff);
            mixed |= (int) Math.round(channel) << shift;
        }
        return mixed;
    }
}
