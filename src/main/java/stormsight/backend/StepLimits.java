package stormsight.backend;

import java.util.ArrayList;
import java.util.List;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * Which steps a program can run without passing the end of a tensor.
 *
 * @param rows largest number of rows
 * @param rowsOf the tensor that says so
 * @param positions limits of {@code position + rows}
 */
public record StepLimits(int rows, Tensor rowsOf, Position[] positions) {
    /** {@code position + min(rows, capacity)} may not pass {@code tokens}, the rows of that tensor. */
    public record Position(int capacity, int tokens, Tensor of) {}

    public static StepLimits of(Program program) {
        Collector collector = new Collector();
        for (Segment segment : program.segments()) {
            for (Op op : segment.ops()) {
                collector.add(op, segment);
            }
        }
        return collector.limits();
    }

    private static final class Collector {
        private final List<Position> positions = new ArrayList<>();
        private Tensor largest;
        private int largestRows;
        private Tensor limit;
        private int limitRows = Integer.MAX_VALUE;

        StepLimits limits() {
            boolean limited = limitRows < largestRows;
            return new StepLimits(limited ? limitRows : largestRows, limited ? limit : largest, positions.toArray(Position[]::new));
        }

        void add(Op op, Segment segment) {
            switch (op) {
                case Op.Embed embed -> {
                    rows(embed.out());
                    reads(embed.ids(), Math.toIntExact(embed.ids().shape().elements()), embed.out().rows());
                }
                case Op.MatMul matMul -> {
                    rows(matMul.out());
                    reads(matMul.x(), matMul.x().rows(), matMul.out().rows());
                    matMul.residual().ifPresent(residual -> reads(residual, residual.rows(), matMul.out().rows()));
                }
                case Op.GatedMatMul gated -> {
                    rows(gated.out());
                    reads(gated.x(), gated.x().rows(), gated.out().rows());
                }
                case Op.LayerNorm norm -> {
                    rows(norm.out());
                    reads(norm.x(), norm.x().rows(), norm.out().rows());
                }
                case Op.RmsNorm norm -> {
                    rows(norm.out());
                    reads(norm.x(), norm.x().rows(), norm.out().rows());
                    norm.residual().ifPresent(residual -> reads(residual, residual.rows(), norm.out().rows()));
                }
                case Op.Rope rope -> {
                    rows(rope.x());
                    position(rope.x().rows(), rope.table().rows(), rope.table());
                }
                case Op.Store store -> {
                    rows(store.x());
                    reads(store.x(), store.x().rows(), Integer.MAX_VALUE);
                    position(store.x().rows(), store.cache().rows(), store.cache());
                }
                case Op.Attention attention -> attention(attention, attention.out().rows());
                case Op.BlockedAttention blocked -> {
                    attention(blocked.attention(), blocked.attention().out().rows());
                    if (blocked.blocked().rows() != blocked.blocked().columns()) {
                        throw new IllegalArgumentException(blocked.blocked() + " is not square");
                    }
                    if (blocked.flags().rows() < segment.firstLayer() + segment.layers()) {
                        throw new IllegalArgumentException(segment.name() + " runs layers up to "
                                + (segment.firstLayer() + segment.layers() - 1) + ", " + blocked.flags() + " has " + blocked.flags().rows());
                    }
                }
                case Op.AttentionWeights weights -> weights(weights.attention());
                case Op.AttentionPeak peak -> weights(peak.attention());
                case Op.RowMax max -> rows(max.x());
                case Op.Copy copy -> {
                    rows(copy.out());
                    reads(copy.x(), copy.x().rows(), copy.out().rows());
                }
                case Op.LastRow last -> rows(last.x());
                case Op.SoftCap cap -> rows(cap.x());
                case Op.Sample sample -> rows(sample.logits());
            }
        }

        private void attention(Op.Attention attention, int capacity) {
            rows(attention.out());
            reads(attention.q(), attention.q().rows(), capacity);
            position(capacity, attention.k().rows(), attention.k());
            position(capacity, attention.v().rows(), attention.v());
        }

        /** A probe looks at rows and keys that its attention has. */
        private void weights(Op.Attention attention) {
            rows(attention.q());
            position(attention.q().rows(), attention.k().rows(), attention.k());
        }

        /** The rows of a run are at most those of the largest tensor that it writes. */
        private void rows(Tensor tensor) {
            rows(tensor.rows(), tensor);
        }

        private void rows(int capacity, Tensor tensor) {
            if (capacity > largestRows) {
                largestRows = capacity;
                largest = tensor;
            }
        }

        /** An operation that handles at most {@code handled} rows reads a tensor of that many. */
        private void reads(Tensor tensor, int tensorRows, int handled) {
            if (tensorRows < handled && tensorRows < limitRows) {
                limitRows = tensorRows;
                limit = tensor;
            }
        }

        private void position(int capacity, int tokens, Tensor of) {
            positions.add(new Position(capacity, tokens, of));
        }
    }

    /** @throws IllegalArgumentException if the step passes the end of a tensor */
    public void check(Program program, Step step) {
        if (step.rows() > rows) {
            throw new IllegalArgumentException(program.name() + ": " + step.rows() + " rows, " + rowsOf + " has " + rows);
        }
        for (Position position : positions) {
            long tokens = (long) step.position() + Math.min(step.rows(), position.capacity);
            if (tokens > position.tokens) {
                throw new IllegalArgumentException(program.name() + ": position " + step.position() + " and " + step.rows()
                        + " rows, " + position.of + " has " + position.tokens);
            }
        }
    }
}
