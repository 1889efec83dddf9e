package stormsight.bench;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.OptionalInt;

/**
 * What a kernel needs on a GPU, as a compiler says.
 *
 * @param target the GPU as compilers name it: {@code sm_90}, {@code gfx90a}, {@code acm-g10}
 * @param kernel name of the kernel; a kernel that was compiled for several uses bears a number behind it
 * @param uses where it stands, {@code program segment}
 * @param registers of 32 bits that a work item holds (the vector ones on AMD; on Intel, all that it is given)
 * @param spillBytes of a work item that did not fit its registers
 * @param stackBytes of memory of its own that a work item needs, spills included
 * @param localBytes of local memory of a group
 * @param simd work items of a hardware thread on Intel, where the compiler chooses it: fewer if each needs more
 *     registers; empty elsewhere
 * @param occupancy percent of the threads of a multiprocessor (of an Xe core's hardware threads, on Intel) that
 *     registers, local memory and group size allow
 * @param loads instructions that read global memory; empty where the compiler's output does not show them
 * @param waits instructions that wait for such reads; empty likewise
 */
public record KernelResources(String target, String kernel, String uses, int registers, int spillBytes, int stackBytes,
        int localBytes, OptionalInt simd, int occupancy, OptionalInt loads, OptionalInt waits) {
    /** As it is written to a file. */
    Map<String, Object> json() {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("target", target);
        object.put("kernel", kernel);
        object.put("uses", uses);
        object.put("registers", registers);
        object.put("spill_bytes", spillBytes);
        object.put("stack_bytes", stackBytes);
        object.put("local_bytes", localBytes);
        simd.ifPresent(number -> object.put("simd", number));
        object.put("occupancy", occupancy);
        loads.ifPresent(number -> object.put("loads", number));
        waits.ifPresent(number -> object.put("waits", number));
        return object;
    }
}
