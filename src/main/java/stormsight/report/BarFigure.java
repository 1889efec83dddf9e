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
     * @throws IllegalArgumentException for another ending, or if a series has not as many numbers as there are groups
     * @throws FigureException if the file cannot be written or no font is found
     */
    public static void write(Path file, String title, String yLabel, List<String> groups, Map<String, double[]> series) {
        ChartFile.requireEnding(file);
        if (groups.isEmpty() || series.isEmpty()) {
            throw new IllegalArgumentException("a figure of " + groups.size() + " groups and " + series.size() + " series");
        }
        CategoryChart chart = new CategoryChart(ChartFile.WIDTH, ChartFile.height(series.keySet()));
        CategoryStyler styler = chart.getStyler();
        ChartFile.style(chart, styler, title, series.keySet());
        chart.setYAxisTitle(yLabel);
        styler.setAvailableSpaceFill(0.8);
        styler.setLabelsVisible(tallEnough(series));
        styler.setLabelsFont(Fonts.plain(13));
        styler.setPlotGridVerticalLinesVisible(false);
        if (groups.stream().mapToInt(String::length).sum() > LETTERS_ACROSS) {
            styler.setXAxisLabelRotation(30);
        }
        series.forEach((name, values) -> {
            if (values.length != groups.size()) {
                throw new IllegalArgumentException("series \"" + name + "\": " + values.length + " numbers for " + groups.size() + " groups");
            }
            List<Double> heights = Arrays.stream(values).mapToObj(value -> Double.isFinite(value) ? (Double) value : null).toList();
            CategorySeries bars = chart.addSeries(name, groups, heights);
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
