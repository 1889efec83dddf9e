package stormsight.tornado;

import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.TestFactory;
import stormsight.backend.DeviceInfo;
import stormsight.backend.OpCases;

/** The kernels that the default device would not choose by itself, on every device: those for GPUs if it is a CPU, and the other way round. */
class KernelVariantsTest {
    private static final String KERNELS = "stormsight.tornado.kernels";

    @BeforeAll
    static void choose() {
        System.setProperty(KERNELS, Devices.all().getFirst().kind() == DeviceInfo.Kind.CPU ? "gpu" : "cpu");
    }

    @AfterAll
    static void leave() {
        System.clearProperty(KERNELS);
    }

    @TestFactory
    Stream<DynamicContainer> agreesWithScalar() {
        return DeviceOpCasesTest.containers(OpCases.all().stream()
                .filter(opCase -> opCase.name().matches("(matMul|gatedGelu|attention|blockedAttention)_.*"))
                .toList());
    }
}
