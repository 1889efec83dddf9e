package stormsight.backend.cpu;

import stormsight.program.Step;

/** {@link Attention} with sums in double precision; a piece is one row of one head. */
final class AttentionScalar implements Kernel {
    private final Attention attention;
    private final Scratch scratch;

    AttentionScalar(Attention attention, Scratch scratch) {
        this.attention = attention;
        this.scratch = scratch;
        scratch.reserveOwn(8L * attention.k().slotRows());
    }

    @Override
    public int pieces(Step step) {
        return attention.rows(step) * attention.heads().queryHeads();
    }

    @Override
    public void run(Step step, int piece, int worker) {
        int dim = attention.heads().headDim();
        int i = piece / attention.heads().queryHeads();
        int h = piece % attention.heads().queryHeads();
        int slot = step.sequence(i).slot();
        int column = attention.column(h);
        long out = attention.out() + rowOffset(attention, i, h);
        long scores = scratch.own(worker);
        double inverse = weigh(attention, step, i, h, scores);
        int from = attention.from(step, i);
        int to = attention.to(step, i);
        for (int d = 0; d < dim; d++) {
            double value = 0;
            for (int j = from; j < to; j++) {
                value += Memory.f64(scores + 8L * j) * attention.v().at(slot, j, column + d);
            }
            Memory.f32(out + 4L * d, (float) (value * inverse));
        }
    }

    private static long rowOffset(Attention attention, int i, int h) {
        return 4L * ((long) i * attention.heads().queryColumns() + (long) h * attention.heads().headDim());
    }

    /**
     * Writes {@code exp(score - max)} for the keys that row i sees, at their place in scores.
     *
     * @return one over their sum, 0 if the row sees nothing
     */
    static double weigh(Attention attention, Step step, int i, int h, long scores) {
        int dim = attention.heads().headDim();
        int slot = step.sequence(i).slot();
        int column = attention.column(h);
        long query = attention.q() + rowOffset(attention, i, h);
        int from = attention.from(step, i);
        int to = attention.to(step, i);
        boolean blocks = attention.blocks(h);
        double max = Double.NEGATIVE_INFINITY;
        for (int j = from; j < to; j++) {
            double score = 0;
            for (int d = 0; d < dim; d++) {
                score += (double) Memory.f32(query + 4L * d) * attention.k().at(slot, j, column + d);
            }
            score *= attention.scale();
            if (attention.softCap() != 0) {
                score = attention.softCap() * Math.tanh(score / attention.softCap());
            }
            if (blocks && attention.blocks(step.token(i), j)) {
                score = Double.NEGATIVE_INFINITY;
            }
            Memory.f64(scores + 8L * j, score);
            max = Math.max(max, score);
        }
        double sum = 0;
        for (int j = from; j < to; j++) {
            double score = Memory.f64(scores + 8L * j);
            double weight = score == Double.NEGATIVE_INFINITY ? 0 : Math.exp(score - max);
            Memory.f64(scores + 8L * j, weight);
            sum += weight;
        }
        return sum == 0 ? 0 : 1 / sum;
    }
}
