package stormsight.bench;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import stormsight.report.BarFigure;

/** Rows as bars: a group for each row, a bar in it for each configuration. */
public final class ResultFigure {
    private ResultFigure() {}

    /**
     * Draws the warm rows; cold ones, which would dwarf them, go into a file of their own whose name has {@code -cold}
     * before its ending.
     *
     * @param file ends in .svg or .png
     * @throws stormsight.report.FigureException if a file cannot be written
     */
    public static void write(Path file, List<Row> rows) {
        boolean answers = rows.stream().flatMap(row -> row.trial().stream()).anyMatch(trial -> trial.part().answers());
        String title = answers ? "Parts of an answer" : "Parts of an embedding";
        write(file, title, "ms", 1, rows.stream().filter(row -> !row.cold()).toList());
        List<Row> cold = rows.stream().filter(Row::cold).toList();
        if (!cold.isEmpty()) {
            String name = file.getFileName().toString();
            int dot = name.lastIndexOf('.');
            write(
                    file.resolveSibling(name.substring(0, dot) + "-cold" + name.substring(dot)),
                    "Parts of a cold start",
                    "s",
                    1e-3,
                    cold);
        }
    }

    private static void write(Path file, String title, String unit, double perMillisecond, List<Row> rows) {
        List<String> groups = rows.stream().map(Row::name).distinct().toList();
        List<List<Row>> configurations = configurations(rows);
        List<String> labels = Labels.distinct(configurations.stream()
                .map(own -> label(own.getFirst().setting()))
                .toList());
        Map<String, double[]> series = new LinkedHashMap<>();
        Map<String, double[]> deviations = new LinkedHashMap<>();
        for (int i = 0; i < labels.size(); i++) {
            double[] bars = new double[groups.size()];
            double[] lines = new double[groups.size()];
            Arrays.fill(bars, Double.NaN);
            for (Row row : configurations.get(i)) {
                int group = groups.indexOf(row.name());
                bars[group] = row.mean() * perMillisecond;
                lines[group] = row.deviation().orElse(0) * perMillisecond;
            }
            series.put(labels.get(i), bars);
            deviations.put(labels.get(i), lines);
        }
        boolean several =
                deviations.values().stream().flatMapToDouble(Arrays::stream).anyMatch(deviation -> deviation > 0);
        BarFigure.write(
                file,
                title + ", " + rows.getFirst().machine().cpu(),
                unit + (several ? ", mean and standard deviation" : ""),
                groups,
                series,
                deviations);
    }

    /**
     * Rows of one after the other; models of the same name in different directories have the same setting, but begin
     * again.
     */
    private static List<List<Row>> configurations(List<Row> rows) {
        List<List<Row>> configurations = new ArrayList<>();
        String first = rows.getFirst().name();
        Setting last = null;
        for (Row row : rows) {
            if (!row.setting().equals(last) || row.name().equals(first)) {
                configurations.add(new ArrayList<>());
            }
            configurations.getLast().add(row);
            last = row.setting();
        }
        return configurations;
    }

    private static String label(Setting setting) {
        return setting.model() + ", " + setting.dtype() + ", " + setting.backend() + " " + setting.deviceId()
                + setting.threads().map(count -> ", " + count + (count == 1 ? " thread" : " threads")).orElse("");
    }
}
