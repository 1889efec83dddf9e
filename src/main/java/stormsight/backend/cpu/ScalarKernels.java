package stormsight.backend.cpu;

import java.util.List;
import stormsight.program.Op;

/** The reference: plain loops, sums in double precision, no incubating module. */
final class ScalarKernels implements Kernels {
    @Override
    public String description() {
        return "scalar, double precision";
    }

    @Override
    public Peaks.Loops peaks() {
        return new Peaks.Scalar();
    }

    @Override
    public void forget() {}

    @Override
    public List<Kernel> matMul(Op.MatMul op, Binding binding) {
        return List.of(new MatMulScalar(Product.of(op, binding), binding.scratch()));
    }

    @Override
    public List<Kernel> gatedMatMul(Op.GatedMatMul op, Binding binding) {
        return List.of(new MatMulScalar(Product.of(op, binding), binding.scratch()));
    }

    @Override
    public Kernel layerNorm(Op.LayerNorm op, Binding binding) {
        return new Norm.Scalar(Norm.of(op, binding));
    }

    @Override
    public Kernel rmsNorm(Op.RmsNorm op, Binding binding) {
        return new Norm.Scalar(Norm.of(op, binding));
    }

    @Override
    public Kernel rope(Op.Rope op, Binding binding) {
        return new Rotation.Scalar(Rotation.of(op, binding));
    }

    @Override
    public Kernel attention(Attention attention, Binding binding) {
        return new AttentionScalar(attention, binding.scratch());
    }

    @Override
    public Kernel tap(Tap tap, Binding binding) {
        return new TapScalar(tap, binding.scratch());
    }

    @Override
    public Kernel softCap(Op.SoftCap op, Binding binding) {
        return new Cap.Scalar(Cap.of(op, binding));
    }
}
