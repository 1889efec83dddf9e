package stormsight.backend.cpu;

import stormsight.program.DType;
import stormsight.program.Step;

/**
 * The order in which the rows of x are packed for a product, which is the order in which a weight type is decoded. A
 * row is cut into blocks. Where one integer lane holds n weights, a block of n L values (L lanes) is first the first
 * value of each lane, then the second one: two 16-bit weights are read as one integer, and four 8-bit or eight 4-bit
 * ones where a vector of integers is one or more blocks of them. What is no whole vector of them at the end of a row is
 * packed as it stands. A last, partial block reads the last whole block of the row again, with zeros for the values of
 * x that were counted already.
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

    /** Blocks of Q8 that a vector of integers holds, 0 where none is read: four weights in each. */
    static final int Q8_BLOCKS = LANES == 8 || LANES == 16 ? 4 * LANES / DType.Q8_BLOCK : 0;

    /** Blocks of Q4 that a vector of integers holds, 0 where none is read: eight weights in each. */
    static final int Q4_BLOCKS = LANES == 16 ? 8 * LANES / DType.Q4_BLOCK : 0;

    static Packing of(Product product) {
        DType dtype = product.dtype();
        return new Packing(perLane(dtype), dtype.isBlocked() ? dtype.block() : 2 * LANES, product.depth(),
                product.capacity());
    }

    /** Weights of a type that are read as one integer. */
    static int perLane(DType dtype) {
        return switch (dtype) {
            case BF16, F16 -> 2;
            case Q8 -> Q8_BLOCKS > 0 ? 4 : 1;
            case Q4 -> Q4_BLOCKS > 0 ? 8 : 1;
            case F32, I32, U8 -> 1;
        };
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

    /** Weights of a vector of integers; those of a block where none is read. */
    private int vector() {
        return perLane == 1 ? block : perLane * LANES;
    }

    /** Whole vectors of integers of a row, 0 where none is read. */
    int vectors() {
        return perLane == 1 ? 0 : depth / vector();
    }

    /** The first block that lies in none of them. */
    int rest() {
        return vectors() * (vector() / block);
    }

    /** Whether a row ends with blocks that are no whole vector of integers, but would be part of one. */
    boolean leavesOver() {
        return vector() > block && rest() * block < depth;
    }

    /** Index into the row for each slot, -1 for a zero. */
    int[] order() {
        int[] order = new int[slots()];
        for (int slot = 0; slot < order.length; slot++) {
            int b = slot / block;
            int i = slot % block;
            if (small()) {
                order[slot] = i < depth ? i : -1;
            } else if (slot < vectors() * vector()) {
                order[slot] = slot / vector() * vector() + within(slot % vector());
            } else {
                int index = start(b) + (vector() == block ? within(i) : i);
                order[slot] = index < b * block ? -1 : index;
            }
        }
        return order;
    }

    /** Index of a slot of a vector. */
    private int within(int slot) {
        if (perLane == 1) {
            return slot;
        }
        int lane = slot % LANES;
        int place = slot / LANES;
        // Of lanes that are a block of Q4, the lowest four bits of each byte come first in the row.
        return perLane == 8
                ? lane / 4 * DType.Q4_BLOCK + place % 2 * (DType.Q4_BLOCK / 2) + lane % 4 * Integer.BYTES + place / 2
                : lane * perLane + place;
    }

    /** Tokens rounded up to whole vectors. */
    static int padded(int tokens) {
        return (tokens + LANES - 1) / LANES * LANES;
    }

    long bytes() {
        return 4L * slots() * Math.max(maxSingle(capacity), padded(capacity));
    }
}
