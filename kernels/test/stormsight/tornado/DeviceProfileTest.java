package stormsight.tornado;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import stormsight.Goldens;
import stormsight.backend.Backend;
import stormsight.backend.Ceilings;
import stormsight.bench.Roofline;
import stormsight.bench.RooflineRows;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Passes;
import stormsight.model.Stage;
import stormsight.model.family.Families;
import stormsight.program.Program;

/** What the profiler says of a model's run, operation by operation. */
class DeviceProfileTest {
    private static final int NEW_TOKENS = 2;

    @TestFactory
    Stream<DynamicTest> everyOperationIsTimedOnceWithACallForEachLayerAndStep() {
        return Devices.all().stream().map(device -> DynamicTest.dynamicTest(device.id() + " " + device.name(), () -> {
            try (ModelDirectory directory = Families.open(Goldens.folder("paligemma-mqa"), Optional.empty());
                    Backend backend = Devices.open(device)) {
                int prompt = directory.processor().imageTokens() + 3;
                Roofline roofline = Roofline.measure(directory, backend, Options.DEFAULT,
                        new Roofline.Plan(prompt, NEW_TOKENS, 0, 1), _ -> {});
                Passes model = directory.unbound(new Limits(prompt, NEW_TOKENS), Options.DEFAULT);
                for (int i = 0; i < model.programs().size(); i++) {
                    Program program = model.programs().get(i);
                    Roofline.Stage stage = roofline.stages().get(i);
                    RooflineRows.assertComplete(program, stage);
                    assertTrue(stage.rows().stream().allMatch(row -> row.median() > 0), stage.rows()::toString);
                }
                for (Ceilings.Rate rate : List.of(roofline.ceilings().read(), roofline.ceilings().copy(),
                        roofline.ceilings().fma())) {
                    assertTrue(rate.median() > 0 && Double.isFinite(rate.best()), rate::toString);
                }
            }
        }));
    }

    @Test
    void ofALogTheLastExecutionCounts() {
        TaskTimes times = new TaskTimes();
        String first =
                "{\n    \"g1\": {\n        \"TOTAL_KERNEL_TIME\": \"12\",\n        \"g1.rope0\": {\n            "
                        + "\"TASK_KERNEL_TIME\": \"12\"\n        }\n    }\n}\n";
        String second = first.replace("12", "30");
        times.add(first);
        times.add(first + second);
        assertEquals(42, times.nanos("g1", "rope0"));
        assertEquals(0, times.nanos("g1", "rope1"));
    }
}
