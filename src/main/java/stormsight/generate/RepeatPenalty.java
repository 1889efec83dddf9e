package stormsight.generate;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import stormsight.backend.Backend;
import stormsight.backend.Executor;
import stormsight.backend.RunListener;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Sampling;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * Draws tokens from logits in which those that are there already count less. The host changes the logits, so that it is
 * one rule for all backends; the backend draws by its own rule.
 *
 * @see <a href="https://arxiv.org/abs/1909.05858">CTRL, section 4.1</a>
 */
final class RepeatPenalty implements AutoCloseable {
    private final Executor executor;
    private final Arena arena = Arena.ofShared();
    private final Program program;
    private final Tensor logits;
    private final Tensor token;
    private final MemorySegment changed;
    private final MemorySegment drawn;

    /**
     * Where a token is drawn.
     *
     * @param logits as the model made them
     * @param seen ids of the prompt and of the answer so far
     */
    record Draw(float[] logits, BitSet seen, float penalty, float coin, Sampling sampling) {}

    /**
     * Prepares it on a backend.
     *
     * @param sequences most that are drawn for at a time
     * @param parts which ids may be drawn, see {@link Op.Sample}
     */
    RepeatPenalty(Backend backend, int sequences, MemorySegment parts) {
        int vocabulary = Math.toIntExact(parts.byteSize());
        logits = new Tensor("penalised.logits", DType.F32, Shape.of(sequences, vocabulary), Tensor.Kind.INPUT, 1);
        token = new Tensor("penalised.token", DType.I32, Shape.of(sequences), Tensor.Kind.OUTPUT, 1);
        Tensor allowed = new Tensor("penalised.parts", DType.U8, Shape.of(vocabulary), Tensor.Kind.INPUT, 1);
        Tensor probability =
                new Tensor("penalised.log_probability", DType.F32, Shape.of(sequences), Tensor.Kind.OUTPUT, 1);
        program = new Program("penalised", List.of(
                Segment.once("penalised", List.of(new Op.Sample(logits, allowed, token, probability)))));
        changed = arena.allocate(logits.bytes(), 64);
        drawn = arena.allocate(token.bytes(), 64);
        executor = backend.prepare(Map.of(), List.of(program), RunListener.NONE);
        executor.write(allowed, parts);
    }

    /** The tokens that are drawn, one for each. */
    int[] draw(List<Draw> draws) {
        List<Step.Sequence> sequences = new ArrayList<>();
        for (int i = 0; i < draws.size(); i++) {
            Draw draw = draws.get(i);
            float[] values = draw.logits().clone();
            draw.seen().stream().filter(id -> id < values.length).forEach(id -> values[id] =
                    values[id] < 0 ? values[id] * draw.penalty() : values[id] / draw.penalty());
            MemorySegment.copy(
                    values, 0, changed, ValueLayout.JAVA_FLOAT, (long) i * values.length * Float.BYTES, values.length);
            sequences.add(new Step.Sequence(i, 0, 1, 0, draw.coin(), draw.sampling()));
        }
        long rowBytes = (long) logits.columns() * Float.BYTES;
        executor.write(logits, changed.asSlice(0, draws.size() * rowBytes));
        executor.run(program, new Step(sequences));
        executor.read(token, drawn.asSlice(0, (long) draws.size() * Integer.BYTES));
        return drawn.asSlice(0, (long) draws.size() * Integer.BYTES).toArray(ValueLayout.JAVA_INT);
    }

    @Override
    public void close() {
        try (arena) {
            executor.close();
        }
    }
}
