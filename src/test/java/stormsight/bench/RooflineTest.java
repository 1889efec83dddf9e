package stormsight.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.Goldens;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.Ceilings;
import stormsight.generate.LimitException;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Passes;
import stormsight.model.Stage;
import stormsight.model.family.Families;
import stormsight.program.OpCost;
import stormsight.program.Program;
import stormsight.program.Step;

class RooflineTest {
    private static final int NEW_TOKENS = 3;
    private static final int REPETITIONS = 2;
    /** Sums of doubles. */
    private static final double ROUNDING = 1e-12;

    private static ModelDirectory directory;
    private static int prompt;
    private static Roofline roofline;

    @BeforeAll
    static void measure() {
        directory = Families.open(Goldens.folder("paligemma2"), Optional.empty());
        prompt = directory.processor().imageTokens() + 5;
        try (Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
            roofline = Roofline.measure(
                    directory,
                    backend,
                    Options.DEFAULT,
                    new Roofline.Plan(prompt, NEW_TOKENS, 0, REPETITIONS),
                    _ -> {});
        }
    }

    @AfterAll
    static void close() {
        directory.close();
    }

    @Test
    void everyOperationIsThereOnceWithACallForEachLayerAndStep() {
        Passes model = directory.unbound(new Limits(prompt, NEW_TOKENS), Options.DEFAULT);
        assertEquals(
                List.of("encode", "prefill", "decode"),
                roofline.stages().stream().map(Roofline.Stage::name).toList());
        for (int i = 0; i < model.programs().size(); i++) {
            Program program = model.programs().get(i);
            Roofline.Stage stage = roofline.stages().get(i);
            assertEquals(program.name().equals("decode") ? NEW_TOKENS : 1, stage.runs());
            assertTrue(stage.rows().stream().allMatch(row -> row.op().isPresent()), stage.rows()::toString);
            RooflineRows.assertComplete(program, stage);
        }
    }

    @Test
    void costsAreThoseOfOpCost() {
        Roofline.Stage decode = roofline.stages().getLast();
        for (Roofline.Row row : decode.rows()) {
            long bytes = 0;
            long operations = 0;
            for (int i = 0; i < NEW_TOKENS; i++) {
                OpCost cost = OpCost.of(row.op().orElseThrow(), new Step(prompt + i, 1, prompt));
                bytes += cost.bytes() * row.calls() / NEW_TOKENS;
                operations += cost.operations() * row.calls() / NEW_TOKENS;
            }
            assertEquals(new OpCost(bytes, operations), row.cost(), row.op()::toString);
        }
    }

    @Test
    void rowsAccountForTheRun() {
        for (Roofline.Stage stage : roofline.stages()) {
            assertEquals(
                    1,
                    stage.rows().stream()
                            .mapToDouble(row -> row.median() / stage.rowSeconds())
                            .sum(),
                    ROUNDING);
            for (int pass = 0; pass < REPETITIONS; pass++) {
                int index = pass;
                double rows = stage.rows().stream().mapToDouble(row -> row.seconds().get(index)).sum();
                assertTrue(rows > 0 && rows <= stage.seconds().get(pass), rows + " of " + stage.seconds());
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "scalar"})
    void ceilingsArePositive(String name) {
        try (Backend backend = Backends.open(name, new BackendOptions(1, Optional.empty()))) {
            Ceilings ceilings = backend.ceilings(2);
            for (Ceilings.Rate rate : List.of(ceilings.read(), ceilings.copy(), ceilings.fma())) {
                assertEquals(2, rate.samples().size());
                assertTrue(
                        rate.median() > 0 && rate.median() <= rate.best() && Double.isFinite(rate.best()),
                        rate::toString);
            }
            assertThrows(IllegalArgumentException.class, () -> backend.ceilings(0));
        }
    }

    @Test
    void anOperationIsBoundByWhatTakesLonger() {
        Ceilings ceilings = new Ceilings(
                new Ceilings.Rate("read", List.of(10.0, 30.0, 20.0)),
                new Ceilings.Rate("copy", List.of(1.0)),
                new Ceilings.Rate("fma", List.of(200.0, 100.0)),
                Optional.of(new Ceilings.Rate("bf16", List.of(400.0))));
        assertEquals(30, ceilings.read().best());
        assertEquals(20, ceilings.read().median());
        assertEquals(100, ceilings.fma().median());
        assertTrue(ceilings.memoryBound(new OpCost(40, 100), false));
        assertEquals(2, ceilings.leastSeconds(new OpCost(40, 100), false));
        assertTrue(!ceilings.memoryBound(new OpCost(20, 300), false));
        assertEquals(3, ceilings.leastSeconds(new OpCost(20, 300), false));
        assertTrue(ceilings.memoryBound(new OpCost(20, 300), true));
        assertEquals(1, ceilings.leastSeconds(new OpCost(20, 300), true));
        assertEquals(3, ceilings.leastSeconds(new OpCost(20, 1200), true));
        assertThrows(IllegalArgumentException.class, () -> new Ceilings.Rate("no", List.of()));
        assertThrows(IllegalArgumentException.class, () -> new Ceilings.Rate("no", List.of(Double.POSITIVE_INFINITY)));
    }

    @Test
    void logitsThatAreNotNumbersAreNotTimed(@TempDir Path folder) throws IOException {
        Goldens.copy("paligemma-mqa", folder);
        Goldens.change(folder, "multi_modal_projector.linear.bias", Float.NaN);
        try (ModelDirectory damaged = Families.open(folder, Optional.empty());
                Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
            Roofline.Plan plan = new Roofline.Plan(damaged.processor().imageTokens() + 1, 1, 0, 1);
            BackendException e = assertThrows(BackendException.class,
                    () -> Roofline.measure(damaged, backend, Options.DEFAULT, plan, _ -> {}));
            assertTrue(e.getMessage().startsWith("prefill made logits that are not numbers"), e.getMessage());
        }
    }

    @Test
    void whatDoesNotFitIsRefusedBeforeAnythingIsMeasured() {
        int positions = directory.describe().decoder().positions();
        try (Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
            List<String> progress = new ArrayList<>();
            Roofline.Plan plan = new Roofline.Plan(positions, 1, 0, 1);
            assertThrows(
                    LimitException.class,
                    () -> Roofline.measure(directory, backend, Options.DEFAULT, plan, progress::add));
            assertEquals(List.of(), progress);
        }
    }

    @Test
    void aPromptWithoutRoomForTheImageIsRefused() {
        try (Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
            Roofline.Plan plan = new Roofline.Plan(directory.processor().imageTokens() - 1, 1, 0, 1);
            assertThrows(
                    LimitException.class, () -> Roofline.measure(directory, backend, Options.DEFAULT, plan, _ -> {}));
        }
    }
}
