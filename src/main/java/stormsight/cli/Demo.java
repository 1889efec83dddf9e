package stormsight.cli;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;
import stormsight.backend.Backend;
import stormsight.backend.DeviceInfo;
import stormsight.generate.Answer;
import stormsight.generate.AnswerListener;
import stormsight.generate.Generator;
import stormsight.generate.Request;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.family.EmbeddedModel;
import stormsight.program.Sampling;

/** Asks the embedded model everything that it can do. */
@Command(
        name = "demo",
        description = "Asks the small embedded model about the example images: every task that it knows.")
final class Demo implements Runnable {
    /** Longer than any answer to the examples. */
    private static final int MAX_TOKENS = 64;

    @Spec
    private CommandSpec spec;

    @Mixin
    private BackendMixin backendOptions;

    @Mixin
    private JsonMixin json;

    @Override
    public void run() {
        PrintWriter out = spec.commandLine().getOut();
        List<EmbeddedModel.Example> examples = EmbeddedModel.examples();
        Progress progress = new Progress();
        try (ModelDirectory directory = EmbeddedModel.open(Optional.empty()); Backend backend = backendOptions.open()) {
            int promptTokens = examples.stream()
                    .mapToInt(example -> directory.promptTokensAtMost(example.prompt()))
                    .max()
                    .orElseThrow();
            int width = examples.stream().mapToInt(example -> example.prompt().length()).max().orElseThrow();
            String row = "%-14s %-" + width + "s  %7s  %s";
            try (Generator generator = Generator.open(
                    directory,
                    backend,
                    directory.processor().limits(promptTokens, MAX_TOKENS),
                    Options.DEFAULT,
                    progress,
                    List.of())) {
                List<Map<String, Object>> objects = new ArrayList<>();
                if (!json.isWanted()) {
                    out.println(String.format(Locale.ROOT, row, "image", "question", "time", "answer"));
                }
                for (EmbeddedModel.Example example : examples) {
                    long start = System.nanoTime();
                    Answer answer = generator.answer(
                            new Request(example.decode(), example.prompt(), MAX_TOKENS, Sampling.GREEDY, 0),
                            AnswerListener.NONE);
                    double taken = (System.nanoTime() - start) / 1e9;
                    if (json.isWanted()) {
                        objects.add(json(example, answer, taken));
                        continue;
                    }
                    String seconds = String.format(Locale.ROOT, "%.2f s", taken);
                    String shown = answer.text().isEmpty() ? "(nothing)" : answer.text();
                    out.println(String.format(
                            Locale.ROOT,
                            row,
                            example.image(),
                            example.prompt(),
                            seconds,
                            answer.text().equals(example.expected())
                                    ? shown
                                    : shown + "   (expected: " + example.expected() + ")"));
                    out.flush();
                }
                if (json.isWanted()) {
                    JsonMixin.print(out, json(backend.device(), objects));
                }
            }
        }
    }

    private static Map<String, Object> json(EmbeddedModel.Example example, Answer answer, double seconds) {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("image", example.image());
        object.put("task", example.task());
        object.put("prompt", example.prompt());
        object.put("answer", answer.text());
        object.put("expected", example.expected());
        object.put("right", answer.text().equals(example.expected()));
        object.put("seconds", seconds);
        return object;
    }

    private static Map<String, Object> json(DeviceInfo device, List<Map<String, Object>> answers) {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("model", EmbeddedModel.NAME);
        object.put("backend", device.backend());
        object.put("device", device.title());
        object.put("version", Version.text());
        object.put("answers", answers);
        return object;
    }
}
