package stormsight.report;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Locale;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.BitmapEncoder.BitmapFormat;
import org.knowm.xchart.VectorGraphicsEncoder;
import org.knowm.xchart.VectorGraphicsEncoder.VectorGraphicsFormat;
import org.knowm.xchart.internal.chartpart.Chart;
import org.knowm.xchart.style.AxesChartStyler;
import org.knowm.xchart.style.Styler;

/** What all charts have in common: their look, and the files that they go to. */
final class ChartFile {
    static final int WIDTH = 960;
    static final int HEIGHT = 600;

    /**
     * Okabe and Ito's colours, which people with any colour vision tell apart, without their yellow, too light for a
     * line on white.
     */
    static final Color[] COLORS = {
        new Color(0x0072B2),
        new Color(0xD55E00),
        new Color(0x009E73),
        new Color(0xCC79A7),
        new Color(0xE69F00),
        new Color(0x56B4E9),
        new Color(0x000000)
    };

    private static final Color GRID = new Color(0xdadce0);
    /** A title is centred over the plot, which begins right of the axis. */
    private static final int TITLE_WIDTH = WIDTH - 140;
    private static final int LEGEND_LINE = 26;
    /** What the legend's lines and gaps take beside a name. */
    private static final int LEGEND_SYMBOL = 60;

    private ChartFile() {}

    /** @throws IllegalArgumentException if a chart is not written to files of this ending */
    static void requireEnding(Path file) {
        ending(file);
    }

    private static String ending(Path file) {
        String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
        String ending = name.contains(".") ? name.substring(name.lastIndexOf('.')) : "";
        if (!ending.equals(".svg") && !ending.equals(".png")) {
            throw new IllegalArgumentException(file + ": a chart is written as .svg or .png, not "
                    + (ending.isEmpty() ? "without an ending" : "as " + ending));
        }
        return ending;
    }

    /** The height of a chart whose legend lies below it. */
    static int height(Collection<String> names) {
        return HEIGHT + (legendInRow(names) ? 0 : LEGEND_LINE * (names.size() - 1));
    }

    private static boolean legendInRow(Collection<String> names) {
        Font font = Fonts.plain(15);
        return names.stream().mapToDouble(name -> Fonts.width(font, name) + LEGEND_SYMBOL).sum() < WIDTH - 20;
    }

    static void style(Chart<?, ?> chart, AxesChartStyler styler, String title, Collection<String> names) {
        double size = 20;
        while (size > 11 && Fonts.width(Fonts.bold(size), title) > TITLE_WIDTH) {
            size--;
        }
        styler.setChartTitleFont(Fonts.bold(size));
        styler.setLegendFont(Fonts.plain(15));
        styler.setChartBackgroundColor(Color.WHITE);
        styler.setPlotBackgroundColor(Color.WHITE);
        styler.setPlotBorderVisible(false);
        styler.setChartFontColor(Drawing.INK);
        styler.setChartPadding(14);
        styler.setLegendBorderColor(Color.WHITE);
        styler.setLegendBackgroundColor(Color.WHITE);
        styler.setLegendPosition(Styler.LegendPosition.OutsideS);
        styler.setLegendLayout(legendInRow(names) ? Styler.LegendLayout.Horizontal : Styler.LegendLayout.Vertical);
        styler.setLegendVisible(!names.isEmpty());
        styler.setSeriesColors(COLORS);
        styler.setAxisTitleFont(Fonts.plain(16));
        styler.setAxisTickLabelsFont(Fonts.plain(14));
        styler.setAxisTickLabelsColor(Drawing.INK);
        styler.setAxisTickMarksColor(Drawing.INK);
        styler.setPlotGridLinesColor(GRID);
        styler.setPlotGridLinesStroke(new BasicStroke(1));
        styler.setPlotContentSize(0.96);
        chart.setTitle(Drawing.cut(title, Fonts.bold(size), TITLE_WIDTH));
    }

    /**
     * Writes a chart as SVG or PNG, by the file's ending.
     *
     * @param title and {@code description} go into an SVG as text for people who hear it and for search
     */
    static void write(Path file, Chart<?, ?> chart, String title, String description) {
        if (ending(file).equals(".png")) {
            OutputFile.write(file, out -> BitmapEncoder.saveBitmap(chart, out, BitmapFormat.PNG));
            return;
        }
        OutputFile.write(file, out -> {
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            VectorGraphicsEncoder.saveVectorGraphic(chart, bytes, VectorGraphicsFormat.SVG);
            String svg = bytes.toString(StandardCharsets.UTF_8);
            // Text is drawn as outlines, which no fonts change and no program reads: what the chart says goes beside
            // it.
            int inside = svg.indexOf('>', svg.indexOf("<svg")) + 1;
            out.write((svg.substring(0, inside) + "\n  <title>" + escape(title) + "</title>\n  <desc>"
                            + escape(description) + "</desc>" + svg.substring(inside))
                    .getBytes(StandardCharsets.UTF_8));
        });
    }

    private static String escape(String text) {
        return text.replaceAll("[\\p{Cntrl}&&[^\n\t]]", "?")
                .replace("&", "&amp;")
                .replace("<", "&lt;")
                .replace(">", "&gt;");
    }
}
