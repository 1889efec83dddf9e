package stormsight.bench;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import stormsight.figure.BarFigure;

/** Rows as bars: a group for each row, a bar in it for each setting. */
public final class ResultFigure {
    private ResultFigure() {}

    /**
     * Draws the warm rows; cold ones, which would dwarf them, go into a file of their own whose name has {@code -cold} before its ending.
     *
     * @param file ends in .svg or .png
     * @throws stormsight.figure.FigureException if a file cannot be written
     */
    public static void write(Path file, List<Row> rows) {
        write(file, "Parts of an answer", "ms", 1, rows.stream().filter(row -> !row.cold()).toList());
        List<Row> cold = rows.stream().filter(Row::cold).toList();
        if (!cold.isEmpty()) {
            String name = file.getFileName().toString();
            int dot = name.lastIndexOf('.');
            write(file.resolveSibling(name.substring(0, dot) + "-cold" + name.substring(dot)), "Parts of a cold start", "s", 1e-3, cold);
        }
    }

    private static void write(Path file, String title, String unit, double perMillisecond, List<Row> rows) {
        List<String> groups = rows.stream().map(Row::name).distinct().toList();
        Map<String, double[]> series = new LinkedHashMap<>();
        for (Row row : rows) {
            double[] bars = series.computeIfAbsent(label(row.setting()), _ -> {
                double[] none = new double[groups.size()];
                Arrays.fill(none, Double.NaN);
                return none;
            });
            bars[groups.indexOf(row.name())] = row.mean() * perMillisecond;
        }
        BarFigure.write(file, title + ", " + rows.getFirst().machine().cpu(), unit, groups, series);
    }

    private static String label(Setting setting) {
        return setting.model() + ", " + setting.dtype() + ", " + setting.backend() + " " + setting.deviceId()
                + setting.threads().map(count -> ", " + count + (count == 1 ? " thread" : " threads")).orElse("");
    }
}
