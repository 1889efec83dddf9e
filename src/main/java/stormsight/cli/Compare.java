package stormsight.cli;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import stormsight.backend.Precision;
import stormsight.bench.Comparison;
import stormsight.bench.Configuration;
import stormsight.report.Count;
import stormsight.report.OutputFile;

/** Sets configurations side by side: speed and agreement. */
@Command(
        name = "compare",
        description = {
            "Compares configurations with the first one: how fast, and how far their answers agree. Each runs in a "
                    + "process of its own, all at once, and repetitions take turns, so that what slows the machine "
                    + "for a while slows all of them.",
            "Speed: the geometric mean of the ratios of neighbouring repetitions with its 95%% interval (Student, on "
                    + "logarithms). The ratio is time here / time of the baseline; only where a row is called faster, "
                    + "it and its interval are the other way round.",
            "Agreement: fixed questions about the example images are answered greedily by the first one; the others "
                    + "are fed its tokens, and each of their own choices is compared. Then all are fed the images' "
                    + "right captions, whose perplexity is given. The largest error is over all logits of both.",
            "Configurations: all combinations of --model, --backend, --device, --weights and --threads, or one for "
                    + "each --config; --adapter goes for all that name none."
        })
final class Compare implements Runnable {
    private static final int MOST_CONFIGURATIONS = 16;

    @Spec
    private CommandSpec spec;

    @Mixin
    private MeasuringMixin measuring;

    @Option(
            names = "--config",
            paramLabel = "KEYS",
            description =
                    "A configuration, such as \"backend=cpu threads=2 weights=q8\"; may be repeated. Keys: "
                            + "model, adapter, backend, device, threads, weights, math (fast, or strict or bf16 as "
                            + "--strict-math and --precision bf16). What is left out is as the other options say.")
    private List<String> configs = List.of();

    @Option(
            names = "--questions",
            paramLabel = "N",
            defaultValue = "8",
            description =
                    "Fixed questions to compare answers of, up to 16 tokens each, and captions at most. Default: "
                            + "${DEFAULT-VALUE}.")
    private int questions;

    @Option(
            names = "--format",
            paramLabel = "FORMAT",
            description = "${COMPLETION-CANDIDATES}. Default: md, or as the ending of --out says.")
    private OutputOption.Format format;

    @Override
    public void run() {
        if (questions < 1) {
            throw new UsageException("--questions " + questions + " is not positive");
        }
        List<Configuration> configurations = configurations();
        if (configurations.size() < 2 || configurations.size() > MOST_CONFIGURATIONS) {
            throw new UsageException(Count.text(configurations.size(), "configuration")
                    + ": 2 to " + MOST_CONFIGURATIONS + " can be compared, such as --weights stored,q8");
        }
        if (configurations.stream().map(Configuration::located).distinct().count() < configurations.size()) {
            throw new UsageException("two configurations are the same");
        }
        measuring.out().ifPresent(file -> OutputOption.requireWritable("--out", file));
        Comparison comparison = Comparison.run(
                Environment.javaCommand(Measure.NAME),
                Environment.machine(),
                measuring.log(),
                configurations,
                measuring.plan(0, 2),
                questions,
                measuring::step);
        measuring.stepsDone();
        measuring.out().ifPresent(file -> OutputFile.write(file, text(comparison, OutputOption.format(file, format))));
        PrintWriter out = spec.commandLine().getOut();
        out.print(text(comparison, measuring.out().isPresent() || format == null ? OutputOption.Format.MD : format));
        out.flush();
    }

    private static String text(Comparison comparison, OutputOption.Format format) {
        return switch (format) {
            case MD -> comparison.markdown();
            case JSON -> comparison.json();
        };
    }

    private List<Configuration> configurations() {
        List<Configuration> combined = measuring.configurations();
        if (configs.isEmpty()) {
            return combined;
        }
        if (combined.size() > 1) {
            throw new UsageException(
                    "--config does not go with lists of models, backends, devices, weights or threads");
        }
        List<Configuration> configurations = new ArrayList<>();
        for (String keys : configs) {
            Configuration configuration = combined.getFirst();
            for (String entry : keys.strip().split("\\s+")) {
                configuration = with(configuration, entry);
            }
            configurations.add(configuration);
        }
        return configurations;
    }

    private Configuration with(Configuration base, String entry) {
        int equals = entry.indexOf('=');
        String value = entry.substring(equals + 1);
        if (equals < 1 || value.isEmpty()) {
            throw new UsageException("--config: '" + entry + "' is not KEY=VALUE");
        }
        return switch (entry.substring(0, equals)) {
            case "model" -> base.withModel(value);
            case "adapter" -> base.withAdapter(value);
            case "backend" -> base.withBackend(value);
            case "device" -> base.withDevice(value);
            case "threads" -> base.withThreads(threads(value));
            case "weights" -> base.withWeights(WeightForm.named(value)
                    .orElseThrow(() -> new UsageException("--config: weights are "
                            + String.join(" or ", new WeightForm.Names()) + ", not '" + value + "'"))
                    .type());
            case "math" -> switch (value) {
                case "fast" -> base.withPrecision(Precision.FAST);
                case "strict" -> base.withPrecision(Precision.STRICT);
                case "bf16" -> base.withPrecision(Precision.BF16);
                default -> throw new UsageException("--config: math is fast, strict or bf16, not '" + value + "'");
            };
            case "precision" -> throw new UsageException("--config: no key 'precision'; write math=bf16");
            default -> throw new UsageException("--config: no key '" + entry.substring(0, equals)
                    + "'; there are model, adapter, backend, device, threads, weights and math");
        };
    }

    private int threads(String value) {
        if (!value.matches("\\d{1,9}")) {
            throw new UsageException("--config: threads=" + value + " is not a number");
        }
        int count = Integer.parseInt(value);
        BackendMixin.checkThreads(count, spec);
        return count;
    }
}
