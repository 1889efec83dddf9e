package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import stormsight.report.CurveFigure;
import stormsight.report.OutputFile;
import stormsight.report.ReportData.Fact;
import stormsight.study.ExampleResult;
import stormsight.study.MeanBand;
import tools.jackson.databind.json.JsonMapper;

/** Options that say where the findings of an experiment go. */
final class FindingsMixin {
    @Spec(Spec.Target.MIXEE)
    private CommandSpec spec;

    @Mixin
    private ReportMixin html;

    @Option(names = {"-o", "--out"}, paramLabel = "DIR", description = "Where curves (SVG, PNG), numbers (CSV, JSON) and the result of every example go. "
            + "The same command goes on where it was stopped.")
    private Optional<Path> out = Optional.empty();

    @Option(names = "--json", description = "Print one JSON object instead of a table.")
    private boolean json;

    /** Before anything is computed. */
    void check(ExampleMixin examples) {
        html.requireWritable();
        if (examples.isDataset() && out.isEmpty()) {
            throw new UsageException("--dataset needs --out");
        }
    }

    Optional<Path> folder() {
        return out;
    }

    /** Tells failures on standard error, writes the files and the page, and tells JSON or a table on standard output. */
    <R extends ExampleResult> void tell(Findings<R> findings) {
        Outcome<R> outcome = findings.outcome();
        outcome.failures().forEach(spec.commandLine().getErr()::println);
        String object = JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(json(findings));
        out.ifPresent(folder -> {
            OutputFile.write(folder.resolve(findings.name() + ".json"), object + "\n");
            OutputFile.write(folder.resolve(findings.name() + ".csv"), findings.examplesCsv());
            OutputFile.write(folder.resolve("curves.csv"), findings.curvesCsv());
            findings.figures().forEach((name, set) -> {
                for (String ending : new String[] {".svg", ".png"}) {
                    CurveFigure.write(folder.resolve(name + ending), set.title(), set.xLabel(), set.yLabel(), set.curves());
                }
            });
        });
        if (html.isWanted()) {
            html.write(page(findings), outcome.model(), outcome.device());
        }
        PrintWriter standard = spec.commandLine().getOut();
        if (json) {
            standard.println(object);
        } else {
            findings.print(standard);
        }
        standard.flush();
    }

    private static <R extends ExampleResult> Map<String, Object> json(Findings<R> findings) {
        Outcome<R> outcome = findings.outcome();
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("examples", outcome.counts());
        object.put("band", MeanBand.METHOD);
        object.put("curves", findings.curves());
        object.put("results", outcome.results().stream().map(result -> json(findings, result)).toList());
        object.put("settings", outcome.settings());
        object.put("model", outcome.model());
        object.put("device", outcome.device().title());
        object.put("version", Version.text());
        return object;
    }

    private static <R extends ExampleResult> Map<String, Object> json(Findings<R> findings, R result) {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("line", result.line());
        object.put("image", result.image());
        object.put("question", result.question());
        result.dropped().ifPresent(reason -> object.put("dropped", reason));
        result.detail().ifPresent(detail -> object.put("detail", detail));
        result.prediction().ifPresent(prediction -> object.put("prediction", prediction));
        object.putAll(findings.measured(result));
        return object;
    }

    private static ReportMixin.Page page(Findings<?> findings) {
        Outcome<?> outcome = findings.outcome();
        List<Fact> facts = new ArrayList<>(outcome.facts());
        facts.addAll(findings.facts());
        return new ReportMixin.Page(findings.title(), facts, outcome.examples().image(), List.of(), List.copyOf(findings.figures().values()),
                outcome.tables());
    }
}
