package stormsight.tornado;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.TestFactory;
import stormsight.backend.DeviceInfo;
import stormsight.backend.OpCases;

/** The kernels for any GPU where a device has better ones of its own: on CPUs, and on GPUs with tensor cores. */
class KernelVariantsTest {
    private static final String KERNELS = "stormsight.tornado.kernels";

    @BeforeAll
    static void choose() {
        assumeTrue(Devices.all().stream().anyMatch(device -> device.kind() == DeviceInfo.Kind.CPU || Settings.tensorCores(device)),
                "no device here has kernels of its own");
        System.setProperty(KERNELS, "gpu");
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
