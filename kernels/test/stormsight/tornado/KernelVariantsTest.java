package stormsight.tornado;

import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import stormsight.backend.Backend;
import stormsight.backend.DeviceInfo;
import stormsight.backend.OpCases;

/** The kernels that a device would not choose by itself, on every device: those for GPUs on a CPU and the other way round. */
class KernelVariantsTest {
    private static final String KERNELS = "stormsight.tornado.kernels";

    @TestFactory
    Stream<DynamicContainer> agreesWithScalar() {
        return Devices.all().stream().map(device -> DynamicContainer.dynamicContainer(device.id() + " " + device.name(),
                OpCases.all().stream()
                        .filter(opCase -> opCase.name().matches("(matMul|gatedGelu|attention|blockedAttention)_.*"))
                        .map(opCase -> DynamicTest.dynamicTest(opCase.name(), () -> {
                            System.setProperty(KERNELS, device.kind() == DeviceInfo.Kind.CPU ? "gpu" : "cpu");
                            try (Backend backend = Devices.open(device)) {
                                OpCases.check(backend, opCase);
                            } finally {
                                System.clearProperty(KERNELS);
                            }
                        }))));
    }
}
