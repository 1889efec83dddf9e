package stormsight.report;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.knowm.xchart.CategoryChart;
import org.knowm.xchart.CategorySeries;
import org.knowm.xchart.style.CategoryStyler;

/** Bars in groups, as SVG or PNG: measurements side by side. */
public final class BarFigure {
    /** Part of the highest bar's height that a number inside a bar needs. */
    private static final double LABELLED = 0.08;

    /** Group names of more characters are turned, so that they do not run into each other. */
    private static final int LETTERS_ACROSS = 90;

    private BarFigure() {}

    /**
     * Draws one bar a group for every series, with its number inside where all bars are tall enough.
     *
     * @param file ends in .svg or .png, in any case
     * @param groups names below the bars
     * @param series by name, in the order of the map: a number for every group, NaN where there is none
     * @param errors by name of the series, how far a line goes up and down from the end of each bar, NaN for none; may
     *     lack series
     * @throws IllegalArgumentException for another ending, or if a series has not as many numbers as there are groups
     * @throws FigureException if the file cannot be written or no font is found
     */
    public static void write(Path file, String title, String yLabel, List<String> groups, Map<String, double[]> series,
            Map<String, double[]> errors) {
        ChartFile.requireEnding(file);
        if (groups.isEmpty() || series.isEmpty()) {
            throw new IllegalArgumentException(
                    "a figure of " + groups.size() + " groups and " + series.size() + " series");
        }
        CategoryChart chart = new CategoryChart(ChartFile.WIDTH, ChartFile.height(series.keySet()));
        CategoryStyler styler = chart.getStyler();
        ChartFile.style(chart, styler, title, series.keySet());
        chart.setYAxisTitle(yLabel);
        styler.setAvailableSpaceFill(0.8);
        boolean gaps =
                series.values().stream().flatMapToDouble(Arrays::stream).anyMatch(value -> !Double.isFinite(value));
        // XChart cannot write numbers where some are missing beside lines.
        styler.setLabelsVisible(tallEnough(series) && (errors.isEmpty() || !gaps));
        styler.setLabelsFont(Fonts.plain(13));
        styler.setPlotGridVerticalLinesVisible(false);
        styler.setErrorBarsColor(Drawing.INK);
        if (groups.stream().mapToInt(String::length).sum() > LETTERS_ACROSS) {
            styler.setXAxisLabelRotation(30);
        }
        series.forEach((name, values) -> {
            if (values.length != groups.size()) {
                throw new IllegalArgumentException(
                        "series \"" + name + "\": " + values.length + " numbers for " + groups.size() + " groups");
            }
            List<Double> heights = Arrays.stream(values)
                    .mapToObj(value -> Double.isFinite(value) ? (Double) value : null)
                    .toList();
            double[] error = errors.getOrDefault(name, new double[groups.size()]);
            if (error.length != groups.size()) {
                throw new IllegalArgumentException(
                        "series \"" + name + "\": " + error.length + " errors for " + groups.size() + " groups");
            }
            List<Double> lines = Arrays.stream(error)
                    .mapToObj(value -> Double.isFinite(value) ? value : 0)
                    .toList();
            // Where there are lines, NaN stands for what is missing, which XChart does not draw.
            CategorySeries bars = lines.stream().allMatch(value -> value == 0)
                    ? chart.addSeries(name, groups, heights)
                    : chart.addSeries(
                            name, groups, Arrays.stream(values).boxed().toList(), lines);
            bars.setLineColor(bars.getFillColor());
        });
        String description = yLabel + " of " + String.join("; ", groups) + ": " + String.join("; ", series.keySet());
        ChartFile.write(file, chart, title, description);
    }

    private static boolean tallEnough(Map<String, double[]> series) {
        double highest = 0;
        double lowest = Double.POSITIVE_INFINITY;
        for (double[] values : series.values()) {
            for (double value : values) {
                if (Double.isFinite(value)) {
                    highest = Math.max(highest, Math.abs(value));
                    lowest = Math.min(lowest, Math.abs(value));
                }
            }
        }
        return lowest >= LABELLED * highest;
    }
}
