package stormsight.study;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import stormsight.probe.Edge;
import stormsight.probe.Flow;
import stormsight.probe.FlowGroup;
import stormsight.report.Count;
import stormsight.report.Csv;
import stormsight.report.Curve;
import stormsight.report.ReportData.Fact;
import stormsight.report.ReportData;
import stormsight.report.TextTable;

/** How the flows change the answers' probabilities. */
public record KnockoutFindings(List<FlowGroup> groups, List<Flow> flows, Outcome<KnockoutResult> outcome)
        implements Findings<KnockoutResult> {
    @Override
    public String name() {
        return "knockout";
    }

    @Override
    public String title() {
        return "Which flows of attention the answer depends on";
    }

    private List<KnockoutResult> of(Flow flow) {
        return outcome.kept().stream().filter(result -> result.pKo().containsKey(flow.name())).toList();
    }

    private Map<String, Integer> leftOut(Flow flow) {
        return Outcome.count(outcome.kept().stream().filter(result -> result.leftOut().containsKey(flow.name()))
                .map(result -> result.leftOut().get(flow.name())).toList());
    }

    /** Absent if no example has it. */
    private Optional<MeanBand> band(Flow flow) {
        List<double[]> rows = of(flow).stream().map(result -> result.percent(flow.name())).toList();
        return rows.isEmpty() ? Optional.empty() : Optional.of(MeanBand.of(rows));
    }

    @Override
    public void print(PrintWriter out) {
        boolean many = outcome.many();
        if (many) {
            out.println(outcome.summary());
            for (Flow flow : flows) {
                leftOut(flow).forEach((reason, count) -> out.println(
                        flow.name() + " skipped for " + Count.text(count, "question") + ": " + reason));
            }
        } else {
            KnockoutResult only = outcome.results().getFirst();
            out.println(String.format(
                    Locale.ROOT,
                    "answer '%s', base token '%s', probability %.4f",
                    only.prediction().orElse(""),
                    only.baseToken().orElse(""),
                    only.pBase()));
        }
        Map<Flow, MeanBand> bands = new LinkedHashMap<>();
        flows.forEach(flow -> band(flow).ifPresent(band -> bands.put(flow, band)));
        boolean banded = bands.values().stream().anyMatch(band -> band.examples() > 1);
        out.println("change in probability of the " + outcome.settings().get("measure") + ", percent"
                + (banded ? "; " + MeanBand.METHOD : ""));
        if (bands.isEmpty()) {
            return;
        }
        List<String> header = new ArrayList<>(List.of(">layer"));
        bands.keySet().forEach(flow -> header.add(">" + flow.name()));
        TextTable table = new TextTable(header);
        for (int layer = 0; layer < bands.values().iterator().next().mean().length; layer++) {
            List<String> row = new ArrayList<>(List.of(String.valueOf(layer)));
            for (MeanBand band : bands.values()) {
                row.add(band.text(layer, 2));
            }
            table.row(row);
        }
        if (many) {
            List<String> counts = new ArrayList<>(List.of("n"));
            bands.values().forEach(band -> counts.add(String.valueOf(band.examples())));
            table.row(counts);
        }
        out.print(table.plain());
    }

    @Override
    public Map<String, ReportData.CurveSet> figures() {
        Map<String, ReportData.CurveSet> figures = new LinkedHashMap<>();
        groups.forEach(group -> set(group).ifPresent(set -> figures.put(group.name(), set)));
        return figures;
    }

    /** Absent if no example has any of the flows. */
    private Optional<ReportData.CurveSet> set(FlowGroup group) {
        List<Curve> curves = new ArrayList<>();
        int most = 0;
        for (Flow flow : group.flows()) {
            Optional<MeanBand> band = band(flow);
            if (band.isPresent()) {
                curves.add(Findings.curve(label(flow), band.get()));
                most = Math.max(most, band.get().examples());
            }
        }
        return curves.isEmpty()
                ? Optional.empty()
                : Optional.of(new ReportData.CurveSet(
                        group.title() + (most > 1 ? " (n = " + most + ")" : ""),
                        most > 1 ? MeanBand.METHOD : "",
                        "Layer",
                        "Change in probability (%)",
                        curves));
    }

    @Override
    public List<Fact> facts() {
        Map<String, String> settings = outcome.settings();
        List<Fact> facts = new ArrayList<>();
        if (!outcome.many()) {
            facts.add(new Fact(
                    "Probability",
                    String.format(
                                    Locale.ROOT,
                                    "%.4f",
                                    outcome.results().getFirst().pBase()) + " of " + settings.get("measure")
                            + ", nothing blocked"));
        }
        facts.add(new Fact(
                "Window",
                settings.get("window")
                        + (settings.get("window").equals("1") ? " layer, " : " layers, ")
                        + (settings.get("heads").equals("all") ? "all heads" : "heads " + settings.get("heads"))));
        return facts;
    }

    private static String label(Flow flow) {
        return flow.edges().isEmpty() ? "none" : String.join(", ", flow.edges().stream().map(Edge::toString).toList());
    }

    /** One row a flow, layer and example. */
    @Override
    public String examplesCsv() {
        Csv csv = new Csv(
                "line",
                "image",
                "question",
                "prediction",
                "base_token",
                "p_base",
                "flow",
                "layer",
                "p_ko",
                "percent_change");
        for (KnockoutResult result : outcome.kept()) {
            result.pKo().forEach((flow, probabilities) -> {
                double[] percent = result.percent(flow);
                for (int layer = 0; layer < percent.length; layer++) {
                    csv.row(
                            result.line(),
                            result.image(),
                            result.question(),
                            result.prediction().orElse(""),
                            result.baseToken().orElse(""),
                            result.pBase(),
                            flow,
                            layer,
                            probabilities[layer],
                            percent[layer]);
                }
            });
        }
        return csv.toString();
    }

    /** One row a flow and layer. */
    @Override
    public String curvesCsv() {
        Csv csv = new Csv("flow", "layer", "examples", "mean_percent_change", "low", "high");
        flows.forEach(flow -> band(flow).ifPresent(band -> {
            for (int layer = 0; layer < band.mean().length; layer++) {
                csv.row(flow.name(), layer, band.examples(), band.mean()[layer], band.low()[layer], band.high()[layer]);
            }
        }));
        return csv.toString();
    }

    @Override
    public List<Map<String, Object>> curves() {
        return flows.stream().map(this::curve).toList();
    }

    private Map<String, Object> curve(Flow flow) {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("flow", flow.name());
        object.put("edges", flow.edges().stream().map(Edge::toString).toList());
        object.put("examples", of(flow).size());
        object.put("left_out", leftOut(flow));
        band(flow).ifPresent(band -> {
            object.put("mean_percent_change", band.mean());
            object.put("low", band.low());
            object.put("high", band.high());
        });
        return object;
    }

    @Override
    public Map<String, Object> measured(KnockoutResult result) {
        Map<String, Object> object = new LinkedHashMap<>();
        if (result.dropped().isEmpty()) {
            object.put("base_token", result.baseToken().orElse(""));
            object.put("p_base", result.pBase());
            Map<String, Object> measured = new LinkedHashMap<>();
            result.pKo().forEach((flow, probabilities) -> {
                Map<String, double[]> change = new LinkedHashMap<>();
                change.put("p_ko", probabilities);
                change.put("percent_change", result.percent(flow));
                measured.put(flow, change);
            });
            object.put("flows", measured);
            object.put("left_out", result.leftOut());
        }
        return object;
    }
}
