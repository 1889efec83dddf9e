package stormsight.bench;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import stormsight.checkpoint.TemporaryFolder;
import stormsight.model.ModelDirectory;
import stormsight.report.TextTable;

/**
 * Configurations side by side: speed ratios from interleaved repetitions, and how far they agree.
 *
 * @param labels what tells the configurations apart, the baseline first
 * @param rows of all configurations
 * @param speeds of each configuration but the baseline, row by row
 * @param agreements of all configurations, in their order
 */
public record Comparison(List<String> labels, List<Row> rows, List<Speed> speeds, List<Agreed> agreements) {
    /**
     * A row of a configuration beside the baseline's.
     *
     * @param baseline milliseconds, pair by pair
     * @param samples milliseconds, pair by pair
     */
    public record Speed(
            String label, String name, List<Double> baseline, List<Double> samples, Statistics.Ratio ratio) {}

    /** A configuration's answers beside the baseline's, which agrees with itself. */
    record Agreed(String label, Agreement.Result result) {
        double share() {
            return (double) result.equal() / result.compared();
        }
    }

    /**
     * Compares configurations with the first of them. A process for each, all at once: what they hold must fit into the
     * machine together.
     *
     * @param configurations at least two
     * @param questions how many fixed questions are answered
     * @param listener hears what is done next
     * @throws CheckFailedException if a result is wrong or the configurations' vocabularies differ
     * @throws MeasuringException if a process ends with an error
     */
    public static Comparison run(
            List<String> command,
            Machine machine,
            PrintWriter log,
            List<Configuration> configurations,
            Benchmark.Plan plan,
            int questions,
            Consumer<String> listener) {
        List<MeasuringProcess> processes = new ArrayList<>();
        try {
            Path logits = TemporaryFolder.create().resolve("logits.f32");
            List<Benchmark.Task> tasks = new ArrayList<>();
            for (Configuration configuration : configurations) {
                tasks.add(task(configuration, plan, questions));
            }
            List<Trial> trials = tasks.getFirst().trials();
            for (int i = 1; i < tasks.size(); i++) {
                if (!tasks.get(i).trials().equals(trials)) {
                    throw new IllegalArgumentException(
                            tasks.get(i).configuration().label() + " has images of another number of tokens than "
                                    + tasks.getFirst().configuration().label() + ": name the sizes with -p, -n and -d");
                }
            }
            List<Setting> settings = new ArrayList<>();
            List<List<String>> checks = new ArrayList<>();
            for (Benchmark.Task task : tasks) {
                listener.accept("opening and checking " + task.configuration().label());
                MeasuringProcess process = MeasuringProcess.start(command, log);
                processes.add(process);
                settings.add(process.open(task.open()));
                checks.add(process.check(trials, plan.against()).against());
            }
            List<String> labels = labels(configurations);
            listener.accept("comparing answers");
            List<Agreed> agreements = agreements(processes, labels, questions, logits);
            List<Row> rows = new ArrayList<>();
            List<Speed> speeds = new ArrayList<>();
            for (int i = 0; i < trials.size(); i++) {
                Trial trial = trials.get(i);
                listener.accept("timing " + trial.name() + " (" + (i + 1) + " of " + trials.size() + ")");
                List<List<Double>> samples = interleaved(processes, trial, plan);
                for (int j = 0; j < processes.size(); j++) {
                    rows.add(Row.of(machine, settings.get(j), trial, samples.get(j), checks.get(j).get(i)));
                    if (j > 0) {
                        speeds.add(new Speed(labels.get(j), trial.name(), samples.getFirst(), samples.get(j),
                                Statistics.paired(samples.getFirst(), samples.get(j))));
                    }
                }
            }
            return new Comparison(labels, rows, speeds, agreements);
        } catch (IOException e) {
            throw new UncheckedIOException("logits cannot be kept in a temporary folder: " + e.getMessage(), e);
        } finally {
            processes.forEach(MeasuringProcess::close);
        }
    }

    /** What tells the configurations apart. */
    static List<String> labels(List<Configuration> configurations) {
        Set<String> shared = new HashSet<>(configurations.getFirst().keys());
        configurations.forEach(configuration -> shared.retainAll(configuration.keys()));
        return Labels.distinct(configurations.stream()
                .map(configuration -> {
                    String own = configuration.keys().stream()
                            .filter(key -> !shared.contains(key))
                            .collect(Collectors.joining(" "));
                    return own.isEmpty() ? configuration.label() : own;
                })
                .toList());
    }

    private static Benchmark.Task task(Configuration configuration, Benchmark.Plan plan, int questions) {
        int prompt;
        try (ModelDirectory directory = configuration.openModel()) {
            prompt = Agreement.questions(questions).stream()
                    .mapToInt(question -> directory.promptTokensAtMost(question.prompt()))
                    .max()
                    .orElse(2);
        }
        return Benchmark.Task.of(configuration, plan, false, prompt, Agreement.CAPTION_TOKENS);
    }

    private static List<Agreed> agreements(
            List<MeasuringProcess> processes, List<String> labels, int questions, Path logits) {
        List<Agreed> agreements = new ArrayList<>();
        List<List<Integer>> answers = List.of();
        for (int i = 0; i < processes.size(); i++) {
            Agreement.Result result =
                    processes.get(i).agree(new Agreement.Request(questions, answers, logits.toString()));
            agreements.add(new Agreed(labels.get(i), result));
            answers = agreements.getFirst().result().answers();
        }
        return agreements;
    }

    /** A B A B ...: samples of each process, in order. */
    private static List<List<Double>> interleaved(List<MeasuringProcess> processes, Trial trial, Benchmark.Plan plan) {
        List<List<Double>> samples = new ArrayList<>();
        for (MeasuringProcess process : processes) {
            Benchmark.warmUp(process, trial, plan.warmUpNanos());
            samples.add(new ArrayList<>());
        }
        for (int repetition = 0; repetition < plan.repetitions(); repetition++) {
            for (int i = 0; i < processes.size(); i++) {
                samples.get(i).add(processes.get(i).time(trial));
            }
        }
        return samples;
    }

    /** As bench/results/schema.json has it, with a newline at its end. */
    public String json() {
        Map<String, Object> comparison = new LinkedHashMap<>();
        comparison.put("baseline", labels.getFirst());
        comparison.put("confidence", Statistics.CONFIDENCE);
        comparison.put("speed", speeds.stream().map(Comparison::json).toList());
        comparison.put("agreement", agreements.stream().map(Comparison::json).toList());
        return ResultFile.json(rows, Map.of("comparison", comparison));
    }

    private static Map<String, Object> json(Speed speed) {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("configuration", speed.label());
        fields.put("name", speed.name());
        fields.put("baseline_samples", speed.baseline());
        fields.put("samples", speed.samples());
        fields.put("ratio", speed.ratio().ratio());
        fields.put("low", speed.ratio().low());
        fields.put("high", speed.ratio().high());
        fields.put("verdict", speed.ratio().verdict());
        return fields;
    }

    private static Map<String, Object> json(Agreed agreed) {
        Agreement.Result result = agreed.result();
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("configuration", agreed.label());
        fields.put("tokens", result.compared());
        fields.put("equal_tokens", result.equal());
        fields.put("share", agreed.share());
        fields.put("largest_logit_error", result.largestError());
        fields.put("logit_scale", result.scale());
        fields.put("perplexity", result.perplexity());
        fields.put("text_tokens", result.textTokens());
        return fields;
    }

    /** One table: a line for each row of each configuration, and one for its agreement. */
    public String markdown() {
        StringBuilder text = new StringBuilder();
        text.append(ResultFile.machine(rows.getFirst().machine())).append('\n');
        for (int i = 0; i < labels.size(); i++) {
            text.append(i == 0 ? "baseline " : "")
                    .append(labels.get(i))
                    .append(": ")
                    .append(ResultFile.setting(rows.get(i).setting()))
                    .append('\n');
        }
        Agreement.Result own = agreements.getFirst().result();
        text.append(String.format(
                Locale.ROOT,
                "the baseline's perplexity of the captions: %.4f over %d tokens\n\n",
                own.perplexity(),
                own.textTokens()));
        TextTable table = new TextTable("configuration", "row", ">baseline", ">here", "verdict");
        for (int i = 1; i < labels.size(); i++) {
            String label = labels.get(i);
            for (Speed speed : speeds) {
                if (speed.label().equals(label)) {
                    table.row(
                            label,
                            speed.name(),
                            millis(speed.baseline()),
                            millis(speed.samples()),
                            speed.ratio().verdict());
                }
            }
            Agreement.Result result = agreements.get(i).result();
            table.row(
                    label,
                    "agreement",
                    result.compared() + " tokens",
                    result.equal() + " equal",
                    String.format(
                            Locale.ROOT,
                            "%.1f%% equal greedy tokens, largest logit error %.2g of %.3g, perplexity of the captions "
                                    + "%.4f",
                            100 * agreements.get(i).share(),
                            result.largestError(),
                            result.scale(),
                            result.perplexity()));
        }
        return text.append(table.markdown()).toString();
    }

    private static String millis(List<Double> samples) {
        return String.format(Locale.ROOT, "%.3f ms", Statistics.mean(samples));
    }

}
