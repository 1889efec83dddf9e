package stormsight.bench;

import java.util.List;
import java.util.Optional;

/**
 * A GPU that kernels can be compiled for where there is none: what one multiprocessor (a compute unit, in AMD's words)
 * holds at most. Sources: "Compute Capabilities" of NVIDIA's CUDA programming guide; LLVM's user guide for the AMDGPU
 * backend.
 *
 * @param name as compilers have it
 * @param registers of 32 bits, of all threads
 * @param registerUnit registers of a warp are a multiple of it
 * @param warp threads that run together
 * @param warps at most
 * @param groups at most
 * @param localBytes local memory
 * @param groupBytes of it that the system takes for each group
 */
record GpuTarget(String name, int registers, int registerUnit, int warp, int warps, int groups, int localBytes,
        int groupBytes) {
    /** On AMD, of the four (gfx9) or two (gfx10) SIMDs of a compute unit together. */
    private static final List<GpuTarget> KNOWN = List.of(
            new GpuTarget("sm_80", 65_536, 256, 32, 64, 32, 163 << 10, 1024),
            new GpuTarget("sm_89", 65_536, 256, 32, 48, 24, 99 << 10, 1024),
            new GpuTarget("sm_90", 65_536, 256, 32, 64, 32, 227 << 10, 1024),
            new GpuTarget("sm_120", 65_536, 256, 32, 48, 24, 99 << 10, 1024),
            new GpuTarget("gfx90a", 4 * 512 * 64, 8 * 64, 64, 32, 32, 64 << 10, 0),
            new GpuTarget("gfx942", 4 * 512 * 64, 8 * 64, 64, 32, 32, 64 << 10, 0),
            new GpuTarget("gfx1030", 2 * 1024 * 32, 8 * 32, 32, 32, 32, 64 << 10, 0));

    static List<String> names() {
        return KNOWN.stream().map(GpuTarget::name).toList();
    }

    static Optional<GpuTarget> named(String name) {
        return KNOWN.stream().filter(target -> target.name.equals(name)).findFirst();
    }

    boolean isNvidia() {
        return name.startsWith("sm_");
    }

    /** Percent of the threads that groups of a kernel can have at a time; 0 if not even one group fits. */
    int occupancy(int threadRegisters, int groupSize, int groupLocalBytes) {
        int groupWarps = Math.ceilDiv(groupSize, warp);
        int warpRegisters = Math.ceilDiv(Math.max(threadRegisters, 1) * warp, registerUnit) * registerUnit;
        int fit = Math.min(groups, warps / groupWarps);
        fit = Math.min(fit, registers / (warpRegisters * groupWarps));
        if (groupLocalBytes + groupBytes > 0) {
            fit = Math.min(fit, localBytes / (groupLocalBytes + groupBytes));
        }
        return fit * groupWarps * 100 / warps;
    }
}
