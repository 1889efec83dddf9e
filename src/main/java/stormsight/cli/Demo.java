package stormsight.cli;

import java.io.PrintWriter;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;
import stormsight.backend.Backend;
import stormsight.generate.Answer;
import stormsight.generate.AnswerListener;
import stormsight.generate.Generator;
import stormsight.generate.Request;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.family.EmbeddedModel;
import stormsight.program.Sampling;

/** Asks the embedded model everything that it can do. */
@Command(name = "demo", description = "Asks the embedded model questions of every task about the example images.")
final class Demo implements Runnable {
    /** Longer than any answer to the examples. */
    private static final int MAX_TOKENS = 64;

    @Spec
    private CommandSpec spec;

    @Mixin
    private BackendMixin backendOptions;

    @Override
    public void run() {
        PrintWriter out = spec.commandLine().getOut();
        List<EmbeddedModel.Example> examples = EmbeddedModel.examples();
        Progress progress = new Progress();
        try (ModelDirectory directory = EmbeddedModel.open(Optional.empty()); Backend backend = backendOptions.open()) {
            int promptTokens = examples.stream().mapToInt(example -> directory.promptTokensAtMost(example.prompt())).max().orElseThrow();
            int width = examples.stream().mapToInt(example -> example.prompt().length()).max().orElseThrow();
            String row = "%-14s %-" + width + "s  %7s  %s";
            try (Generator generator = Generator.open(directory, backend, directory.processor().limits(promptTokens, MAX_TOKENS),
                    Options.DEFAULT, progress, List.of())) {
                out.println(String.format(Locale.ROOT, row, "image", "question", "time", "answer"));
                for (EmbeddedModel.Example example : examples) {
                    long start = System.nanoTime();
                    Answer answer = generator.answer(
                            new Request(example.decode(), example.prompt(), MAX_TOKENS, Sampling.GREEDY, 0), AnswerListener.NONE);
                    String seconds = String.format(Locale.ROOT, "%.2f s", (System.nanoTime() - start) / 1e9);
                    String shown = answer.text().isEmpty() ? "(nothing)" : answer.text();
                    out.println(String.format(Locale.ROOT, row, example.image(), example.prompt(), seconds,
                            answer.text().equals(example.expected()) ? shown : shown + "   (expected: " + example.expected() + ")"));
                    out.flush();
                }
            }
        }
    }
}
