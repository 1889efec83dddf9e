package stormsight.backend.cpu;

import java.util.ArrayList;
import java.util.List;
import stormsight.program.Op;
import stormsight.program.Step;

/**
 * {@link Attention} with many rows by oneDNN, all of it in F32: the scores of a tile of rows, their softmax, and the
 * weighted values. A piece is one tile of a query head, or of all of them together where they read one key-value head:
 * then row r is that of query head {@code r % queryHeads} for token {@code r / queryHeads}. Scores of a tile stay in
 * the thread's scratch.
 */
final class NativeAttention implements Kernel {
    /** Rows of a tile at most. */
    private static final int MOST_ROWS = 128;

    /** And at least, however many keys there are. */
    private static final int LEAST_ROWS = 16;

    /** Scores of a tile: half a megabyte, which second-level caches hold. */
    private static final int SCORES = 1 << 17;

    /** Tiles that do not see all keys have scores for some such parts of them, so that few shapes are compiled. */
    private static final int PARTS = 4;

    /** Where keys are as few, tiles have scores for all of them. */
    private static final int FEW_KEYS = 256;

    /** Four of them are the float -1.7e38: far below every score, so that its weight is 0. */
    private static final byte HIDDEN = (byte) 0xFE;

    private final Attention attention;
    private final NativeKernels natives;
    private final Scratch scratch;
    private final String name;

    /** Query heads in one tile. */
    private final int share;

    private final int tileRows;

    /** For the rows of this run; set before its pieces begin. */
    private Tile[] tiles = {};

    /**
     * Rows that are computed at once, the same for all heads.
     *
     * @param low first key that has a score
     * @param keys that have one
     */
    private record Tile(int first, int count, int low, int keys, OneDnn.Primitive scores, OneDnn.Primitive softmax,
            OneDnn.Primitive values) {
        int last() {
            return first + count - 1;
        }
    }

    /** @param name of oneDNN's kernels */
    NativeAttention(Attention attention, NativeKernels natives, String name, Scratch scratch) {
        this.attention = attention;
        this.natives = natives;
        this.scratch = scratch;
        this.name = name;
        share = share(attention.heads());
        int mostKeys = mostKeys(attention.keys(), attention.k().slotRows());
        tileRows = tileRows(mostKeys);
        scratch.reserveOwn(4L * tileRows * mostKeys);
    }

    private static int share(Op.Heads heads) {
        return heads.keyValueHeads() == 1 ? heads.queryHeads() : 1;
    }

    private static int mostKeys(Op.Keys keys, int slotRows) {
        return keys.fixed() > 0 ? keys.fixed() : slotRows;
    }

    private static int tileRows(int mostKeys) {
        return Math.clamp(SCORES / mostKeys, LEAST_ROWS, MOST_ROWS);
    }

    /** What the largest tile needs: scores, softmax, values. */
    static List<OneDnn.Work> work(Op.Attention op) {
        int keys = mostKeys(op.keys(), op.k().slotRows());
        return work(op.heads(), op.scale(), op.softCap(), tileRows(keys), keys);
    }

    private static List<OneDnn.Work> work(Op.Heads heads, float scale, float softCap, int rows, int keys) {
        int dim = heads.headDim();
        int stride = share(heads) == 1 ? heads.queryColumns() : dim;
        OneDnn.Matrix rowsOfHeads = OneDnn.Matrix.part(OneDnn.F32, rows, dim, stride);
        OneDnn.Matrix keysOfHead = OneDnn.Matrix.part(OneDnn.F32, keys, dim, heads.keyValueColumns());
        OneDnn.Matrix scores = OneDnn.Matrix.dense(OneDnn.F32, rows, keys);
        List<OneDnn.Function> functions = softCap == 0
                ? List.of(OneDnn.Function.linear(scale, 0))
                : List.of(OneDnn.Function.linear(scale / softCap, 0), OneDnn.Function.tanh(),
                        OneDnn.Function.linear(softCap, 0));
        return List.of(
                new OneDnn.Product(rowsOfHeads, keysOfHead.transposed(), false, functions, OneDnn.Last.NONE, scores),
                new OneDnn.Softmax(scores),
                new OneDnn.Product(scores, keysOfHead, false, List.of(), OneDnn.Last.NONE, rowsOfHeads));
    }

    @Override
    public int pieces(Step step) {
        int rows = attention.rows(step);
        int blockRows = Math.min(rows, attention.blockRows());
        List<Tile> made = new ArrayList<>();
        for (int row = 0; row < rows; row += blockRows) {
            // The last block of a run may be a part of one.
            int end = Math.min(row + blockRows, rows) * share;
            for (int first = row * share; first < end; first += tileRows) {
                made.add(tile(step, first, Math.min(tileRows, end - first), made.isEmpty() ? null : made.getLast()));
            }
        }
        tiles = made.toArray(Tile[]::new);
        return tiles.length * (attention.heads().queryHeads() / share);
    }

    /** @param before the tile before, null for none */
    private Tile tile(Step step, int first, int count, Tile before) {
        // Neither goes back from a row to the next one.
        int low = attention.from(step, first / share);
        int high = attention.to(step, (first + count - 1) / share);
        if (attention.keys().fixed() == 0) {
            int all = attention.keys(step);
            int part = all <= FEW_KEYS ? all : Math.ceilDiv(all, PARTS);
            low = low / part * part;
            high = Math.min(Math.ceilDiv(high, part) * part, all);
        }
        int keys = high - low;
        if (before != null && before.count == count && before.keys == keys) {
            return new Tile(first, count, low, keys, before.scores, before.softmax, before.values);
        }
        List<OneDnn.Work> work = work(attention.heads(), attention.scale(), attention.softCap(), count, keys);
        return new Tile(first, count, low, keys, natives.primitive(work.get(0)), natives.primitive(work.get(1)),
                natives.primitive(work.get(2)));
    }

    @Override
    public void run(Step step, int piece, int worker) {
        Tile tile = tiles[piece % tiles.length];
        int head = piece / tiles.length * share;
        int slot = step.sequence(0).slot();
        int column = attention.column(head);
        long offset = 4L * ((long) (tile.first / share) * attention.heads().queryColumns()
                + (long) (head + tile.first % share) * attention.heads().headDim());
        long scores = scratch.own(worker);
        long scratchpad = natives.scratchpad(worker);
        tile.scores.run(worker, scratchpad, attention.q() + offset, attention.k().address(slot, tile.low, column),
                scores, 0, 0);
        hide(step, tile, scores);
        boolean blocked = block(step, tile, head, scores);
        tile.softmax.run(worker, scratchpad, scores, scores);
        if (blocked) {
            clear(step, tile, head, scores);
        }
        tile.values.run(worker, scratchpad, scores, attention.v().address(slot, tile.low, column),
                attention.out() + offset, 0, 0);
    }

    /** Takes away the keys that a row of the tile does not see, and others do. */
    private void hide(Step step, Tile tile, long scores) {
        int end = tile.low + tile.keys;
        if (attention.from(step, tile.last() / share) == tile.low && attention.to(step, tile.first / share) == end) {
            return;
        }
        for (int r = 0; r < tile.count; r++) {
            int i = (tile.first + r) / share;
            long row = scores + 4L * r * tile.keys;
            int from = attention.from(step, i);
            int to = attention.to(step, i);
            Memory.fill(row, 4L * (from - tile.low), HIDDEN);
            Memory.fill(row + 4L * (to - tile.low), 4L * (end - to), HIDDEN);
        }
    }

    /** Takes away blocked edges, and tells whether there may be some. */
    private boolean block(Step step, Tile tile, int head, long scores) {
        boolean any = false;
        for (int r = 0; r < tile.count; r++) {
            if (!attention.blocks(head + (tile.first + r) % share)) {
                continue;
            }
            any = true;
            int token = step.token((tile.first + r) / share);
            for (int j = 0; j < tile.keys; j++) {
                if (attention.blocks(token, tile.low + j)) {
                    Memory.fill(scores + 4L * ((long) r * tile.keys + j), Float.BYTES, HIDDEN);
                }
            }
        }
        return any;
    }

    /** Rows that see nothing become 0. */
    private void clear(Step step, Tile tile, int head, long scores) {
        for (int r = 0; r < tile.count; r++) {
            int i = (tile.first + r) / share;
            if (attention.blocks(head + (tile.first + r) % share) && !seesAny(step, i)) {
                Memory.zero(scores + 4L * r * tile.keys, 4L * tile.keys);
            }
        }
    }

    private boolean seesAny(Step step, int i) {
        for (int key = attention.from(step, i); key < attention.to(step, i); key++) {
            if (!attention.blocks(step.token(i), key)) {
                return true;
            }
        }
        return false;
    }

    @Override
    public String name(Step step) {
        return "oneDNN " + name;
    }
}
