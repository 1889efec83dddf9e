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
    private FindingsMixin findings;

    @Option(names = "--token", paramLabel = "TEXT", description = "A text whose first token to follow as well; may be repeated.")
    private List<String> tokens = new ArrayList<>();

    @Override
    public void run() {
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
            try (Study<LensResult> study = Study.open(findings.folder(), recorded, LensResult.class)) {
                List<ExampleMixin.Asking> remaining = study.remaining(askings);
                if (!remaining.isEmpty()) {
                    try (LensSession session = LensSession.open(directory, backend, examples.limits(directory, askings), model.options(), progress)) {
                        study.run(remaining, progress, asking ->
                                LensResult.of(session, directory, asking.example(), asking.prompt(), examples.maxTokens(), texts));
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
