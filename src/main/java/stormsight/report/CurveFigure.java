package stormsight.report;

import java.awt.BasicStroke;
import java.awt.Color;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** Curves with bands, as SVG or PNG. */
public final class CurveFigure {
    private static final int BAND_ALPHA = 48;
    private static final int MARKER = 6;
    /** Beyond it markers would hide the line. */
    private static final int MOST_MARKED_POINTS = 64;
    private static final int TICK_SPACING = 74;
    private static final float LINE_WIDTH = 2.2f;
    /** Pixels of a dash. */
    private static final float DASH = 8;
    /** Of the height of all curves: as near as lines that cannot be told apart. */
    private static final double NEAR = 0.005;

    private CurveFigure() {}

    /** How the axes are divided. */
    public enum Axes {
        LINEAR(false, false),
        LOG_X(true, false),
        LOG_Y(false, true),
        LOG_X_Y(true, true);

        private final boolean logX;
        private final boolean logY;

        Axes(boolean logX, boolean logY) {
            this.logX = logX;
            this.logY = logY;
        }
    }

    /** Draws curves with linear axes. */
    public static void write(Path file, String title, String xLabel, String yLabel, List<Curve> curves) {
        write(file, title, xLabel, yLabel, curves, Axes.LINEAR);
    }

    /**
     * Draws curves with their bands, named in a legend.
     *
     * @param file ends in .svg or .png, in any case
     * @throws IllegalArgumentException for another ending, if there are no curves, if two have one name, or if a number
     *     is not positive where an axis is logarithmic
     * @throws FigureException if the file cannot be written or no font is found
     */
    public static void write(Path file, String title, String xLabel, String yLabel, List<Curve> curves, Axes axes) {
        ChartFile.requireEnding(file);
        if (curves.isEmpty()) {
            throw new IllegalArgumentException("a figure of no curves");
        }
        List<String> names = curves.stream().map(Curve::name).toList();
        if (names.stream().distinct().count() != names.size()) {
            throw new IllegalArgumentException("two curves of one name in " + names);
        }
        XYChart chart = new XYChart(ChartFile.WIDTH, ChartFile.height(names));
        XYStyler styler = chart.getStyler();
        ChartFile.style(chart, styler, title, names);
        chart.setXAxisTitle(xLabel);
        chart.setYAxisTitle(yLabel);
        styler.setXAxisLogarithmic(axes.logX);
        styler.setYAxisLogarithmic(axes.logY);
        styler.setMarkerSize(MARKER);
        styler.setXAxisTickMarkSpacingHint(axes.logX ? TICK_SPACING : tickSpacing(curves));
        for (Curve curve : curves) {
            requirePositive(curve, axes);
        }
        // Bands first: lines lie on top of all of them.
        for (int i = 0; i < curves.size(); i++) {
            addBand(chart, curves.get(i), color(i));
        }
        for (int i = 0; i < curves.size(); i++) {
            Curve curve = curves.get(i);
            XYSeries line = chart.addSeries(curve.name(), curve.x(), curve.y());
            line.setMarker(curve.x().length > MOST_MARKED_POINTS ? SeriesMarkers.NONE : SeriesMarkers.CIRCLE);
            line.setLineColor(color(i));
            line.setMarkerColor(color(i));
            line.setLineWidth(LINE_WIDTH);
            int below = coinciding(curves, i, axes);
            if (below > 0) {
                // What lies below shows in the gaps.
                line.setLineStyle(new BasicStroke(LINE_WIDTH, BasicStroke.CAP_BUTT, BasicStroke.JOIN_ROUND, 1,
                        new float[] {DASH, DASH * below}, 0));
            }
        }
        ChartFile.write(file, chart, title, yLabel + " over " + xLabel + ": " + String.join("; ", names));
    }

    /** How many curves that are drawn before lie below a part of this one. */
    private static int coinciding(List<Curve> curves, int curve, Axes axes) {
        double[] heights = curves.stream()
                .flatMapToDouble(each -> Arrays.stream(each.y()))
                .filter(Double::isFinite)
                .map(y -> height(y, axes))
                .toArray();
        double near = NEAR
                * (Arrays.stream(heights).max().orElse(0) - Arrays.stream(heights).min().orElse(0));
        return (int) curves.subList(0, curve).stream()
                .filter(other -> coincide(curves.get(curve), other, near, axes))
                .count();
    }

    /** Whether two curves lie on each other from one point to the next. */
    private static boolean coincide(Curve a, Curve b, double near, Axes axes) {
        boolean before = false;
        for (int i = 0; i < Math.min(a.x().length, b.x().length); i++) {
            boolean here = a.x()[i] == b.x()[i] && Math.abs(height(a.y()[i], axes) - height(b.y()[i], axes)) <= near;
            if (here && before) {
                return true;
            }
            before = here;
        }
        return false;
    }

    private static double height(double y, Axes axes) {
        return axes.logY ? Math.log(y) : y;
    }

    private static Color color(int curve) {
        return ChartFile.COLORS[curve % ChartFile.COLORS.length];
    }

    /** Layers and counts of tokens have no halves: ticks lie no closer than at whole numbers. */
    private static int tickSpacing(List<Curve> curves) {
        double low = Double.POSITIVE_INFINITY;
        double high = Double.NEGATIVE_INFINITY;
        for (Curve curve : curves) {
            for (double x : curve.x()) {
                if (x != Math.rint(x)) {
                    return TICK_SPACING;
                }
                low = Math.min(low, x);
                high = Math.max(high, x);
            }
        }
        return Math.max(TICK_SPACING, (int) (0.8 * ChartFile.WIDTH / Math.max(1, high - low)));
    }

    private static void addBand(XYChart chart, Curve curve, Color color) {
        if (curve.low().isEmpty()) {
            return;
        }
        double[] low = curve.low().get();
        double[] high = curve.high().orElseThrow();
        List<Integer> points = new ArrayList<>();
        for (int i = 0; i < low.length; i++) {
            if (Double.isFinite(low[i]) && Double.isFinite(high[i])) {
                points.add(i);
            }
        }
        if (points.isEmpty()) {
            return;
        }
        int count = points.size();
        double[] x = new double[2 * count];
        double[] y = new double[2 * count];
        for (int i = 0; i < count; i++) {
            int point = points.get(i);
            x[i] = curve.x()[point];
            y[i] = high[point];
            x[2 * count - 1 - i] = curve.x()[point];
            y[2 * count - 1 - i] = low[point];
        }
        XYSeries band = chart.addSeries("band of " + curve.name(), x, y);
        band.setXYSeriesRenderStyle(XYSeries.XYSeriesRenderStyle.PolygonArea);
        band.setFillColor(new Color(color.getRed(), color.getGreen(), color.getBlue(), BAND_ALPHA));
        band.setLineColor(new Color(0, true));
        band.setMarker(SeriesMarkers.NONE);
        band.setShowInLegend(false);
    }

    private static void requirePositive(Curve curve, Axes axes) {
        if (axes.logX) {
            requirePositive(curve, "x", curve.x());
        }
        if (axes.logY) {
            requirePositive(curve, "y", curve.y());
            curve.low().ifPresent(low -> requirePositive(curve, "the low end of its band", low));
        }
    }

    private static void requirePositive(Curve curve, String what, double[] values) {
        for (double value : values) {
            if (value <= 0) {
                throw new IllegalArgumentException(
                        "curve \"" + curve.name() + "\": " + what + " = " + value + " on a logarithmic axis");
            }
        }
    }
}
