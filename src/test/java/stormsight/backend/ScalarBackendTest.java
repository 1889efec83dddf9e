package stormsight.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import stormsight.checkpoint.HostTensor;
import stormsight.checkpoint.Blocks;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Sampling;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * The oracle of all other backends, against values that were computed by hand, operation by operation. Goldens check it
 * in whole models.
 */
class ScalarBackendTest {
    /** Results are rounded to F32. */
    private static final float ROUNDING = 2e-6f;
    private static final float LN_2 = (float) Math.log(2);

    private static Backend scalar;

    private final Arena arena = Arena.ofAuto();
    private final Map<Tensor, HostTensor> weights = new LinkedHashMap<>();
    private final Map<Tensor, MemorySegment> inputs = new LinkedHashMap<>();

    @BeforeAll
    static void open() {
        scalar = Backends.open("scalar", new BackendOptions(2, Optional.empty()));
    }

    @AfterAll
    static void close() {
        scalar.close();
    }

    private Tensor input(String name, int columns, float... values) {
        Tensor tensor = new Tensor(name, DType.F32, Shape.of(values.length / columns, columns), Tensor.Kind.INPUT, 1);
        inputs.put(tensor, MemorySegment.ofArray(values));
        return tensor;
    }

    private Tensor ids(String name, Shape shape, int... values) {
        Tensor tensor = new Tensor(name, DType.I32, shape, Tensor.Kind.INPUT, 1);
        inputs.put(tensor, MemorySegment.ofArray(values));
        return tensor;
    }

    private Tensor vector(String name, float... values) {
        return weight(name, DType.F32, Shape.of(values.length), values);
    }

    private Tensor weight(String name, DType dtype, Shape shape, float... values) {
        DType stored = dtype.isBlocked() ? DType.F32 : dtype;
        MemorySegment data = arena.allocate(stored.bytes(shape), 4);
        for (int i = 0; i < values.length; i++) {
            switch (stored) {
                case F32 -> data.setAtIndex(ValueLayout.JAVA_FLOAT, i, values[i]);
                case F16 -> data.setAtIndex(ValueLayout.JAVA_SHORT, i, Float.floatToFloat16(values[i]));
                case BF16 -> data.setAtIndex(ValueLayout.JAVA_SHORT, i,
                        (short) (Float.floatToRawIntBits(values[i]) >> 16));
                default -> throw new IllegalArgumentException(stored.toString());
            }
        }
        HostTensor value = HostTensor.of(stored, shape, data);
        Tensor tensor = Tensor.weight(name, dtype, shape);
        weights.put(tensor, dtype.isBlocked() ? Blocks.quantize(value, dtype, arena) : value);
        return tensor;
    }

    private static Tensor output(String name, int... shape) {
        return new Tensor(name, DType.F32, Shape.of(shape), Tensor.Kind.OUTPUT, 1);
    }

    private float[] run(Tensor output, Step step, Op... ops) {
        return run(output, 1, step, ops);
    }

    private float[] run(Tensor output, int layers, Step step, Op... ops) {
        Program program = new Program("case", List.of(new Segment("layers", 0, layers, List.of(ops))));
        MemorySegment result = MemorySegment.ofArray(new float[Math.toIntExact(output.bytes() / 4)]);
        try (Executor executor = scalar.prepare(weights, List.of(program), RunListener.NONE)) {
            inputs.forEach((tensor, values) -> {
                if (program.tensors().contains(tensor)) {
                    executor.write(tensor, values);
                }
            });
            executor.run(program, step);
            executor.read(output, result);
        }
        return result.toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
    }

    private static void assertValues(float[] actual, double... expected) {
        float[] floats = new float[expected.length];
        for (int i = 0; i < floats.length; i++) {
            floats[i] = (float) expected[i];
        }
        assertArrayEquals(floats, actual, ROUNDING);
    }

    @Test
    void embedScalesTheTableAndAddsPositions() {
        Tensor out = output("out", 2, 2);
        Op embed = new Op.Embed(ids("ids", Shape.of(2), 1, -1), weight("table", DType.BF16, Shape.of(2, 2), 1, 2, 3, 4),
                2, Optional.of(input("features", 2, 5, 6)), Optional.of(weight("positions", DType.F32, Shape.of(3, 2),
                10, 20, 30, 40, 50, 60)), out);
        assertValues(run(out, new Step(1, 2, 0), embed), 2 * 3 + 30, 2 * 4 + 40, 5 + 50, 6 + 60);
    }

    @Test
    void matMulAddsBiasActivatesThenAddsTheResidual() {
        Tensor out = output("out", 2, 3);
        Op product = new Op.MatMul(input("x", 2, 1, 2, 3, 4), weight("w", DType.F32, Shape.of(3, 2), 1, 0, 0.5f, -1, 2,
                2), Optional.of(vector("bias", 1, 1, 2)), Op.Activation.RELU,
                Optional.of(input("residual", 3, 10, 20, 30, 40, 50, 60)), out);
        assertValues(run(out, new Step(0, 2, 0), product), 1 + 1 + 10, 20, 6 + 2 + 30, 3 + 1 + 40, 50, 14 + 2 + 60);
    }

    @ParameterizedTest
    @CsvSource({"F32, 1.5, -2, 0.25, 4", "F16, 1.5, -2, 0.25, 6e-8", "BF16, 1.5, -2, 0.25, 4", "Q8, 127, -64, 1, 0"})
    void weightsOfEveryTypeAreDecoded(DType dtype, float a, float b, float c, float d) {
        Tensor out = output("out", 1, 1);
        Op product = new Op.MatMul(input("x", 4, 1, 2, 4, 8), weight("w", dtype, Shape.of(1, 4), a, b, c, d),
                Optional.empty(), Op.Activation.NONE, Optional.empty(), out);
        // The smallest binary16 number is 2^-24.
        assertValues(run(out, new Step(0, 1, 0), product), a + 2 * b + 4 * c + 8 * (d == 6e-8f ? 0x1p-24 : d));
    }

    @ParameterizedTest
    @CsvSource({"NONE, 1, -1", "GELU_TANH, 0.8411919906, -0.1588080094", "GELU_ERF, 0.8413447461, -0.1586552539",
        "QUICK_GELU, 0.8457957659, -0.1542042341", "SILU, 0.7310585786, -0.2689414214", "RELU, 1, 0"})
    void activationsAtOneAndMinusOne(Op.Activation activation, double one, double minusOne) {
        Tensor out = output("out", 1, 2);
        Tensor x = input("x", 1, 1);
        Tensor w = weight("w", DType.F32, Shape.of(2, 1), 1, -1);
        assertValues(run(out, new Step(0, 1, 0), new Op.MatMul(x, w, Optional.empty(), activation, Optional.empty(),
                out)), one, minusOne);
        assertValues(run(out, new Step(0, 1, 0), new Op.GatedMatMul(x, w, weight("up", DType.F32, Shape.of(2, 1), 3, 5),
                activation, out)), 3 * one, 5 * minusOne);
    }

    @Test
    void normsOverEachRow() {
        Tensor out = output("out", 1, 2);
        assertValues(run(out, new Step(0, 1, 0), new Op.LayerNorm(input("x", 2, 1, 3), vector("w", 5, 7),
                vector("bias", 100, 200), 0, out)), -5 + 100, 7 + 200);
        assertValues(run(out, new Step(0, 1, 0), new Op.LayerNorm(input("x", 2, 1, 3), vector("w", 5, 7),
                vector("bias", 100, 200), 3, out)), -2.5 + 100, 3.5 + 200);
        assertValues(run(out, new Step(0, 1, 0), new Op.RmsNorm(input("x", 2, 1, 7), vector("w", 5, 10), 0,
                Optional.of(input("residual", 2, 100, 200)), out)), 1 + 100, 14 + 200);
        // With w = 1 / sqrt(columns), the norm of a row becomes 1.
        float each = (float) Math.sqrt(0.5);
        assertValues(run(out, new Step(0, 1, 0), new Op.RmsNorm(input("x", 2, 3, 4), vector("w", each, each), 0,
                Optional.empty(), out)), 0.6, 0.8);
    }

    @Test
    void ropeTurnsPairsByTheAngleOfTheirPosition() {
        Tensor out = output("out", 2, 4);
        // A quarter turn and none at position 1, then the other way round.
        Tensor table = weight("table", DType.F32, Shape.of(3, 4), 9, 9, 9, 9, 0, 1, 1, 0, 1, 0, 0, 1);
        assertValues(run(out, new Step(1, 2, 0), new Op.Copy(input("x", 4, 1, 2, 3, 4, 5, 6, 7, 8), out),
                new Op.Rope(out, table, 1)), -3, 2, 1, 4, 5, -8, 7, 6);
    }

    @Test
    void rowsAreMoved() {
        Tensor cache = new Tensor("cache", DType.F32, Shape.of(4, 1), Tensor.Kind.CACHE, 1);
        Tensor x = input("x", 1, 1, 2, 6);
        Tensor all = output("all", 4, 1);
        assertValues(run(all, new Step(1, 3, 0), new Op.Store(x, cache), new Op.Copy(cache, all)), 0, 1, 2, 0);
        Tensor one = output("one", 1, 1);
        assertValues(run(one, new Step(0, 2, 0), new Op.LastRow(x, one)), 2);
        assertValues(run(one, new Step(0, 3, 0), new Op.MeanRows(x, one)), 3);
        assertValues(run(one, new Step(0, 2, 0), new Op.MeanRows(x, one)), 1.5);
        Tensor two = output("two", 2, 4);
        Tensor pairs = input("pairs", 2, 1, 2, 3, 4, 5, 6);
        assertValues(run(two, new Step(0, 2, 0),
                new Op.Gather(pairs, ids("places", Shape.of(2, 2), 2, -1, 0, 1), two)), 5, 6, 0, 0, 1, 2, 3, 4);
        // The same numbers seen as rows of one.
        Tensor ones = output("ones", 2, 1);
        assertValues(run(ones, new Step(0, 2, 0), new Op.Gather(pairs, ids("single", Shape.of(2, 1), 5, 1), ones)), 6,
                2);
        Tensor max = output("max", 1, 3);
        assertValues(run(max, new Step(0, 2, 0), new Op.RowMax(input("y", 2, 1, -2, -4, -3, 7, 7), List.of(0), max)), 1,
                -3, 0);
        assertValues(run(one, new Step(0, 1, 0), new Op.Copy(input("z", 1, 30), one), new Op.SoftCap(one, 30)),
                22.8478247);
    }

    /** Scores 0, ln 2, ln 4 .. make softmax weights in the ratio 1 : 2 : 4. */
    private Op.Attention attention(int rows, float softCap, Op.Windows windows, Op.Keys keys,
            Tensor out) {
        float[] twos = new float[rows];
        Arrays.fill(twos, 2);
        return new Op.Attention(input("q", 1, twos), input("k", 1, 0, LN_2, 2 * LN_2, 3 * LN_2),
                input("v", 1, 21, 42, 84, 168), new Op.Heads(1, 1, 1), 0.5f, softCap, windows, keys, out);
    }

    @Test
    void attentionSeesWhatTheStepSays() {
        Tensor out = output("out", 3, 1);
        double two = (21 + 2 * 42) / 3.0;
        double three = (21 + 2 * 42 + 4 * 84) / 7.0;
        assertValues(run(out, new Step(0, 3, 0), attention(3, 0, Op.Windows.NONE, Op.Keys.TOKENS, out)), 21, two,
                three);
        assertValues(run(out, new Step(0, 3, 2), attention(3, 0, Op.Windows.NONE, Op.Keys.TOKENS, out)), two, two,
                three);
        assertValues(run(out, new Step(0, 3, 3), attention(3, 0, Op.Windows.NONE, Op.Keys.TOKENS, out)), three, three,
                three);
        double four = (21 + 2 * 42 + 4 * 84 + 8 * 168) / 15.0;
        Tensor one = output("one", 1, 1);
        assertValues(run(one, new Step(3, 1, 0), attention(1, 0, Op.Windows.NONE, Op.Keys.TOKENS, one)), four);
        Op.Windows window = new Op.Windows(List.of(2));
        assertValues(run(one, new Step(3, 1, 0), attention(1, 0, window, Op.Keys.TOKENS, one)),
                (4 * 84 + 8 * 168) / 12.0);
        assertValues(run(one, new Step(3, 1, 4), attention(1, 0, window, Op.Keys.TOKENS, one)), four);
        // Keys that are no tokens, before and after the end of the run.
        assertValues(run(out, new Step(0, 3, 0), attention(3, 0, Op.Windows.NONE, Op.Keys.first(4), out)), four, four,
                four);
        assertValues(run(one, new Step(3, 1, 0), attention(1, 0, Op.Windows.NONE, Op.Keys.first(2), one)), two);
        // Two images, of which none sees the other; the second may be missing.
        Tensor images = output("images", 4, 1);
        Op.Attention each = attention(4, 0, Op.Windows.NONE, Op.Keys.each(2, 2), images);
        double later = (4 * 84 + 8 * 168) / 12.0;
        assertValues(run(images, new Step(0, 2, 0), each), two, two, 0, 0);
        assertValues(run(images, new Step(0, 4, 0), each), two, two, later, later);
        // Scores are capped: 0 and c tanh(ln 2 / c).
        double weight = Math.exp(0.5 * Math.tanh(Math.log(2) / 0.5));
        assertValues(run(one, new Step(1, 1, 0), attention(1, 0.5f, Op.Windows.NONE, Op.Keys.TOKENS, one)),
                (21 + weight * 42) / (1 + weight));
    }

    @Test
    void headsShareKeys() {
        Tensor out = output("out", 1, 2);
        // The second head's query is 0, so that it weighs all keys alike.
        Op attention = new Op.Attention(input("q", 2, 1, 0), input("k", 1, 0, LN_2), input("v", 1, 3, 6),
                new Op.Heads(2, 1, 1), 1, 0, Op.Windows.NONE, Op.Keys.TOKENS, out);
        assertValues(run(out, new Step(1, 1, 0), attention), 5, 4.5);
    }

    @Test
    void blockedEdgesAreNotSeen() {
        Tensor out = output("out", 3, 1);
        Tensor blocked = new Tensor("blocked", DType.U8, Shape.of(3, 3), Tensor.Kind.INPUT, 1);
        inputs.put(blocked, MemorySegment.ofArray(new byte[] {1, 0, 0, 1, 0, 0, 0, 0, 1}));
        Tensor on = ids("on", Shape.of(1, 1), 1);
        Op.Attention attention = attention(3, 0, Op.Windows.NONE, Op.Keys.TOKENS, out);
        assertValues(run(out, new Step(0, 3, 0), new Op.BlockedAttention(attention, blocked, on)), 0, 42,
                (21 + 2 * 42) / 3.0);
        Tensor off = ids("off", Shape.of(1, 1), 0);
        assertValues(run(out, new Step(0, 3, 0), new Op.BlockedAttention(attention, blocked, off)), 21, 35, 63);
    }

    @Test
    void probesShowTheWeights() {
        Tensor out = output("out", 3, 1);
        Op.Attention attention = attention(3, 0, Op.Windows.NONE, Op.Keys.TOKENS, out);
        Op.Part all = new Op.Part(List.of(0), List.of(0), 0, 0);
        Tensor each = output("each", 1, 3, 3);
        assertValues(run(each, new Step(0, 3, 0), new Op.AttentionWeights(attention, all, false, Op.Kept.EACH, each)),
                1, 0, 0, 1 / 3.0, 2 / 3.0, 0, 1 / 7.0, 2 / 7.0, 4 / 7.0);
        Tensor peak = output("peak", 1, 2);
        Op.Part some = new Op.Part(List.of(0), List.of(0), 1, 0);
        assertValues(run(peak, new Step(0, 3, 0), new Op.AttentionPeak(attention, some, 2, peak)), 2 / 3.0, 2 / 7.0);
        // Two layers alike: their sum, and the mean of one head, which is the head.
        Tensor sum = output("sum", 1, 1, 2);
        Op.Part corner = new Op.Part(List.of(0, 1), List.of(0), 2, 1);
        assertValues(run(sum, 2, new Step(0, 3, 0), new Op.AttentionWeights(attention, corner, true, Op.Kept.SUM, sum)),
                4 / 7.0, 8 / 7.0);
    }

    /** Probabilities 0.1, 0.3 and 0.6, and one id of padding. */
    @ParameterizedTest
    @CsvSource({"0, 0, 1, 0.5, 2, 0.6", "1, 0, 1, 0.05, 0, 0.1", "1, 0, 1, 0.2, 1, 0.3", "1, 0, 1, 0.45, 2, 0.6",
        "1, 1, 1, 0, 2, 0.6", "1, 0, 0.85, 0.3, 1, 0.3", "1, 0, 0.85, 0.4, 2, 0.6", "0.5, 0, 1, 0.2, 1, 0.3",
                "0.5, 0, 1, 0.25, 2, 0.6"})
    void tokensAreDrawn(float temperature, int topK, float topP, float coin, int token, double probability) {
        List<Number> drawn = draw(new float[] {0, 0, 0, 0, 0, (float) Math.log(3), (float) Math.log(6), 50},
                new Step(0, 2, 0, coin, new Sampling(temperature, topK, topP)), Op.Sample.DRAWN);
        assertEquals(token, drawn.get(0));
        assertEquals(Math.log(probability), drawn.get(1).floatValue(), ROUNDING);
    }

    @Test
    void noTokenIsDrawnFromWhatIsNoNumber() {
        assertEquals(-1, draw(new float[] {0, 0, 0, 0, 0, Float.NaN, 1, 0}, new Step(0, 2, 0), Op.Sample.DRAWN).get(0));
        assertEquals(-1, draw(new float[] {0, 0, 0, 0, 0, 1, Float.NaN, 0}, new Step(0, 2, 0),
                Op.Sample.COUNTED).get(0));
        assertEquals(0, draw(new float[] {0, 0, 0, 0, 1, 0, 0, Float.NaN}, new Step(0, 2, 0), Op.Sample.DRAWN).get(0));
    }

    /** An id that only counts takes its part of the probability. */
    @Test
    void countedIdsAreNotDrawn() {
        List<Number> drawn = draw(new float[] {0, 0, 0, 0, 0, (float) Math.log(3), (float) Math.log(6), 50},
                new Step(0, 2, 0), Op.Sample.COUNTED);
        assertEquals(1, drawn.get(0));
        assertEquals(Math.log(0.3), drawn.get(1).floatValue(), ROUNDING);
    }

    /** @param third the part of id 2; id 3 is padding */
    private List<Number> draw(float[] logits, Step step, byte third) {
        Tensor token = new Tensor("token", DType.I32, Shape.of(1), Tensor.Kind.OUTPUT, 1);
        Tensor logProbability = output("logProbability", 1);
        Tensor parts = new Tensor("parts", DType.U8, Shape.of(4), Tensor.Kind.INPUT, 1);
        inputs.put(parts, MemorySegment.ofArray(new byte[] {Op.Sample.DRAWN, Op.Sample.DRAWN, third,
                Op.Sample.PADDING}));
        Op sample = new Op.Sample(input("logits", 4, logits), parts, token, logProbability);
        Program program = new Program("draw", List.of(Segment.once("draw", List.of(sample))));
        List<Number> drawn = new ArrayList<>();
        try (Executor executor = scalar.prepare(weights, List.of(program), RunListener.NONE)) {
            inputs.forEach(executor::write);
            executor.run(program, step);
            int[] id = new int[1];
            float[] log = new float[1];
            executor.read(token, MemorySegment.ofArray(id));
            executor.read(logProbability, MemorySegment.ofArray(log));
            drawn.add(id[0]);
            drawn.add(log[0]);
        }
        return drawn;
    }

    @Test
    void samplingGoldensHold() {
        assertEquals(120, SamplingGoldens.check(scalar));
    }
}
