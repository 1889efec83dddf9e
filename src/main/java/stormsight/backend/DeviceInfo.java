package stormsight.backend;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.util.Set;
import stormsight.program.DType;

/**
 * What is known of a device before anything runs on it. Sizes are bytes; 0 stands for a limit that the device does not
 * state.
 *
 * @param id as {@code --device} takes it, unique within the backend: {@code 0:1}
 * @param backend name of the backend that offers it: {@code cpu}
 * @param runtime what runs the kernels: {@code Vector API, 512 bits}, {@code OpenCL 3.0}
 * @param driver version as the vendor writes it, behind the platform's name where there are several
 * @param memoryBytes memory that programs may fill
 * @param maxAllocationBytes largest single buffer
 * @param computeUnits threads or compute units
 * @param nativeTypes element types that it computes with directly, beside F32
 */
public record DeviceInfo(String id, String backend, String name, String vendor, String runtime, String driver,
        Kind kind, long memoryBytes, long localMemoryBytes, long maxAllocationBytes, int maxWorkGroupSize,
        int computeUnits, Set<DType> nativeTypes) {
    public enum Kind {
        CPU,
        GPU,
        ACCELERATOR
    }

    public DeviceInfo {
        nativeTypes = Set.copyOf(nativeTypes);
    }

    /** Bytes of memory of this machine, or of the container that limits it. */
    public static long hostMemoryBytes() {
        return ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class).getTotalMemorySize();
    }

    /** As if it computed in F32 alone. */
    public DeviceInfo withoutNativeTypes() {
        return new DeviceInfo(id, backend, name, vendor, runtime, driver, kind, memoryBytes, localMemoryBytes,
                maxAllocationBytes, maxWorkGroupSize, computeUnits, Set.of());
    }

    /** As if it had any amount of memory. */
    public DeviceInfo withoutMemoryLimits() {
        return new DeviceInfo(id, backend, name, vendor, runtime, driver, kind, 0, localMemoryBytes, 0,
                maxWorkGroupSize, computeUnits, nativeTypes);
    }

    /** Whether it has tensor cores. */
    public boolean tensorCores() {
        return nativeTypes.contains(DType.BF16);
    }

    /** Name and runtime: what people are told. */
    public String title() {
        return name + ", " + runtime;
    }
}
