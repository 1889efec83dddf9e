package stormsight.report;

import java.awt.Color;
import java.awt.Font;
import java.awt.geom.Rectangle2D;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;
import org.knowm.xchart.AnnotationText;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.markers.Marker;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * Points below a roof, as SVG or PNG: rates over intensity, both logarithmic, with the line that no point passes unless
 * its data come from a cache.
 *
 * @see <a href="https://doi.org/10.1145/1498765.1498785">Williams, Waterman, Patterson: Roofline</a>
 */
public final class RooflineFigure {
    private static final int MARKER = 9;
    private static final Marker[] MARKERS = {
        SeriesMarkers.CIRCLE, SeriesMarkers.SQUARE, SeriesMarkers.DIAMOND, SeriesMarkers.TRIANGLE_UP
    };
    /** Room beyond the outermost points. */
    private static final double MARGIN = 2;
    private static final double HEAD_ROOM = 3;
    private static final double NAME_SIZE = 12;
    /** Pixels between points of a group that share a name. */
    private static final double NEAR = 13;
    /** Of the chart, where no names stand: axis, title and a margin. */
    private static final double LEFT_EDGE = 90;
    private static final double RIGHT_EDGE = 16;
    private static final double UPPER_EDGE = 50;
    /** Pixels between a point and its name beyond which a line leads from one to the other. */
    private static final double LEADING = 12;
    /** Rings around a point in which its name is tried. */
    private static final int RINGS = 6;

    private RooflineFigure() {}

    /**
     * A measured point.
     *
     * @param name stands beside it; may be empty
     * @param intensity operations for each byte, positive
     * @param rate G operations a second, positive
     */
    public record Point(String name, double intensity, double rate) {
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
     * @throws IllegalArgumentException for another ending, if there are no points, or if bandwidth or peak is not
     *     positive
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
        // Room for names above the ceiling. What is drawn later must not move the axes.
        styler.setYAxisMax(HEAD_ROOM * Math.max(peak, all.stream().mapToDouble(Point::rate).max().orElseThrow()));
        styler.setYAxisMin(Math.min(low * bandwidth, all.stream().mapToDouble(Point::rate).min().orElseThrow())
                / MARGIN);
        styler.setXAxisMin(low);
        styler.setXAxisMax(high);
        XYSeries line =
                chart.addSeries(roof, new double[] {low, ridge, high}, new double[] {low * bandwidth, peak, peak});
        line.setMarker(SeriesMarkers.NONE);
        line.setLineColor(Color.DARK_GRAY);
        line.setLineWidth(2.2f);
        int group = 0;
        for (Map.Entry<String, List<Point>> entry : points.entrySet()) {
            if (entry.getValue().isEmpty()) {
                continue;
            }
            XYSeries series = chart.addSeries(
                    entry.getKey(),
                    entry.getValue().stream().mapToDouble(Point::intensity).toArray(),
                    entry.getValue().stream().mapToDouble(Point::rate).toArray());
            series.setXYSeriesRenderStyle(XYSeries.XYSeriesRenderStyle.Scatter);
            series.setMarker(MARKERS[group % MARKERS.length]);
            series.setMarkerColor(color(group));
            group++;
        }
        name(chart, peak, points);
        ChartFile.write(file, chart, title, "GFLOP/s over operations per byte: " + String.join("; ", names));
    }

    private static Color color(int group) {
        return ChartFile.COLORS[group % ChartFile.COLORS.length];
    }

    /** Points of a group that lie together, on the screen. */
    private record Named(String name, double x, double y, Color color) {}

    /** Writes names beside points, where they cover the least of what is there. */
    private static void name(XYChart chart, double peak, Map<String, List<Point>> points) {
        Font font = Fonts.plain(NAME_SIZE);
        chart.getStyler().setAnnotationTextFont(font);
        chart.getStyler().setAnnotationTextFontColor(Drawing.FAINT);
        // Painted once, the chart knows where its axes are.
        BitmapEncoder.getBufferedImage(chart);
        List<Named> all = new ArrayList<>();
        List<Rectangle2D> taken = new ArrayList<>();
        double ceiling = chart.getScreenYFromChart(peak);
        taken.add(around(chart.getWidth() / 2.0, ceiling, chart.getWidth(), 4));
        int groups = 0;
        for (List<Point> group : points.values()) {
            if (group.isEmpty()) {
                continue;
            }
            List<Named> own = together(chart, group, color(groups++));
            own.forEach(named -> taken.add(around(named.x, named.y, MARKER + 2.0, MARKER + 2.0)));
            all.addAll(own);
        }
        for (Named named : all) {
            if (named.name.isEmpty()) {
                continue;
            }
            Rectangle2D place = place(named, Fonts.width(font, named.name), taken);
            taken.add(place);
            lead(chart, named, place);
            // Counted from the lower edge.
            chart.addAnnotation(
                    new AnnotationText(named.name, place.getCenterX(), chart.getHeight() - place.getCenterY(), true));
        }
    }

    /** Draws a line from a point to a name that does not stand beside it, since other points may be nearer to that. */
    private static void lead(XYChart chart, Named named, Rectangle2D place) {
        double x = Math.clamp(named.x, place.getMinX(), place.getMaxX());
        double y = Math.clamp(named.y, place.getMinY(), place.getMaxY());
        if (Math.hypot(x - named.x, y - named.y) <= LEADING) {
            return;
        }
        XYSeries line = chart.addSeries(
                "line " + chart.getSeriesMap().size(),
                new double[] {chart.getChartXFromCoordinate((int) named.x), chart.getChartXFromCoordinate((int) x)},
                new double[] {chart.getChartYFromCoordinate((int) named.y), chart.getChartYFromCoordinate((int) y)});
        line.setMarker(SeriesMarkers.NONE);
        line.setLineColor(named.color);
        line.setLineWidth(0.8f);
        line.setShowInLegend(false);
    }

    private static List<Named> together(XYChart chart, List<Point> group, Color color) {
        List<Named> found = new ArrayList<>();
        for (Point point : group) {
            double x = chart.getScreenXFromChart(point.intensity);
            double y = chart.getScreenYFromChart(point.rate);
            int near = IntStream.range(0, found.size())
                    .filter(i -> Math.hypot(found.get(i).x - x, found.get(i).y - y) < NEAR)
                    .findFirst()
                    .orElse(-1);
            if (near < 0) {
                found.add(new Named(point.name, x, y, color));
            } else if (!List.of(found.get(near).name.split(", ")).contains(point.name)) {
                Named one = found.get(near);
                found.set(near, new Named(one.name + ", " + point.name, one.x, one.y, color));
            }
        }
        return found;
    }

    private static Rectangle2D around(double x, double y, double width, double height) {
        return new Rectangle2D.Double(x - width / 2, y - height / 2, width, height);
    }

    /** Right of the point if that is free, otherwise at another side or farther away. */
    private static Rectangle2D place(Named named, double width, List<Rectangle2D> taken) {
        Rectangle2D best = null;
        double least = Double.POSITIVE_INFINITY;
        for (int ring = 0; ring < RINGS; ring++) {
            double away = MARKER + ring * NAME_SIZE * 0.8;
            for (int[] side : new int[][] {{1, 0}, {-1, 0}, {1, -1}, {-1, -1}, {1, 1}, {-1, 1}, {0, -1}, {0, 1}}) {
                Rectangle2D place = around(named.x + side[0] * (width / 2 + (side[1] == 0 ? away : 2)),
                        named.y + side[1] * away, width, NAME_SIZE);
                double beyond = Math.max(0, LEFT_EDGE - place.getMinX())
                        + Math.max(0, place.getMaxX() - (ChartFile.WIDTH - RIGHT_EDGE))
                        + Math.max(0, UPPER_EDGE - place.getMinY());
                double cost = taken.stream()
                                .mapToDouble(other -> Drawing.common(place, other))
                                .sum()
                        + 15 * ring
                        + 100 * beyond;
                if (cost < least) {
                    least = cost;
                    best = place;
                }
            }
        }
        return best;
    }
}
