package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.ModelDirectory;
import stormsight.verify.BackendComparison;
import stormsight.verify.GoldenCheck;

/** Compares a backend with recorded values, or with another backend. */
@Command(name = "verify", description = {
    "Checks what a backend computes, and stops at the first stage that differs.",
    "With --golden: every value that a reference run recorded. Otherwise: a model's stages on the same input, against another backend."})
final class Verify implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Mixin
    private BackendMixin backendOptions;

    @Mixin
    private ModelMixin model;

    @Option(names = "--golden", paramLabel = "DIR",
            description = "A checkpoint with input.png, expected.json and expected.safetensors beside it.")
    private Path golden;

    @Option(names = "--oracle", paramLabel = "NAME", defaultValue = "cpu",
            description = "The backend to compare with. Default: ${DEFAULT-VALUE}.")
    private String oracle;

    @Option(names = {"-i", "--image"}, paramLabel = "FILE", description = "The image to compare with.")
    private Path image;

    @Option(names = {"-p", "--prompt"}, paramLabel = "TEXT", defaultValue = "caption en",
            description = "The prompt to compare with. Default: ${DEFAULT-VALUE}.")
    private String prompt;

    @Option(names = {"-n", "--max-tokens"}, paramLabel = "N", defaultValue = "8",
            description = "Tokens to decode. Default: ${DEFAULT-VALUE}.")
    private int maxTokens;

    @Override
    public Integer call() {
        if (golden != null && (model.chosen() || image != null)) {
            throw new UsageException("--golden brings its own model and image");
        }
        if (golden == null && image == null) {
            throw new UsageException("--golden or --image is missing");
        }
        if (maxTokens < 1) {
            throw new UsageException("--max-tokens " + maxTokens + " is not positive");
        }
        boolean agree;
        PrintWriter out = spec.commandLine().getOut();
        try (Backend backend = backendOptions.open()) {
            agree = golden != null ? againstRecord(backend, out) : againstOracle(backend, out);
        }
        return agree ? 0 : Main.DIFFERENCE;
    }

    private boolean againstRecord(Backend backend, PrintWriter out) {
        boolean passed = GoldenCheck.run(golden, backend, true, result -> out.println(String.format(Locale.ROOT,
                "%-55s error %9.3g  tolerance %7.1g  %s", result.name(), result.error(), result.tolerance(),
                result.passed() ? "ok" : "DIFFERS")));
        out.println(passed ? "all values agree on " + backend.device().backend() + ", " + backend.device().runtime()
                : "verification failed at the last value above");
        return passed;
    }

    private boolean againstOracle(Backend backend, PrintWriter out) {
        RgbImage pixels = new ImageDecoder().decode(image);
        try (ModelDirectory directory = model.open(); Backend reference = Backends.open(oracle, BackendOptions.DEFAULT)) {
            Optional<String> differs = BackendComparison.run(new BackendComparison.Side(directory, reference),
                    new BackendComparison.Side(directory, backend), model.options(), pixels, prompt, maxTokens,
                    stage -> out.println(String.format(Locale.ROOT, "%-25s cosine %.8f  error %9.3g of %9.3g  %s", stage.name(),
                            stage.cosine(), stage.error(), stage.scale(), stage.agrees() ? "ok" : "DIFFERS")));
            String names = backend.device().backend() + " (" + backend.device().runtime() + ") and " + reference.device().backend()
                    + " (" + reference.device().runtime() + ")";
            out.println(differs.map(stage -> names + " differ first at " + stage).orElse(names + " agree"));
            return differs.isEmpty();
        }
    }
}
