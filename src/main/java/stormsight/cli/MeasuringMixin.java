package stormsight.cli;

import java.io.PrintWriter;
import java.io.Writer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import stormsight.backend.Backends;
import stormsight.bench.Benchmark;
import stormsight.bench.Configuration;
import stormsight.bench.Ranges;
import stormsight.bench.Row;
import stormsight.image.ImageDecoder;

/** Options of the commands that measure: lists of what is measured, and how. */
final class MeasuringMixin {
    /** Backends that take a number of threads. */
    private static final Set<String> THREADED = Set.of("cpu", "scalar", Backends.AUTO);

    /** What results are compared with, in the order of the help. */
    static final class Checks implements Iterable<String> {
        private static final List<String> NAMES = List.of("auto", "scalar", "cpu", "self");

        @Override
        public Iterator<String> iterator() {
            return NAMES.iterator();
        }
    }

    @Option(
            names = {"-m", "--model"},
            paramLabel = "DIR",
            description = "A checkpoint directory; may be repeated. Default: the small embedded model.")
    private List<Path> models = List.of();

    @Option(names = "--adapter", paramLabel = "DIR", description = "A LoRA adapter of the model: as for generate.")
    private Path adapter;

    @Option(
            names = "--backend",
            paramLabel = "NAMES",
            split = ",",
            defaultValue = Backends.AUTO,
            completionCandidates = BackendMixin.Names.class,
            description =
                    "Backends: cpu, scalar, tornado or auto, as a list such as cpu,tornado. Default: ${DEFAULT-VALUE}.")
    private List<String> backends;

    @Option(names = "--device", paramLabel = "IDS", split = ",", completionCandidates = BackendMixin.Devices.class,
            description = "Devices of the backend, as 'devices' lists them, such as 0:0,0:1.")
    private List<String> devices = List.of();

    @Option(
            names = {"-t", "--threads"},
            paramLabel = "LIST",
            description = "Threads of a CPU backend. Default: one per core.")
    private String threads;

    @Option(
            names = "--weights",
            paramLabel = "FORMS",
            split = ",",
            defaultValue = "stored",
            converter = WeightForm.Converter.class,
            completionCandidates = WeightForm.Names.class,
            description = "${COMPLETION-CANDIDATES}, or several as a list. Default: ${DEFAULT-VALUE}.")
    private List<WeightForm> weights;

    @Mixin
    private PrecisionMixin precision;

    @Option(
            names = "--resize",
            paramLabel = "HOW",
            description = "bicubic or bilinear. Default: as the checkpoint says.")
    private ModelMixin.Resize resize;

    @Option(names = "--sliding-window", description = "PaliGemma 2: as for generate.")
    private boolean slidingWindow;

    @Option(names = "--final-soft-cap", description = "PaliGemma 2: as for generate.")
    private boolean finalSoftCap;

    @Option(names = {"-i", "--image"}, paramLabel = "FILE", converter = ImageArgument.class,
            description = "The image to measure with. Default: a drawn PNG of 1024x768.")
    private Path image;

    @Option(
            names = "--prompt-tokens",
            paramLabel = "LIST",
            description =
                    "Tokens of a prompt without the image's: a prefill of the image and N tokens more. Default: 16, "
                            + "unless -p is given.")
    private String prompts;

    @Option(
            names = {"-p", "--prefill"},
            paramLabel = "LIST",
            description =
                    "Tokens of a prefill, the image's included: ppN is the image, <bos>, text and a newline, N rows "
                            + "in all, as llama-bench counts them. A prefill that is too short for the image is of "
                            + "text alone. 0 for none.")
    private String prefills;

    @Option(
            names = {"-n", "--max-new-tokens", "--max-tokens"},
            paramLabel = "LIST",
            description = "Tokens to decode, one by one: tgN. 0 for none. Default: 32.")
    private String answers;

    @Option(
            names = "-pg",
            paramLabel = "P,N",
            description = "A prefill of P tokens and N tokens after it, timed as one; may be repeated.")
    private List<String> both = List.of();

    @Option(
            names = {"-d", "--depth"},
            paramLabel = "LIST",
            description =
                    "Tokens in the cache before the first that is decoded: tgN@D. Default: those of the first prefill.")
    private String depths;

    @Option(
            names = {"-b", Parallel.OPTION},
            paramLabel = "LIST",
            description =
                    "Answers " + Parallel.RANGE + " As many prompts, one after the other, and as many answers decoded "
                            + "together, each row with each number; tok/s are those of all together, as "
                            + "llama-batched-bench counts them. Default: 1.")
    private String parallel;

    @Option(
            names = {"-r", "--repetitions"},
            paramLabel = "N",
            defaultValue = "5",
            description = "Samples of each row. Default: ${DEFAULT-VALUE}.")
    private int repetitions;

    @Option(names = "--warm-up", paramLabel = "SECONDS", defaultValue = "1",
            description = "How long each row runs before its first sample, twice at least. Default: ${DEFAULT-VALUE}.")
    private double warmUp;

    @Option(names = "--no-warmup", description = "Take the first run as a sample.")
    private boolean noWarmUp;

    @Option(
            names = "--check",
            paramLabel = "WITH",
            defaultValue = "auto",
            completionCandidates = Checks.class,
            description =
                    "What every result is compared with before it is timed: scalar or cpu, the backends; self, the "
                            + "same values on another way, also for a backend that would be compared with itself; "
                            + "auto, scalar if all rows together take it seconds, else cpu. Default: "
                            + "${DEFAULT-VALUE}.")
    private String check;

    @Option(
            names = {"-o", "--out"},
            paramLabel = "FILE",
            description =
                    "Write the results into a file as well, in the format that its ending says unless --format is "
                            + "given.")
    private Path out;

    @Spec(Spec.Target.MIXEE)
    private CommandSpec spec;

    private final Progress steps = new Progress();

    /** All combinations of models, backends, devices, weights and threads, in this order. */
    List<Configuration> configurations() {
        List<Configuration> configurations = new ArrayList<>();
        for (Optional<String> model : orNone(models, Path::toString)) {
            for (String backend : backends) {
                for (Optional<String> device : orNone(devices, Function.identity())) {
                    for (WeightForm form : weights) {
                        for (int count : THREADED.contains(backend) ? threads() : List.of(0)) {
                            configurations.add(new Configuration(
                                    model,
                                    Optional.ofNullable(adapter).map(Path::toString),
                                    backend,
                                    device,
                                    count,
                                    form.type(),
                                    Optional.ofNullable(resize).map(ModelMixin.Resize::resampling),
                                    slidingWindow,
                                    finalSoftCap,
                                    precision.precision()));
                        }
                    }
                }
            }
        }
        return configurations;
    }

    private static <T> List<Optional<String>> orNone(List<T> values, Function<T, String> text) {
        return values.isEmpty()
                ? List.of(Optional.empty())
                : values.stream().map(value -> Optional.of(text.apply(value))).toList();
    }

    private List<Integer> threads() {
        if (threads == null) {
            return List.of(0);
        }
        List<Integer> counts = list("--threads", threads);
        counts.forEach(count -> BackendMixin.checkThreads(count, spec));
        return counts;
    }

    private static List<Integer> list(String option, String text) {
        if (text == null) {
            return List.of();
        }
        try {
            return Ranges.parse(text);
        } catch (IllegalArgumentException e) {
            throw new UsageException(option + ": " + e.getMessage());
        }
    }

    /** @param cold how many cold starts are measured */
    Benchmark.Plan plan(int cold, int fewestRepetitions) {
        if (repetitions < fewestRepetitions) {
            throw new UsageException(
                    "--repetitions " + repetitions + ": at least " + fewestRepetitions + " are needed");
        }
        if (!(warmUp >= 0 && warmUp <= 3600)) {
            throw new UsageException("--warm-up " + warmUp + " is not in 0 .. 3600 seconds");
        }
        if (!Checks.NAMES.contains(check)) {
            throw new UsageException("--check '" + check + "' is none of auto, scalar, cpu and self");
        }
        List<Integer> sequences = list(Parallel.OPTION, parallel);
        sequences.forEach(Parallel::check);
        List<List<Integer>> pairs = new ArrayList<>();
        for (String pair : both) {
            List<Integer> numbers = pair.matches("\\d{1,9},\\d{1,9}")
                    ? List.of(Integer.parseInt(pair.split(",")[0]), Integer.parseInt(pair.split(",")[1]))
                    : List.of(0, 0);
            if (numbers.contains(0)) {
                throw new UsageException("-pg '" + pair + "' is not two positive numbers such as 272,32");
            }
            pairs.add(numbers);
        }
        // What is wrong with the image is said before processes are started.
        if (image != null) {
            image = ImageArgument.file(image);
            new ImageDecoder().decode(image);
        }
        return new Benchmark.Plan(
                new Benchmark.Sizes(
                        list("-p", prefills),
                        list("--prompt-tokens", prompts),
                        list("-n", answers),
                        list("-d", depths),
                        pairs,
                        sequences),
                repetitions,
                noWarmUp ? 0 : (long) (warmUp * 1e9),
                cold,
                check,
                Optional.ofNullable(image).map(Path::toString));
    }

    /** What measuring processes say beside results; shown with {@code --verbose}. */
    PrintWriter log() {
        return spec.findOption("--verbose").<Boolean>getValue()
                ? spec.commandLine().getErr()
                : new PrintWriter(Writer.nullWriter());
    }

    /** Says what is done next: on one line of the terminal, which the next step replaces. Silent elsewhere. */
    void step(String what) {
        steps.step(what);
    }

    /** Frees the line of the steps. */
    void stepsDone() {
        steps.clear();
    }

    /** Shows a row as it is measured, where somebody is waiting for it. */
    void progress(Row row) {
        if (Environment.terminal()) {
            steps.clear();
            spec.commandLine().getErr().println(String.format(Locale.ROOT, "%-20s %12.3f ms", row.name(), row.mean()));
        }
    }

    Optional<Path> out() {
        return Optional.ofNullable(out);
    }
}
