package stormsight.backend;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import stormsight.checkpoint.HostTensor;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Tensor;

/** One device, ready to take programs. */
public interface Backend extends AutoCloseable {
    DeviceInfo device();

    /**
     * Says that programs like these will be prepared next, before their weights are there. What takes long and can be
     * begun already is begun beside what the caller does. Whatever fails there, {@link #prepare} reports.
     */
    default void expect(List<Program> programs) {}

    /**
     * Makes programs ready to run: allocates, uploads weights, compiles. Slow. The programs of a model are prepared
     * together because they share weights, caches and the tensors that carry values from one program to the next.
     *
     * @param weights a value for every tensor of kind WEIGHT that the programs name; they must stay valid until the
     *     executor is closed
     * @throws IllegalArgumentException if a weight is missing, or its type or shape differs from its tensor's
     * @throws BackendException if the device has too little memory or a kernel does not compile
     */
    Executor prepare(Map<Tensor, HostTensor> weights, List<Program> programs, RunListener listener);

    /**
     * As {@link #prepare}, for {@link Executor#profile}: devices may then launch operations one by one that they would
     * launch together otherwise, so that runs can be slower.
     */
    default Executor prepareToProfile(Map<Tensor, HostTensor> weights, List<Program> programs) {
        return prepare(weights, programs, RunListener.NONE);
    }

    /**
     * What {@link #prepare} would launch, without weights and without compiling: in order, program by program. Whether
     * the device has the {@link #memory} is not asked.
     *
     * @throws BackendException if the device cannot launch a kernel, or a tensor is larger than its largest buffer
     */
    default List<PlannedLaunch> plan(List<Program> programs) {
        List<PlannedLaunch> launches = new ArrayList<>();
        for (Program program : programs) {
            for (Segment segment : program.segments()) {
                for (Op op : segment.ops()) {
                    launches.add(new PlannedLaunch(program.name(), segment.name(), segment.layers(), Optional.of(op),
                            op.getClass().getSimpleName(), ""));
                }
            }
        }
        return launches;
    }

    /** What {@link #prepare} would take of the device's memory. */
    default DeviceMemory memory(List<Program> programs) {
        return DeviceMemory.of(programs);
    }

    /**
     * For each of the programs how many graphs of kernels a run of it would launch, beside those that only send a step
     * and its inputs; empty if this backend has none.
     *
     * @throws BackendException as {@link #plan}
     */
    default List<Integer> graphs(List<Program> programs) {
        return List.of();
    }

    /**
     * The source code of the kernels that {@link #prepare} would launch, one for each of {@link #plan}, in order.
     * Compiles them, which takes seconds; sends and launches nothing.
     *
     * @throws BackendException if this backend generates no code, a tensor is larger than the device's largest buffer,
     *     or a kernel does not compile
     */
    default List<KernelSource> sources(List<Program> programs) {
        throw new BackendException("backend '" + device().backend() + "' runs Java as it is and generates no kernels; "
                + "choose a device with --backend tornado");
    }

    /**
     * Measures what the device does at most. Takes seconds, and memory well beyond the device's caches.
     *
     * @param repetitions how often each rate is measured, at least 1
     * @throws BackendException if the device has too little memory for it
     */
    Ceilings ceilings(int repetitions);

    /** Whether attention may have keys in {@link Op.Keys#blocks several blocks}. */
    default boolean takesBlocks() {
        return false;
    }

    /** Whether what becomes of a sequence is the same, also in its last bits, whatever runs with it. */
    default boolean keepsSequencesApart() {
        return false;
    }

    /** Frees the device. Executors must be closed before. */
    @Override
    void close();
}
