package stormsight.backend.cpu;

import java.util.List;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * What {@link Op.MatMul} and {@link Op.GatedMatMul} share:
 * {@code out = residual + activation(x . transpose(w) + bias)}, or with {@code up}
 * {@code out = activation(x . transpose(w)) * (x . transpose(up))}.
 *
 * @param up null but for GatedMatMul
 * @param bias address, 0 for none
 * @param residual address, 0 for none
 * @param capacity of out, in rows
 */
record Product(long x, Weight w, Weight up, long bias, Op.Activation activation, long residual, long out,
        int capacity) {
    static List<Kernel> kernels(Op.MatMul op, Binding binding) {
        return kernels(op, new Product(binding.address(op.x()), binding.weight(op.w()), null,
                binding.address(op.bias()), op.activation(), binding.address(op.residual()), binding.address(op.out()),
                op.out().rows()), op.x(), op.out(), binding);
    }

    static List<Kernel> kernels(Op.GatedMatMul op, Binding binding) {
        return kernels(op, new Product(binding.address(op.x()), binding.weight(op.gate()), binding.weight(op.up()), 0,
                op.activation(), 0, binding.address(op.out()), op.out().rows()), op.x(), op.out(), binding);
    }

    private static List<Kernel> kernels(Op op, Product product, Tensor x, Tensor out, Binding binding) {
        return switch (binding.path()) {
            case SCALAR -> List.of(new MatMulScalar(product, binding.scratch()));
            case VECTORS -> {
                if (MatVec.readsPast(product.w()) || product.up() != null && MatVec.readsPast(product.up())) {
                    binding.packs().forget();
                    yield List.of(new MatMulScalar(product, binding.scratch()));
                }
                yield binding.packs().kernels(op, product, x, out, binding.scratch());
            }
        };
    }

    DType dtype() {
        return w.dtype();
    }

    /** Length of a sum: columns of x and w. */
    int depth() {
        return w.columns();
    }

    /** Columns of out. */
    int width() {
        return w.rows();
    }

    int tokens(Step step) {
        return Math.min(step.rows(), capacity);
    }
}
