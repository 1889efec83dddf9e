package stormsight.backend.cpu;

import stormsight.program.DType;
import stormsight.program.Step;

/**
 * The order in which the rows of x are packed for a product, which is the order in which a weight type is decoded. A
 * row is cut into blocks. Where one integer lane holds n weights, a block of n L values (L lanes) is first the first
 * value of each lane, then the second one: two 16-bit weights are read as one integer, and four 8-bit ones where a
 * vector of integers is just a block of them. Where it is four blocks of 4-bit weights, a lane holds eight; up to three
 * blocks at the end of a row, which are no whole vector, are packed as they stand. A last, partial block reads the last
 * whole block of the row again, with zeros for the values of x that were counted already.
 *
 * @param perLane weights that are read as one integer
 * @param depth columns of x
 * @param capacity rows of x that are packed at most
 */
record Packing(int perLane, int block, int depth, int capacity) {
    private static final int LANES = Tile.LANES;

    /**
     * Up to so many tokens lie one after the other, and sums are added up along their columns: in one order, however
     * many there are. With more, lanes are tokens.
     */
    private static final int SINGLE_TOKENS = Step.MOST_SEQUENCES;

    /** Whether a vector of integers holds a block of Q8. */
    static final boolean QUADS = 4 * LANES == DType.Q8_BLOCK;

    /** Weights of Q4 that one integer holds. */
    private static final int EIGHT = 8;

    /** Whether a vector of integers holds {@link #EIGHTS_BLOCKS} blocks of Q4. */
    static final boolean EIGHTS = LANES == 16;

    static final int EIGHTS_BLOCKS = 4;

    /** Weights of as many blocks. */
    static final int EIGHTS_GROUP = EIGHTS_BLOCKS * DType.Q4_BLOCK;

    static Packing of(Product product) {
        DType dtype = product.dtype();
        if (dtype == DType.Q4) {
            // Where they are not read as integers, four-bit weights lie so that vectors of them are in order.
            return new Packing(EIGHTS ? EIGHT : 1, DType.Q4_BLOCK, product.depth(), product.capacity());
        }
        int block = dtype.isBlocked() ? dtype.block() : 2 * LANES;
        int whole = Integer.BYTES / dtype.elementBytes();
        return new Packing(whole * LANES == block ? whole : 1, block, product.depth(), product.capacity());
    }

    /** Whether tokens are packed one after the other; else they lie in tiles [slot, token]. */
    static boolean single(int tokens) {
        return tokens <= SINGLE_TOKENS;
    }

    static int maxSingle(int capacity) {
        return Math.min(capacity, SINGLE_TOKENS);
    }

    /** Whether a row is shorter than a block: it then stands as it is, with zeros after it. */
    boolean small() {
        return depth < block;
    }

    /** Values of a packed row. */
    int slots() {
        return (depth + block - 1) / block * block;
    }

    /** Whole blocks of a row. */
    int fullBlocks() {
        return depth / block;
    }

    /** First value of the row that block b reads. */
    int start(int b) {
        return Math.min(b * block, depth - block);
    }

    /** Whole vectors of integers of a row of Q4, 0 where it is not read so. */
    int groups() {
        return perLane == EIGHT ? fullBlocks() / EIGHTS_BLOCKS : 0;
    }

    /** Index into the row for each slot, -1 for a zero. */
    int[] order() {
        int[] order = new int[slots()];
        for (int slot = 0; slot < order.length; slot++) {
            int b = slot / block;
            int i = slot % block;
            if (small()) {
                order[slot] = i < depth ? i : -1;
            } else if (slot < groups() * EIGHTS_GROUP) {
                // Of four lanes, which are a block, the lowest four bits of each byte come first in the row.
                int lane = slot % LANES;
                int nibble = slot % EIGHTS_GROUP / LANES;
                order[slot] = slot / EIGHTS_GROUP * EIGHTS_GROUP + lane / 4 * DType.Q4_BLOCK
                        + nibble % 2 * (DType.Q4_BLOCK / 2) + lane % 4 * Integer.BYTES + nibble / 2;
            } else {
                int within = perLane == 1 || perLane == EIGHT ? i : i % LANES * perLane + i / LANES;
                int index = start(b) + within;
                order[slot] = index < b * block ? -1 : index;
            }
        }
        return order;
    }

    /** Tokens rounded up to whole vectors. */
    static int padded(int tokens) {
        return (tokens + LANES - 1) / LANES * LANES;
    }

    long bytes() {
        return 4L * slots() * Math.max(maxSingle(capacity), padded(capacity));
    }
}
