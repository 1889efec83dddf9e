package stormsight.backend.cpu;

import static stormsight.backend.cpu.Memory.ADDRESSES;

import stormsight.program.Step;

/** Packs x into the shared scratch. */
final class Pack implements Kernel {
    /** Slots of one piece. */
    private static final int PIECE = 512;

    /**
     * Slots that are packed for one token after the other. Rows of x may lie in the same sets of the cache, so a line
     * of x is used up at once.
     */
    private static final int CHUNK = 32;

    /** Tokens of a full tile. */
    static final int TILE = Tile.VECTORS * Tile.LANES;

    private final long x;
    private final Packing packing;
    private final int[] order;
    private final Scratch scratch;

    /** @param order of the packing */
    Pack(long x, Packing packing, int[] order, Scratch scratch) {
        this.x = x;
        this.packing = packing;
        this.order = order;
        this.scratch = scratch;
        scratch.reserveShared(packing.bytes());
    }

    private int tokens(Step step) {
        return Math.min(step.rows(), packing.capacity());
    }

    private int chunks() {
        return (order.length + PIECE - 1) / PIECE;
    }

    @Override
    public int pieces(Step step) {
        int tokens = tokens(step);
        return Packing.single(tokens) ? tokens : (tokens + TILE - 1) / TILE * chunks();
    }

    @Override
    public void run(Step step, int piece, int worker) {
        int tokens = tokens(step);
        if (Packing.single(tokens)) {
            long from = x + 4L * piece * packing.depth();
            long to = scratch.shared() + 4L * piece * order.length;
            for (int slot = 0; slot < order.length; slot++) {
                int index = order[slot];
                Memory.f32(to + 4L * slot, index < 0 ? 0 : Memory.f32(from + 4L * index));
            }
            return;
        }
        int first = piece / chunks() * TILE;
        int count = Math.min(TILE, tokens - first);
        int padded = Packing.padded(count);
        long rowBytes = 4L * packing.depth();
        long from = x + first * rowBytes;
        long to = scratch.shared() + 4L * first * order.length;
        int start = piece % chunks() * PIECE;
        int end = Math.min(start + PIECE, order.length);
        for (int chunk = start; chunk < end; chunk += CHUNK) {
            int chunkEnd = Math.min(chunk + CHUNK, end);
            for (int t = 0; t < padded; t++) {
                long row = from + t * rowBytes & ADDRESSES;
                long at = to + 4L * chunk * padded + 4L * t & ADDRESSES;
                for (int slot = chunk; slot < chunkEnd; slot++, at = at + 4L * padded & ADDRESSES) {
                    int index = order[slot];
                    Memory.f32(at, index < 0 || t >= count ? 0 : Memory.f32(row + 4L * index));
                }
            }
        }
    }
}
