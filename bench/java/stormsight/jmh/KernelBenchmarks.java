package stormsight.jmh;

import java.io.IOException;
import java.io.PrintWriter;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.openjdk.jmh.results.BenchmarkResult;
import org.openjdk.jmh.results.IterationResult;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import picocli.CommandLine;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.BackendProvider;
import stormsight.backend.Backends;
import stormsight.backend.BenchCase;
import stormsight.backend.BenchCases;
import stormsight.backend.DeviceInfo;
import stormsight.bench.Machine;
import stormsight.bench.OpRow;
import stormsight.bench.ResultFile;
import stormsight.program.OpName;
import stormsight.report.FigureException;
import stormsight.report.OutputFile;

/** Chooses cases and backends, runs JMH for each, prints times and rates. */
@Command(
        name = "bench/run",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        description =
                "Times single operations with JMH, at the shapes of PaliGemma 3B and at small ones. Every result is "
                        + "first compared with the formulas, computed in double precision; of a large product some "
                        + "rows and columns are compared, of attention the last rows. One that is wrong is not timed, "
                        + "and the exit code is 7.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {
            "0:done",
            "1:a benchmark did not run",
            "2:wrong options or arguments",
            "5:no such backend or device",
            "7:a result was wrong"
        })
public final class KernelBenchmarks implements Callable<Integer> {
    /** How long everything takes. */
    private enum Profile {
        /**
         * Every operation at a few shapes; a slow reference or device at the small ones alone. One JVM runs all, as it
         * does in a model.
         */
        QUICK(0, "one JVM for all", 1, 100, 4, 100),
        /** Every shape in every type of weights, each in a JVM of its own. */
        FULL(1, "a JVM for each", 3, 500, 8, 500);

        private final int forks;
        private final String processes;
        private final int warmUps;
        private final int warmUpMillis;
        private final int iterations;
        private final int millis;

        Profile(int forks, String processes, int warmUps, int warmUpMillis, int iterations, int millis) {
            this.forks = forks;
            this.processes = processes;
            this.warmUps = warmUps;
            this.warmUpMillis = warmUpMillis;
            this.iterations = iterations;
            this.millis = millis;
        }
    }

    /** One case on one device. */
    private record Planned(BenchCase benchCase, DeviceInfo device) {}

    private static final String SCALAR = "scalar";
    private static final int FAILED = 1;
    private static final int NO_BACKEND = 5;
    private static final int WRONG = 7;

    @Spec
    private CommandSpec spec;

    @Parameters(
            index = "0",
            paramLabel = "PROFILE",
            arity = "0..1",
            defaultValue = "quick",
            description =
                    "quick takes some minutes on two cores and runs all in one JVM, as a model does; full takes much "
                            + "longer and runs each operation in a JVM of its own. Default: ${DEFAULT-VALUE}.")
    private Profile profile;

    @Parameters(
            index = "1..*",
            paramLabel = "PATTERN",
            description = "Only cases whose name has a part that matches one of these regular expressions.")
    private List<String> patterns = new ArrayList<>();

    @Option(
            names = "--backend",
            paramLabel = "NAME",
            description =
                    "Only this backend, with all cases of the profile; several may be given. Default: all that are "
                            + "present, scalar with the small cases alone, and in the quick profile devices, too.")
    private List<String> backends = new ArrayList<>();

    @Option(names = "--device", paramLabel = "ID", description = "Only this device, as 'stormsight devices' lists it.")
    private Optional<String> device = Optional.empty();

    private int threads;

    @Option(names = "--threads", paramLabel = "N", description = "Threads of a CPU backend. Default: one a core.")
    private void threads(int count) {
        if (count < 1 || count > BackendOptions.MOST_THREADS) {
            throw new ParameterException(
                    spec.commandLine(), "--threads " + count + " is not in 1 .. " + BackendOptions.MOST_THREADS);
        }
        threads = count;
    }

    @Option(names = "--list", description = "Print the cases instead of running them.")
    private boolean list;

    @Option(
            names = "--json",
            paramLabel = "FILE",
            description = "Also write the results there, as bench/results/schema.json says.")
    private Optional<Path> json = Optional.empty();

    private KernelBenchmarks() {}

    public static void main(String[] arguments) {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "warn");
        System.exit(new CommandLine(new KernelBenchmarks())
                .setCaseInsensitiveEnumValuesAllowed(true)
                .setUsageHelpAutoWidth(true)
                .execute(arguments));
    }

    @Override
    public Integer call() throws IOException {
        PrintWriter out = spec.commandLine().getOut();
        PrintWriter err = spec.commandLine().getErr();
        List<Pattern> filters = patterns.stream().map(this::pattern).toList();
        List<BenchCase> cases = BenchCases.all().stream()
                .filter(each -> profile == Profile.FULL || each.quick())
                .filter(each -> filters.isEmpty()
                        || filters.stream()
                                .anyMatch(filter -> filter.matcher(each.name()).find()))
                .toList();
        if (list) {
            cases.forEach(each -> out.println(
                    String.format(Locale.ROOT, "%-42s %-32s compared: %s", each.name(), each.fused(), each.checked())));
            return 0;
        }
        json.flatMap(OutputFile::obstacle).ifPresent(obstacle -> {
            throw new ParameterException(
                    spec.commandLine(), "--json " + json.get() + " cannot be written: " + obstacle);
        });
        List<DeviceInfo> devices = new ArrayList<>();
        for (BackendProvider provider : Backends.providers()) {
            boolean named = backends.contains(provider.name());
            if (!named && !backends.isEmpty()) {
                continue;
            }
            if (provider.unavailable().isPresent()) {
                err.println(provider.name() + " is left out: " + provider.unavailable().get());
                continue;
            }
            provider.devices().stream()
                    .filter(info -> device.isEmpty() || device.get().equals(info.id()))
                    .forEach(devices::add);
        }
        if (devices.isEmpty()) {
            err.println("bench/run: no such backend or device");
            return NO_BACKEND;
        }
        List<Planned> planned = new ArrayList<>();
        for (DeviceInfo info : devices) {
            boolean smallOnly = backends.isEmpty()
                    && (info.backend().equals(SCALAR)
                            || profile == Profile.QUICK && !info.backend().equals("cpu"));
            cases.stream()
                    .filter(each -> each.small() || !smallOnly)
                    .forEach(each -> planned.add(new Planned(each, withThreads(info))));
        }
        return run(planned, out, err);
    }

    private Pattern pattern(String text) {
        try {
            return Pattern.compile(text);
        } catch (PatternSyntaxException e) {
            throw new ParameterException(spec.commandLine(), text + " is no regular expression: " + e.getDescription());
        }
    }

    /** What the backend says of itself with as many threads as were asked for. */
    private DeviceInfo withThreads(DeviceInfo info) {
        if (threads == 0 || info.kind() != DeviceInfo.Kind.CPU) {
            return info;
        }
        try (Backend backend = Backends.open(info.backend(), new BackendOptions(threads, Optional.of(info.id())))) {
            return backend.device();
        }
    }

    private int run(List<Planned> planned, PrintWriter out, PrintWriter err) throws IOException {
        Path logs = Files.createDirectories(built().resolveSibling("bench-logs"));
        Machine machine = machine();
        List<OpRow> rows = new ArrayList<>();
        Map<Planned, String> failures = new LinkedHashMap<>();
        boolean wrong = false;
        for (int i = 0; i < planned.size(); i++) {
            Planned each = planned.get(i);
            String where = each.device.backend() + " " + each.device.id();
            err.println("[" + (i + 1) + "/" + planned.size() + "] " + each.benchCase.name() + " on " + where);
            Path log = logs.resolve(each.benchCase.name() + "-" + where.replaceAll("[ :]", "-") + ".log");
            Optional<RunResult> result = run(each, log);
            if (result.isPresent()) {
                rows.add(row(machine, each, result.get()));
            } else {
                String reason = reason(log);
                wrong |= reason.startsWith("java.lang.AssertionError");
                failures.put(each, reason);
                err.println("  FAILED: " + reason + " (" + log + ")");
            }
        }
        print(out, rows, failures);
        if (json.isPresent() && !rows.isEmpty()) {
            try {
                OutputFile.write(
                        json.get(),
                        ResultFile.ops(
                                rows,
                                "JMH, profile " + profile.name().toLowerCase(Locale.ROOT) + ", " + profile.processes
                                        + ", which waits for its compilers; samples are iterations"));
            } catch (FigureException e) {
                err.println("bench/run: " + e.getMessage());
                return FAILED;
            }
        }
        return wrong ? WRONG : failures.isEmpty() ? 0 : FAILED;
    }

    private Optional<RunResult> run(Planned each, Path log) throws IOException {
        ChainedOptionsBuilder options = new OptionsBuilder()
                .include(Pattern.quote(OpBenchmark.class.getName()) + ".time$")
                .param("op", each.benchCase.name())
                .param("backend", each.device.backend())
                .param("device", each.device.id())
                .param("threads", String.valueOf(threads))
                .forks(profile.forks)
                .warmupIterations(profile.warmUps)
                .warmupTime(TimeValue.milliseconds(profile.warmUpMillis))
                .measurementIterations(profile.iterations)
                .measurementTime(TimeValue.milliseconds(profile.millis))
                .jvmArgsAppend("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
                .shouldFailOnError(true)
                .output(log.toString());
        try {
            return new Runner(options.build()).run().stream().findFirst();
        } catch (RunnerException e) {
            // Where JMH itself does not start, as when another one runs, it writes nothing.
            Files.writeString(log, e + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
            return Optional.empty();
        }
    }

    /** The exception that JMH wrote to its log. */
    private static String reason(Path log) throws IOException {
        return Files.readAllLines(log, StandardCharsets.UTF_8).stream()
                .map(String::strip)
                .filter(line -> line.matches("(Caused by: )?[\\w.$]+(Error|Exception): .*")
                        && !line.contains("BenchmarkException"))
                .findFirst()
                .orElse("no result");
    }

    /** A sample is an iteration of JMH: the mean of the runs in it. */
    private static OpRow row(Machine machine, Planned each, RunResult result) {
        List<Double> micros = new ArrayList<>();
        for (BenchmarkResult fork : result.getBenchmarkResults()) {
            for (IterationResult iteration : fork.getIterationResults()) {
                micros.add(iteration.getPrimaryResult().getScore() / 1e3);
            }
        }
        BenchCase benchCase = each.benchCase;
        return new OpRow(
                machine,
                each.device,
                benchCase.name(),
                OpName.of(benchCase.op(), benchCase.step()),
                Optional.empty(),
                micros,
                benchCase.cost(),
                Optional.empty(),
                false,
                1,
                "the formulas in double precision, " + benchCase.checked() + ", error up to " + benchCase.tolerance()
                        + " of 1 + the largest value");
    }

    private static Machine machine() {
        String architecture = System.getProperty("os.arch");
        String version = Optional.ofNullable(Machine.class.getPackage().getImplementationVersion())
                .orElse("development");
        return Machine.here(
                version,
                System.getProperty("os.name") + " " + System.getProperty("os.version") + ", " + architecture,
                architecture,
                built());
    }

    /** Where the classes of the benchmarks lie; a user's directory may be any. */
    private static Path built() {
        try {
            return Path.of(KernelBenchmarks.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void print(PrintWriter out, List<OpRow> rows, Map<Planned, String> failures) {
        DeviceInfo last = null;
        for (OpRow row : rows) {
            if (!row.device().equals(last)) {
                last = row.device();
                out.println((row == rows.getFirst() ? "" : "\n") + last.backend() + " " + last.id() + ": " + last.name()
                        + ", " + last.runtime() + (last.driver().isEmpty() ? "" : ", " + last.driver()) + ", "
                        + last.computeUnits() + " units\n");
                out.println("| operation | us | +- | GB/s | GFLOP/s |");
                out.println("|---|--:|--:|--:|--:|");
            }
            out.println(String.format(
                    Locale.ROOT,
                    "| %s | %.2f | %.2f | %.2f | %.2f |",
                    row.name(),
                    row.mean(),
                    row.deviation().orElse(0),
                    row.bandwidth(),
                    row.rate()));
        }
        failures.forEach((each, reason) -> out.println((rows.isEmpty() ? "" : "\n") + "FAILED " + each.benchCase.name()
                + " on " + each.device.backend() + ": " + reason));
    }
}
