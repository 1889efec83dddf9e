package stormsight.backend.cpu;

import jdk.incubator.vector.FloatVector;
import stormsight.program.Step;

/**
 * {@link Attention} with lanes along rows. All query heads of a key-value head share the tiles of a sequence; a piece
 * is one tile.
 */
final class AttentionVectors implements Kernel {
    private static final int LANES = FloatVector.SPECIES_PREFERRED.length();

    /** Keys whose values are gathered at once. */
    private static final int KEYS = 64;

    private final Attention attention;
    private final Scratch scratch;
    private final int group;
    private final AttentionTiles tiles;

    AttentionVectors(Attention attention, Scratch scratch) {
        this.attention = attention;
        this.scratch = scratch;
        group = attention.heads().queryHeads() / attention.heads().keyValueHeads();
        tiles = new AttentionTiles(attention, group, scratch);
        scratch.reservePanel(KEYS * attention.heads().headDim() + Tile.ROWS);
    }

    /** Rows of each sequence, or of each block of keys where there are several. */
    private int rows(Step step) {
        return step.sequences().size() > 1 ? 1 : Math.min(attention.rows(step), attention.blockRows());
    }

    private int tiles(Step step) {
        return (rows(step) * group + Pack.TILE - 1) / Pack.TILE;
    }

    @Override
    public int pieces(Step step) {
        return Math.ceilDiv(attention.rows(step), rows(step)) * attention.heads().keyValueHeads() * tiles(step);
    }

    @Override
    public void run(Step step, int piece, int worker) {
        int tiles = tiles(step);
        int head = piece / tiles % attention.heads().keyValueHeads();
        int sequence = piece / tiles / attention.heads().keyValueHeads();
        int rows = rows(step);
        int first = piece % tiles * Pack.TILE;
        // The last block of a run may be a part of one.
        int present = Math.min(rows, attention.rows(step) - sequence * rows) * group;
        if (first < present) {
            tile(step, head * group, sequence * rows * group + first, Math.min(Pack.TILE, present - first), worker);
        }
    }

    /** @param first first row, see {@link AttentionTiles} */
    private void tile(Step step, int queryHead, int first, int count, int worker) {
        int padded = Packing.padded(count);
        int dim = attention.heads().headDim();
        long line = 4L * padded;
        tiles.weigh(step, queryHead, first, count, worker);
        int from = tiles.from(step, first, count);
        int keys = tiles.to(step, first, count) - from;
        long scores = tiles.scores(padded, worker);
        long sums = tiles.sums(padded, worker);
        long inverses = tiles.inverses(padded, worker);
        int slot = step.sequence(first / group).slot();
        int column = attention.column(queryHead);
        float[] panel = scratch.panel(worker);
        Tile.clear(sums, (dim + Tile.ROWS - 1) / Tile.ROWS * Tile.ROWS * line);
        for (int j = 0; j < keys; j += KEYS) {
            int rows = Math.min(KEYS, keys - j);
            Cache.Vectors.gather(attention.v(), slot, from + j, rows, column, dim, panel);
            for (int d = 0; d < dim; d += Tile.ROWS) {
                Tile.multiply(padded / LANES, panel, d, 1, dim, rows, scores + j * line, line,
                        sums + d * line, line);
            }
        }
        for (int r = 0; r < count; r++) {
            long out = attention.out() + tiles.rowOffset(queryHead, first + r);
            float inverse = Memory.f32(inverses + 4L * r);
            for (int d = 0; d < dim; d++) {
                Memory.f32(out + 4L * d, Memory.f32(sums + d * line + 4L * r) * inverse);
            }
        }
    }
}
