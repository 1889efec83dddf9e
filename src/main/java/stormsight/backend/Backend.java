package stormsight.backend;

import java.util.List;
import java.util.Map;
import stormsight.checkpoint.HostTensor;
import stormsight.program.Program;
import stormsight.program.Tensor;

/** One device, ready to take programs. */
public interface Backend extends AutoCloseable {
    DeviceInfo device();

    /**
     * Makes programs ready to run: allocates, uploads weights, compiles. Slow. The programs of a model are prepared together because they share
     * weights, caches and the tensors that carry values from one program to the next.
     *
     * @param weights a value for every tensor of kind WEIGHT that the programs name; they must stay valid until the executor is closed
     * @throws IllegalArgumentException if a weight is missing, or its type or shape differs from its tensor's
     * @throws BackendException if the device has too little memory or a kernel does not compile
     */
    Executor prepare(Map<Tensor, HostTensor> weights, List<Program> programs, RunListener listener);

    /** Frees the device. Executors must be closed before. */
    @Override
    void close();
}
