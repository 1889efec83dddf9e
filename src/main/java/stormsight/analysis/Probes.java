package stormsight.analysis;

import java.util.ArrayList;
import java.util.List;
import java.util.function.BiFunction;
import java.util.function.UnaryOperator;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Tensor;

/**
 * Rewrites that add probes to a program. An ordinary program contains none of them; a probed one is prepared separately. Probes compose: each takes a
 * program and gives one.
 */
public final class Probes {
    private Probes() {}

    /**
     * A program with one more output.
     *
     * @param output written by a run of the program; a stack of the segment's layers where it has several
     */
    public record Probed(Program program, Tensor output) {}

    /**
     * A program whose attention takes edges away.
     *
     * @param blocked input [tokens, tokens] U8: not 0 where a query (row) must not see a key (column)
     * @param flags input [layers, query heads] I32: not 0 in the layers and heads where that holds
     */
    public record Knockout(Program program, Tensor blocked, Tensor flags) {}

    /**
     * Keeps what an operation of a segment leaves in a tensor, in every layer.
     *
     * @param result tensor that the segment writes; its value after the last operation that writes it is kept
     */
    public static Probed copy(Program program, String segment, Tensor result, String name) {
        Tensor output = result.as(name, Tensor.Kind.OUTPUT, stack(program, segment));
        return new Probed(inSegment(program, segment, ops -> {
            int last = -1;
            for (int i = 0; i < ops.size(); i++) {
                if (ops.get(i).writes().contains(result)) {
                    last = i;
                }
            }
            if (last < 0) {
                throw new IllegalArgumentException(segment + " does not write " + result.name());
            }
            List<Op> rewritten = new ArrayList<>(ops);
            rewritten.add(last + 1, new Op.Copy(result, output));
            return rewritten;
        }), output);
    }

    /**
     * Keeps the attention weights of every layer of a segment, [query heads, rows, keys].
     *
     * @param keys capacity of the output's last dimension
     */
    public static Probed attentionWeights(Program program, String segment, int keys, String name) {
        Op.Attention attention = attention(find(program, segment));
        Tensor output = new Tensor(name, DType.F32,
                Shape.of(attention.heads().queryHeads(), attention.q().rows(), keys), Tensor.Kind.OUTPUT, stack(program, segment));
        return new Probed(inSegment(program, segment, ops -> {
            List<Op> rewritten = new ArrayList<>();
            for (Op op : ops) {
                rewritten.add(op);
                if (op instanceof Op.Attention found) {
                    rewritten.add(new Op.AttentionWeights(found, output));
                }
            }
            return rewritten;
        }), output);
    }

    /**
     * Attention knockout: chosen queries cannot read chosen keys in chosen layers and heads. Programs of one model may share the inputs.
     *
     * @param tokens size of the mask; edges of later tokens are never taken away
     * @see <a href="https://arxiv.org/abs/2411.18620">Cross-modal Information Flow in Multimodal Large Language Models</a>
     */
    public static Knockout knockout(Program program, String segment, int tokens) {
        Segment found = find(program, segment);
        int heads = attention(found).heads().queryHeads();
        Tensor blocked = new Tensor(segment + ".blocked", DType.U8, Shape.of(tokens, tokens), Tensor.Kind.INPUT, 1);
        Tensor flags = new Tensor(segment + ".blocked_heads", DType.I32, Shape.of(found.firstLayer() + found.layers(), heads),
                Tensor.Kind.INPUT, 1);
        return new Knockout(inSegment(program, segment, ops -> ops.stream()
                .<Op>map(op -> op instanceof Op.Attention attention
                        ? new Op.BlockedAttention(attention, blocked, flags) : op)
                .toList()), blocked, flags);
    }

    /**
     * Reads the last row of the residual stream through the model's head after every layer of a segment.
     *
     * @param stream tensor that holds the residual stream at the end of a layer
     * @param head operations that turn a state [1, hiddenSize] into logits [1, vocabulary]
     * @param vocabulary columns of the output
     */
    public static Probed lens(Program program, String segment, Tensor stream, BiFunction<Tensor, Tensor, List<Op>> head,
            int vocabulary, String name) {
        Tensor state = Tensor.activation(name + ".state", 1, stream.columns());
        Tensor output = new Tensor(name, DType.F32, Shape.of(1, vocabulary), Tensor.Kind.OUTPUT, stack(program, segment));
        return new Probed(inSegment(program, segment, ops -> {
            List<Op> rewritten = new ArrayList<>(ops);
            rewritten.add(new Op.LastRow(stream, state));
            rewritten.addAll(head.apply(state, output));
            return rewritten;
        }), output);
    }

    private static Program inSegment(Program program, String segment, UnaryOperator<List<Op>> rewrite) {
        find(program, segment);
        return program.rewrite(each -> List.of(each.name().equals(segment) ? each.with(rewrite.apply(each.ops())) : each));
    }

    private static Segment find(Program program, String segment) {
        return program.segments().stream()
                .filter(each -> each.name().equals(segment))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(program.name() + " has no segment " + segment));
    }

    private static Op.Attention attention(Segment segment) {
        return segment.ops().stream()
                .filter(Op.Attention.class::isInstance)
                .map(Op.Attention.class::cast)
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(segment.name() + " has no attention"));
    }

    private static int stack(Program program, String segment) {
        Segment found = find(program, segment);
        return found.firstLayer() + found.layers();
    }
}
