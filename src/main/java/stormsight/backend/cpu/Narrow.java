package stormsight.backend.cpu;

import stormsight.program.DType;
import stormsight.program.Step;

/** Rounds x to BF16, to nearest and ties to even, into the shared scratch: [token, column], dense. By oneDNN. */
final class Narrow implements Kernel {
    /** Bits of a float that BF16 has no room for. */
    static final int CUT = 16;

    /** Added before they are cut, with the lowest bit that stays: rounds to nearest, ties to even. */
    static final int HALF = 0x7FFF;

    private static final int INFINITY = 0x7F800000;
    private static final int MAGNITUDE = 0x7FFFFFFF;

    /** Keeps a NaN one, whose payload may lie in what is cut. */
    private static final int QUIET = 0x00400000;

    /** Numbers of one piece. */
    private static final int PIECE = 1 << 14;

    private final long x;
    private final int depth;
    private final int capacity;
    private final NativeKernels natives;
    private final Scratch scratch;

    /** For the rows of this run; set before its pieces begin. */
    private OneDnn.Primitive primitive;

    private long numbers;
    private int pieceNumbers;

    Narrow(Product product, NativeKernels natives, Scratch scratch) {
        this.natives = natives;
        x = product.x();
        depth = product.depth();
        capacity = product.capacity();
        this.scratch = scratch;
        scratch.reserveShared(bytes(product));
    }

    /** Whether products of weights of a type take a narrowed x. */
    static boolean narrows(DType dtype) {
        return dtype != DType.F32;
    }

    /** Bytes of the narrowed x. */
    static long bytes(Product product) {
        return Scratch.align(2L * product.capacity() * product.depth());
    }

    @Override
    public int pieces(Step step) {
        numbers = (long) Math.min(step.rows(), capacity) * depth;
        pieceNumbers = (int) Math.min(numbers, PIECE);
        primitive = natives.primitive(new OneDnn.Narrowing(pieceNumbers));
        return (int) ((numbers + PIECE - 1) / PIECE);
    }

    @Override
    public void run(Step step, int piece, int worker) {
        // The last piece begins in the one before: all are of one size. What both write is the same.
        long first = Math.min((long) piece * PIECE, numbers - pieceNumbers);
        primitive.run(worker, natives.scratchpad(worker), x + 4L * first, scratch.shared() + 2L * first);
    }

    /** @param bits of a float */
    static short bf16(int bits) {
        int rounded = bits + HALF + (bits >>> CUT & 1);
        return (short) (((bits & MAGNITUDE) > INFINITY ? bits | QUIET : rounded) >>> CUT);
    }
}
