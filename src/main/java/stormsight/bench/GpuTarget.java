package stormsight.bench;

import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A GPU that kernels can be compiled for where there is none: what one multiprocessor (a compute unit in AMD's words,
 * an Xe core in Intel's) holds at most. Sources: "Compute Capabilities" of NVIDIA's CUDA programming guide; LLVM's user
 * guide for the AMDGPU backend; Intel's GPU Occupancy Calculator for acm-g10 and pvc, and for bmg-g21
 * {@code hw_info_bmg.cpp} of Intel's compute runtime and Mesa's table of Xe2's sizes of local memory.
 *
 * @param name as compilers have it
 * @param registers of 32 bits, of all threads
 * @param registerUnit registers of a warp are a multiple of it
 * @param warp threads that run together; on Intel, where the compiler chooses, the least
 * @param warps at most
 * @param groups at most
 * @param barrierGroups at most, of those that have a barrier
 * @param localBytes local memory
 * @param groupBytes of it that the system takes for each group
 * @param localSizes KB of it that a group can be given, in rising order; empty if any number of bytes
 * @see <a href="https://github.com/oneapi-src/oneAPI-samples/tree/master/Tools/GPU-Occupancy-Calculator">Intel's
 *     calculator</a>
 */
record GpuTarget(String name, int registers, int registerUnit, int warp, int warps, int groups, int barrierGroups,
        int localBytes, int groupBytes, List<Integer> localSizes) {
    /** Whose compilers take it. */
    enum Vendor {
        NVIDIA,
        AMD,
        INTEL
    }

    /** Other names for what is in {@link #KNOWN}. */
    private static final Map<String, String> ALSO = Map.of("dg2", "acm-g10");

    /**
     * On AMD, of the four (gfx9) or two (gfx10) SIMDs of a compute unit together. On Intel, of the 16 (acm-g10) or 8
     * engines of an Xe core, each with 8 threads of 128 registers or 4 of 256; a register has 8 or 16 words.
     */
    private static final List<GpuTarget> KNOWN = List.of(
            new GpuTarget("sm_80", 65_536, 256, 32, 64, 32, 163 << 10, 1024),
            new GpuTarget("sm_89", 65_536, 256, 32, 48, 24, 99 << 10, 1024),
            new GpuTarget("sm_90", 65_536, 256, 32, 64, 32, 227 << 10, 1024),
            new GpuTarget("sm_120", 65_536, 256, 32, 48, 24, 99 << 10, 1024),
            new GpuTarget("gfx90a", 4 * 512 * 64, 8 * 64, 64, 32, 32, 64 << 10, 0),
            new GpuTarget("gfx942", 4 * 512 * 64, 8 * 64, 64, 32, 32, 64 << 10, 0),
            new GpuTarget("gfx1030", 2 * 1024 * 32, 8 * 32, 32, 32, 32, 64 << 10, 0),
            new GpuTarget("acm-g10", 16 * 8 * 128 * 8, 128 * 8, 8, 16 * 8, 128, 32, 128 << 10, 0,
                    List.of(0, 1, 2, 4, 8, 16, 32, 64)),
            new GpuTarget("pvc", 8 * 8 * 128 * 16, 128 * 16, 16, 8 * 8, 64, 32, 128 << 10, 0,
                    List.of(0, 1, 2, 4, 8, 16, 32, 48, 64, 96, 128)),
            new GpuTarget("bmg-g21", 8 * 8 * 128 * 16, 128 * 16, 16, 8 * 8, 64, 32, 128 << 10, 0,
                    List.of(0, 1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128)));

    private GpuTarget(String name, int registers, int registerUnit, int warp, int warps, int groups, int localBytes,
            int groupBytes) {
        this(name, registers, registerUnit, warp, warps, groups, groups, localBytes, groupBytes, List.of());
    }

    static List<String> names() {
        return KNOWN.stream().map(GpuTarget::name).toList();
    }

    static Optional<GpuTarget> named(String name) {
        String known = ALSO.getOrDefault(name, name);
        return KNOWN.stream().filter(target -> target.name.equals(known)).findFirst();
    }

    Vendor vendor() {
        if (name.startsWith("sm_")) {
            return Vendor.NVIDIA;
        }
        return name.startsWith("gfx") ? Vendor.AMD : Vendor.INTEL;
    }

    /** Of a register of Intel's hardware, which all work items of a thread share: as wide as its engines. */
    int registerBytes() {
        return warp * Integer.BYTES;
    }

    /** Percent of the threads that groups of a kernel can have at a time; 0 if not even one group fits. */
    int occupancy(OfflineCompiler.Needs needs, int groupSize) {
        int together = needs.simd().orElse(warp);
        int groupWarps = Math.ceilDiv(groupSize, together);
        int warpRegisters =
                Math.ceilDiv(Math.max(needs.registers(), 1) * together, registerUnit) * registerUnit;
        int fit = Math.min(needs.barrier() ? barrierGroups : groups, warps / groupWarps);
        fit = Math.min(fit, registers / (warpRegisters * groupWarps));
        int groupLocalBytes = given(needs.localBytes()) + groupBytes;
        if (groupLocalBytes > 0) {
            fit = Math.min(fit, localBytes / groupLocalBytes);
        }
        return fit * groupWarps * 100 / warps;
    }

    /** Bytes of local memory that a group gets that asks for some; more than there are if it asks for too many. */
    private int given(int bytes) {
        return localSizes.isEmpty() ? bytes
                : localSizes.stream().mapToInt(size -> size << 10).filter(size -> size >= bytes).findFirst()
                        .orElse(localBytes + 1);
    }
}
