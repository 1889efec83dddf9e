package stormsight.bench;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.Ceilings;
import stormsight.backend.Executor;
import stormsight.backend.RunListener;
import stormsight.backend.RunProfile;
import stormsight.generate.LimitException;
import stormsight.generate.Session;
import stormsight.model.ModelDirectory;
import stormsight.model.PaliGemma;
import stormsight.program.Op;
import stormsight.program.OpCost;
import stormsight.program.OpName;
import stormsight.program.Program;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * Times each operation of a model's programs and holds it against what its device does at most.
 *
 * @param ceilings of the device
 * @param stages encode, prefill and decode
 */
public record Roofline(Ceilings ceilings, List<Stage> stages) {
    /** Of random patches: what they are does not change how long anything takes. */
    private static final long SEED = 1;

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
                throw new IllegalArgumentException(promptTokens + " prompt tokens, " + newTokens + " new tokens, " + warmUpSeconds
                        + " s of warm-up, " + repetitions + " repetitions");
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
            return new OpCost(rows.stream().mapToLong(row -> row.cost.bytes()).sum(), rows.stream().mapToLong(row -> row.cost.operations()).sum());
        }
    }

    /**
     * One operation of one segment, over all layers and all runs of a pass.
     *
     * @param op empty for what the backend adds of its own
     * @param calls layers times runs
     * @param seconds of each pass
     * @param cost what all calls must move and compute
     */
    public record Row(String segment, Optional<Op> op, Optional<OpName> name, String kernel, int calls, List<Double> seconds, OpCost cost) {
        public Row {
            seconds = List.copyOf(seconds);
        }

        public double median() {
            return Roofline.median(seconds);
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
            return ceilings.leastSeconds(cost);
        }

        /** Of the ceiling, 1 for all of it; above that, data came from a cache. */
        public double share(Ceilings ceilings) {
            return leastSeconds(ceilings) / median();
        }
    }

    public Roofline {
        stages = List.copyOf(stages);
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
     * @throws BackendException if the device cannot hold or compile the model, computes what is not a number, or something else while it is timed
     */
    public static Roofline measure(ModelDirectory directory, Backend backend, PaliGemma.Options options, Plan plan,
            Consumer<String> progress) {
        int image = directory.config().vision().tokens();
        if (plan.promptTokens < image) {
            throw new LimitException("a prompt of " + plan.promptTokens + " tokens, the image alone has " + image);
        }
        PaliGemma.Limits limits = new PaliGemma.Limits(plan.promptTokens, plan.newTokens);
        Session.requireFits(directory, backend, limits, options);
        progress.accept("measuring the device's ceilings");
        Ceilings ceilings = backend.ceilings(plan.repetitions);
        progress.accept("preparing the model");
        try (Arena arena = Arena.ofShared()) {
            PaliGemma model = directory.bind(arena, limits, options);
            try (Executor executor = backend.prepareToProfile(model.weights(), model.programs())) {
                write(arena, model, executor, plan.promptTokens);
                progress.accept("checking");
                check(model, executor, plan.promptTokens);
                List<Collector> collectors = List.of(
                        new Collector(model.encode(), List.of(new Step(0, image, image))),
                        new Collector(model.prefill(), List.of(new Step(0, plan.promptTokens, plan.promptTokens))),
                        new Collector(model.decode(), decodeSteps(plan)));
                progress.accept("warming up");
                long start = System.nanoTime();
                do {
                    collectors.forEach(collector -> collector.pass(executor));
                } while (System.nanoTime() - start < plan.warmUpSeconds * 1e9);
                for (int i = 0; i < plan.repetitions; i++) {
                    progress.accept("pass " + (i + 1) + " of " + plan.repetitions);
                    collectors.forEach(collector -> collector.passes.add(collector.pass(executor)));
                }
                return new Roofline(ceilings, collectors.stream().map(Collector::stage).toList());
            }
        }
    }

    /** @throws BackendException if the model's logits are not numbers, or not the same with operations timed as without */
    private static void check(PaliGemma model, Executor executor, int promptTokens) {
        Logits plain = logits(model, executor, promptTokens, executor::run);
        Logits timed = logits(model, executor, promptTokens, executor::profile);
        requireSame(model.prefill(), plain.prefill, timed.prefill);
        requireSame(model.decode(), plain.decode, timed.decode);
    }

    /** Of a prompt and of one token after it. */
    private record Logits(MemorySegment prefill, MemorySegment decode) {}

    private static Logits logits(PaliGemma model, Executor executor, int promptTokens, BiConsumer<Program, Step> run) {
        int image = model.config().vision().tokens();
        run.accept(model.encode(), new Step(0, image, image));
        run.accept(model.prefill(), new Step(0, promptTokens, promptTokens));
        MemorySegment prefill = read(executor, model, model.prefill(), model.promptLogits());
        run.accept(model.decode(), new Step(promptTokens, 1, promptTokens));
        return new Logits(prefill, read(executor, model, model.decode(), model.nextLogits()));
    }

    private static MemorySegment read(Executor executor, PaliGemma model, Program program, Tensor logits) {
        int[] token = new int[1];
        executor.read(model.token(), MemorySegment.ofArray(token));
        if (token[0] < 0) {
            throw new BackendException(program.name() + " made logits that are not numbers: the weights are damaged or the device computes wrongly");
        }
        MemorySegment to = MemorySegment.ofArray(new byte[Math.toIntExact(logits.bytes())]);
        executor.read(logits, to);
        return to;
    }

    private static void requireSame(Program program, MemorySegment plain, MemorySegment timed) {
        long differs = plain.mismatch(timed);
        if (differs >= 0) {
            throw new BackendException(program.name() + ": the logit of token " + differs / Float.BYTES + " differs where operations are timed");
        }
    }

    private static List<Step> decodeSteps(Plan plan) {
        List<Step> steps = new ArrayList<>();
        for (int i = 0; i < plan.newTokens; i++) {
            steps.add(new Step(plan.promptTokens + i, 1, plan.promptTokens));
        }
        return steps;
    }

    private static void write(Arena arena, PaliGemma model, Executor executor, int promptTokens) {
        SplittableRandom random = new SplittableRandom(SEED);
        MemorySegment patches = arena.allocate(model.patches().bytes());
        for (long i = 0; i < model.patches().shape().elements(); i++) {
            patches.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) random.nextDouble(-1, 1));
        }
        executor.write(model.patches(), patches);
        int image = model.config().vision().tokens();
        int vocabulary = model.config().text().vocabularySize();
        int[] ids = new int[promptTokens];
        for (int i = 0; i < ids.length; i++) {
            ids[i] = i < image ? -1 - i : random.nextInt(vocabulary);
        }
        executor.write(model.promptIds(), arena.allocateFrom(ValueLayout.JAVA_INT, ids));
        executor.write(model.nextId(), arena.allocateFrom(ValueLayout.JAVA_INT, random.nextInt(vocabulary)));
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

        List<RunProfile> pass(Executor executor) {
            return steps.stream().map(step -> executor.profile(program, step)).toList();
        }

        Stage stage() {
            List<Row> rows = new ArrayList<>();
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
                rows.add(new Row(entry.segment(), entry.op(), entry.op().map(op -> OpName.of(op, steps.getFirst())), entry.kernel(),
                        entry.calls() * steps.size(), seconds, new OpCost(bytes, operations)));
            }
            List<Double> seconds = passes.stream().map(pass -> pass.stream().mapToLong(RunProfile::nanos).sum() / 1e9).toList();
            return new Stage(program.name(), steps.getFirst(), steps.size(), seconds, rows);
        }
    }
}
