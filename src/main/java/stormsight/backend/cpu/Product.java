package stormsight.backend.cpu;

import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Step;

/**
 * What {@link Op.MatMul} and {@link Op.GatedMatMul} share: {@code out = residual + activation(x . transpose(w) + bias)}, or with {@code up}
 * {@code out = activation(x . transpose(w)) * (x . transpose(up))}.
 *
 * @param up null but for GatedMatMul
 * @param bias address, 0 for none
 * @param residual address, 0 for none
 * @param capacity of out, in rows
 */
record Product(long x, Weight w, Weight up, long bias, Op.Activation activation, long residual, long out, int capacity) {
    static Product of(Op.MatMul op, Binding binding) {
        return new Product(binding.address(op.x()), binding.weight(op.w()), null, binding.address(op.bias()),
                op.activation(), binding.address(op.residual()), binding.address(op.out()),
                op.out().rows());
    }

    static Product of(Op.GatedMatMul op, Binding binding) {
        return new Product(binding.address(op.x()), binding.weight(op.gate()), binding.weight(op.up()), 0, op.activation(), 0,
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
