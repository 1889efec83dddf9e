package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.DeviceInfo;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.ModelDirectory;
import stormsight.verify.BackendComparison;
import stormsight.verify.GoldenCheck;

/** Compares a backend with recorded values, or with another backend. */
@Command(
        name = "verify",
        description = {
            "Checks what a backend computes, and stops at the first stage that differs.",
            "With --golden: every value that a reference run recorded. Otherwise: a model's stages on the same input, "
                    + "against another backend."
        })
final class Verify extends PromptCommand implements Callable<Integer> {
    private static final String SCALAR = "scalar";

    @Mixin
    private JsonMixin json;

    @Option(names = "--golden", paramLabel = "DIR",
            description = "A checkpoint with input.png, expected.json and expected.safetensors beside it.")
    private Path golden;

    @Option(names = "--oracle", paramLabel = "NAME", completionCandidates = BackendMixin.Names.class,
            description = "The backend to compare with. Default: cpu for a device, scalar for cpu.")
    private String oracle;

    @Option(
            names = {"-i", "--image"},
            paramLabel = "FILE",
            converter = ImageArgument.class,
            description = "The image to compare with.")
    private Path image;

    @Option(names = {"-p", "--prompt"}, paramLabel = "TEXT", defaultValue = "caption en",
            description = "The prompt to compare with. Default: ${DEFAULT-VALUE}.")
    private String prompt;

    @Option(names = {"-n", "--max-new-tokens", "--max-tokens"}, paramLabel = "N", defaultValue = "8",
            description = "Tokens to decode. Default: ${DEFAULT-VALUE}.")
    private int maxTokens;

    @Override
    public Integer call() {
        if (golden != null && (model.chosen() || model.adapted() || image != null)) {
            throw new UsageException("--golden brings its own model, adapters and image");
        }
        if (golden == null && image == null) {
            throw new UsageException("--golden or --image is missing");
        }
        if (maxTokens < 1) {
            throw new UsageException("--max-tokens " + maxTokens + " is not positive");
        }
        prompt = PromptText.of(prompt);
        boolean agree;
        try (Backend backend = backendOptions.openToVerify()) {
            agree = golden != null ? againstRecord(backend) : againstOracle(backend);
        }
        return agree ? 0 : Main.DIFFERENCE;
    }

    /** Tells what was compared: one line each as it is found, or an object at the end. */
    private final class Told {
        private final PrintWriter out = out();
        private final List<Map<String, Object>> values = new ArrayList<>();

        void value(Map<String, Object> value, String line) {
            values.add(value);
            if (!json.isWanted()) {
                out.println(line);
                out.flush();
            }
        }

        /** @param heading what was compared with what */
        void end(Map<String, Object> heading, boolean agree, String line) {
            if (json.isWanted()) {
                Map<String, Object> object = new LinkedHashMap<>(heading);
                object.put("agree", agree);
                object.put("values", values);
                object.put("version", Version.text());
                JsonMixin.print(out, object);
            } else {
                out.println(line);
            }
        }
    }

    private static Map<String, Object> map(Object... keysAndValues) {
        Map<String, Object> map = new LinkedHashMap<>();
        for (int i = 0; i < keysAndValues.length; i += 2) {
            map.put((String) keysAndValues[i], keysAndValues[i + 1]);
        }
        return map;
    }

    private boolean againstRecord(Backend backend) {
        Told told = new Told();
        boolean passed = GoldenCheck.run(
                golden,
                backend,
                true,
                result -> told.value(
                        map(
                                "name",
                                result.name(),
                                "error",
                                result.error(),
                                "tolerance",
                                result.tolerance(),
                                "agrees",
                                result.passed()),
                        String.format(
                                Locale.ROOT,
                                "%-55s error %9.3g  tolerance %7.1g  %s",
                                result.name(),
                                result.error(),
                                result.tolerance(),
                                result.passed() ? "ok" : "DIFFERS")));
        String name = name(backend.device());
        told.end(
                map(
                        "golden",
                        golden.toString(),
                        "backend",
                        backend.device().backend(),
                        "device",
                        backend.device().title()),
                passed,
                passed ? "all values agree on " + name : "the last value above differs on " + name);
        return passed;
    }

    private boolean againstOracle(Backend backend) {
        String with = oracle != null
                ? oracle
                : backend.device().backend().equals(BackendMixin.PROCESSOR)
                                || backend.device().backend().equals(SCALAR)
                        ? SCALAR
                        : BackendMixin.PROCESSOR;
        if (with.equals(backend.device().backend())) {
            throw new UsageException("--oracle: " + with + " would be compared with itself; "
                    + (with.equals(SCALAR)
                            ? "choose another --backend, such as cpu"
                            : "choose another --oracle, such as "
                                    + (with.equals(BackendMixin.PROCESSOR) ? SCALAR : BackendMixin.PROCESSOR)));
        }
        Told told = new Told();
        RgbImage pixels = new ImageDecoder().decode(ImageArgument.file(image));
        try (ModelDirectory directory = open(); Backend reference = Backends.open(with, BackendOptions.STRICT)) {
            Optional<String> differs = BackendComparison.run(
                    new BackendComparison.Side(directory, reference),
                    new BackendComparison.Side(directory, backend),
                    model.options(),
                    pixels,
                    prompt,
                    maxTokens,
                    stage -> told.value(
                            map(
                                    "name",
                                    stage.name(),
                                    "cosine",
                                    stage.cosine(),
                                    "error",
                                    stage.error(),
                                    "scale",
                                    stage.scale(),
                                    "agrees",
                                    stage.agrees()),
                            String.format(
                                    Locale.ROOT,
                                    "%-25s cosine %.8f  error %9.3g of %9.3g  %s",
                                    stage.name(),
                                    stage.cosine(),
                                    stage.error(),
                                    stage.scale(),
                                    stage.agrees() ? "ok" : "DIFFERS")));
            String names = name(backend.device()) + " and " + name(reference.device());
            Map<String, Object> heading = map(
                    "model",
                    model.name(),
                    "prompt",
                    prompt,
                    "backend",
                    backend.device().backend(),
                    "device",
                    backend.device().title(),
                    "oracle",
                    reference.device().backend());
            differs.ifPresent(stage -> heading.put("differs_first_at", stage));
            told.end(
                    heading,
                    differs.isEmpty(),
                    differs.map(stage -> names + " differ first at " + stage).orElse(names + " agree"));
            return differs.isEmpty();
        }
    }

    private static String name(DeviceInfo device) {
        return device.backend() + " (" + device.runtime() + ")";
    }
}
