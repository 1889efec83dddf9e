package stormsight.backend;

import java.lang.foreign.MemorySegment;
import java.util.Optional;
import stormsight.program.Program;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * Prepared programs with their memory. Used by one thread at a time. A run allocates nothing on the heap. Tensors of
 * kind CACHE keep their values from run to run and program to program; they start as zeros.
 */
public interface Executor extends AutoCloseable {
    /**
     * Runs one of the prepared programs and returns when its outputs can be read.
     *
     * @throws IllegalArgumentException if the program was not prepared, or the step passes the capacity of a tensor
     * @throws BackendException if the device fails
     */
    void run(Program program, Step step);

    /**
     * Runs a program as {@link #run} does and times each operation: with a clock around it on a processor; with the
     * driver's clocks on a device, in a second run of the same. It may allocate.
     *
     * @throws IllegalStateException if the executor is not from {@link Backend#prepareToProfile} and cannot time
     *     operations
     */
    RunProfile profile(Program program, Step step);

    /**
     * Copies the first {@code from.byteSize()} bytes of an input, all layers of a stack one after the other.
     *
     * @throws IllegalArgumentException if the tensor is no INPUT of a prepared program, or is smaller than that
     */
    void write(Tensor input, MemorySegment from);

    /**
     * Copies the first {@code to.byteSize()} bytes of an output, all layers of a stack one after the other.
     *
     * @throws IllegalArgumentException if the tensor is no OUTPUT of a prepared program, or is smaller than that
     */
    void read(Tensor output, MemorySegment to);

    /** Bytes that this executor holds beside the weights that it uses in place. */
    long allocatedBytes();

    /**
     * Whether products of many rows round x to BF16, so that results differ from those of F32 by about 1e-2 of their
     * size.
     */
    default boolean roundsActivations() {
        return false;
    }

    /** Where the time of {@link Backend#prepare} went; empty if nothing was compiled or sent. */
    default Optional<StartUp> startUp() {
        return Optional.empty();
    }

    @Override
    void close();
}
