package stormsight.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import stormsight.image.Box;
import stormsight.model.ModelDirectory;
import stormsight.probe.Flow;
import stormsight.probe.FlowGroup;
import stormsight.probe.LayerWindow;
import stormsight.probe.TokenLayout;
import stormsight.study.Example;
import stormsight.study.KnockoutFindings;
import stormsight.study.KnockoutResult;
import stormsight.study.KnockoutSession;

/** Takes flows of information away and measures what that does to an answer. */
@Command(
        name = "knockout",
        description = {
            "Attention knockout: in a window of layers around each layer, chosen tokens cannot read others. Shows by "
                    + "how much the probability of the model's own answer changes, in percent of what it was.",
            "A->B means that queries in B do not read keys in A. Spans: image, question, last (the prompt's last "
                    + "token), generated, object (patches that --box or --mask marks), other (all other patches), and "
                    + "tokens such as 12-15. Everything else stays as in the model.",
            "Flows with a name: image-to-last, question-to-last, last-to-last, image-to-question, object-to-question, "
                    + "other-to-question, question-to-image, both-ways (image->question,question->image)."
        })
final class Knockout extends StudyCommand implements Runnable {
    private static final String ALL_HEADS = "all";
    private static final String CHOSEN = "flows";

    /** For completion. */
    static final class Flows implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return Flow.PRESETS.stream().map(Flow::name).iterator();
        }
    }

    /** For completion. */
    static final class Presets implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return FlowGroup.NAMES.iterator();
        }
    }

    @Option(
            names = "--flow",
            paramLabel = "NAME",
            completionCandidates = Flows.class,
            description = "A flow by its name; may be repeated.")
    private List<String> flows = new ArrayList<>();

    @Option(names = "--edges", paramLabel = "EDGES",
            description = "Edges that are blocked together, such as 'image->last,question->last'; may be repeated.")
    private List<String> edges = new ArrayList<>();

    @Option(names = "--preset", paramLabel = "NAME", completionCandidates = Presets.class,
            description = {
                "Flows of a figure: to-last, question, patches, prefix; or of several: information-flow, the first "
                        + "three, which are the six flows of the paper on LLaVA, and all. May be repeated.",
                "Default: all, without patches where nothing has a box."
            })
    private List<String> presets = new ArrayList<>();

    @Option(
            names = "--box",
            paramLabel = "X,Y,W,H",
            description = "Where the object is, in pixels of the image; may be repeated.")
    private List<String> boxes = new ArrayList<>();

    @Option(
            names = "--mask",
            paramLabel = "FILE",
            description = "An image in the size of the image, not black where the object is.")
    private Path mask;

    @Option(names = "--window", paramLabel = "K",
            description = "How many layers around each layer. Default: " + KnockoutSession.DEFAULT_WINDOW
                    + ", or as many as the model has if these are fewer.")
    private Integer window;

    @Option(
            names = "--heads",
            paramLabel = "HEAD",
            split = ",",
            description = "Query heads in which edges are blocked. Default: all.")
    private Set<Integer> heads = Set.of();

    @Option(
            names = "--whole-answer",
            description = "Measure the probability of the whole answer, its end included, instead of its first token.")
    private boolean wholeAnswer;

    @Override
    public void run() {
        if (window != null && window < 1) {
            throw new UsageException("--window " + window + " is not positive");
        }
        List<FlowGroup> chosen = groups();
        List<Example> asked = examples.read(boxes(), Optional.ofNullable(mask));
        findings.check(examples);
        boolean objects = asked.stream().anyMatch(Example::hasObject);
        List<FlowGroup> groups = chosen.isEmpty()
                ? FlowGroup.PRESETS.stream()
                        .filter(group -> objects || !needsObject(group))
                        .toList()
                : chosen;
        List<Flow> all = List.copyOf(new LinkedHashSet<>(
                groups.stream().flatMap(group -> group.flows().stream()).toList()));
        study(
                asked,
                new Experiment<>(
                        "knockout",
                        directory -> recorded(all, settings(directory)),
                        KnockoutResult.class,
                        KnockoutSession::open,
                        (session, directory, asking) -> measure(session, directory, asking, all, settings(directory)),
                        (directory, outcome) -> {
                            warnOfOneWindow(settings(directory).window(), directory.describe().decoder().layers());
                            return new KnockoutFindings(groups, all, outcome);
                        }));
    }

    private KnockoutSession.Settings settings(ModelDirectory directory) {
        int layers = directory.describe().decoder().layers();
        return new KnockoutSession.Settings(
                window != null ? window : Math.min(layers, KnockoutSession.DEFAULT_WINDOW), heads, wholeAnswer);
    }

    private static Map<String, String> recorded(List<Flow> flows, KnockoutSession.Settings settings) {
        Map<String, String> recorded = new LinkedHashMap<>();
        recorded.put("flows", flows.stream().map(flow -> flow.name() + " " + flow.edges()).toList().toString());
        recorded.put("window", String.valueOf(settings.window()));
        recorded.put(
                "heads",
                settings.heads().isEmpty() ? ALL_HEADS : settings.heads().stream().sorted().toList().toString());
        recorded.put("measure", settings.wholeAnswer() ? "whole answer" : "first token");
        return recorded;
    }

    private void warnOfOneWindow(int size, int layers) {
        if (layers > 1
                && LayerWindow.around(0, size, layers).equals(LayerWindow.around(layers - 1, size, layers))) {
            err().println("a window of " + size + " covers all " + layers
                    + " layers wherever it stands: a smaller --window tells layers apart");
        }
    }

    private KnockoutResult measure(
            KnockoutSession session,
            ModelDirectory directory,
            ExampleMixin.Asking asking,
            List<Flow> all,
            KnockoutSession.Settings settings) {
        KnockoutResult result = KnockoutResult.of(
                session, directory, asking.example(), asking.prompt(), examples.maxTokens(), all, settings);
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
            presets.forEach(name -> groups.addAll(FlowGroup.preset(name)));
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
}
