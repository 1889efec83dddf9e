package stormsight.report;

import java.awt.Color;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.markers.Marker;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * Points below a roof, as SVG or PNG: rates over intensity, both logarithmic, with the line that no point passes unless its data come from a cache.
 *
 * @see <a href="https://doi.org/10.1145/1498765.1498785">Williams, Waterman, Patterson: Roofline</a>
 */
public final class RooflineFigure {
    private static final int MARKER = 9;
    private static final Marker[] MARKERS = {SeriesMarkers.CIRCLE, SeriesMarkers.SQUARE, SeriesMarkers.DIAMOND, SeriesMarkers.TRIANGLE_UP};
    /** Room beyond the outermost points. */
    private static final double MARGIN = 2;

    private RooflineFigure() {}

    /**
     * A measured point.
     *
     * @param intensity operations for each byte, positive
     * @param rate G operations a second, positive
     */
    public record Point(double intensity, double rate) {
        public Point {
            if (!(intensity > 0 && rate > 0) || Double.isInfinite(intensity) || Double.isInfinite(rate)) {
                throw new IllegalArgumentException("a point at " + intensity + ", " + rate);
            }
        }
    }

    /**
     * Draws the roof and the points.
     *
     * @param file ends in .svg or .png, in any case
     * @param bandwidth GB/s
     * @param peak GFLOP/s
     * @param points by the name of their group, in the order of the map
     * @throws IllegalArgumentException for another ending, if there are no points, or if bandwidth or peak is not positive
     * @throws FigureException if the file cannot be written or no font is found
     */
    public static void write(Path file, String title, double bandwidth, double peak, Map<String, List<Point>> points) {
        ChartFile.requireEnding(file);
        List<Point> all = points.values().stream().flatMap(List::stream).toList();
        if (all.isEmpty()) {
            throw new IllegalArgumentException("a figure of no points");
        }
        if (!(bandwidth > 0 && peak > 0)) {
            throw new IllegalArgumentException("a roof of " + bandwidth + " GB/s and " + peak + " GFLOP/s");
        }
        double ridge = peak / bandwidth;
        double low = Math.min(ridge, all.stream().mapToDouble(Point::intensity).min().orElseThrow()) / MARGIN;
        double high = Math.max(ridge, all.stream().mapToDouble(Point::intensity).max().orElseThrow()) * MARGIN;
        String roof = String.format(Locale.ROOT, "ceiling: %.1f GB/s, %.1f GFLOP/s", bandwidth, peak);
        List<String> names = new ArrayList<>(List.of(roof));
        names.addAll(points.keySet());
        XYChart chart = new XYChart(ChartFile.WIDTH, ChartFile.height(names));
        XYStyler styler = chart.getStyler();
        ChartFile.style(chart, styler, title, names);
        chart.setXAxisTitle("floating-point operations per byte");
        chart.setYAxisTitle("GFLOP/s");
        styler.setXAxisLogarithmic(true);
        styler.setYAxisLogarithmic(true);
        styler.setMarkerSize(MARKER);
        XYSeries line = chart.addSeries(roof, new double[] {low, ridge, high}, new double[] {low * bandwidth, peak, peak});
        line.setMarker(SeriesMarkers.NONE);
        line.setLineColor(Color.DARK_GRAY);
        line.setLineWidth(2.2f);
        int group = 0;
        for (Map.Entry<String, List<Point>> entry : points.entrySet()) {
            if (entry.getValue().isEmpty()) {
                continue;
            }
            XYSeries series = chart.addSeries(entry.getKey(), entry.getValue().stream().mapToDouble(Point::intensity).toArray(),
                    entry.getValue().stream().mapToDouble(Point::rate).toArray());
            series.setXYSeriesRenderStyle(XYSeries.XYSeriesRenderStyle.Scatter);
            series.setMarker(MARKERS[group % MARKERS.length]);
            series.setMarkerColor(ChartFile.COLORS[group % ChartFile.COLORS.length]);
            group++;
        }
        ChartFile.write(file, chart, title, "GFLOP/s over operations per byte: " + String.join("; ", names));
    }
}
