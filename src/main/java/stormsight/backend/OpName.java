package stormsight.backend;

import java.util.Locale;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Sampling;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * How reports and benchmarks call an operation: {@code matMul_272x2048x16384_bf16}.
 *
 * @param op {@code matMul}
 * @param shape rows first, then what the operation reads or sums over, then what it makes: {@code 272x2048x16384}; heads are
 *     {@code 8of1x256}, eight query heads on one key-value head of 256 columns; {@code at272} is a position, {@code of257216} rows of a table,
 *     {@code top40} a sampling
 * @param dtype of the weights, else of the activations
 */
public record OpName(String op, String shape, DType dtype) {
    public static OpName of(Op op, Step step) {
        String kind = op.getClass().getSimpleName();
        String name = Character.toLowerCase(kind.charAt(0)) + kind.substring(1);
        return switch (op) {
            case Op.Embed embed -> new OpName(name, matrix(step, embed.out()) + "of" + embed.table().rows(), embed.table().dtype());
            case Op.MatMul matMul -> new OpName(name, product(step, matMul.out(), matMul.w()), matMul.w().dtype());
            case Op.GatedMatMul gated -> new OpName(name, product(step, gated.out(), gated.gate()), gated.gate().dtype());
            case Op.LayerNorm norm -> new OpName(name, matrix(step, norm.out()), DType.F32);
            case Op.RmsNorm norm -> new OpName(name, matrix(step, norm.out()), DType.F32);
            case Op.Rope rope -> new OpName(name, rows(step, rope.x().rows()) + "x" + rope.heads() + "x" + rope.headDim(), DType.F32);
            case Op.Store store -> new OpName(name, matrix(step, store.x()), DType.F32);
            case Op.Attention attention -> new OpName(name, attention(step, attention, attention.out().rows()), DType.F32);
            case Op.BlockedAttention blocked -> new OpName(name,
                    attention(step, blocked.attention(), blocked.attention().out().rows()), DType.F32);
            case Op.AttentionWeights weights -> new OpName(name, attention(step, weights.attention(), weights.rows()), DType.F32);
            case Op.AttentionPeak peak -> new OpName(name, attention(step, peak.attention(), peak.out().columns()), DType.F32);
            case Op.RowMax max -> new OpName(name, matrix(step, max.x()), DType.F32);
            case Op.Copy copy -> new OpName(name, matrix(step, copy.out()), DType.F32);
            case Op.LastRow last -> new OpName(name, matrix(step, last.x()), DType.F32);
            case Op.SoftCap cap -> new OpName(name, matrix(step, cap.x()), DType.F32);
            case Op.Sample sample -> new OpName(name, sample.vocabulary() + sampling(step.sampling()), DType.F32);
        };
    }

    private static long rows(Step step, int capacity) {
        return Math.min(step.rows(), capacity);
    }

    private static String matrix(Step step, Tensor tensor) {
        return rows(step, tensor.rows()) + "x" + tensor.columns();
    }

    private static String product(Step step, Tensor out, Tensor weight) {
        return rows(step, out.rows()) + "x" + weight.columns() + "x" + weight.rows();
    }

    private static String attention(Step step, Op.Attention attention, int capacity) {
        Op.Heads heads = attention.heads();
        return rows(step, capacity) + "x" + heads.queryHeads() + "of" + heads.keyValueHeads() + "x" + heads.headDim()
                + (step.position() == 0 ? "" : "at" + step.position());
    }

    private static String sampling(Sampling sampling) {
        return sampling.greedy() ? "" : "top" + sampling.topK();
    }

    /** {@code op_shape_dtype}. */
    @Override
    public String toString() {
        return op + "_" + shape + "_" + dtype.name().toLowerCase(Locale.ROOT);
    }
}
