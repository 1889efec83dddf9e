package stormsight.backend.cpu;

import static stormsight.backend.cpu.Memory.ADDRESSES;

import stormsight.program.Step;

/** Rounds x to BF16, to nearest and ties to even, into the shared scratch: [token, column], dense. */
final class Narrow implements Kernel {
    /** Bits of a float that BF16 has no room for. */
    static final int CUT = 16;

    /** Added before they are cut, with the lowest bit that stays: rounds to nearest, ties to even. */
    static final int HALF = 0x7FFF;

    private static final int INFINITY = 0x7F800000;
    private static final int MAGNITUDE = 0x7FFFFFFF;

    /** Keeps a NaN one, whose payload may lie in what is cut. */
    private static final int QUIET = 0x00400000;

    private final long x;
    private final int depth;
    private final int capacity;
    private final Scratch scratch;

    Narrow(Product product, Scratch scratch) {
        x = product.x();
        depth = product.depth();
        capacity = product.capacity();
        this.scratch = scratch;
        scratch.reserveShared(bytes(product));
    }

    /** Bytes of the narrowed x. */
    static long bytes(Product product) {
        return Scratch.align(2L * product.capacity() * product.depth());
    }

    @Override
    public int pieces(Step step) {
        return Math.min(step.rows(), capacity);
    }

    @Override
    public void run(Step step, int piece, int worker) {
        long from = x + 4L * piece * depth & ADDRESSES;
        long to = scratch.shared() + 2L * piece * depth & ADDRESSES;
        for (int i = 0; i < depth; i++) {
            Memory.i16(to + 2L * i, bf16(Memory.i32(from + 4L * i)));
        }
    }

    /** @param bits of a float */
    static short bf16(int bits) {
        int rounded = bits + HALF + (bits >>> CUT & 1);
        return (short) (((bits & MAGNITUDE) > INFINITY ? bits | QUIET : rounded) >>> CUT);
    }
}
