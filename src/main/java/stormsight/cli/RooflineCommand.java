package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import stormsight.backend.Backend;
import stormsight.backend.Ceilings;
import stormsight.backend.DeviceInfo;
import stormsight.bench.Machine;
import stormsight.bench.OpRow;
import stormsight.bench.ResultFile;
import stormsight.bench.Roofline;
import stormsight.model.ModelDirectory;
import stormsight.model.Passes;
import stormsight.model.Stage;
import stormsight.program.Op;
import stormsight.program.OpCost;
import stormsight.program.OpName;
import stormsight.report.OutputFile;
import stormsight.report.RooflineFigure;
import stormsight.report.TextTable;

/** Shows how close each operation of a model comes to what its device can do. */
@Command(
        name = "roofline",
        description =
                "Measures what a device does at most, reading memory and multiplying, then times each operation of a "
                        + "model's encode, prefill and decode and shows it as a share of its ceiling: the longer of "
                        + "moving its bytes and computing its operations. A share above 100%% means that data came "
                        + "from a cache. Image and prompt are random: how long operations take does not depend on "
                        + "them.")
final class RooflineCommand extends ModelCommand implements Runnable {
    private static final double GIGA = 1e9;

    @Option(names = "--prompt-tokens", paramLabel = "N", defaultValue = "16",
            description = "Tokens of the prompt without the image's. Default: ${DEFAULT-VALUE}.")
    private int promptTokens;

    @Option(names = {"-n", "--max-new-tokens", "--max-tokens"}, paramLabel = "N", defaultValue = "8",
            description = "Tokens decoded one after the other in a pass. Default: ${DEFAULT-VALUE}.")
    private int newTokens;

    @Option(
            names = {"-r", "--repetitions"},
            paramLabel = "N",
            defaultValue = "5",
            description =
                    "Passes that are timed, and measurements of each ceiling; medians count. Default: "
                            + "${DEFAULT-VALUE}.")
    private int repetitions;

    @Option(names = "--warm-up", paramLabel = "SECONDS", defaultValue = "5",
            description = "How long passes run before they are timed; at least one does. Default: ${DEFAULT-VALUE}.")
    private double warmUp;

    @Option(
            names = "--format",
            paramLabel = "FORMAT",
            description =
                    "md: tables; json: as bench/results/schema.json describes. Default: md, or as the ending of --out "
                            + "says.")
    private OutputOption.Format format;

    @Option(
            names = {"-o", "--out"},
            paramLabel = "FILE",
            description =
                    "Write the results into a file as well, in the format that its ending says unless --format is "
                            + "given.")
    private Path out;

    @Option(
            names = "--plot",
            paramLabel = "FILE",
            description =
                    "Also draw rates over operations per byte, below the ceiling, as .svg or .png. Operations that "
                            + "only move are left out.")
    private Path plot;

    @Override
    public void run() {
        if (promptTokens < 1 || newTokens < 1 || repetitions < 1) {
            throw new UsageException("--prompt-tokens, --new-tokens and --repetitions must be positive");
        }
        if (!(warmUp >= 0)) {
            throw new UsageException("--warm-up " + warmUp + " is not a number of seconds from 0 on");
        }
        if (plot != null) {
            OutputOption.requirePlot("--plot", plot);
        }
        if (out != null) {
            OutputOption.requireWritable("--out", out);
        }
        PrintWriter err = err();
        try (ModelDirectory directory = model.open(); Backend backend = backendOptions.open()) {
            int prompt = Math.addExact(directory.processor().imageTokens(), promptTokens);
            Roofline roofline = Roofline.measure(
                    directory,
                    backend,
                    model.options(),
                    new Roofline.Plan(prompt, newTokens, warmUp, repetitions),
                    what -> err.println("roofline: " + what));
            if (out != null) {
                OutputFile.write(out, text(OutputOption.format(out, format), directory, backend.device(), roofline));
            }
            out().print(text(
                            out != null || format == null ? OutputOption.Format.MD : format,
                            directory,
                            backend.device(),
                            roofline));
            if (plot != null) {
                draw(plot, name(directory), backend.device(), roofline);
            }
        }
    }

    private String text(OutputOption.Format as, ModelDirectory directory, DeviceInfo device, Roofline roofline) {
        return switch (as) {
            case MD -> markdown(device, roofline);
            case JSON -> ResultFile.ops(rows(directory, device, roofline), note(roofline.ceilings()));
        };
    }

    private static String note(Ceilings ceilings) {
        return note(ceilings, ceilings.bf16()
                .map(rate -> String.format(Locale.ROOT, ", bf16 product %.2f GFLOP/s (%s)", rate.median() / GIGA,
                        rate.method()))
                .orElse(""));
    }

    private static String note(Ceilings ceilings, String bf16) {
        return String.format(
                Locale.ROOT,
                "Ceilings, medians of %d: read %.2f GB/s (%s), copy %.2f GB/s (%s), multiply-add %.2f GFLOP/s (%s)%s."
                        + " Samples are the time of all calls of a pass.",
                ceilings.read().samples().size(),
                ceilings.read().median() / GIGA,
                ceilings.read().method(),
                ceilings.copy().median() / GIGA,
                ceilings.copy().method(),
                ceilings.fma().median() / GIGA,
                ceilings.fma().method(),
                bf16);
    }

    private List<OpRow> rows(ModelDirectory directory, DeviceInfo device, Roofline roofline) {
        Machine machine = Environment.machine();
        OpRow.Model named = new OpRow.Model(name(directory),
                directory.describe().family(), directory.parameters());
        List<OpRow> rows = new ArrayList<>();
        for (Roofline.Stage stage : roofline.stages()) {
            for (Roofline.Row row : stage.rows()) {
                if (row.op().isPresent()) {
                    OpName name = row.name().orElseThrow();
                    rows.add(new OpRow(
                            machine,
                            device,
                            stage.name() + " " + name + " " + which(row.op().get()),
                            name,
                            Optional.of(named),
                            row.seconds().stream().map(seconds -> seconds * 1e6).toList(),
                            row.cost(),
                            Optional.of(roofline.ceilings()),
                            row.bf16(),
                            row.calls(),
                            "the same passes without timers: equal logits"));
                }
            }
        }
        return rows;
    }

    /** Without the folders above it, as plots and result files travel. */
    private String name(ModelDirectory directory) {
        return model.chosen() ? directory.path().toAbsolutePath().normalize().getFileName().toString() : model.name();
    }

    private void draw(Path file, String name, DeviceInfo device, Roofline roofline) {
        Map<String, List<RooflineFigure.Point>> points = new LinkedHashMap<>();
        for (Roofline.Stage stage : roofline.stages()) {
            points.put(stage.name(), stage.rows().stream()
                    .filter(row -> row.cost().operations() > 0 && row.median() > 0)
                    .map(row -> new RooflineFigure.Point(title(row), row.intensity(), row.rate() / GIGA))
                    .toList());
        }
        RooflineFigure.write(file, name + " on " + device.backend() + ", " + device.runtime(),
                roofline.ceilings().read().median() / GIGA,
                roofline.ceilings().compute(roofline.usesBf16()).median() / GIGA, points);
    }

    private String markdown(DeviceInfo device, Roofline roofline) {
        Ceilings ceilings = roofline.ceilings();
        TextTable table = new TextTable("ceiling", ">median", ">best", ">of", "how");
        ceiling(table, "read", "GB/s", ceilings.read());
        ceiling(table, "copy", "GB/s", ceilings.copy());
        ceiling(table, "multiply-add", "GFLOP/s", ceilings.fma());
        ceilings.bf16().ifPresent(rate -> ceiling(table, "bf16 product", "GFLOP/s", rate));
        StringBuilder text = new StringBuilder(model.name() + " on " + device.backend() + " " + device.id() + ": "
                + device.title() + ", " + device.driver() + "\n\n" + table.markdown());
        roofline.stages().forEach(stage -> text.append('\n').append(markdown(stage, ceilings)));
        return text.toString();
    }

    private static void ceiling(TextTable table, String name, String unit, Ceilings.Rate rate) {
        table.row(
                name,
                fixed(1, rate.median() / GIGA) + " " + unit,
                fixed(1, rate.best() / GIGA) + " " + unit,
                rate.samples().size(),
                rate.method());
    }

    private static String fixed(int digits, double value) {
        return String.format(Locale.ROOT, "%." + digits + "f", value);
    }

    private static String markdown(Roofline.Stage stage, Ceilings ceilings) {
        double seconds = stage.rowSeconds() / stage.runs();
        String of = stage.runs() == 1 ? "" : ", mean of " + stage.runs() + " steps";
        TextTable table = new TextTable(
                "op",
                "of",
                "kernel",
                "shape",
                "dtype",
                ">calls",
                ">ms",
                ">time",
                ">GB/s",
                ">GFLOP/s",
                "bound by",
                ">of ceiling");
        for (Roofline.Row row : stage.rows()) {
            table.row(
                    row.name().map(OpName::op).orElse("(backend)"),
                    row.op().map(RooflineCommand::which).orElse(""),
                    row.kernel(),
                    row.name().map(OpName::shape).orElse(""),
                    row.name()
                            .map(name -> name.dtype().name().toLowerCase(Locale.ROOT))
                            .orElse(""),
                    row.calls() / stage.runs(),
                    fixed(3, row.median() / stage.runs() * 1e3),
                    fixed(1, 100 * row.median() / stage.rowSeconds()) + "%",
                    fixed(2, row.bandwidth() / GIGA),
                    fixed(2, row.rate() / GIGA),
                    row.op()
                            .map(_ -> ceilings.memoryBound(row.cost(), row.bf16()) ? "memory" : "compute")
                            .orElse(""),
                    row.op().map(_ -> percent(row.share(ceilings))).orElse(""));
        }
        OpCost cost = stage.cost();
        table.row(
                "all",
                "",
                "",
                "",
                "",
                "",
                fixed(3, seconds * 1e3),
                "100%",
                fixed(2, cost.bytes() / stage.rowSeconds() / GIGA),
                fixed(2, cost.operations() / stage.rowSeconds() / GIGA),
                "",
                percent(stage.leastSeconds(ceilings) / stage.rowSeconds()));
        return String.format(
                        Locale.ROOT,
                        "%s, %d rows from position %d%s: %.2f ms in operations, %.2f ms with all around them\n\n",
                        stage.name(),
                        stage.step().rows(),
                        stage.step().position(),
                        of,
                        seconds * 1e3,
                        stage.medianSeconds() / stage.runs() * 1e3)
                + table.markdown();
    }

    private static String percent(double share) {
        return String.format(Locale.ROOT, "%.0f%%", 100 * share);
    }

    /** What a plot calls an operation: its weight, or what it does. */
    private static String title(Roofline.Row row) {
        return row.op().map(op -> switch (op) {
            case Op.MatMul _, Op.GatedMatMul _, Op.LayerNorm _, Op.RmsNorm _ -> which(op);
            default -> row.name().orElseThrow().op();
        }).orElse("");
    }

    /**
     * Of several operations of one kind, which one it is: the last part of its weight's name, or the tensor that it
     * changes.
     */
    private static String which(Op op) {
        String name = switch (op) {
            case Op.MatMul matMul -> matMul.w().name();
            case Op.GatedMatMul gated -> gated.gate().name() + " " + gated.up().name();
            case Op.Embed embed -> embed.table().name();
            case Op.LayerNorm norm -> norm.w().name();
            case Op.RmsNorm norm -> norm.w().name();
            default -> op.writes().getFirst().name();
        };
        return Arrays.stream(name.split(" ")).map(each -> {
            String[] parts = each.replaceFirst("\\.weight$", "").split("\\.");
            return parts[parts.length - 1];
        }).collect(Collectors.joining(", "));
    }
}
