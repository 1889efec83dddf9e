package stormsight.backend.cpu;

import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Step;

/**
 * What {@link Op.MatMul} and {@link Op.GatedGelu} share: {@code out = residual + activation(x . transpose(w) + bias)}, or with {@code up}
 * {@code out = gelu(x . transpose(w)) * (x . transpose(up))}.
 *
 * @param up null but for GatedGelu
 * @param bias address, 0 for none
 * @param residual address, 0 for none
 * @param capacity of out, in rows
 */
record Product(long x, Weight w, Weight up, long bias, boolean gelu, long residual, long out, int capacity) {
    static Product of(Op.MatMul op, Binding binding) {
        return new Product(binding.address(op.x()), binding.weight(op.w()), null, binding.address(op.bias()),
                op.activation() == Op.Activation.GELU_TANH, binding.address(op.residual()), binding.address(op.out()),
                op.out().rows());
    }

    static Product of(Op.GatedGelu op, Binding binding) {
        return new Product(binding.address(op.x()), binding.weight(op.gate()), binding.weight(op.up()), 0, true, 0,
                binding.address(op.out()), op.out().rows());
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
