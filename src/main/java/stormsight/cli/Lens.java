package stormsight.cli;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import stormsight.backend.Backend;
import stormsight.model.ModelDirectory;
import stormsight.study.Example;
import stormsight.study.LensFindings;
import stormsight.study.LensResult;
import stormsight.study.LensSession;

/** Reads the answer's probability after every layer. */
@Command(
        name = "lens",
        description = {
            "How an answer forms: the state of the prompt's last token after each layer, read through the model's own head as if that layer were the last. Shows the "
                    + "probability of chosen tokens, by default the first token of the answer in lower case and capitalised, and the most probable tokens.",
            "Layer 0 is the embeddings. Without the final norm the last point is behind it, as in the published curves."
        })
final class Lens implements Runnable {
    private static final int MOST_TOP = 100;

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

    @Option(
            names = "--token",
            paramLabel = "TEXT",
            description = "A text whose first token to follow as well; may be repeated.")
    private List<String> tokens = new ArrayList<>();

    @Option(names = "--top", paramLabel = "K", defaultValue = "3",
            description = "Also show the K most probable tokens of each layer; 0 for none. Default: ${DEFAULT-VALUE}.")
    private int top;

    @Override
    public void run() {
        if (top < 0 || top > MOST_TOP) {
            throw new UsageException("--top " + top + " is not in 0 .. " + MOST_TOP);
        }
        List<String> texts = List.copyOf(new LinkedHashSet<>(tokens));
        if (texts.contains("") || texts.contains(LensResult.LOWER_CASE) || texts.contains(LensResult.CAPITALISED)) {
            throw new UsageException("--token: not a text to follow");
        }
        List<Example> asked = examples.read(List.of(), Optional.empty());
        findings.check(examples);
        PrintWriter err = spec.commandLine().getErr();
        Progress progress = new Progress();
        Interruption interruption = new Interruption(progress, err);
        try (ModelDirectory directory = model.open(); Backend backend = backendOptions.open()) {
            Map<String, String> recorded = Study.settings("lens", model, directory, backend);
            List<ExampleMixin.Asking> askings = examples.ask(model, directory, asked);
            examples.describe(recorded, directory, askings);
            recorded.put("tokens", texts.toString());
            recorded.put("top", String.valueOf(top));
            try (Study<LensResult> study = Study.open(findings.folder(), recorded, LensResult.class)) {
                List<ExampleMixin.Asking> remaining = study.remaining(askings);
                if (!remaining.isEmpty()) {
                    try (LensSession session = LensSession.open(
                            directory, backend, examples.limits(directory, askings), model.options(), progress)) {
                        study.run(
                                remaining,
                                progress,
                                asking -> LensResult.of(
                                        session,
                                        directory,
                                        asking.example(),
                                        asking.prompt(),
                                        examples.maxTokens(),
                                        top,
                                        texts));
                    }
                }
                findings.tell(examples, new LensFindings(
                        examples.outcome(askings, recorded, model.name(), backend.device(), study.results(askings))));
            }
        } finally {
            interruption.over();
        }
    }
}
