package stormsight.tornado;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import stormsight.Goldens;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.image.ImageDecoder;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.family.Families;
import stormsight.verify.BackendComparison;

/** Every device agrees with the CPU backend stage by stage, and a weight that is changed on one side is found. */
class DeviceComparisonTest {
    private static final String GOLDEN = "paligemma-mqa";
    private static final int TOKENS = 4;

    @TempDir
    private Path changed;

    @TestFactory
    Stream<DynamicTest> agreesWithTheCpu() {
        return Devices.all().stream().map(device -> DynamicTest.dynamicTest(device.id() + " " + device.name(), () -> {
            try (Backend backend = Devices.open(device)) {
                assertEquals(Optional.empty(), compare(backend, Goldens.folder(GOLDEN)));
            }
        }));
    }

    @TestFactory
    Stream<DynamicTest> namesTheStageOfAChangedWeight() throws IOException {
        Goldens.copy(GOLDEN, changed);
        Goldens.change(changed, "language_model.model.layers.2.self_attn.o_proj.weight", 3);
        return Devices.all().stream().map(device -> DynamicTest.dynamicTest(device.id() + " " + device.name(), () -> {
            try (Backend backend = Devices.open(device)) {
                assertEquals(Optional.of("decoder layer 2"), compare(backend, changed));
            }
        }));
    }

    private static Optional<String> compare(Backend backend, Path folder) {
        try (ModelDirectory oracle = Families.open(Goldens.folder(GOLDEN), Optional.empty());
                ModelDirectory subject = Families.open(folder, Optional.empty());
                Backend cpu = Backends.open("cpu", BackendOptions.DEFAULT)) {
            return BackendComparison.run(new BackendComparison.Side(oracle, cpu),
                    new BackendComparison.Side(subject, backend), Options.DEFAULT,
                    new ImageDecoder().decode(Goldens.folder(GOLDEN).resolve("input.png")), "caption en", TOKENS,
                    stage -> {});
        }
    }
}
