package stormsight.probe;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Tensor;

/**
 * Rewrites that add probes to a program. An ordinary program contains none of them; a probed one is prepared
 * separately. Probes compose: each takes a program and gives one.
 */
public final class Probes {
    private Probes() {}

    /**
     * A program with one more output.
     *
     * @param output written by a run of the program
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
        requireWritten(program, segment, result);
        Tensor output = result.as(name, Tensor.Kind.OUTPUT, stack(program, segment));
        return new Probed(inSegment(program, segment, ops -> {
            int last = 0;
            for (int i = 0; i < ops.size(); i++) {
                if (ops.get(i).writes().contains(result)) {
                    last = i;
                }
            }
            List<Op> rewritten = new ArrayList<>(ops);
            rewritten.add(last + 1, new Op.Copy(result, output));
            return rewritten;
        }), output);
    }

    /**
     * Keeps all attention weights of every layer of a segment, [layers x query heads, rows, keys].
     *
     * @param keys capacity of the output's last dimension
     */
    public static Probed attentionWeights(Program program, String segment, int keys, String name) {
        Op.Attention attention = attention(program, segment);
        return attentionWeights(
                program,
                segment,
                new Op.Part(layers(program, segment), heads(program, segment), 0, 0),
                false,
                Op.Kept.EACH,
                attention.q().rows(),
                keys,
                name);
    }

    /** The same for as many keys as a run can have. */
    public static Probed attentionWeights(Program program, String segment, String name) {
        Op.Attention attention = attention(program, segment);
        int fixed = attention.keys().fixed();
        return attentionWeights(program, segment, fixed > 0 ? fixed : attention.k().rows(), name);
    }

    /**
     * Keeps a part of the attention weights, [layers x heads, rows, keys], with one in place of what is summed or
     * averaged. Only the part is computed and kept.
     *
     * @param headMean whether the heads are averaged
     * @param kept whether the layers are summed, or each kept
     * @param rows how many of the run's rows at most, from {@code part.firstRow()} on
     * @param keys how many keys at most, from {@code part.firstKey()} on
     */
    public static Probed attentionWeights(
            Program program,
            String segment,
            Op.Part part,
            boolean headMean,
            Op.Kept kept,
            int rows,
            int keys,
            String name) {
        int planes = (kept == Op.Kept.EACH ? part.layers().size() : 1) * (headMean ? 1 : part.heads().size());
        Tensor output = output(name, planes, rows, keys);
        return new Probed(afterAttention(program, segment, part,
                attention -> List.of(new Op.AttentionWeights(attention, part, headMean, kept, output))), output);
    }

    /**
     * Keeps for every row the largest weight that each chosen head gives to a key, [layers x heads, rows].
     *
     * @param rows how many of the run's rows at most, from {@code part.firstRow()} on
     * @param keys how many keys are looked at, from {@code part.firstKey()} on
     */
    public static Probed attentionPeaks(
            Program program, String segment, Op.Part part, int rows, int keys, String name) {
        Tensor output = output(name, part.layers().size() * part.heads().size(), rows);
        return new Probed(
                afterAttention(
                        program,
                        segment,
                        part,
                        attention -> List.of(new Op.AttentionPeak(attention, part, keys, output))),
                output);
    }

    /**
     * Keeps for every row the largest weight of a key after averaging the chosen heads, [layers, rows] in each chosen
     * layer, or [1, rows] of the sum over them. On the way stands one plane of [rows, keys] for all layers together.
     *
     * @param kept {@link Op.Kept#EACH} or {@link Op.Kept#SUM}
     * @param keys of a run; each run must have as many
     */
    public static Probed headMeanPeaks(
            Program program, String segment, Op.Part part, Op.Kept kept, int keys, String name) {
        int rows = attention(program, segment).q().rows();
        Tensor plane = new Tensor(name + ".plane", DType.F32, Shape.of(1, rows, keys), Tensor.Kind.ACTIVATION, 1);
        Tensor output = output(name, kept == Op.Kept.EACH ? part.layers().size() : 1, rows);
        if (kept == Op.Kept.EACH) {
            return new Probed(
                    afterAttention(
                            program,
                            segment,
                            part,
                            attention -> List.of(
                                    new Op.AttentionWeights(attention, part, true, Op.Kept.LAST, plane),
                                    new Op.RowMax(plane, part.layers(), output))),
                    output);
        }
        Program summed = afterAttention(program, segment, part,
                attention -> List.of(new Op.AttentionWeights(attention, part, true, Op.Kept.SUM, plane)));
        Segment peak = Segment.once(name, List.of(new Op.RowMax(plane, List.of(0), output)));
        Segment last = find(program, segment).getLast();
        return new Probed(
                summed.rewrite(each -> each.name().equals(last.name()) ? List.of(each, peak) : List.of(each)), output);
    }

    /**
     * Attention knockout: chosen queries cannot read chosen keys in chosen layers and heads. Programs of one model may
     * share the inputs.
     *
     * @param tokens size of the mask; edges of later tokens are never taken away
     * @see <a href="https://arxiv.org/abs/2411.18620">Cross-modal Information Flow in Multimodal Large Language
     * Models</a>
     */
    public static Knockout knockout(Program program, String segment, int tokens) {
        int heads = attention(program, segment).heads().queryHeads();
        Tensor blocked = new Tensor(segment + ".blocked", DType.U8, Shape.of(tokens, tokens), Tensor.Kind.INPUT, 1);
        Tensor flags = new Tensor(segment + ".blocked_heads", DType.I32, Shape.of(stack(program, segment), heads),
                Tensor.Kind.INPUT, 1);
        return new Knockout(inSegment(program, segment, ops -> ops.stream()
                .<Op>map(op -> op instanceof Op.Attention attention
                        ? new Op.BlockedAttention(attention, blocked, flags) : op)
                .toList()), blocked, flags);
    }

    /**
     * The input that says which row a {@link #lens} reads; those of one program may share it.
     *
     * @param rows most rows of a run
     * @return [rows] I32, of which the first element is the row
     */
    public static Tensor lensRow(int rows) {
        return new Tensor("lens.row", DType.I32, Shape.of(rows), Tensor.Kind.INPUT, 1);
    }

    /**
     * Reads a row of the residual stream through the model's head after every layer of a segment.
     *
     * @param stream tensor that holds the residual stream at the end of a layer
     * @param row as {@link #lensRow} makes it
     * @param head operations that turn a state [1, hiddenSize] into logits [1, vocabulary]
     * @param vocabulary columns of the output
     */
    public static Probed lens(
            Program program,
            String segment,
            Tensor stream,
            Tensor row,
            BiFunction<Tensor, Tensor, List<Op>> head,
            int vocabulary,
            String name) {
        Tensor state = Tensor.activation(name + ".state", 1, stream.columns());
        requireWritten(program, segment, stream);
        Tensor output =
                new Tensor(name, DType.F32, Shape.of(1, vocabulary), Tensor.Kind.OUTPUT, stack(program, segment));
        return new Probed(inSegment(program, segment, ops -> {
            List<Op> rewritten = new ArrayList<>(ops);
            rewritten.add(new Op.Embed(row, stream, 1, Optional.empty(), Optional.empty(), state));
            rewritten.addAll(head.apply(state, output));
            return rewritten;
        }), output);
    }

    /** All layers that a program runs a segment for. */
    public static List<Integer> layers(Program program, String segment) {
        return find(program, segment).stream()
                .flatMap(found -> IntStream.range(found.firstLayer(), found.firstLayer() + found.layers()).boxed())
                .toList();
    }

    /** All query heads of a segment's attention. */
    public static List<Integer> heads(Program program, String segment) {
        return IntStream.range(0, attention(program, segment).heads().queryHeads()).boxed().toList();
    }

    private static Tensor output(String name, int... shape) {
        return new Tensor(name, DType.F32, Shape.of(shape), Tensor.Kind.OUTPUT, 1);
    }

    private static Program afterAttention(
            Program program, String segment, Op.Part part, Function<Op.Attention, List<Op>> added) {
        if (!layers(program, segment).containsAll(part.layers())) {
            throw new IllegalArgumentException(
                    segment + " has layers " + layers(program, segment) + ", asked for " + part.layers());
        }
        return inSegment(program, segment, ops -> ops.stream()
                .flatMap(op -> op instanceof Op.Attention attention
                        ? Stream.concat(Stream.of(op), added.apply(attention).stream()) : Stream.of(op))
                .toList());
    }

    private static Program inSegment(Program program, String segment, UnaryOperator<List<Op>> rewrite) {
        find(program, segment);
        return program.rewrite(each -> List.of(isPart(each, segment) ? each.with(rewrite.apply(each.ops())) : each));
    }

    /** Layers that differ stand in several segments, which bear the name of the whole and their first layer. */
    static boolean isPart(Segment segment, String name) {
        return segment.name().equals(name) || segment.name().startsWith(name + ":");
    }

    /** Every layer of a segment has to, or what the layer before left would be taken for its result. */
    private static void requireWritten(Program program, String segment, Tensor tensor) {
        for (Segment each : find(program, segment)) {
            if (each.ops().stream().noneMatch(op -> op.writes().contains(tensor))) {
                throw new IllegalArgumentException(program.name() + ", " + each.name() + " does not write "
                        + tensor.name() + ", which is read there");
            }
        }
    }

    private static List<Segment> find(Program program, String name) {
        List<Segment> found = program.segments().stream().filter(each -> isPart(each, name)).toList();
        if (found.isEmpty()) {
            throw new IllegalArgumentException(program.name() + " has no segment " + name);
        }
        return found;
    }

    /** Whether a segment attends to anything. */
    static boolean hasAttention(Program program, String segment) {
        return attentions(program, segment).findFirst().isPresent();
    }

    private static Stream<Op.Attention> attentions(Program program, String segment) {
        return find(program, segment).stream()
                .flatMap(found -> found.ops().stream())
                .filter(Op.Attention.class::isInstance)
                .map(Op.Attention.class::cast);
    }

    private static Op.Attention attention(Program program, String segment) {
        return attentions(program, segment)
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(segment + " has no attention"));
    }

    private static int stack(Program program, String segment) {
        Segment last = find(program, segment).getLast();
        return last.firstLayer() + last.layers();
    }
}
