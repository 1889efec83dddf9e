package stormsight.backend.cpu;

import static stormsight.backend.cpu.Memory.ALL;

import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import stormsight.program.Step;

/**
 * Softmax weights of tiles of rows, with lanes along rows. Query heads that stand side by side and read one key-value
 * head may share a tile: row r = i x share + g is row i of the g-th of them. The scores [key, row] of a tile stay in
 * the thread's scratch, so that the softmax needs no sum across lanes and both products of an attention are those of
 * {@link Tile}.
 */
final class AttentionTiles {
    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final int LANES = F.length();
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

    /** Below every score, and finite, so that a row which sees nothing has weights exp(-infinity) and not NaN. */
    private static final float LEAST = -Float.MAX_VALUE;

    private final Attention attention;
    private final Scratch scratch;
    private final int share;

    /** @param share query heads in one tile, 1 or all that read one key-value head */
    AttentionTiles(Attention attention, int share, Scratch scratch) {
        this.attention = attention;
        this.scratch = scratch;
        this.share = share;
        int fixed = attention.keys().fixed();
        int maxKeys = (fixed > 0 ? fixed : attention.k().slotRows()) + 2 * Tile.ROWS;
        int tile = Math.min(Pack.TILE, Packing.padded(attention.capacity() * share));
        int dim = attention.heads().headDim() + Tile.ROWS;
        scratch.reserveOwn(4L * tile * (2L * dim + maxKeys + 4));
        scratch.reservePanel(Tile.ROWS * attention.heads().headDim());
    }

    /** First key that some row of a tile sees. */
    int from(Step step, int first, int count) {
        int from = Integer.MAX_VALUE;
        for (int r = first; r < first + count; r++) {
            from = Math.min(from, attention.from(step, r / share));
        }
        return from;
    }

    /** One past the last key that some row of a tile sees. */
    int to(Step step, int first, int count) {
        int to = 0;
        for (int r = first; r < first + count; r++) {
            to = Math.max(to, attention.to(step, r / share));
        }
        return to;
    }

    /** One over each row's sum of {@link #scores}, 0 if it sees nothing: [padded rows]. */
    long inverses(int padded, int worker) {
        return queries(worker) + 4L * padded * attention.heads().headDim();
    }

    /** Working memory for the weighted values: [headDim + Tile.ROWS, padded rows]. */
    long sums(int padded, int worker) {
        return inverses(padded, worker) + 3 * 4L * padded;
    }

    /**
     * {@code exp(score - max)}, 0 where a key is not visible: [keys, padded rows], from the first key that the tile
     * sees.
     */
    long scores(int padded, int worker) {
        return sums(padded, worker) + 4L * padded * (attention.heads().headDim() + Tile.ROWS);
    }

    private long queries(int worker) {
        return scratch.own(worker);
    }

    /** Offset into q and out of the row r of a tile that begins with that query head. */
    long rowOffset(int queryHead, int r) {
        long i = r / share;
        return 4L * (i * attention.heads().queryColumns() + (long) (queryHead
                + r % share) * attention.heads().headDim());
    }

    /**
     * Fills {@link #scores} and {@link #inverses}.
     *
     * @param queryHead first query head of the tile
     * @param first first row of the tile
     * @param count rows of the tile, all of one sequence, at most {@link Pack#TILE}
     */
    void weigh(Step step, int queryHead, int first, int count, int worker) {
        int padded = Packing.padded(count);
        int dim = attention.heads().headDim();
        long line = 4L * padded;
        long queries = queries(worker);
        long inverses = inverses(padded, worker);
        long lows = inverses + line;
        long highs = lows + line;
        long scores = scores(padded, worker);
        packQueries(queryHead, first, count, padded, queries);
        int from = from(step, first, count);
        int to = to(step, first, count);
        boolean same = true;
        for (int r = 0; r < padded; r++) {
            int i = (first + Math.min(r, count - 1)) / share;
            int low = attention.from(step, i);
            int high = attention.to(step, i);
            same &= low == from && high == to;
            Memory.f32(lows + 4L * r, low);
            Memory.f32(highs + 4L * r, high);
        }
        int keys = to - from;
        int slot = step.sequence(first / share).slot();
        int column = attention.column(queryHead);
        float[] panel = scratch.panel(worker);
        Tile.clear(scores, (keys + Tile.ROWS - 1) / Tile.ROWS * Tile.ROWS * line);
        for (int j = 0; j < keys; j += Tile.ROWS) {
            int rows = Math.min(Tile.ROWS, keys - j);
            Cache.Vectors.gather(attention.k(), slot, from + j, rows, column, dim, panel);
            Tile.multiply(padded / LANES, panel, 0, dim, 1, dim, queries, line, scores + j * line, line);
        }
        if (attention.softCap() != 0) {
            Cap.Vectors.apply(scores, keys * padded, attention.softCap());
        }
        block(step, queryHead, first, count, padded, from, keys, scores);
        softmax(padded, from, keys, same, scores, lows, highs, inverses);
    }

    private void packQueries(int queryHead, int first, int count, int padded, long queries) {
        int dim = attention.heads().headDim();
        float scale = attention.scale();
        for (int r = 0; r < padded; r++) {
            long q = attention.q() + rowOffset(queryHead, first + Math.min(r, count - 1));
            for (int d = 0; d < dim; d++) {
                Memory.f32(queries + 4L * (d * padded + r), scale * Memory.f32(q + 4L * d));
            }
        }
    }

    private void block(Step step, int queryHead, int first, int count, int padded, int from, int keys, long scores) {
        for (int r = 0; r < count; r++) {
            if (!attention.blocks(queryHead + (first + r) % share)) {
                continue;
            }
            int token = step.token((first + r) / share);
            for (int j = 0; j < keys; j++) {
                if (attention.blocks(token, from + j)) {
                    Memory.f32(scores + 4L * ((long) j * padded + r), Float.NEGATIVE_INFINITY);
                }
            }
        }
    }

    /**
     * Replaces scores by exp(score - max), 0 where a key is not visible, and writes one over each row's sum, 0 if it
     * sees nothing.
     */
    private static void softmax(int padded, int from, int keys, boolean same, long scores, long lows, long highs,
            long inverses) {
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
                    VectorMask<Float> hidden = low.compare(VectorOperators.GT,
                            key).or(high.compare(VectorOperators.LE, key));
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
                p = p.mul(t.reinterpretAsInts().lanewise(VectorOperators.LSHL,
                        23).add(Exp.ONE_BITS).reinterpretAsFloats());
                p = p.blend(0f, x.compare(VectorOperators.LT, Exp.LOWEST));
                sum = sum.add(p);
                p.intoMemorySegment(ALL, column + j * line, LE);
            }
            FloatVector.broadcast(F, 1f).div(sum).blend(0f, sum.compare(VectorOperators.EQ, 0f))
                    .intoMemorySegment(ALL, inverses + 4L * v, LE);
        }
    }
}
