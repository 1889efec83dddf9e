package stormsight.backend.cpu;

import stormsight.program.Step;

/** {@link Attention} with sums in double precision; a piece is one row of one head. */
final class AttentionScalar implements Kernel {
    private final Attention attention;
    private final Scratch scratch;

    AttentionScalar(Attention attention, Scratch scratch) {
        this.attention = attention;
        this.scratch = scratch;
        scratch.reserveOwn(4L * attention.keyCapacity());
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
        int group = attention.heads().queryHeads() / attention.heads().keyValueHeads();
        long keyBytes = 4L * attention.heads().keyValueColumns();
        long headOffset = 4L * (h / group) * dim;
        long rowOffset = 4L * ((long) i * attention.heads().queryColumns() + (long) h * dim);
        long scores = scratch.own(worker);
        int from = attention.from(step, i);
        int to = attention.to(step, i);
        boolean blocks = attention.blocks(h);
        float max = Float.NEGATIVE_INFINITY;
        for (int j = from; j < to; j++) {
            double score = 0;
            long key = attention.k() + j * keyBytes + headOffset;
            for (int d = 0; d < dim; d++) {
                score += (double) Memory.f32(attention.q() + rowOffset + 4L * d) * Memory.f32(key + 4L * d);
            }
            score *= attention.scale();
            if (attention.softCap() != 0) {
                score = attention.softCap() * Math.tanh(score / attention.softCap());
            }
            if (blocks && attention.blocks(step.position() + i, j)) {
                score = Float.NEGATIVE_INFINITY;
            }
            Memory.f32(scores + 4L * j, (float) score);
            max = Math.max(max, (float) score);
        }
        double sum = 0;
        for (int j = from; j < to; j++) {
            float score = Memory.f32(scores + 4L * j);
            double weight = score == Float.NEGATIVE_INFINITY ? 0 : Math.exp((double) score - max);
            Memory.f32(scores + 4L * j, (float) weight);
            sum += weight;
        }
        double inverse = sum == 0 ? 0 : 1 / sum;
        if (attention.weights() != 0) {
            long weights = attention.weights(h, i);
            for (int j = 0; j < attention.keys(step); j++) {
                boolean visible = j >= from && j < to;
                Memory.f32(weights + 4L * j, visible ? (float) (Memory.f32(scores + 4L * j) * inverse) : 0);
            }
            return;
        }
        for (int d = 0; d < dim; d++) {
            double value = 0;
            for (int j = from; j < to; j++) {
                value += (double) Memory.f32(scores + 4L * j) * Memory.f32(attention.v() + j * keyBytes + headOffset + 4L * d);
            }
            Memory.f32(attention.out() + rowOffset + 4L * d, (float) (value * inverse));
        }
    }
}
