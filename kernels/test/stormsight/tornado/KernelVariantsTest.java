package stormsight.tornado;

import static org.junit.jupiter.api.Assumptions.abort;

import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.TestFactory;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.DeviceInfo;
import stormsight.backend.OpCases;
import stormsight.backend.Precision;

/** Kernels that the devices here would not choose by themselves. */
class KernelVariantsTest {
    private static final String ON_TENSOR_CORES = "(matMul|gatedMatMul|attention|blockedAttention)_.*";

    /** Where a device has kernels of its own: on GPUs with tensor cores. */
    @TestFactory
    Stream<DynamicContainer> kernelsForAnyGpu() {
        return cases(ON_TENSOR_CORES, DeviceInfo::tensorCores, device -> new TornadoProvider().open(
                new BackendOptions(0, Optional.of(device.id()), Precision.STRICT)));
    }

    /** As on a GPU with one multiprocessor: its groups do several units, and all parts of each. */
    @TestFactory
    Stream<DynamicContainer> tensorCoresOfASmallGpu() {
        return cases(ON_TENSOR_CORES, DeviceInfo::tensorCores, device ->
                open(device, device.maxWorkGroupSize(), 1));
    }

    /**
     * As on a device that allows no groups of 256, for kernels that have smaller ones. Those for tensor cores have not.
     */
    @TestFactory
    Stream<DynamicContainer> smallGroups() {
        String attention = "attention_(1x8of4|1x4of2x72_at90_prefix20_cap_window0|5x3|50x4|19x8|131x|50x2|300x)";
        String products = "matMul_(8x2048|97x272)|gatedMatMul_(16x|17x300)";
        String rest = "sample_sequences|layerNorm_inPlace|rmsNorm_9x(17|2305)_residual";
        return cases("(" + attention + "|" + products + "|" + rest + ").*", _ -> true, device ->
                open(device.withoutNativeTypes(), 64, device.computeUnits()));
    }

    /** Between those and the usual ones. */
    @TestFactory
    Stream<DynamicContainer> groupsOf128() {
        return cases("matMul_97x272x65_BF16.*|gatedMatMul_17x300x65_BF16", _ -> true, device ->
                open(device.withoutNativeTypes(), 128, device.computeUnits()));
    }

    /** As on a large GPU, where few columns of out make too few blocks, so that sums are divided. */
    @TestFactory
    Stream<DynamicContainer> dividedSums() {
        return cases("matMul_129x2112x264_.*|gatedMatMul_(17x300x65|130x2112x264)_BF16", _ -> true, device ->
                open(device.withoutNativeTypes(), 256, 132));
    }

    private static Backend open(DeviceInfo device, int maxWorkGroupSize, int computeUnits) {
        Runtime.Device found = Runtime.device(device.id());
        DeviceInfo small = new DeviceInfo(device.id(), device.backend(), device.name(), device.vendor(),
                device.runtime(), device.driver(), device.kind(), device.memoryBytes(), device.localMemoryBytes(),
                device.maxAllocationBytes(), maxWorkGroupSize, computeUnits, device.nativeTypes());
        return new TornadoVm(new Runtime.Device(found.tornado(), small, found.language()));
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
