package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import stormsight.backend.Backend;
import stormsight.image.Box;
import stormsight.model.ModelDirectory;
import stormsight.probe.Edge;
import stormsight.probe.Flow;
import stormsight.probe.FlowGroup;
import stormsight.probe.LayerWindow;
import stormsight.probe.TokenLayout;
import stormsight.report.Csv;
import stormsight.report.Curve;
import stormsight.report.ReportData.Fact;
import stormsight.report.ReportData;
import stormsight.study.KnockoutResult;
import stormsight.study.KnockoutSession;
import stormsight.study.MeanBand;

/** Takes flows of information away and measures what that does to an answer. */
@Command(name = "knockout", description = {
    "Attention knockout: in a window of layers around each layer, chosen tokens cannot read others. Shows by how much the probability of the "
        + "model's own answer changes, in percent of what it was.",
    "A->B means that queries in B do not read keys in A. Spans: image, question, last (the prompt's last token), generated, object (patches that --box "
        + "or --mask marks), other (all other patches), and tokens such as 12-15. Everything else stays as in the model.",
    "Flows with a name: image-to-last, question-to-last, last-to-last, image-to-question, object-to-question, other-to-question, question-to-image, "
        + "both-ways (image->question,question->image)."})
final class Knockout implements Runnable {
    private static final String ALL = "all";
    private static final String CHOSEN = "flows";

    @Spec
    private CommandSpec spec;

    @Mixin
    private ModelMixin model;

    @Mixin
    private BackendMixin backendOptions;

    @Mixin
    private ExampleMixin examples;

    @Mixin
    private FindingsMixin findings;

    @Option(names = "--flow", paramLabel = "NAME", description = "A flow by its name; may be repeated.")
    private List<String> flows = new ArrayList<>();

    @Option(names = "--edges", paramLabel = "EDGES",
            description = "Edges that are blocked together, such as 'image->last,question->last'; may be repeated.")
    private List<String> edges = new ArrayList<>();

    @Option(names = "--preset", paramLabel = "NAME", description = "Flows of a figure: to-last, question, patches, prefix, or all; may be repeated. "
            + "Default: all, without patches where nothing has a box.")
    private List<String> presets = new ArrayList<>();

    @Option(names = "--box", paramLabel = "X,Y,W,H", description = "Where the object is, in pixels of the image; may be repeated.")
    private List<String> boxes = new ArrayList<>();

    @Option(names = "--mask", paramLabel = "FILE", description = "An image in the size of the image, not black where the object is.")
    private Optional<Path> mask = Optional.empty();

    @Option(names = "--window", paramLabel = "K", defaultValue = "" + KnockoutSession.DEFAULT_WINDOW,
            description = "How many layers around each layer. Default: ${DEFAULT-VALUE}.")
    private int window;

    @Option(names = "--heads", paramLabel = "H,..", split = ",", description = "Query heads in which edges are blocked. Default: all.")
    private Set<Integer> heads = Set.of();

    @Option(names = "--whole-answer", description = "Measure the probability of the whole answer, its end included, instead of its first token.")
    private boolean wholeAnswer;

    @Override
    public void run() {
        KnockoutSession.Settings settings = settings();
        List<FlowGroup> chosen = groups();
        List<ExampleMixin.Asking> askings = examples.read(boxes(), mask);
        findings.check(examples);
        boolean objects = askings.stream().anyMatch(asking -> asking.example().hasObject());
        List<FlowGroup> groups = chosen.isEmpty() ? FlowGroup.PRESETS.stream().filter(group -> objects || !needsObject(group)).toList() : chosen;
        List<Flow> all = List.copyOf(new LinkedHashSet<>(groups.stream().flatMap(group -> group.flows().stream()).toList()));
        PrintWriter err = spec.commandLine().getErr();
        Progress progress = new Progress();
        Interruption interruption = new Interruption(progress, err);
        try (ModelDirectory directory = model.open(); Backend backend = backendOptions.open()) {
            Map<String, String> recorded = Study.settings("knockout", model, directory, backend);
            examples.describe(recorded, askings);
            recorded.put("flows", all.stream().map(flow -> flow.name() + " " + flow.edges()).toList().toString());
            recorded.put("window", String.valueOf(window));
            recorded.put("heads", heads.isEmpty() ? ALL : heads.stream().sorted().toList().toString());
            recorded.put("measure", wholeAnswer ? "whole answer" : "first token");
            try (Study<KnockoutResult> study = Study.open(findings.folder(), recorded, KnockoutResult.class)) {
                List<ExampleMixin.Asking> remaining = study.remaining(askings);
                if (!remaining.isEmpty()) {
                    try (KnockoutSession session = KnockoutSession.open(directory, backend, examples.limits(directory, askings), model.options(), progress)) {
                        study.run(remaining, progress, asking -> measure(session, directory, asking, all, settings));
                    }
                }
                int layers = directory.config().text().layers();
                if (layers > 1 && LayerWindow.around(0, window, layers).equals(LayerWindow.around(layers - 1, window, layers))) {
                    err.println("a window of " + window + " covers all " + layers + " layers wherever it stands: a smaller --window tells layers apart");
                }
                findings.tell(new Changes(groups, all,
                        new Outcome<>(examples, askings, recorded, model.name(), backend.device(), study.results(askings))));
            }
        } finally {
            interruption.over();
        }
    }

    private KnockoutResult measure(KnockoutSession session, ModelDirectory directory, ExampleMixin.Asking asking, List<Flow> all,
            KnockoutSession.Settings settings) {
        KnockoutResult result = KnockoutResult.of(session, directory, asking.example(), asking.prompt(), examples.maxTokens(), all, settings);
        if (!examples.isDataset()) {
            result.dropped().ifPresent(reason -> {
                throw new UsageException(result.detail().orElse(reason));
            });
            result.leftOut().forEach((flow, reason) -> {
                throw new UsageException(flow + ": " + reason);
            });
        }
        return result;
    }

    private KnockoutSession.Settings settings() {
        try {
            return new KnockoutSession.Settings(window, heads, wholeAnswer);
        } catch (IllegalArgumentException e) {
            throw new UsageException("--window " + window + " is not positive");
        }
    }

    private List<Box> boxes() {
        try {
            return boxes.stream().map(Box::parse).toList();
        } catch (IllegalArgumentException e) {
            throw new UsageException("--box: " + e.getMessage());
        }
    }

    /** Empty if nothing was chosen. */
    private List<FlowGroup> groups() {
        List<FlowGroup> groups = new ArrayList<>();
        try {
            for (String name : new LinkedHashSet<>(presets)) {
                if (name.equals(ALL)) {
                    groups.addAll(FlowGroup.PRESETS);
                } else {
                    groups.add(FlowGroup.preset(name));
                }
            }
            Set<Flow> named = new LinkedHashSet<>();
            flows.forEach(name -> named.add(Flow.preset(name)));
            edges.forEach(text -> named.add(Flow.ofEdges(text)));
            if (!named.isEmpty()) {
                groups.add(new FlowGroup(CHOSEN, "Blocked flows", List.copyOf(named)));
            }
        } catch (IllegalArgumentException e) {
            throw new UsageException(e.getMessage());
        }
        return List.copyOf(new LinkedHashSet<>(groups));
    }

    private static boolean needsObject(FlowGroup group) {
        return group.flows().stream().anyMatch(flow -> flow.names(TokenLayout.OBJECT) || flow.names(TokenLayout.OTHER));
    }

    /** How the flows change the answers' probabilities. */
    private record Changes(List<FlowGroup> groups, List<Flow> flows, Outcome<KnockoutResult> outcome) implements Findings<KnockoutResult> {
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
                    leftOut(flow).forEach((reason, count) -> out.println(flow.name() + " left out of " + count + ": " + reason));
                }
            } else {
                KnockoutResult only = outcome.results().getFirst();
                out.println(String.format(Locale.ROOT, "answer '%s', base token '%s', probability %.4f", only.prediction().orElse(""),
                        only.baseToken().orElse(""), only.pBase()));
            }
            out.println("change in probability of the " + outcome.settings().get("measure") + ", percent" + (many ? "; " + MeanBand.METHOD : ""));
            Map<Flow, MeanBand> bands = new LinkedHashMap<>();
            flows.forEach(flow -> band(flow).ifPresent(band -> bands.put(flow, band)));
            if (bands.isEmpty()) {
                return;
            }
            int layers = bands.values().iterator().next().mean().length;
            StringBuilder header = new StringBuilder("layer");
            bands.forEach((flow, band) -> header.append("  ").append(String.format(Locale.ROOT, "%-" + width(flow, band) + "s", flow.name())));
            out.println(header.toString().stripTrailing());
            for (int layer = 0; layer < layers; layer++) {
                StringBuilder row = new StringBuilder(String.format(Locale.ROOT, "%5d", layer));
                for (Map.Entry<Flow, MeanBand> entry : bands.entrySet()) {
                    row.append("  ").append(String.format(Locale.ROOT, "%-" + width(entry.getKey(), entry.getValue()) + "s",
                            cell(entry.getValue(), layer)));
                }
                out.println(row.toString().stripTrailing());
            }
            if (many) {
                StringBuilder counts = new StringBuilder("    n");
                bands.forEach((flow, band) -> counts.append("  ").append(String.format(Locale.ROOT, "%-" + width(flow, band) + "d", band.examples())));
                out.println(counts.toString().stripTrailing());
            }
        }

        private static int width(Flow flow, MeanBand band) {
            int width = flow.name().length();
            for (int layer = 0; layer < band.mean().length; layer++) {
                width = Math.max(width, cell(band, layer).length());
            }
            return width;
        }

        private static String cell(MeanBand band, int layer) {
            return band.examples() == 1 ? String.format(Locale.ROOT, "%.2f", band.mean()[layer])
                    : String.format(Locale.ROOT, "%.2f [%.2f, %.2f]", band.mean()[layer], band.low()[layer], band.high()[layer]);
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
            return curves.isEmpty() ? Optional.empty() : Optional.of(new ReportData.CurveSet(group.title() + (most > 1 ? " (n = " + most + ")" : ""),
                    most > 1 ? MeanBand.METHOD : "", "Layer", "Change in probability (%)", curves));
        }

        @Override
        public List<Fact> facts() {
            Map<String, String> settings = outcome.settings();
            List<Fact> facts = new ArrayList<>();
            if (!outcome.many()) {
                facts.add(new Fact("Probability", String.format(Locale.ROOT, "%.4f", outcome.results().getFirst().pBase()) + " of "
                        + settings.get("measure") + ", nothing blocked"));
            }
            facts.add(new Fact("Window", settings.get("window") + (settings.get("window").equals("1") ? " layer, " : " layers, ")
                    + (settings.get("heads").equals(ALL) ? "all heads" : "heads " + settings.get("heads"))));
            return facts;
        }

        private static String label(Flow flow) {
            return flow.edges().isEmpty() ? "none" : String.join(", ", flow.edges().stream().map(Edge::toString).toList());
        }

        /** One row a flow, layer and example. */
        @Override
        public String examplesCsv() {
            Csv csv = new Csv("line", "image", "question", "prediction", "base_token", "p_base", "flow", "layer", "p_ko", "percent_change");
            for (KnockoutResult result : outcome.kept()) {
                result.pKo().forEach((flow, probabilities) -> {
                    double[] percent = result.percent(flow);
                    for (int layer = 0; layer < percent.length; layer++) {
                        csv.row(result.line(), result.image(), result.question(), result.prediction().orElse(""), result.baseToken().orElse(""),
                                result.pBase(), flow, layer, probabilities[layer], percent[layer]);
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
}
