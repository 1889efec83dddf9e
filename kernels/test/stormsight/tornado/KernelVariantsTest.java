package stormsight.tornado;

import static org.junit.jupiter.api.Assumptions.abort;

import java.util.List;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.TestFactory;
import stormsight.backend.Backend;
import stormsight.backend.DeviceInfo;
import stormsight.backend.OpCases;

/** Kernels that the devices here would not choose by themselves. */
class KernelVariantsTest {
    private static final String STRICT = "stormsight.tornado.strict";

    @AfterEach
    void leave() {
        System.clearProperty(STRICT);
    }

    /** Where a device has kernels of its own: on GPUs with tensor cores. */
    @TestFactory
    Stream<DynamicContainer> kernelsForAnyGpu() {
        return cases("(matMul|gatedMatMul)_.*", Settings::tensorCores, device -> {
            System.setProperty(STRICT, "true");
            return Devices.open(device);
        });
    }

    /** As on a GPU with one multiprocessor: its groups do several units, and all parts of each. */
    @TestFactory
    Stream<DynamicContainer> tensorCoresOfASmallGpu() {
        return cases("(matMul|gatedMatMul)_.*", Settings::tensorCores, device -> {
            Runtime.Device found = Runtime.device(device.id());
            DeviceInfo small = new DeviceInfo(device.id(), device.backend(), device.name(), device.vendor(),
                    device.runtime(), device.driver(), device.kind(), device.memoryBytes(), device.localMemoryBytes(),
                    device.maxAllocationBytes(), device.maxWorkGroupSize(), 1, device.nativeTypes());
            return new TornadoVm(new Runtime.Device(found.tornado(), small, found.language()));
        });
    }

    private static Stream<DynamicContainer> cases(String names, Predicate<DeviceInfo> which,
            Function<DeviceInfo, Backend> open) {
        List<DeviceInfo> devices = Devices.all().stream().filter(which).toList();
        if (devices.isEmpty()) {
            abort("no device here has such kernels");
        }
        return DeviceOpCasesTest.containers(OpCases.all().stream().filter(opCase ->
                opCase.name().matches(names)).toList(), devices, open);
    }
}
