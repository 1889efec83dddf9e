package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import stormsight.analysis.MeanBand;
import stormsight.backend.Backend;
import stormsight.backend.DeviceInfo;
import stormsight.figure.Curve;
import stormsight.figure.OutputFile;
import stormsight.figure.ReportData;
import stormsight.figure.ReportData.Fact;
import stormsight.session.LensResult;
import stormsight.session.LensSession;
import stormsight.session.ModelDirectory;
import tools.jackson.databind.json.JsonMapper;

/** Reads the answer's probability after every layer. */
@Command(name = "lens", description = {
    "How an answer forms: the state of the prompt's last token after each layer, read through the model's own head as if it were the last. Shows the "
        + "probability of chosen tokens, by default the first token of the answer in lower case and capitalised.",
    "Layer 0 is the embeddings. Without the final norm the last point is behind it, as in the published curves."})
final class Lens implements Runnable {
    @Spec
    private CommandSpec spec;

    @Mixin
    private ModelMixin model;

    @Mixin
    private BackendMixin backendOptions;

    @Mixin
    private ExampleMixin examples;

    @Mixin
    private ReportMixin html;

    @Option(names = "--token", paramLabel = "TEXT", description = "A text whose first token to follow as well; may be repeated.")
    private List<String> tokens = new ArrayList<>();

    @Option(names = {"-o", "--out"}, paramLabel = "DIR", description = "Where curves (SVG, PNG), numbers (CSV, JSON) and the result of every example go. "
            + "The same command goes on where it was stopped.")
    private Optional<Path> out = Optional.empty();

    @Option(names = "--json", description = "Print one JSON object instead of a table.")
    private boolean json;

    @Override
    public void run() {
        List<String> texts = List.copyOf(new LinkedHashSet<>(tokens));
        if (texts.contains("") || texts.contains(LensResult.LOWER_CASE) || texts.contains(LensResult.CAPITALISED)) {
            throw new UsageException("--token: not a text to follow");
        }
        List<ExampleMixin.Asking> askings = examples.read(List.of(), Optional.empty());
        html.requireWritable();
        if (examples.isDataset() && out.isEmpty()) {
            throw new UsageException("--dataset needs --out");
        }
        PrintWriter err = spec.commandLine().getErr();
        Progress progress = new Progress(err, Environment.terminal());
        Interruption interruption = new Interruption(progress, err);
        try (ModelDirectory directory = model.open(); Backend backend = backendOptions.open()) {
            Map<String, String> recorded = Study.settings("lens", model, directory, backend);
            examples.describe(recorded, askings);
            recorded.put("tokens", texts.toString());
            try (Study<LensResult> study = Study.open(out, recorded, LensResult.class, LensResult::line, LensResult::unread)) {
                List<ExampleMixin.Asking> remaining = study.remaining(askings);
                if (!remaining.isEmpty()) {
                    try (LensSession session = LensSession.open(directory, backend, examples.limits(directory, askings), model.options(), progress)) {
                        study.run(remaining, progress, asking ->
                                LensResult.of(session, directory, asking.example(), asking.prompt(), examples.maxTokens(), texts));
                    }
                }
                report(new Report(recorded, backend.device(), study.results(askings)), askings, err);
            }
        } finally {
            interruption.over();
        }
    }

    private void report(Report report, List<ExampleMixin.Asking> askings, PrintWriter err) {
        report.results.stream().filter(result -> result.detail().isPresent()).forEach(result ->
                err.println("line " + result.line() + ": " + result.dropped().orElse("") + ": " + result.detail().get()));
        String object = JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(report.json(model.name()));
        out.ifPresent(folder -> {
            OutputFile.write(folder.resolve("lens.json"), object + "\n");
            OutputFile.write(folder.resolve("lens.csv"), report.examples());
            OutputFile.write(folder.resolve("curves.csv"), report.curves());
            report.draw(folder);
        });
        if (html.isWanted()) {
            html.write(new ReportMixin.Findings("How the answer forms", report.facts(examples, askings), examples.image(), List.of(),
                    report.sets(), report.tables(examples)), model.name(), report.device);
        }
        PrintWriter standard = spec.commandLine().getOut();
        if (json) {
            standard.println(object);
        } else {
            report.print(standard, examples.isDataset());
        }
        standard.flush();
    }

    /** What is told about all examples. */
    private record Report(Map<String, String> settings, DeviceInfo device, List<LensResult> results) {
        private List<LensResult> kept() {
            return results.stream().filter(result -> result.dropped().isEmpty()).toList();
        }

        private Map<String, Integer> dropped() {
            return Study.count(results.stream().flatMap(result -> result.dropped().stream()).toList());
        }

        /** By name of the curve, probabilities in percent. */
        private Map<String, MeanBand> bands(boolean normed) {
            Function<LensResult, Map<String, double[]>> of = normed ? LensResult::normed : LensResult::raw;
            Map<String, List<double[]>> rows = new LinkedHashMap<>();
            for (LensResult result : kept()) {
                of.apply(result).forEach((name, probabilities) -> rows.computeIfAbsent(name, _ -> new ArrayList<>())
                        .add(Arrays.stream(probabilities).map(probability -> 100 * probability).toArray()));
            }
            Map<String, MeanBand> bands = new LinkedHashMap<>();
            rows.forEach((name, all) -> bands.put(name, MeanBand.of(all)));
            return bands;
        }

        void print(PrintWriter out, boolean many) {
            if (many) {
                out.println(Study.kept(kept().size(), results.size(), dropped()));
            } else {
                LensResult only = results.getFirst();
                out.println("answer '" + only.prediction().orElse("") + "'");
                only.tokens().forEach((name, token) -> out.println(name + ": token '" + token + "'"));
            }
            for (boolean normed : new boolean[] {true, false}) {
                Map<String, MeanBand> bands = bands(normed);
                if (bands.isEmpty()) {
                    return;
                }
                out.println("probability in percent, " + norm(normed) + (many ? "; " + MeanBand.METHOD : ""));
                out.println("layer  " + String.join("  ", bands.keySet().stream().map(name -> String.format(Locale.ROOT, "%-20s", name)).toList())
                        .stripTrailing());
                for (int layer = 0; layer < bands.values().iterator().next().mean().length; layer++) {
                    StringBuilder row = new StringBuilder(String.format(Locale.ROOT, "%5d", layer));
                    for (MeanBand band : bands.values()) {
                        String cell = band.examples() == 1 ? String.format(Locale.ROOT, "%.3f", band.mean()[layer])
                                : String.format(Locale.ROOT, "%.2f [%.2f, %.2f]", band.mean()[layer], band.low()[layer], band.high()[layer]);
                        row.append("  ").append(String.format(Locale.ROOT, "%-20s", cell));
                    }
                    out.println(row.toString().stripTrailing());
                }
            }
        }

        private static String norm(boolean normed) {
            return (normed ? "with" : "without") + " the final norm";
        }

        void draw(Path folder) {
            for (boolean normed : new boolean[] {true, false}) {
                set(normed).ifPresent(set -> Study.draw(folder, normed ? "lens-normed" : "lens", set));
            }
        }

        List<ReportData.CurveSet> sets() {
            return Stream.of(true, false).flatMap(normed -> set(normed).stream()).toList();
        }

        /** Absent if no example was kept. */
        private Optional<ReportData.CurveSet> set(boolean normed) {
            List<Curve> curves = new ArrayList<>();
            bands(normed).forEach((name, band) -> curves.add(Study.curve(name, band)));
            boolean many = kept().size() > 1;
            return curves.isEmpty() ? Optional.empty() : Optional.of(new ReportData.CurveSet("How the answer forms, " + norm(normed)
                    + (many ? " (n = " + kept().size() + ")" : ""), many ? MeanBand.METHOD : "", "Layer", "Probability (%)", curves));
        }

        List<Fact> facts(ExampleMixin examples, List<ExampleMixin.Asking> askings) {
            List<Fact> facts = new ArrayList<>(examples.facts(askings));
            facts.add(examples.isDataset() ? new Fact("Examples", Study.kept(kept().size(), results.size(), dropped()))
                    : new Fact("Answer", results.getFirst().prediction().orElse("")));
            return facts;
        }

        /** What became of every example of a data set. */
        List<ReportData.Table> tables(ExampleMixin examples) {
            return !examples.isDataset() ? List.of() : List.of(Study.table(results.stream().map(result -> List.of(String.valueOf(result.line()),
                    result.image(), result.question(), result.prediction().orElse(""), result.dropped().orElse("yes"))).toList()));
        }

        /** One row a curve, layer and example. */
        String examples() {
            Csv csv = new Csv("line", "image", "question", "prediction", "curve", "token", "layer", "probability", "probability_normed");
            for (LensResult result : kept()) {
                result.raw().forEach((name, raw) -> {
                    for (int layer = 0; layer < raw.length; layer++) {
                        csv.row(result.line(), result.image(), result.question(), result.prediction().orElse(""), name, result.tokens().get(name), layer,
                                raw[layer], result.normed().get(name)[layer]);
                    }
                });
            }
            return csv.toString();
        }

        /** One row a curve and layer. */
        String curves() {
            Csv csv = new Csv("curve", "final_norm", "layer", "examples", "mean_percent", "low", "high");
            for (boolean normed : new boolean[] {true, false}) {
                bands(normed).forEach((name, band) -> {
                    for (int layer = 0; layer < band.mean().length; layer++) {
                        csv.row(name, normed, layer, band.examples(), band.mean()[layer], band.low()[layer], band.high()[layer]);
                    }
                });
            }
            return csv.toString();
        }

        Map<String, Object> json(String model) {
            Map<String, Object> counts = new LinkedHashMap<>();
            counts.put("all", results.size());
            counts.put("kept", kept().size());
            counts.put("dropped", dropped());
            List<Object> curves = new ArrayList<>();
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
            Map<String, Object> object = new LinkedHashMap<>();
            object.put("examples", counts);
            object.put("band", MeanBand.METHOD);
            object.put("curves", curves);
            object.put("results", results.stream().map(Report::json).toList());
            object.put("settings", settings);
            object.put("model", model);
            object.put("device", device.name() + ", " + device.runtime());
            object.put("version", Version.text());
            return object;
        }

        private static Map<String, Object> json(LensResult result) {
            Map<String, Object> object = new LinkedHashMap<>();
            object.put("line", result.line());
            object.put("image", result.image());
            object.put("question", result.question());
            result.dropped().ifPresent(reason -> object.put("dropped", reason));
            result.detail().ifPresent(detail -> object.put("detail", detail));
            result.prediction().ifPresent(prediction -> object.put("prediction", prediction));
            Map<String, Object> curves = new LinkedHashMap<>();
            result.tokens().forEach((name, token) -> curves.put(name,
                    Map.of("token", token, "probability", result.raw().get(name), "probability_normed", result.normed().get(name))));
            object.put("curves", curves);
            return object;
        }
    }
}
