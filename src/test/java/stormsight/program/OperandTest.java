package stormsight.program;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** What follows from the operands that an operation declares. */
class OperandTest {
    private static final Tensor X = Tensor.activation("x", 4, 64);
    private static final Tensor OUT = Tensor.activation("out", 4, 32);
    private static final Tensor BF16 = Tensor.weight("w", DType.BF16, Shape.of(32, 64));
    private static final Tensor Q8 = Tensor.weight("w8", DType.Q8, Shape.of(32, 64));
    private static final Tensor BIAS = Tensor.weight("bias", DType.F32, Shape.of(32));

    private static Op product(Tensor w, Tensor out) {
        return new Op.MatMul(X, w, Optional.of(BIAS), Op.Activation.NONE, Optional.of(out), out);
    }

    private static Op attention(Op.Keys keys, int rows, int tokens) {
        Tensor k = new Tensor("k", DType.F32, Shape.of(tokens, 8), Tensor.Kind.CACHE, 1);
        return new Op.Attention(
                Tensor.activation("q", rows, 16),
                k,
                k,
                new Op.Heads(2, 1, 8),
                1,
                0,
                Op.Windows.NONE,
                keys,
                Tensor.activation("mixed", rows, 16));
    }

    private static String refused(Runnable run) {
        return assertThrows(IllegalArgumentException.class, run::run).getMessage();
    }

    @Test
    void readsAndWritesAreThoseOfTheOperands() {
        assertEquals(List.of(X, BF16, BIAS, OUT), product(BF16, OUT).reads());
        assertEquals(List.of(OUT), product(BF16, OUT).writes());
        Op rope = new Op.Rope(X, Tensor.weight("table", DType.F32, Shape.of(9, 32)), 2);
        assertEquals(List.of(X), rope.writes());
        assertEquals(X, rope.reads().getFirst());
    }

    @Test
    void bytesCountEveryOperandOnceAndWhatIsUpdatedTwice() {
        // x, residual and out of three rows, the bias, and the weight with its scales.
        long rows = 4L * (3 * 64 + 32 + 3 * 32 + 3 * 32);
        assertEquals(new OpCost(rows + 2 * 32 * 64, 2 * 3 * 32 * 64), OpCost.of(product(BF16, OUT), new Step(0, 3, 0)));
        assertEquals(rows + 32 * 64 + 4 * 32 * 2, OpCost.of(product(Q8, OUT), new Step(0, 3, 0)).bytes());
        assertEquals(2 * 4 * 2 * 64, OpCost.of(new Op.SoftCap(X, 1), new Step(5, 2, 0)).bytes());
    }

    @Test
    void keysAreCountedByTheirExtent() {
        Step step = new Step(5, 2, 0);
        // Two rows of q and out; keys and values of 7 tokens, of which the rows see 6 and 7, or of the first 3.
        assertEquals(new OpCost(4 * (2 * 2 * 16 + 2 * 7 * 8), 4 * (6 + 7) * 16),
                OpCost.of(attention(Op.Keys.TOKENS, 4, 9), step));
        assertEquals(new OpCost(4 * (2 * 2 * 16 + 2 * 3 * 8), 4 * (3 + 3) * 16),
                OpCost.of(attention(Op.Keys.first(3), 4, 9), step));
        assertEquals("attention_2x2of1x8at5_f32", OpName.of(attention(Op.Keys.TOKENS, 4, 9), step).toString());
        assertEquals("attention_2x2of1x8to3x2_f32", OpName.of(attention(Op.Keys.each(3, 2), 4, 9), step).toString());
        assertEquals("2 x 5 keys of k F32[9, 8] and k F32[9, 8]", refused(() -> attention(Op.Keys.each(5, 2), 4, 9)));
        assertEquals(
                "mixed F32[3, 16] does not have 2 equal blocks", refused(() -> attention(Op.Keys.each(3, 2), 3, 9)));
        assertEquals("attention_2x2of1x8to3_f32", OpName.of(attention(Op.Keys.first(3), 4, 9), step).toString());
    }

    @Test
    void stepsAreLimitedWhereKeysEndWithThem() {
        Program tokens =
                new Program("tokens", List.of(Segment.once("layer", List.of(attention(Op.Keys.TOKENS, 4, 9)))));
        StepLimits.of(tokens).check(tokens, new Step(6, 3, 0));
        assertEquals("tokens: position 7 and 3 rows, k F32[9, 8] has 9",
                refused(() -> StepLimits.of(tokens).check(tokens, new Step(7, 3, 0))));
        assertEquals("tokens: 5 rows, mixed F32[4, 16] has 4",
                refused(() -> StepLimits.of(tokens).check(tokens, new Step(0, 5, 0))));
        Program first =
                new Program("first", List.of(Segment.once("layer", List.of(attention(Op.Keys.first(9), 4, 9)))));
        assertDoesNotThrow(() -> StepLimits.of(first).check(first, new Step(1000, 4, 0)));
        assertEquals("10 keys of k F32[9, 8] and k F32[9, 8]", refused(() -> attention(Op.Keys.first(10), 4, 9)));
    }

    private static Step.Sequence sequence(int slot, int position) {
        return new Step.Sequence(slot, position, 1, 0, 0, Sampling.GREEDY);
    }

    /** Each sequence has a row, a slot of its own and as many keys as it has tokens. */
    @Test
    void sequencesAreLimitedByTheirSlots() {
        Tensor k = new Tensor("k", DType.F32, Shape.of(3, 9, 8), Tensor.Kind.CACHE, 1);
        Op op = new Op.Attention(
                Tensor.activation("q", 3, 16),
                k,
                k,
                new Op.Heads(2, 1, 8),
                1,
                0,
                Op.Windows.NONE,
                Op.Keys.TOKENS,
                Tensor.activation("mixed", 3, 16));
        Program program = new Program("slots", List.of(Segment.once("layer", List.of(op))));
        StepLimits limits = StepLimits.of(program);
        Step step = new Step(List.of(sequence(2, 8), sequence(0, 3)));
        limits.check(program, step);
        assertEquals(new OpCost(4 * (2 * 2 * 16 + 2 * (9 + 4) * 8), 4 * (9 + 4) * 16), OpCost.of(op, step));
        assertEquals("slots: position 9 and 1 rows, k F32[3, 9, 8] has 9",
                refused(() -> limits.check(program, new Step(List.of(sequence(0, 3), sequence(1, 9))))));
        assertEquals("slots: slot 3, k F32[3, 9, 8] has 3",
                refused(() -> limits.check(program, new Step(List.of(sequence(0, 3), sequence(3, 2))))));
        assertEquals("two sequences in slot 1", refused(() -> new Step(List.of(sequence(1, 3), sequence(1, 2)))));
        Program one = new Program("one", List.of(Segment.once("layer", List.of(attention(Op.Keys.TOKENS, 4, 9)))));
        assertEquals("one: 2 sequences, one takes 1",
                refused(() -> StepLimits.of(one).check(one, new Step(List.of(sequence(0, 3), sequence(1, 2))))));
        assertEquals("one of 2 sequences has 2 rows; several have one each",
                refused(() -> new Step(List.of(
                        sequence(0, 3), new Step.Sequence(1, 0, 2, 0, 0, Sampling.GREEDY)))));
    }

    @Test
    void typesAreThoseThatTheOperationTakes() {
        Tensor ids = new Tensor("ids", DType.I32, Shape.of(32, 64), Tensor.Kind.WEIGHT, 1);
        assertEquals("layer: ids I32[32, 64] where WEIGHT is expected",
                refused(() -> Segment.once("layer", List.of(product(ids, OUT)))));
        Tensor half = new Tensor("half", DType.F16, Shape.of(4, 32), Tensor.Kind.ACTIVATION, 1);
        assertEquals("layer: half F16[4, 32] where F32 is expected",
                refused(() -> Segment.once("layer", List.of(product(BF16, half)))));
        Tensor token = new Tensor("token", DType.F32, Shape.of(4), Tensor.Kind.INPUT, 1);
        assertEquals("layer: token F32[4] where I32 is expected", refused(() -> Segment.once("layer",
                List.of(new Op.Embed(token, BF16, 1, Optional.empty(), Optional.empty(), X)))));
    }
}
