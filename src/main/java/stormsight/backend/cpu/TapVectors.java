package stormsight.backend.cpu;

import stormsight.program.Step;

/**
 * {@link Tap} over {@link AttentionTiles} of one head each. A piece is a tile of rows, of all heads if they are
 * averaged, else of one of them.
 */
final class TapVectors implements Kernel {
    private final Tap tap;
    private final AttentionTiles tiles;

    TapVectors(Tap tap, Scratch scratch) {
        this.tap = tap;
        tiles = new AttentionTiles(tap.attention(), 1, scratch);
    }

    private int tiles(Step step) {
        return Math.max(1, (tap.rows(step) + Pack.TILE - 1) / Pack.TILE);
    }

    @Override
    public int pieces(Step step) {
        return tiles(step) * (tap.headMean() ? 1 : tap.heads().length);
    }

    @Override
    public void run(Step step, int piece, int worker) {
        int first = piece % tiles(step) * Pack.TILE;
        int count = Math.min(Pack.TILE, tap.rows(step) - first);
        if (count <= 0) {
            return;
        }
        if (!tap.headMean()) {
            int plane = piece / tiles(step);
            head(step, tap.heads()[plane], plane, first, count, 1, tap.add(), worker);
            return;
        }
        for (int h = 0; h < tap.heads().length; h++) {
            head(step, tap.heads()[h], 0, first, count, 1f / tap.heads().length, tap.add() || h > 0, worker);
        }
    }

    private void head(Step step, int queryHead, int plane, int first, int count, float factor, boolean add,
            int worker) {
        int firstRow = tap.firstRow() + first;
        tiles.weigh(step, queryHead, firstRow, count, worker);
        int padded = Packing.padded(count);
        long scores = tiles.scores(padded, worker);
        long inverses = tiles.inverses(padded, worker);
        // Keys are counted from the tap's first one.
        int from = tiles.from(step, firstRow, count) - tap.firstKey();
        int to = tiles.to(step, firstRow, count) - tap.firstKey();
        int keys = tap.keys(step);
        for (int r = 0; r < count; r++) {
            float inverse = Memory.f32(inverses + 4L * r) * factor;
            long column = scores + 4L * r;
            long row = tap.row(plane, first + r);
            float largest = 0;
            for (int j = 0; j < keys; j++) {
                float weight = j >= from && j < to ? Memory.f32(column + 4L * (j - from) * padded) * inverse : 0;
                if (tap.peak()) {
                    largest = Math.max(largest, weight);
                } else {
                    Memory.f32(row + 4L * j, add ? Memory.f32(row + 4L * j) + weight : weight);
                }
            }
            if (tap.peak()) {
                Memory.f32(row, largest);
            }
        }
    }
}
