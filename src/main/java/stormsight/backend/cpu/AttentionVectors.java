package stormsight.backend.cpu;

import static stormsight.backend.cpu.Memory.ALL;

import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import stormsight.program.Step;

/**
 * {@link Attention} with lanes along rows. The rows that share a key-value head, r = i x group + g for row i and the g-th query head of the head's
 * group, are cut into tiles; a piece is one tile. Its scores [key, row] for all keys of one head stay in the thread's scratch, so that the softmax
 * needs no sum across lanes and both products are those of {@link Tile}.
 */
final class AttentionVectors implements Kernel {
    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final int LANES = F.length();
    private static final long BYTES = 4L * LANES;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

    /** Below every score, and finite, so that a row which sees nothing has weights exp(-infinity) and not NaN. */
    private static final float LEAST = -Float.MAX_VALUE;

    /** Keys whose values are gathered at once. */
    private static final int KEYS = 64;

    private final Attention attention;
    private final Scratch scratch;
    private final int group;
    private final int maxKeys;

    AttentionVectors(Attention attention, Scratch scratch) {
        this.attention = attention;
        this.scratch = scratch;
        group = attention.heads().queryHeads() / attention.heads().keyValueHeads();
        maxKeys = attention.keyCapacity() + 2 * Tile.ROWS;
        int tile = Math.min(Pack.TILE, Packing.padded(attention.capacity() * group));
        int dim = attention.heads().headDim() + Tile.ROWS;
        scratch.reserveOwn(4L * tile * (2L * dim + maxKeys + 4));
        scratch.reservePanel(Math.max(Tile.ROWS, KEYS) * attention.heads().headDim());
    }

    private int tiles(Step step) {
        return (attention.rows(step) * group + Pack.TILE - 1) / Pack.TILE;
    }

    @Override
    public int pieces(Step step) {
        return attention.heads().keyValueHeads() * tiles(step);
    }

    @Override
    public void run(Step step, int piece, int worker) {
        int tiles = tiles(step);
        int head = piece / tiles;
        int first = piece % tiles * Pack.TILE;
        int count = Math.min(Pack.TILE, attention.rows(step) * group - first);
        int padded = Packing.padded(count);
        int dim = attention.heads().headDim();
        long line = 4L * padded;

        long queries = scratch.own(worker);
        long sums = queries + dim * line;
        long lows = sums + (dim + Tile.ROWS) * line;
        long highs = lows + line;
        long inverses = highs + line;
        long scores = inverses + line;

        packQueries(head, first, count, padded, queries);
        int from = Integer.MAX_VALUE;
        int to = 0;
        boolean same = true;
        for (int r = 0; r < padded; r++) {
            int i = (first + Math.min(r, count - 1)) / group;
            int low = attention.from(step, i);
            int high = attention.to(step, i);
            same &= r == 0 || low == from && high == to;
            from = Math.min(from, low);
            to = Math.max(to, high);
            Memory.f32(lows + 4L * r, low);
            Memory.f32(highs + 4L * r, high);
        }
        int keys = to - from;
        long keyBytes = 4L * attention.heads().keyValueColumns();
        long headOffset = 4L * head * dim;
        float[] panel = scratch.panel(worker);
        Tile.clear(scores, (keys + Tile.ROWS - 1) / Tile.ROWS * Tile.ROWS * line);
        for (int j = 0; j < keys; j += Tile.ROWS) {
            int rows = Math.min(Tile.ROWS, keys - j);
            gather(attention.k() + (from + j) * keyBytes + headOffset, keyBytes, rows, dim, panel);
            Tile.multiply(padded / LANES, panel, 0, dim, 1, rows, dim, queries, line, scores + j * line, line);
        }
        if (attention.softCap() != 0) {
            Cap.Vectors.apply(scores, keys * padded, attention.softCap());
        }
        block(step, head, first, count, padded, from, keys, scores);
        softmax(padded, from, keys, same, scores, lows, highs, inverses);
        if (attention.weights() != 0) {
            writeWeights(step, head, first, count, padded, from, keys, scores, inverses);
            return;
        }
        Tile.clear(sums, (dim + Tile.ROWS - 1) / Tile.ROWS * Tile.ROWS * line);
        for (int j = 0; j < keys; j += KEYS) {
            int rows = Math.min(KEYS, keys - j);
            gather(attention.v() + (from + j) * keyBytes + headOffset, keyBytes, rows, dim, panel);
            for (int d = 0; d < dim; d += Tile.ROWS) {
                Tile.multiply(padded / LANES, panel, d, 1, dim, Math.min(Tile.ROWS, dim - d), rows, scores + j * line, line,
                        sums + d * line, line);
            }
        }
        for (int r = 0; r < count; r++) {
            long out = attention.out() + rowOffset(head, first + r);
            float inverse = Memory.f32(inverses + 4L * r);
            for (int d = 0; d < dim; d++) {
                Memory.f32(out + 4L * d, Memory.f32(sums + d * line + 4L * r) * inverse);
            }
        }
    }

    /** Offset into q and out of the row r of a key-value head. */
    private long rowOffset(int head, int r) {
        long i = r / group;
        return 4L * (i * attention.heads().queryColumns() + (long) (head * group + r % group) * attention.heads().headDim());
    }

    private void packQueries(int head, int first, int count, int padded, long queries) {
        int dim = attention.heads().headDim();
        float scale = attention.scale();
        for (int r = 0; r < padded; r++) {
            long q = attention.q() + rowOffset(head, first + Math.min(r, count - 1));
            for (int d = 0; d < dim; d++) {
                Memory.f32(queries + 4L * (d * padded + r), scale * Memory.f32(q + 4L * d));
            }
        }
    }

    /** Copies one head of some keys or values into the panel, [row, dim]. */
    private static void gather(long from, long stride, int rows, int dim, float[] panel) {
        int whole = dim - dim % LANES;
        for (int r = 0; r < rows; r++) {
            long at = from + r * stride;
            int to = r * dim;
            for (int d = 0; d < whole; d += LANES) {
                FloatVector.fromMemorySegment(F, ALL, at + 4L * d, LE).intoArray(panel, to + d);
            }
            for (int d = whole; d < dim; d++) {
                panel[to + d] = Memory.f32(at + 4L * d);
            }
        }
    }

    private void block(Step step, int head, int first, int count, int padded, int from, int keys, long scores) {
        for (int r = 0; r < count; r++) {
            if (!attention.blocks(head * group + (first + r) % group)) {
                continue;
            }
            int token = step.position() + (first + r) / group;
            for (int j = 0; j < keys; j++) {
                if (attention.blocks(token, from + j)) {
                    Memory.f32(scores + 4L * ((long) j * padded + r), Float.NEGATIVE_INFINITY);
                }
            }
        }
    }

    /** Replaces scores by exp(score - max), 0 where a key is not visible, and writes one over each row's sum, 0 if it sees nothing. */
    private static void softmax(int padded, int from, int keys, boolean same, long scores, long lows, long highs, long inverses) {
        long line = 4L * padded;
        for (int v = 0; v < padded; v += LANES) {
            long column = scores + 4L * v;
            FloatVector max = FloatVector.broadcast(F, LEAST);
            if (same) {
                for (int j = 0; j < keys; j++) {
                    max = max.max(FloatVector.fromMemorySegment(F, ALL, column + j * line, LE));
                }
            } else {
                FloatVector low = FloatVector.fromMemorySegment(F, ALL, lows + 4L * v, LE);
                FloatVector high = FloatVector.fromMemorySegment(F, ALL, highs + 4L * v, LE);
                for (int j = 0; j < keys; j++) {
                    float key = from + j;
                    VectorMask<Float> hidden = low.compare(VectorOperators.GT, key).or(high.compare(VectorOperators.LE, key));
                    FloatVector score = FloatVector.fromMemorySegment(F, ALL, column + j * line, LE)
                            .blend(Float.NEGATIVE_INFINITY, hidden);
                    score.intoMemorySegment(ALL, column + j * line, LE);
                    max = max.max(score);
                }
            }
            FloatVector sum = FloatVector.zero(F);
            for (int j = 0; j < keys; j++) {
                FloatVector x = FloatVector.fromMemorySegment(F, ALL, column + j * line, LE).sub(max);
                FloatVector a = x.max(Exp.LOWEST);
                FloatVector t = a.fma(FloatVector.broadcast(F, Exp.LOG2_E), FloatVector.broadcast(F, Exp.ROUND));
                FloatVector n = t.sub(Exp.ROUND);
                FloatVector r = n.fma(FloatVector.broadcast(F, -Exp.LN2_HIGH), a);
                r = n.fma(FloatVector.broadcast(F, -Exp.LN2_LOW), r);
                FloatVector p = r.fma(FloatVector.broadcast(F, Exp.C5), FloatVector.broadcast(F, Exp.C4));
                p = p.fma(r, FloatVector.broadcast(F, Exp.C3));
                p = p.fma(r, FloatVector.broadcast(F, Exp.C2));
                p = p.fma(r, FloatVector.broadcast(F, Exp.C1));
                p = p.fma(r, FloatVector.broadcast(F, Exp.C0));
                p = p.fma(r.mul(r), r.add(1f));
                p = p.mul(t.reinterpretAsInts().lanewise(VectorOperators.LSHL, 23).add(Exp.ONE_BITS).reinterpretAsFloats());
                p = p.blend(0f, x.compare(VectorOperators.LT, Exp.LOWEST));
                sum = sum.add(p);
                p.intoMemorySegment(ALL, column + j * line, LE);
            }
            FloatVector.broadcast(F, 1f).div(sum).blend(0f, sum.compare(VectorOperators.EQ, 0f))
                    .intoMemorySegment(ALL, inverses + 4L * v, LE);
        }
    }

    private void writeWeights(Step step, int head, int first, int count, int padded, int from, int keys, long scores, long inverses) {
        int all = attention.keys(step);
        for (int r = 0; r < count; r++) {
            long weights = attention.weights(head * group + (first + r) % group, (first + r) / group);
            float inverse = Memory.f32(inverses + 4L * r);
            for (int j = 0; j < all; j++) {
                boolean visible = j >= from && j < from + keys;
                float weight = visible ? Memory.f32(scores + 4L * ((long) (j - from) * padded + r)) * inverse : 0;
                Memory.f32(weights + 4L * j, weight);
            }
        }
    }
}
