package stormsight.backend.cpu;

import java.util.List;
import stormsight.program.Op;

/**
 * Makes the kernels of operations that do arithmetic, once in plain Java with sums in double precision and once with the Vector API. Operations that
 * only move data, and sampling, are the same for both.
 */
interface Kernels {
    /** What runs the kernels, for logs and {@link stormsight.backend.DeviceInfo#runtime}. */
    String description();

    /** What the processor's ceilings are measured with. */
    Peaks.Loops peaks();

    /** Called when the next kernel may find tensors and shared scratch changed by others: before a layer, after other operations. */
    void forget();

    List<Kernel> matMul(Op.MatMul op, Binding binding);

    List<Kernel> gatedMatMul(Op.GatedMatMul op, Binding binding);

    Kernel layerNorm(Op.LayerNorm op, Binding binding);

    Kernel rmsNorm(Op.RmsNorm op, Binding binding);

    Kernel rope(Op.Rope op, Binding binding);

    Kernel attention(Attention attention, Binding binding);

    Kernel tap(Tap tap, Binding binding);

    Kernel softCap(Op.SoftCap op, Binding binding);
}
