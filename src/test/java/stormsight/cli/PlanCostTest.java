package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.backend.PlannedLaunch;
import stormsight.model.Limits;
import stormsight.model.Options;
import stormsight.model.Passes;
import stormsight.model.VisionLanguageModel;
import stormsight.model.Weights;
import stormsight.model.family.Families;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.OpCost;
import stormsight.program.Program;
import stormsight.program.Step;
import tools.jackson.databind.json.JsonMapper;

/** What {@code plan} says that a program costs. */
class PlanCostTest {
    @TempDir
    private Path folder;

    private Passes passes(String preset) throws IOException {
        Files.writeString(folder.resolve("config.json"), JsonMapper.shared()
                .writeValueAsString(Synthesize.preset(preset).files("bfloat16").get("config.json")));
        VisionLanguageModel model = (VisionLanguageModel) Families.configured(folder);
        return model.build(Weights.declared(DType.BF16), new Limits(model.processor().imageTokens() + 12, 8),
                Options.DEFAULT);
    }

    /** The sum over the program's operations, each of which a backend may perform in one kernel or in three. */
    @Test
    void anOperationOfSeveralKernelsCountsOnce() throws IOException {
        Program program = passes("tiny-llava").decode().program();
        Step step = new Step(40, 1, 0);
        List<PlannedLaunch> one = new ArrayList<>();
        List<PlannedLaunch> three = new ArrayList<>();
        long bytes = 0;
        long operations = 0;
        for (Op op : program.segments().stream().flatMap(segment -> segment.ops().stream()).toList()) {
            one.add(launch(program, op, "product"));
            for (String kernel : List.of("split", "product", "sum")) {
                three.add(launch(program, op, kernel));
            }
            bytes += OpCost.of(op, step).bytes();
            operations += OpCost.of(op, step).operations();
        }
        assertTrue(operations > 0);
        OpCost truth = new OpCost(bytes, operations);
        assertEquals(truth, Plan.Planned.of(program, step, one, OptionalInt.empty()).cost());
        Plan.Planned planned = Plan.Planned.of(program, step, three, OptionalInt.empty());
        assertEquals(truth, planned.cost());
        assertEquals(three.size(), planned.count());
    }

    private static PlannedLaunch launch(Program program, Op op, String kernel) {
        return new PlannedLaunch(program.name(), "layers", 1, Optional.of(op), kernel, "1 group");
    }

    /**
     * PaliGemma of 3B with 268 tokens in giga-operations. By hand, two for each weight and row: 27 x 15.2e6 weights and
     * 256 rows are 210e9 of encode, 17 x 110e6 and 268 rows 1003e9 of prefill, where queries, keys and values of the
     * last layer take 3e9 more; attention and the rest are on top.
     */
    @Test
    void aModelOfThreeBillionCostsWhatItsWeightsSay() throws IOException {
        Passes passes = passes("paligemma-3b-224");
        assertEquals(220, operations(passes.encode().program(), passes.encodeStep(0)), 0.5);
        assertEquals(1018, operations(passes.prefill().program(), passes.prefillStep(268, 268)), 0.5);
    }

    private static double operations(Program program, Step step) {
        return program.segments().stream().mapToDouble(segment -> segment.layers()
                * segment.ops().stream().mapToLong(op -> OpCost.of(op, step).operations()).sum()).sum() / 1e9;
    }
}
