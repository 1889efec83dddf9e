package stormsight.backend.cpu;

import stormsight.program.Step;

/** {@link Tap} with sums in double precision; a piece is one row. */
final class TapScalar implements Kernel {
    private final Tap tap;
    private final Scratch scratch;

    TapScalar(Tap tap, Scratch scratch) {
        this.tap = tap;
        this.scratch = scratch;
        scratch.reserveOwn(8L * (tap.attention().k().slotRows() + tap.keys()));
    }

    @Override
    public int pieces(Step step) {
        return Math.max(1, tap.rows(step));
    }

    @Override
    public void run(Step step, int piece, int worker) {
        if (piece >= tap.rows(step)) {
            return;
        }
        int i = tap.firstRow() + piece;
        int keys = tap.keys(step);
        int from = tap.attention().from(step, i) - tap.firstKey();
        int to = tap.attention().to(step, i) - tap.firstKey();
        long means = scratch.own(worker);
        long scores = means + 8L * tap.keys();
        for (int j = 0; j < keys && tap.headMean(); j++) {
            Memory.f64(means + 8L * j, 0);
        }
        for (int plane = 0; plane < tap.heads().length; plane++) {
            double inverse = AttentionScalar.weigh(tap.attention(), step, i, tap.heads()[plane], scores);
            long row = tap.headMean() ? 0 : tap.row(plane, piece);
            double largest = 0;
            for (int j = 0; j < keys; j++) {
                double weight = j >= from && j < to ? Memory.f64(scores + 8L * (tap.firstKey() + j)) * inverse : 0;
                largest = Math.max(largest, weight);
                if (tap.headMean()) {
                    Memory.f64(means + 8L * j, Memory.f64(means + 8L * j) + weight);
                } else if (!tap.peak()) {
                    put(row + 4L * j, weight);
                }
            }
            if (tap.peak()) {
                put(row, largest);
            }
        }
        for (int j = 0; j < keys && tap.headMean(); j++) {
            put(tap.row(0, piece) + 4L * j, Memory.f64(means + 8L * j) / tap.heads().length);
        }
    }

    private void put(long address, double value) {
        Memory.f32(address, (float) (tap.add() ? Memory.f32(address) + value : value));
    }
}
