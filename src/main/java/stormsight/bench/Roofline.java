package stormsight.bench;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.Ceilings;
import stormsight.backend.RunProfile;
import stormsight.generate.Generator;
import stormsight.generate.LimitException;
import stormsight.image.RgbImage;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Passes;
import stormsight.model.Prompt;
import stormsight.model.Stage;
import stormsight.model.Views;
import stormsight.program.Op;
import stormsight.program.OpCost;
import stormsight.program.OpName;
import stormsight.program.Program;
import stormsight.program.Step;

/**
 * Times each operation of a model's programs and holds it against what its device does at most.
 *
 * @param ceilings of the device
 * @param stages encode, prefill and decode
 */
public record Roofline(Ceilings ceilings, List<Stage> stages) {
    private static final long SEED = 1;
    /** Of the random image, in pixels: a square, which takes the fewest views. */
    private static final int SIDE = 64;

    /**
     * What is measured.
     *
     * @param promptTokens tokens of the prompt, those of the image among them
     * @param newTokens steps of decode, one after the other, that one pass takes
     * @param warmUpSeconds how long passes run before they are timed: at least one does
     * @param repetitions passes that are timed; of each operation's times the median counts
     */
    public record Plan(int promptTokens, int newTokens, double warmUpSeconds, int repetitions) {
        public Plan {
            if (promptTokens < 1 || newTokens < 1 || !(warmUpSeconds >= 0) || repetitions < 1) {
                throw new IllegalArgumentException(promptTokens + " prompt tokens, " + newTokens + " new tokens, "
                        + warmUpSeconds + " s of warm-up, " + repetitions + " repetitions");
            }
        }
    }

    /**
     * One program.
     *
     * @param name encode, prefill, decode
     * @param step the first one
     * @param runs steps of one pass: 1 but for decode
     * @param seconds of each pass, launches and transfers included
     * @param rows in the order in which the program runs them
     */
    public record Stage(String name, Step step, int runs, List<Double> seconds, List<Row> rows) {
        public Stage {
            seconds = List.copyOf(seconds);
            rows = List.copyOf(rows);
        }

        /** Seconds of a pass, launches and transfers included. */
        public double medianSeconds() {
            return median(seconds);
        }

        /** Seconds of all rows: the whole of the shares. */
        public double rowSeconds() {
            return rows.stream().mapToDouble(Row::median).sum();
        }

        /** Seconds that the rows would take at the ceiling. */
        public double leastSeconds(Ceilings ceilings) {
            return rows.stream().mapToDouble(row -> row.leastSeconds(ceilings)).sum();
        }

        public OpCost cost() {
            return new OpCost(
                    rows.stream().mapToLong(row -> row.cost.bytes()).sum(),
                    rows.stream().mapToLong(row -> row.cost.operations()).sum());
        }
    }

    /**
     * One operation of one segment, over all layers and all runs of a pass. Layers of other segments that have the very
     * same operation are counted, too.
     *
     * @param segment the first one
     * @param op empty for what the backend adds of its own
     * @param calls layers times runs
     * @param seconds of each pass
     * @param cost what all calls must move and compute
     * @param bf16 whether it ran on units for BF16
     */
    public record Row(
            String segment,
            Optional<Op> op,
            Optional<OpName> name,
            String kernel,
            int calls,
            List<Double> seconds,
            OpCost cost,
            boolean bf16) {
        public Row {
            seconds = List.copyOf(seconds);
        }

        public double median() {
            return Roofline.median(seconds);
        }

        /** Both together. */
        private Row plus(Row other) {
            return new Row(segment, op, name, kernel, calls + other.calls,
                    IntStream.range(0, seconds.size()).mapToObj(i -> seconds.get(i) + other.seconds.get(i)).toList(),
                    new OpCost(cost.bytes() + other.cost.bytes(), cost.operations() + other.cost.operations()), bf16);
        }

        /** Bytes a second. */
        public double bandwidth() {
            return cost.bytes() / median();
        }

        /** Floating-point operations a second. */
        public double rate() {
            return cost.operations() / median();
        }

        /** Floating-point operations for each byte; 0 for an operation that only moves. */
        public double intensity() {
            return cost.bytes() == 0 ? 0 : (double) cost.operations() / cost.bytes();
        }

        /** @see Ceilings#leastSeconds */
        public double leastSeconds(Ceilings ceilings) {
            return ceilings.leastSeconds(cost, bf16);
        }

        /** Of the ceiling, 1 for all of it; above that, data came from a cache. */
        public double share(Ceilings ceilings) {
            return leastSeconds(ceilings) / median();
        }
    }

    public Roofline {
        stages = List.copyOf(stages);
    }

    /** Whether any operation ran on units for BF16. */
    public boolean usesBf16() {
        return stages.stream().flatMap(stage -> stage.rows().stream()).anyMatch(Row::bf16);
    }

    /** The lower one of two in the middle. */
    static double median(List<Double> values) {
        return values.stream().sorted().toList().get((values.size() - 1) / 2);
    }

    /**
     * Measures the ceilings, then runs the model.
     *
     * @param progress hears in words what comes next
     * @throws LimitException if the prompt has no room for the image, or prompt and answer pass what the model knows
     * @throws BackendException if the device cannot hold or compile the model, computes what is not a number, or
     *     something else while it is timed
     */
    public static Roofline measure(
            ModelDirectory directory, Backend backend, Options options, Plan plan, Consumer<String> progress) {
        int image = directory.processor().imageTokens();
        if (plan.promptTokens < image) {
            throw new LimitException("a prompt of " + plan.promptTokens + " tokens, the image alone has " + image);
        }
        Limits limits = directory.processor().limits(plan.promptTokens, plan.newTokens);
        Generator.requireFits(directory, backend, limits, options);
        progress.accept("measuring the device's ceilings");
        Ceilings ceilings = backend.ceilings(plan.repetitions);
        progress.accept("preparing the model");
        try (Generator generator = Generator.openToProfile(directory, backend, limits, options)) {
            Passes passes = generator.passes();
            Inputs inputs = Inputs.random(directory, plan.promptTokens);
            progress.accept("checking");
            check(generator, inputs);
            List<Collector> collectors = List.of(
                    new Collector(passes.encode().program(), List.of(passes.encodeStep(0))),
                    new Collector(
                            passes.prefill().program(),
                            List.of(passes.prefillStep(plan.promptTokens, inputs.prompt.prefixLength()))),
                    new Collector(passes.decode().program(), decodeSteps(passes, plan, inputs.prompt)));
            progress.accept("warming up");
            long start = System.nanoTime();
            do {
                collectors.forEach(collector -> collector.pass(generator));
            } while (System.nanoTime() - start < plan.warmUpSeconds * 1e9);
            for (int i = 0; i < plan.repetitions; i++) {
                progress.accept("pass " + (i + 1) + " of " + plan.repetitions);
                collectors.forEach(collector -> collector.passes.add(collector.pass(generator)));
            }
            return new Roofline(ceilings, collectors.stream().map(Collector::stage).toList());
        }
    }

    /**
     * A random image and a prompt about it, and one token more: what they are does not change how long anything takes.
     */
    private record Inputs(Views image, Prompt prompt, int next) {
        static Inputs random(ModelDirectory directory, int promptTokens) {
            SplittableRandom random = new SplittableRandom(SEED);
            byte[] pixels = new byte[3 * SIDE * SIDE];
            random.nextBytes(pixels);
            Views image = directory.processor().views(new RgbImage(SIDE, SIDE, pixels));
            int vocabulary = directory.describe().decoder().vocabularySize();
            int[] rows = image.ids(0);
            int[] ids = Arrays.copyOf(rows, promptTokens);
            for (int i = rows.length; i < ids.length; i++) {
                ids[i] = random.nextInt(vocabulary);
            }
            return new Inputs(
                    image,
                    new Prompt(ids, List.of(), directory.describe().causal() ? 0 : promptTokens),
                    random.nextInt(vocabulary));
        }
    }

    /**
     * @throws BackendException if the model's logits are not numbers, or not the same with operations timed as without
     */
    private static void check(Generator generator, Inputs inputs) {
        Passes passes = generator.passes();
        generator.encodeViews(List.of(inputs.image));
        generator.prefill(inputs.prompt);
        generator.token();
        float[] prefill = generator.read(passes.prefill().output());
        generator.decode(inputs.next, inputs.prompt.length(), inputs.prompt.prefixLength());
        generator.token();
        float[] decode = generator.read(passes.decode().output());
        // The inputs stay where they were written, of the image its last view.
        generator.profile(passes.encode().program(), passes.encodeStep(inputs.image.count() - 1));
        generator.profile(passes.prefill().program(),
                passes.prefillStep(inputs.prompt.length(), inputs.prompt.prefixLength()));
        generator.token();
        requireSame(passes.prefill().program(), prefill, generator.read(passes.prefill().output()));
        generator.profile(
                passes.decode().program(),
                passes.decodeStep(inputs.prompt.length(), inputs.prompt.prefixLength()));
        generator.token();
        requireSame(passes.decode().program(), decode, generator.read(passes.decode().output()));
    }

    private static void requireSame(Program program, float[] plain, float[] timed) {
        int differs = Arrays.mismatch(plain, timed);
        if (differs >= 0) {
            throw new BackendException(
                    program.name() + ": the logit of token " + differs + " differs where operations are timed");
        }
    }

    private static List<Step> decodeSteps(Passes passes, Plan plan, Prompt prompt) {
        List<Step> steps = new ArrayList<>();
        for (int i = 0; i < plan.newTokens; i++) {
            steps.add(passes.decodeStep(plan.promptTokens + i, prompt.prefixLength()));
        }
        return steps;
    }

    /** What is known of one program so far. */
    private static final class Collector {
        private final Program program;
        private final List<Step> steps;
        private final List<List<RunProfile>> passes = new ArrayList<>();

        Collector(Program program, List<Step> steps) {
            this.program = program;
            this.steps = steps;
        }

        List<RunProfile> pass(Generator generator) {
            return steps.stream().map(step -> generator.profile(program, step)).toList();
        }

        Stage stage() {
            Map<List<Object>, Row> rows = new LinkedHashMap<>();
            List<RunProfile.Entry> entries = passes.getFirst().getFirst().entries();
            for (int i = 0; i < entries.size(); i++) {
                int index = i;
                RunProfile.Entry entry = entries.get(i);
                List<Double> seconds = passes.stream()
                        .map(pass -> pass.stream().mapToLong(run -> run.entries().get(index).nanos()).sum() / 1e9)
                        .toList();
                long bytes = 0;
                long operations = 0;
                for (Step step : steps) {
                    OpCost cost = entry.op().map(op -> OpCost.of(op, step)).orElse(new OpCost(0, 0));
                    bytes += cost.bytes() * entry.calls();
                    operations += cost.operations() * entry.calls();
                }
                Row row = new Row(
                        entry.segment(),
                        entry.op(),
                        entry.op().map(op -> OpName.of(op, steps.getFirst())),
                        entry.kernel(),
                        entry.calls() * steps.size(),
                        seconds,
                        new OpCost(bytes, operations),
                        entry.bf16());
                rows.merge(List.of(entry.op().<Object>map(op -> op).orElse(i), entry.kernel(), entry.bf16()), row,
                        Row::plus);
            }
            List<Double> seconds = passes.stream()
                    .map(pass -> pass.stream().mapToLong(RunProfile::nanos).sum() / 1e9)
                    .toList();
            return new Stage(
                    program.name(), steps.getFirst(), steps.size(), seconds, List.copyOf(rows.values()));
        }
    }
}
