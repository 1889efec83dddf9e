package stormsight.tornado;

import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import stormsight.backend.Backend;
import stormsight.backend.OpCases;

/** Every operation, shape and type on every device, against the scalar reference. */
class DeviceOpCasesTest {
    @TestFactory
    Stream<DynamicContainer> agreesWithScalar() {
        return Devices.all().stream().map(device -> DynamicContainer.dynamicContainer(device.id() + " " + device.name(),
                OpCases.all().stream().map(opCase -> DynamicTest.dynamicTest(opCase.name(), () -> {
                    try (Backend backend = Devices.open(device)) {
                        OpCases.check(backend, opCase);
                    }
                }))));
    }
}
