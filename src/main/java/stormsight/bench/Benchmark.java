package stormsight.bench;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.Stream;
import stormsight.backend.StartUp;
import stormsight.model.Classifier;
import stormsight.model.DualEncoder;
import stormsight.model.ImageEncoder;
import stormsight.model.Matcher;
import stormsight.model.ModelDirectory;

/**
 * Times the parts of answers and embeddings, in processes of their own: one for all that is measured warm, and one for
 * each cold start.
 */
public final class Benchmark {
    /** Text and newline of a real question, beside the image. */
    private static final int DEFAULT_WORDS = 16;
    private static final int DEFAULT_NEW_TOKENS = 32;
    /** The first run loads classes, the second one knows that it was not the only one. */
    private static final int WARM_UP_RUNS = 2;

    /**
     * Which sizes are measured; empty lists take the defaults, zeros are left out.
     *
     * @param prefills tokens of a prefill, the image's included
     * @param prompts tokens of a prefill beside the image's. Default, where there are no prefills either: {@value
     *     #DEFAULT_WORDS}
     * @param answers tokens decoded. Default: {@value #DEFAULT_NEW_TOKENS}
     * @param depths tokens in the cache before. Default: as many as the first prefill has
     * @param both a prefill and the tokens after it, pair by pair
     * @param sequences of one run: each of the rows above is measured with each number. Default: 1
     */
    public record Sizes(
            List<Integer> prefills,
            List<Integer> prompts,
            List<Integer> answers,
            List<Integer> depths,
            List<List<Integer>> both,
            List<Integer> sequences) {
        /** Whether nothing was chosen. */
        public boolean isDefault() {
            return Stream.of(prefills, prompts, answers, depths, both, sequences).allMatch(List::isEmpty);
        }

        /** Beginning with what no size changes. */
        private List<Trial> trials(int imageTokens, boolean images) {
            List<Integer> beside = prefills.isEmpty() && prompts.isEmpty() ? List.of(DEFAULT_WORDS) : prompts;
            List<Integer> tokensOfPrefills = Stream.concat(
                            prefills.stream(), beside.stream().map(tokens -> imageTokens + tokens))
                    .distinct()
                    .toList();
            List<Integer> before = depths.isEmpty() ? List.of(tokensOfPrefills.getFirst()) : depths;
            List<Trial> trials = new ArrayList<>();
            if (images) {
                trials.add(Trial.of(Trial.Part.IMAGE_DECODE));
                trials.add(Trial.of(Trial.Part.RESIZE));
            }
            trials.add(Trial.of(Trial.Part.ENCODE));
            trials.add(Trial.of(Trial.Part.PROJECTOR));
            tokensOfPrefills.stream()
                    .filter(tokens -> tokens > 0)
                    .forEach(tokens -> add(trials, Trial.prefill(tokens)));
            for (int tokens : answers.isEmpty() ? List.of(DEFAULT_NEW_TOKENS) : answers) {
                if (tokens > 0) {
                    before.forEach(depth -> add(trials, Trial.decode(tokens, depth)));
                }
            }
            both.forEach(pair -> add(trials, Trial.prefillAndDecode(pair.getFirst(), pair.getLast())));
            trials.add(Trial.of(Trial.Part.FIRST_TOKEN));
            return trials;
        }

        private void add(List<Trial> trials, Trial one) {
            if (sequences.isEmpty()) {
                trials.add(one);
            }
            sequences.forEach(count -> trials.add(one.withSequences(count)));
        }
    }

    /**
     * How it is measured.
     *
     * @param repetitions samples of each warm row
     * @param warmUpNanos how long each trial runs before its first sample, two runs at least; 0 for not at all
     * @param cold processes that are started for cold rows
     * @param check name of what results are compared with: auto, scalar, cpu or self
     * @param image path of an image; empty for a drawn picture
     */
    public record Plan(Sizes sizes, int repetitions, long warmUpNanos, int cold, String check, Optional<String> image) {
        Check.Against against() {
            return Check.Against.valueOf(check.toUpperCase(Locale.ROOT));
        }
    }

    private final List<String> command;
    private final Machine machine;
    private final PrintWriter log;
    private final Consumer<Row> listener;
    private final Consumer<String> steps;

    /**
     * @param command of a JVM that calls {@link MeasuringService#serve}
     * @param log hears what these processes say beside results
     * @param listener hears each row as it is measured
     * @param steps hears what is done next
     */
    public Benchmark(
            List<String> command, Machine machine, PrintWriter log, Consumer<Row> listener, Consumer<String> steps) {
        this.command = List.copyOf(command);
        this.machine = machine;
        this.log = log;
        this.listener = listener;
        this.steps = steps;
    }

    /** What a process has to be opened for. */
    record Task(Configuration configuration, List<Trial> trials, MeasuringService.Open open) {
        /** What a first result is. */
        private String begins() {
            return open.encodes() ? "embedding" : "token";
        }

        /**
         * @param images whether decoding and resizing the image are timed, which no backend does
         * @param prompt most tokens of other prompts
         * @param answer most tokens of other answers, if the model has positions for them
         */
        static Task of(Configuration configuration, Plan plan, boolean images, int prompt, int answer) {
            try (ModelDirectory directory = configuration.openModel()) {
                if (directory.anyModel() instanceof ImageEncoder encoder && images) {
                    return new Task(
                            configuration,
                            encoderTrials(encoder),
                            MeasuringService.Open.ofEncoder(configuration, plan.image()));
                }
                List<Trial> trials = plan.sizes().trials(directory.processor().imageTokens(), images);
                int promptTokens = Math.max(prompt, directory.promptTokensAtMost(MeasuredModel.PROMPT));
                int positions = Math.min(promptTokens + answer, directory.describe().decoder().positions());
                int sequences = 1;
                for (Trial trial : trials) {
                    promptTokens = Math.max(promptTokens, Math.max(trial.promptTokens(), trial.depth()));
                    positions = Math.max(positions, trial.positions());
                    sequences = Math.max(sequences, trial.sequences());
                }
                return new Task(
                        configuration,
                        trials,
                        new MeasuringService.Open(
                                configuration,
                                promptTokens,
                                Math.max(1, positions - promptTokens),
                                directory.processor().mostViews(),
                                sequences,
                                plan.image()));
            }
        }
    }

    private static List<Trial> encoderTrials(ImageEncoder encoder) {
        List<Trial.Part> parts = new ArrayList<>(
                List.of(Trial.Part.IMAGE_DECODE, Trial.Part.RESIZE, Trial.Part.IMAGE, Trial.Part.IMAGE_FILE));
        switch (encoder) {
            case DualEncoder _ -> parts.add(Trial.Part.TEXT);
            case Matcher _ -> parts.addAll(List.of(Trial.Part.TEXT, Trial.Part.PAIR));
            case Classifier _ -> { }
        }
        return parts.stream().map(Trial::of).toList();
    }

    /** Whether a model compares or names images: sizes of prompts and answers mean nothing to it. */
    public static boolean encodes(Configuration configuration) {
        try (ModelDirectory directory = configuration.openModel()) {
            return directory.anyModel() instanceof ImageEncoder;
        }
    }

    /**
     * Measures a configuration.
     *
     * @throws CheckFailedException if a result is wrong
     * @throws MeasuringException if a process ends with an error
     */
    public List<Row> run(Configuration configuration, Plan plan) {
        Task task = Task.of(configuration, plan, true, 2, 1);
        List<Row> rows = new ArrayList<>();
        Setting setting;
        int first;
        steps.accept("opening and checking " + configuration.label());
        try (MeasuringProcess process = MeasuringProcess.start(command, log)) {
            setting = process.open(task.open());
            MeasuringService.Checked checked = process.check(task.trials(), plan.against());
            first = checked.first();
            for (int i = 0; i < task.trials().size(); i++) {
                Trial trial = task.trials().get(i);
                steps.accept("timing " + trial.name() + " (" + (i + 1) + " of " + task.trials().size() + ")");
                warmUp(process, trial, plan.warmUpNanos());
                List<Double> samples = new ArrayList<>();
                for (int repetition = 0; repetition < plan.repetitions(); repetition++) {
                    samples.add(process.time(trial));
                }
                add(rows, Row.of(machine, setting, trial, samples, checked.against().get(i)));
            }
        }
        if (plan.cold() > 0) {
            cold(task, plan.cold(), first)
                    .forEach((name, samples) -> add(
                            rows,
                            new Row(
                                    machine,
                                    setting,
                                    "cold " + name,
                                    Optional.empty(),
                                    samples,
                                    "the warm process's first " + task.begins() + ": equal")));
        }
        return rows;
    }

    private void add(List<Row> rows, Row row) {
        rows.add(row);
        listener.accept(row);
    }

    static void warmUp(MeasuringProcess process, Trial trial, long nanos) {
        long end = System.nanoTime() + nanos;
        for (int run = 0; nanos > 0 && (run < WARM_UP_RUNS || System.nanoTime() < end); run++) {
            process.time(trial);
        }
    }

    private Map<String, List<Double>> cold(Task task, int starts, int first) {
        Map<String, List<Double>> samples = new LinkedHashMap<>();
        for (int start = 0; start < starts; start++) {
            steps.accept("cold start " + (start + 1) + " of " + starts);
            try (MeasuringProcess process = MeasuringProcess.start(command, log)) {
                Measured.Cold cold = process.cold(task.open());
                if (cold.first() != first) {
                    throw new CheckFailedException("a cold start's first " + task.begins() + " is another one than "
                            + "the warm process's: " + cold.first() + ", not " + first);
                }
                parts(process.startNanos(), cold, task)
                        .forEach((name, nanos) -> samples.computeIfAbsent(name, _ -> new ArrayList<>())
                                .add(nanos / 1e6));
            }
        }
        return samples;
    }

    /**
     * Parts of a first answer, in their order; those before the first token add up to it, those after it lie within
     * them or beside them.
     */
    private static Map<String, Long> parts(long jvm, Measured.Cold cold, Task task) {
        Map<String, Long> parts = new LinkedHashMap<>();
        parts.put("jvm", jvm);
        if (cold.startUp().isPresent()) {
            StartUp startUp = cold.startUp().get();
            parts.put(
                    "load",
                    cold.open() - startUp.runtime() - startUp.lowering() - startUp.upload() - startUp.compile());
            parts.put("runtime", startUp.runtime());
            parts.put("lowering", startUp.lowering());
            parts.put("upload", startUp.upload());
            parts.put("compile", startUp.compile());
        } else {
            parts.put("load", cold.open());
        }
        parts.put("image", cold.image());
        parts.put("encode", cold.encode());
        if (!task.open().encodes()) {
            parts.put("prefill", cold.prefill());
        }
        parts.put("first " + task.begins(), jvm + cold.open() + cold.image() + cold.encode() + cold.prefill());
        parts.put("JVM JIT", cold.compilers());
        cold.startUp().ifPresent(startUp -> {
            parts.put("device JIT", startUp.jit());
            parts.put("device driver", startUp.driver());
        });
        return parts;
    }
}
