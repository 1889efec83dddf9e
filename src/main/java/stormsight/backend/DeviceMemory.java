package stormsight.backend;

import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.function.ToLongFunction;
import stormsight.program.Program;
import stormsight.program.Tensor;

/**
 * What programs that are prepared together take of a device's memory, in bytes.
 *
 * @param activations with inputs and outputs
 * @param scratch what kernels of an operation leave to each other
 * @param buffers largest first
 */
public record DeviceMemory(long weights, long caches, long activations, long scratch, List<Buffer> buffers) {
    /**
     * One allocation.
     *
     * @param holds name of a tensor, or of what else is in it
     * @param elements as kernels count them, in an int
     */
    public record Buffer(String holds, long bytes, long elements) {}

    public DeviceMemory {
        buffers = buffers.stream().sorted(Comparator.comparingLong(Buffer::bytes).reversed()).toList();
    }

    /** With a buffer for every tensor. */
    static DeviceMemory of(List<Program> programs) {
        Set<Tensor> tensors = tensors(programs);
        return of(tensors, Tensor::bytes, 0, tensors.stream().map(tensor -> new Buffer(tensor.name(), tensor.bytes(),
                tensor.shape().elements() * tensor.layers())).toList());
    }

    /**
     * Of tensors that lie in these buffers.
     *
     * @param bytes what a tensor takes
     */
    public static DeviceMemory of(Set<Tensor> tensors, ToLongFunction<Tensor> bytes, long scratch,
            List<Buffer> buffers) {
        long weights = 0;
        long caches = 0;
        long activations = 0;
        for (Tensor tensor : tensors) {
            switch (tensor.kind()) {
                case WEIGHT -> weights += bytes.applyAsLong(tensor);
                case CACHE -> caches += bytes.applyAsLong(tensor);
                case ACTIVATION, INPUT, OUTPUT -> activations += bytes.applyAsLong(tensor);
            }
        }
        return new DeviceMemory(weights, caches, activations, scratch, buffers);
    }

    /** Those of all programs, each once. */
    private static Set<Tensor> tensors(List<Program> programs) {
        Set<Tensor> tensors = new LinkedHashSet<>();
        programs.forEach(program -> tensors.addAll(program.tensors()));
        return tensors;
    }

    public long total() {
        return weights + caches + activations + scratch;
    }

    /** How many buffers are larger. */
    public long largerThan(long bytes) {
        return buffers.stream().filter(buffer -> buffer.bytes > bytes).count();
    }
}
