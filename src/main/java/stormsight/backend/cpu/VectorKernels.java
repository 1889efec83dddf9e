package stormsight.backend.cpu;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import jdk.incubator.vector.FloatVector;
import stormsight.program.Op;
import stormsight.program.Tensor;

/** Loops in the Vector API. This class and those it names load only where the module {@code jdk.incubator.vector} is. */
final class VectorKernels implements Kernels {
    /** The tensor that lies packed in the shared scratch, as the next product may find it; null for none. */
    private Tensor packed;

    private Packing packing;

    /** Layers of a model have few packings, and their orders are long. */
    private final Map<Packing, int[]> orders = new HashMap<>();

    @Override
    public String description() {
        return "Vector API, " + FloatVector.SPECIES_PREFERRED.vectorBitSize() + " bits";
    }

    @Override
    public Peaks.Loops peaks() {
        return new PeakVectors();
    }

    @Override
    public void forget() {
        packed = null;
    }

    @Override
    public List<Kernel> matMul(Op.MatMul op, Binding binding) {
        return product(Product.of(op, binding), op.x(), op.out(), binding);
    }

    @Override
    public List<Kernel> gatedMatMul(Op.GatedMatMul op, Binding binding) {
        return product(Product.of(op, binding), op.x(), op.out(), binding);
    }

    private List<Kernel> product(Product product, Tensor x, Tensor out, Binding binding) {
        Packing wanted = Packing.of(product);
        List<Kernel> kernels = new ArrayList<>();
        if (!x.equals(packed) || !wanted.equals(packing)) {
            kernels.add(new Pack(product.x(), wanted, orders.computeIfAbsent(wanted, Packing::order), binding.scratch()));
        }
        kernels.add(new MatMulVectors(product, wanted, binding.scratch()));
        packed = out.equals(x) ? null : x;
        packing = wanted;
        return kernels;
    }

    @Override
    public Kernel layerNorm(Op.LayerNorm op, Binding binding) {
        return new Norm.Vectors(Norm.of(op, binding));
    }

    @Override
    public Kernel rmsNorm(Op.RmsNorm op, Binding binding) {
        return new Norm.Vectors(Norm.of(op, binding));
    }

    @Override
    public Kernel rope(Op.Rope op, Binding binding) {
        return new Rotation.Vectors(Rotation.of(op, binding));
    }

    @Override
    public Kernel attention(Attention attention, Binding binding) {
        return new AttentionVectors(attention, binding.scratch());
    }

    @Override
    public Kernel tap(Tap tap, Binding binding) {
        return new TapVectors(tap, binding.scratch());
    }

    @Override
    public Kernel softCap(Op.SoftCap op, Binding binding) {
        return new Cap.Vectors(Cap.of(op, binding));
    }
}
