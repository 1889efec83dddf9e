package stormsight.report;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Locale;

/** The numbers that a colour bar spans. */
record Range(double low, double high) {
    /** About as many as a bar has room for. */
    private static final int MOST_TICKS = 6;

    /** Beyond these powers of ten the numbers share a factor. */
    private static final int SMALLEST_PLAIN = -2;
    private static final int LARGEST_PLAIN = 4;

    /** A number on the bar. */
    record Tick(double value, String label) {}

    /** The numbers on a bar, all to be multiplied by a factor that is empty or such as {@code 1e-4}. */
    record Ticks(List<Tick> ticks, String factor) {}

    static Range of(Collection<HeatMap> maps) {
        double low = Double.POSITIVE_INFINITY;
        double high = Double.NEGATIVE_INFINITY;
        for (HeatMap map : maps) {
            low = Math.min(low, map.min());
            high = Math.max(high, map.max());
        }
        return new Range(low, high);
    }

    /** Where a value lies: 0 at the low end, 1 at the high one; 0 where both are the same. */
    double position(double value) {
        return high > low ? (value - low) / (high - low) : 0;
    }

    Ticks ticks() {
        double largest = Math.max(Math.abs(low), Math.abs(high));
        int power = largest == 0 ? 0 : (int) Math.floor(Math.log10(largest));
        int shared = power < SMALLEST_PLAIN || power > LARGEST_PLAIN ? power : 0;
        double unit = Math.pow(10, shared);
        String factor = shared == 0 ? "" : "1e" + shared;
        if (!(high > low)) {
            return new Ticks(List.of(new Tick(low, String.format(Locale.ROOT, "%.3g", low / unit))), factor);
        }
        double step = step((high - low) / unit);
        int decimals = Math.max(0, (int) -Math.floor(Math.log10(step) + 1e-9));
        if (Math.abs(step * Math.pow(10, decimals) - Math.rint(step * Math.pow(10, decimals))) > 1e-6) {
            decimals++;
        }
        List<Tick> ticks = new ArrayList<>();
        for (double k = Math.ceil(low / unit / step - 1e-6); k * step <= high / unit + step * 1e-6; k++) {
            // Adding 0 turns -0 into 0.
            ticks.add(new Tick(k * step * unit, String.format(Locale.ROOT, "%." + decimals + "f", k * step + 0.0)));
        }
        return new Ticks(ticks, factor);
    }

    /** The smallest of 1, 2, 2.5 and 5 times a power of ten that gives few enough ticks. */
    private static double step(double span) {
        double power = Math.pow(10, Math.floor(Math.log10(span / MOST_TICKS)));
        for (double multiple : new double[] {1, 2, 2.5, 5}) {
            if (span / (multiple * power) <= MOST_TICKS) {
                return multiple * power;
            }
        }
        return 10 * power;
    }
}
