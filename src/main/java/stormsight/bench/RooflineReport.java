package stormsight.bench;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import stormsight.backend.Ceilings;
import stormsight.backend.DeviceInfo;
import stormsight.program.Op;
import stormsight.program.OpCost;
import stormsight.program.OpName;
import stormsight.report.Count;
import stormsight.report.RooflineFigure;
import stormsight.report.TextTable;

/**
 * What a {@link Roofline} says, for people and programs.
 *
 * @param title what the user calls the model
 * @param model under a name that says nothing of folders
 */
public record RooflineReport(String title, OpRow.Model model, Machine machine, DeviceInfo device, Roofline roofline) {
    private static final double GIGA = 1e9;

    /** As bench/results/schema.json describes. */
    public String json() {
        return ResultFile.ops(rows(), note(roofline.ceilings()));
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

    private List<OpRow> rows() {
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
                            Optional.of(model),
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

    /** Rates over operations per byte, below the ceiling. Operations that only move are left out. */
    public void draw(Path file) {
        Map<String, List<RooflineFigure.Point>> points = new LinkedHashMap<>();
        for (Roofline.Stage stage : roofline.stages()) {
            points.put(stage.name(), stage.rows().stream()
                    .filter(row -> row.cost().operations() > 0 && row.median() > 0)
                    .map(row -> new RooflineFigure.Point(title(row, stage), row.intensity(), row.rate() / GIGA))
                    .toList());
        }
        RooflineFigure.write(file, model.name() + " on " + device.backend() + ", " + device.runtime(),
                roofline.ceilings().read().median() / GIGA,
                roofline.ceilings().compute(roofline.usesBf16()).median() / GIGA, points);
    }

    /** Tables: the ceilings, and the operations of each stage. */
    public String markdown() {
        Ceilings ceilings = roofline.ceilings();
        TextTable table = new TextTable("ceiling", ">median", ">best", ">of", "how");
        ceiling(table, "read", "GB/s", ceilings.read());
        ceiling(table, "copy", "GB/s", ceilings.copy());
        ceiling(table, "multiply-add", "GFLOP/s", ceilings.fma());
        ceilings.bf16().ifPresent(rate -> ceiling(table, "bf16 product", "GFLOP/s", rate));
        StringBuilder text = new StringBuilder(title + " on " + device.backend() + " " + device.id() + ": "
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
                    row.op().map(RooflineReport::which).orElse(""),
                    row.kernel(),
                    row.name().map(OpName::shape).orElse(""),
                    row.name()
                            .map(name -> name.dtype().label())
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
                        "%s, %s from position %d%s: %.2f ms in operations, %.2f ms with all around them\n\n",
                        stage.name(),
                        Count.text(stage.step().rows(), "row"),
                        stage.step().position(),
                        of,
                        seconds * 1e3,
                        stage.medianSeconds() / stage.runs() * 1e3)
                + table.markdown();
    }

    private static String percent(double share) {
        return String.format(Locale.ROOT, "%.0f%%", 100 * share);
    }

    /** What a plot calls an operation: with its shape where two of a stage would have one name. */
    private static String title(Roofline.Row row, Roofline.Stage stage) {
        String title = title(row);
        long same = stage.rows().stream().filter(each -> title(each).equals(title)).count();
        return same > 1 ? title + row.name().map(name -> " " + name.shape()).orElse("") : title;
    }

    /** Its weight, or what it does. */
    private static String title(Roofline.Row row) {
        return row.op().map(op -> switch (op) {
            case Op.MatMul _, Op.GatedMatMul _, Op.LayerNorm _, Op.RmsNorm _ -> which(op);
            case Op.Embed _, Op.Rope _, Op.Store _, Op.Attention _, Op.BlockedAttention _, Op.AttentionWeights _,
                    Op.AttentionPeak _, Op.RowMax _, Op.Copy _, Op.Gather _, Op.LastRow _, Op.MeanRows _, Op.SoftCap _,
                    Op.Sample _ -> row.name().orElseThrow().op();
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
            case Op.Rope _, Op.Store _, Op.Attention _, Op.BlockedAttention _, Op.AttentionWeights _,
                    Op.AttentionPeak _, Op.RowMax _, Op.Copy _, Op.Gather _, Op.LastRow _, Op.MeanRows _, Op.SoftCap _,
                    Op.Sample _ -> op.writes().getFirst().name();
        };
        return Arrays.stream(name.split(" ")).map(each -> {
            String[] parts = each.replaceFirst("\\.weight$", "").split("\\.");
            return parts[parts.length - 1];
        }).collect(Collectors.joining(", "));
    }
}
