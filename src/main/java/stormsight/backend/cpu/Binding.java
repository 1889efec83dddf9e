package stormsight.backend.cpu;

import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import stormsight.checkpoint.HostTensor;
import stormsight.program.Op;
import stormsight.program.Tensor;

/**
 * Where the tensors of one layer lie.
 *
 * @param addresses of tensors that the executor allocated
 * @param layer index into stacks
 * @param packs of the products before
 * @param natives null where all kernels are Java's
 * @param exact whether operations of one row have kernels of theirs, too, see {@link NativeKernels#multiplies}
 */
record Binding(Map<Tensor, Long> addresses, Map<Tensor, HostTensor> weights, Scratch scratch, int layer, Path path,
        Packs packs, NativeKernels natives, boolean exact) {
    /** A kernel of oneDNN. */
    interface Native {
        Kernel kernel(NativeKernels natives, String name);
    }

    /** A kernel of ours for few rows, and oneDNN's for many, where it has one. */
    Kernel many(Op op, Kernel few, int capacity, Native many) {
        if (natives == null) {
            return few;
        }
        Optional<String> name = natives.implementation(op);
        if (name.isPresent()) {
            return new ByTokens(few, many.kernel(natives, name.get()), capacity);
        }
        return (exact ? natives.exact(op) : Optional.<String>empty())
                .map(one -> (Kernel) ByTokens.ofStep(few, many.kernel(natives, one))).orElse(few);
    }

    /** One of two kernels of an operation, by the path. */
    Kernel choose(Supplier<Kernel> scalar, Supplier<Kernel> vectors) {
        return (path == Path.VECTORS ? vectors : scalar).get();
    }

    long address(Tensor tensor) {
        int index = tensor.layers() > 1 ? layer : 0;
        if (tensor.kind() == Tensor.Kind.WEIGHT) {
            return weights.get(tensor).layers().get(index).address();
        }
        return addresses.get(tensor) + index * tensor.dtype().bytes(tensor.shape());
    }

    /** Address of a tensor, 0 for none. */
    long address(Optional<Tensor> tensor) {
        return tensor.isPresent() ? address(tensor.get()) : 0;
    }

    Weight weight(Tensor tensor) {
        return Weight.of(tensor.dtype(), tensor.shape(), address(tensor));
    }
}
