package stormsight.report;

import java.util.Optional;

/**
 * A line of numbers over numbers.
 *
 * @param name in the legend
 * @param x as many as y
 * @param y NaN where there is no value
 * @param low lower end of a band around y, such as of 95 % confidence, as many as y
 * @param high upper end; present where low is
 */
public record Curve(String name, double[] x, double[] y, Optional<double[]> low, Optional<double[]> high) {
    /**
     * @throws IllegalArgumentException if there are no points, arrays differ in length, only one end of a band is
     * given, or x is not finite
     */
    public Curve {
        if (x.length == 0 || x.length != y.length) {
            throw new IllegalArgumentException("curve \"" + name + "\": " + x.length + " x, " + y.length + " y");
        }
        if (low.isPresent() != high.isPresent()) {
            throw new IllegalArgumentException("curve \"" + name + "\" has one end of a band");
        }
        if (low.isPresent() && (low.get().length != y.length || high.get().length != y.length)) {
            throw new IllegalArgumentException("curve \"" + name + "\": " + y.length + " y, a band of "
                    + low.get().length + " and " + high.get().length);
        }
        for (double value : x) {
            if (!Double.isFinite(value)) {
                throw new IllegalArgumentException("curve \"" + name + "\" has a point at x = " + value);
            }
        }
    }

    /** A line without a band. */
    public Curve(String name, double[] x, double[] y) {
        this(name, x, y, Optional.empty(), Optional.empty());
    }
}
