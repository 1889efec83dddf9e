package stormsight.tornado;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import stormsight.Goldens;
import stormsight.backend.Backend;
import stormsight.verify.GoldenCheck;

/** Whole models, with all probes, against what transformers computed. */
class DeviceGoldensTest {
    @TestFactory
    Stream<DynamicTest> reproducesGoldens() {
        return Devices.all().stream()
                .flatMap(device -> Stream.of(Goldens.MODELS, Goldens.ENCODERS, List.of(Goldens.MASKS))
                        .flatMap(List::stream)
                        .map(golden -> DynamicTest.dynamicTest(device.id() + " " + golden, () -> {
                            List<GoldenCheck.Result> failures = new ArrayList<>();
                            try (Backend backend = Devices.open(device)) {
                                GoldenCheck.run(Goldens.folder(golden), backend, false, result -> {
                                    if (!result.passed()) {
                                        failures.add(result);
                                    }
                                });
                            }
                            assertEquals(List.of(), failures);
                        })));
    }
}
