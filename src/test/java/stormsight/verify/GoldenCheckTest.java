package stormsight.verify;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import stormsight.Goldens;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.CheckpointException;

class GoldenCheckTest {
    @TestFactory
    Stream<DynamicTest> everyRecordedValueAgrees() {
        return Stream.concat(Goldens.MODELS.stream(), Goldens.ENCODERS.stream()).flatMap(golden -> Stream.of(
                        "cpu", "scalar")
                .map(backend -> DynamicTest.dynamicTest(golden + " on " + backend, () -> agree(golden, backend))));
    }

    private static void agree(String golden, String backendName) {
        List<GoldenCheck.Result> results = new ArrayList<>();
        try (Backend backend = Backends.open(backendName, BackendOptions.DEFAULT)) {
            GoldenCheck.run(Goldens.folder(golden), backend, false, results::add);
        }
        assertEquals(List.of(), results.stream().filter(result -> !result.passed()).toList());
        // GoldenCheck refuses a folder that records more than it compared; exact ids and greedy tokens of models that
        // answer come on top.
        int exact = Goldens.MODELS.contains(golden) ? 4 : 0;
        try (Checkpoint values = Checkpoint.openFile(Goldens.folder(golden).resolve("expected.safetensors"))) {
            assertTrue(results.size() >= values.names().size() + exact, results.size() + " results");
        }
    }

    @TestFactory
    Stream<DynamicTest> masksAgree() {
        return Stream.of("cpu", "scalar").map(name -> DynamicTest.dynamicTest(name, () -> {
            List<GoldenCheck.Result> results = new ArrayList<>();
            try (Backend backend = Backends.open(name, BackendOptions.DEFAULT)) {
                assertTrue(GoldenCheck.run(Goldens.folder(Goldens.MASKS), backend, false, results::add));
            }
            assertEquals(5, results.size());
        }));
    }

    @Test
    void refusesValuesOfAnotherModel(@TempDir Path folder) throws IOException {
        Goldens.copy("paligemma-mqa", folder);
        Files.copy(Goldens.folder("paligemma2").resolve("expected.safetensors"), folder.resolve("expected.safetensors"),
                StandardCopyOption.REPLACE_EXISTING);
        try (Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
            CheckpointException e =
                    assertThrows(CheckpointException.class, () -> GoldenCheck.run(folder, backend, false, _ -> {}));
            assertTrue(e.getMessage().contains("values, the model computes"), e.getMessage());
        }
    }

    /**
     * One weight of the second decoder layer changed: what comes before it agrees, its layer is the first to differ.
     */
    @Test
    void stopsAtTheFirstDifference(@TempDir Path folder) throws IOException {
        Goldens.copy("paligemma-mqa", folder);
        Goldens.change(folder, "language_model.model.layers.1.mlp.down_proj.weight", 100);
        List<GoldenCheck.Result> results = new ArrayList<>();
        try (Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
            assertFalse(GoldenCheck.run(folder, backend, true, results::add));
        }
        assertEquals("p0.dec.layers", results.getLast().name());
        assertTrue(results.stream().limit(results.size() - 1).allMatch(GoldenCheck.Result::passed));
    }
}
