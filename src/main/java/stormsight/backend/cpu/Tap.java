package stormsight.backend.cpu;

import java.util.List;
import stormsight.program.Op;
import stormsight.program.Step;

/**
 * What {@link Op.AttentionWeights} and {@link Op.AttentionPeak} keep of the weights of one layer.
 *
 * @param out address of this layer's first plane
 * @param rows of a plane
 * @param keys that a row of a plane holds, or that its largest weight is looked for among
 * @param peak whether a plane holds one number a row, the largest weight
 * @param headMean whether the heads are averaged to one plane
 * @param add whether planes are added to what out holds
 */
record Tap(Attention attention, int[] heads, int firstRow, int rows, int firstKey, int keys, boolean peak,
        boolean headMean, boolean add, long out) {
    static List<Kernel> kernels(Op.AttentionWeights op, Binding binding) {
        return op.part().place(binding.layer()) < 0 ? List.of() : List.of(of(op, binding).kernel(binding));
    }

    private static Tap of(Op.AttentionWeights op, Binding binding) {
        int place = op.part().place(binding.layer());
        int planes = op.headMean() ? 1 : op.part().heads().size();
        int keys = op.out().columns();
        long offset = op.kept() == Op.Kept.EACH ? 4L * place * planes * op.rows() * keys : 0;
        return new Tap(Attention.weightsOf(op.attention(), binding), heads(op.part()), op.part().firstRow(), op.rows(),
                op.part().firstKey(), keys, false, op.headMean(), op.kept() == Op.Kept.SUM && place > 0,
                binding.address(op.out()) + offset);
    }

    static List<Kernel> kernels(Op.AttentionPeak op, Binding binding) {
        return op.part().place(binding.layer()) < 0 ? List.of() : List.of(of(op, binding).kernel(binding));
    }

    private static Tap of(Op.AttentionPeak op, Binding binding) {
        int rows = op.out().columns();
        long offset = 4L * op.part().place(binding.layer()) * op.part().heads().size() * rows;
        return new Tap(Attention.weightsOf(op.attention(), binding), heads(op.part()), op.part().firstRow(), rows,
                op.part().firstKey(), op.keys(), true, false, false, binding.address(op.out()) + offset);
    }

    private Kernel kernel(Binding binding) {
        return binding.choose(() -> new TapScalar(this, binding.scratch()),
                () -> new TapVectors(this, binding.scratch()));
    }

    private static int[] heads(Op.Part part) {
        return part.heads().stream().mapToInt(Integer::intValue).toArray();
    }

    /** Rows of the run that are looked at; none if it ends before the first. */
    int rows(Step step) {
        return Math.max(0, Math.min(attention.rows(step) - firstRow, rows));
    }

    /** Keys of the run that are looked at. */
    int keys(Step step) {
        return Math.max(0, Math.min(attention.keys(step) - firstKey, keys));
    }

    /** Address of a row of a plane. */
    long row(int plane, int row) {
        return out + 4L * ((long) plane * rows + row) * (peak ? 1 : keys);
    }
}
