package stormsight.cli;

import java.io.PrintWriter;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;
import stormsight.backend.Backend;
import stormsight.backend.PlannedLaunch;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Passes;
import stormsight.program.Op;
import stormsight.program.OpCost;
import stormsight.program.Program;
import stormsight.program.Sampling;
import stormsight.program.Step;
import stormsight.program.Tensor;

/** Prints what a backend makes of a model's programs. */
@Command(name = "plan", description = {
    "Prints the programs of a model and what a backend makes of them: kernel and launch of each operation,",
    "and the bytes and operations that it takes at least, over all layers."})
final class Plan implements Runnable {
    @Spec
    private CommandSpec spec;

    @Mixin
    private ModelMixin model;

    @Mixin
    private BackendMixin backendOptions;

    @Mixin
    private LengthMixin length;

    @Override
    public void run() {
        length.check();
        PrintWriter out = spec.commandLine().getOut();
        try (ModelDirectory directory = model.open(); Backend backend = backendOptions.open()) {
            Limits limits = length.limits(directory.processor());
            int prompt = limits.promptTokens();
            int prefix = directory.describe().causal() ? 0 : prompt;
            Passes passes = directory.unbound(limits, model.options());
            List<PlannedLaunch> launches = backend.plan(passes.programs());
            print(out, passes.encode().program(), passes.encodeStep(0), launches);
            print(out, passes.prefill().program(), passes.prefillStep(prompt, prefix, 0, Sampling.GREEDY), launches);
            print(out, passes.decode().program(), passes.decodeStep(prompt, prefix, 0, Sampling.GREEDY), launches);
        }
    }

    private static void print(PrintWriter out, Program program, Step step, List<PlannedLaunch> launches) {
        long bytes = 0;
        long operations = 0;
        int count = 0;
        String segment = "";
        out.println(program.name() + ", " + step.rows() + " rows at position " + step.position());
        for (PlannedLaunch launch : launches) {
            if (!launch.program().equals(program.name())) {
                continue;
            }
            if (!launch.segment().equals(segment)) {
                segment = launch.segment();
                out.println("  " + segment);
            }
            OpCost cost = launch.op().map(op -> OpCost.of(op, step)).orElse(new OpCost(0, 0));
            bytes += cost.bytes() * launch.times();
            operations += cost.operations() * launch.times();
            count += launch.times();
            out.println(String.format(Locale.ROOT, "    %3d x %-24s %-40s %-34s %10s %9.3f GFLOP", launch.times(), launch.kernel(),
                    launch.op().map(Plan::describe).orElse(""), launch.geometry(), Memory.text(cost.bytes() * launch.times()),
                    cost.operations() * launch.times() / 1e9));
        }
        out.println(String.format(Locale.ROOT, "  %d launches, %s, %.3f GFLOP", count, Memory.text(bytes), operations / 1e9));
    }

    /** The operation with the shape of its weight, or of its result. */
    private static String describe(Op op) {
        Tensor shown = switch (op) {
            case Op.MatMul matMul -> matMul.w();
            case Op.GatedMatMul gated -> gated.gate();
            case Op.Embed embed -> embed.table();
            default -> op.writes().getFirst();
        };
        return op.getClass().getSimpleName() + " " + shown.dtype() + shown.shape();
    }
}
