package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import stormsight.backend.Backend;
import stormsight.session.GoldenCheck;

/** Compares a backend with recorded values. */
@Command(name = "verify", description = {
    "Compares every recorded value of a golden folder with what a backend computes, and stops at the first that differs by more than its"
            + " tolerance."})
final class Verify implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Mixin
    private BackendMixin backendOptions;

    @Option(names = "--golden", paramLabel = "DIR", required = true,
            description = "A checkpoint with input.png, expected.json and expected.safetensors beside it.")
    private Path golden;

    @Override
    public Integer call() {
        PrintWriter out = spec.commandLine().getOut();
        try (Backend backend = backendOptions.open()) {
            boolean passed = GoldenCheck.run(golden, backend, true, result -> out.println(String.format(Locale.ROOT,
                    "%-55s error %9.3g  tolerance %7.1g  %s", result.name(), result.error(), result.tolerance(),
                    result.passed() ? "ok" : "DIFFERS")));
            out.println(passed ? "all values agree on " + backend.device().backend() + ", " + backend.device().runtime()
                    : "verification failed at the last value above");
            return passed ? 0 : Main.DIFFERENCE;
        }
    }
}
