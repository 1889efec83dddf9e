package stormsight.backend;

import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * What an operation must at least move and compute in one layer, whatever the backend: every tensor once, and two operations for each product that is
 * summed. Functions count as one operation an element.
 *
 * @param bytes read from and written to memory
 * @param operations floating-point operations
 */
public record OpCost(long bytes, long operations) {
    public static OpCost of(Op op, Step step) {
        return switch (op) {
            case Op.Embed embed -> {
                long rows = rows(step, embed.out());
                yield new OpCost(rows * (rowBytes(embed.table()) + rowBytes(embed.out())), rows * embed.out().columns());
            }
            case Op.MatMul matMul -> {
                long rows = rows(step, matMul.out());
                long more = matMul.residual().map(residual -> rows * rowBytes(residual)).orElse(0L);
                yield new OpCost(weight(matMul.w()) + rows * (rowBytes(matMul.x()) + rowBytes(matMul.out())) + more,
                        2 * rows * matMul.w().shape().elements());
            }
            case Op.GatedMatMul gated -> {
                long rows = rows(step, gated.out());
                yield new OpCost(weight(gated.gate()) + weight(gated.up()) + rows * (rowBytes(gated.x()) + rowBytes(gated.out())),
                        4 * rows * gated.gate().shape().elements());
            }
            case Op.LayerNorm norm -> elements(step, norm.out(), 2, 8);
            case Op.RmsNorm norm -> elements(step, norm.out(), norm.residual().isPresent() ? 3 : 2, 4);
            case Op.Rope rope -> elements(step, rope.x(), 2, 3);
            case Op.Store store -> elements(step, store.x(), 2, 0);
            case Op.Attention attention -> attention(attention, step, attention.out().rows());
            case Op.BlockedAttention blocked -> attention(blocked.attention(), step, blocked.attention().out().rows());
            case Op.AttentionWeights weights -> weights(weights.attention(), weights.part(), step, weights.rows(), weights.out().columns(),
                    weights.headMean() ? 1 : weights.part().heads().size());
            case Op.AttentionPeak peak -> weights(peak.attention(), peak.part(), step, peak.out().columns(), 1, peak.part().heads().size());
            case Op.RowMax max -> {
                long rows = Math.min(step.rows(), max.x().rows());
                yield new OpCost(rows * (rowBytes(max.x()) + Float.BYTES), rows * max.x().columns());
            }
            case Op.Copy copy -> elements(step, copy.out(), 2, 0);
            case Op.LastRow last -> new OpCost(2 * rowBytes(last.out()), 0);
            case Op.SoftCap cap -> elements(step, cap.x(), 2, 3);
            case Op.Sample sample -> new OpCost(rowBytes(sample.logits()), 3L * sample.vocabulary());
        };
    }

    private static long rows(Step step, Tensor out) {
        return Math.min(step.rows(), out.rows());
    }

    private static long rowBytes(Tensor tensor) {
        return tensor.dtype() == DType.Q8 ? tensor.columns() + 4 * DType.scalesPerRow(tensor.shape())
                : (long) tensor.columns() * tensor.dtype().elementBytes();
    }

    private static long weight(Tensor tensor) {
        return tensor.dtype().bytes(tensor.shape());
    }

    private static OpCost elements(Step step, Tensor out, int times, int operations) {
        long elements = rows(step, out) * out.columns();
        return new OpCost(times * Float.BYTES * elements, operations * elements);
    }

    /** Scores of the chosen heads in the chosen rows, without the values; every row counts as if it saw every key. */
    private static OpCost weights(Op.Attention attention, Op.Part part, Step step, int capacity, int columns, int planes) {
        long keys = step.position() + step.rows();
        long rows = Math.max(0, Math.min(step.rows() - part.firstRow(), capacity));
        long written = planes * rows * Math.min(columns, keys) * Float.BYTES;
        return new OpCost(written + keys * rowBytes(attention.k()) + rows * rowBytes(attention.q()),
                2 * rows * keys * part.heads().size() * attention.heads().headDim());
    }

    private static OpCost attention(Op.Attention attention, Step step, int capacity) {
        long rows = Math.min(step.rows(), capacity);
        long seen = 0;
        for (int i = 0; i < rows; i++) {
            seen += Math.min(Math.max(step.prefixLength(), step.position() + i + 1), step.position() + rows);
        }
        long keys = step.position() + rows;
        return new OpCost(rows * (rowBytes(attention.q()) + rowBytes(attention.out())) + keys * 2 * rowBytes(attention.k()),
                4 * seen * attention.heads().queryColumns());
    }
}
