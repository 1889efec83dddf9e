package stormsight.study;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import stormsight.report.Csv;
import stormsight.report.Curve;
import stormsight.report.ReportData.Fact;
import stormsight.report.ReportData;
import stormsight.report.TextTable;

/** How the answers form. */
public record LensFindings(Outcome<LensResult> outcome) implements Findings<LensResult> {
    /** The setting that names the position whose states are read; absent for the last one. */
    public static final String POSITION = "position";

    @Override
    public String name() {
        return "lens";
    }

    @Override
    public String title() {
        return "How the answer forms";
    }

    @Override
    public List<Fact> facts() {
        return position().map(read -> new Fact("Position", read)).stream().toList();
    }

    /** Whose states were read, if not those of the prompt's last token by default. */
    private Optional<String> position() {
        String asked = outcome.settings().get(POSITION);
        return outcome.many() || asked == null
                ? Optional.ofNullable(asked)
                : outcome.results().getFirst().place().map(place -> place.position() + ", " + place.shown());
    }

    /** By name of the curve, probabilities in percent. */
    private Map<String, MeanBand> bands(boolean normed) {
        Function<LensResult, Map<String, double[]>> of = normed ? LensResult::normed : LensResult::raw;
        Map<String, List<double[]>> rows = new LinkedHashMap<>();
        for (LensResult result : outcome.kept()) {
            of.apply(result).forEach((name, probabilities) -> rows.computeIfAbsent(name, _ -> new ArrayList<>())
                    .add(Arrays.stream(probabilities).map(probability -> 100 * probability).toArray()));
        }
        Map<String, MeanBand> bands = new LinkedHashMap<>();
        rows.forEach((name, all) -> bands.put(name, MeanBand.of(all)));
        return bands;
    }

    @Override
    public void print(PrintWriter out) {
        boolean many = outcome.many();
        if (many) {
            out.println(outcome.summary());
        } else {
            LensResult only = outcome.results().getFirst();
            out.println("answer '" + only.prediction().orElse("") + "'");
            only.tokens().forEach((name, token) -> out.println(name + ": token '" + token + "'"));
        }
        position().ifPresent(read -> out.println("read at position " + read));
        for (boolean normed : new boolean[] {true, false}) {
            Map<String, MeanBand> bands = bands(normed);
            if (bands.isEmpty()) {
                continue;
            }
            boolean banded = bands.values().stream().anyMatch(band -> band.examples() > 1);
            out.println("probability in percent, " + norm(normed) + (banded ? "; " + MeanBand.METHOD : ""));
            List<String> header = new ArrayList<>(List.of(">layer"));
            bands.keySet().forEach(name -> header.add(">" + name));
            TextTable table = new TextTable(header);
            for (int layer = 0; layer < bands.values().iterator().next().mean().length; layer++) {
                List<String> row = new ArrayList<>(List.of(String.valueOf(layer)));
                for (MeanBand band : bands.values()) {
                    row.add(band.text(layer, banded ? 2 : 3));
                }
                table.row(row);
            }
            out.print(table.plain());
        }
        if (!many) {
            printTop(out, outcome.results().getFirst().top());
        }
    }

    /** The most probable tokens of each layer, for a single example. */
    private static void printTop(PrintWriter out, List<List<LensResult.Top>> top) {
        if (top.isEmpty() || top.getFirst().isEmpty()) {
            return;
        }
        List<String> header = new ArrayList<>(List.of(">layer"));
        for (int rank = 1; rank <= top.getFirst().size(); rank++) {
            header.add("token " + rank);
            header.add(">percent");
        }
        TextTable table = new TextTable(header);
        for (int layer = 0; layer < top.size(); layer++) {
            List<String> row = new ArrayList<>(List.of(String.valueOf(layer)));
            for (LensResult.Top each : top.get(layer)) {
                row.add("'" + each.token().replace("\n", "\\n").replace("\t", "\\t") + "'");
                row.add(TextTable.fixed(100 * each.probability(), 3));
            }
            table.row(row);
        }
        out.println("most probable tokens of each layer, " + norm(true));
        out.print(table.plain());
    }

    private static String norm(boolean normed) {
        return (normed ? "with" : "without") + " the final norm";
    }

    @Override
    public Map<String, ReportData.CurveSet> figures() {
        Map<String, ReportData.CurveSet> figures = new LinkedHashMap<>();
        for (boolean normed : new boolean[] {true, false}) {
            set(normed).ifPresent(set -> figures.put(normed ? "lens-normed" : "lens", set));
        }
        return figures;
    }

    /** Absent if no example was kept. */
    private Optional<ReportData.CurveSet> set(boolean normed) {
        List<Curve> curves = new ArrayList<>();
        bands(normed).forEach((name, band) -> curves.add(Findings.curve(name, band)));
        boolean several = outcome.kept().size() > 1;
        return curves.isEmpty()
                ? Optional.empty()
                : Optional.of(new ReportData.CurveSet(
                        "How the answer forms, " + position().map(read -> "position " + read + ", ").orElse("")
                                + norm(normed)
                                + (several ? " (n = " + outcome.kept().size() + ")" : ""),
                        several ? MeanBand.METHOD : "",
                        "Layer",
                        "Probability (%)",
                        curves));
    }

    /** One row a curve, layer and example. */
    @Override
    public String examplesCsv() {
        Csv csv = new Csv(
                "line",
                "image",
                "question",
                "prediction",
                "curve",
                "token",
                "layer",
                "probability",
                "probability_normed");
        for (LensResult result : outcome.kept()) {
            result.raw().forEach((name, raw) -> {
                for (int layer = 0; layer < raw.length; layer++) {
                    csv.row(
                            result.line(),
                            result.image(),
                            result.question(),
                            result.prediction().orElse(""),
                            name,
                            result.tokens().get(name),
                            layer,
                            raw[layer],
                            result.normed().get(name)[layer]);
                }
            });
        }
        return csv.toString();
    }

    /** One row a curve and layer. */
    @Override
    public String curvesCsv() {
        Csv csv = new Csv("curve", "final_norm", "layer", "examples", "mean_percent", "low", "high");
        for (boolean normed : new boolean[] {true, false}) {
            bands(normed).forEach((name, band) -> {
                for (int layer = 0; layer < band.mean().length; layer++) {
                    csv.row(
                            name,
                            normed,
                            layer,
                            band.examples(),
                            band.mean()[layer],
                            band.low()[layer],
                            band.high()[layer]);
                }
            });
        }
        return csv.toString();
    }

    @Override
    public List<Map<String, Object>> curves() {
        List<Map<String, Object>> curves = new ArrayList<>();
        for (boolean normed : new boolean[] {true, false}) {
            bands(normed).forEach((name, band) -> {
                Map<String, Object> curve = new LinkedHashMap<>();
                curve.put("curve", name);
                curve.put("final_norm", normed);
                curve.put("examples", band.examples());
                curve.put("mean_percent", band.mean());
                curve.put("low", band.low());
                curve.put("high", band.high());
                curves.add(curve);
            });
        }
        return curves;
    }

    @Override
    public Map<String, Object> measured(LensResult result) {
        Map<String, Object> curves = new LinkedHashMap<>();
        result.tokens().forEach((name, token) -> {
            Map<String, Object> curve = new LinkedHashMap<>();
            curve.put("token", token);
            curve.put("probability", result.raw().get(name));
            curve.put("probability_normed", result.normed().get(name));
            curves.put(name, curve);
        });
        Map<String, Object> measured = new LinkedHashMap<>();
        result.place().ifPresent(place -> {
            measured.put("position", place.position());
            place.token().ifPresent(token -> measured.put("position_token", token));
            place.imageRow().ifPresent(row -> measured.put("position_image_row", row));
        });
        measured.put("curves", curves);
        measured.put("top", result.top());
        return measured;
    }
}
