package stormsight.backend.cpu;

import java.util.List;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Step;

/**
 * A product of one row of x by oneDNN, as exact as in F32: x is the sum of three rows of numbers that BF16 has, which
 * are multiplied side by side. {@link MatVec} is faster once it is compiled, which a new process would wait for longer
 * than all of the product takes. A piece is a block of weight rows, copied as in {@link NativeMatMul}.
 */
final class NativeMatVec implements Kernel {
    /** Numbers of 8 bits that make up one of 24. */
    private static final int PARTS = 3;

    /** Weights from which on it is worth it: the logits of large models. */
    private static final long LEAST_WEIGHTS = 1L << 24;

    /** Weight rows of a piece. */
    private static final int ROWS = 128;

    private final Product product;
    private final NativeKernels natives;
    private final FirstRead.Weights weights;
    private final String name;
    private final Scratch scratch;

    /** Of whole pieces and of the last one, if that is smaller; set before pieces begin. */
    private Piece whole;

    private Piece rest;

    /** Products of the parts, and what adds them. */
    private record Piece(OneDnn.Primitive products, OneDnn.Primitive sum) {}

    /**
     * Reserves what it needs.
     *
     * @param name of oneDNN's kernel
     */
    NativeMatVec(Product product, NativeKernels natives, String name, Scratch scratch) {
        this.product = product;
        this.natives = natives;
        weights = natives.weights();
        this.name = name;
        this.scratch = scratch;
        scratch.reserveOwn(copyBytes() + 4L * PARTS * ROWS);
        scratch.reserveShared(partsBytes(product) + 4L * PARTS);
    }

    private long copyBytes() {
        return Scratch.align(2L * ROWS * product.depth());
    }

    private static long partsBytes(Product product) {
        return Scratch.align(2L * PARTS * product.depth());
    }

    /** Whether an operation is such a product, of weights as they lie in memory. */
    static boolean suits(Op op) {
        return op instanceof Op.MatMul product && product.w().dtype() == DType.BF16 && product.out().rows() == 1
                && product.bias().isEmpty() && product.residual().isEmpty()
                && product.activation() == Op.Activation.NONE
                && product.w().shape().elements() >= LEAST_WEIGHTS;
    }

    /** Of a whole piece. */
    static List<OneDnn.Work> work(int depth) {
        return work(ROWS, depth);
    }

    private static List<OneDnn.Work> work(int rows, int depth) {
        OneDnn.Matrix products = OneDnn.Matrix.dense(OneDnn.F32, PARTS, rows);
        return List.of(
                new OneDnn.Product(OneDnn.Matrix.dense(OneDnn.BF16, PARTS, depth),
                        OneDnn.Matrix.dense(OneDnn.BF16, rows, depth).transposed(), false, List.of(), OneDnn.Last.NONE,
                        products),
                new OneDnn.Product(OneDnn.Matrix.dense(OneDnn.F32, 1, PARTS), products, false, List.of(),
                        OneDnn.Last.NONE, OneDnn.Matrix.dense(OneDnn.F32, 1, rows)));
    }

    private Piece piece(int rows) {
        List<OneDnn.Work> work = work(rows, product.depth());
        return new Piece(natives.primitive(work.getFirst()), natives.primitive(work.getLast()));
    }

    @Override
    public int pieces(Step step) {
        weights.begin();
        int remaining = product.width() % ROWS;
        whole = product.width() < ROWS ? null : piece(ROWS);
        rest = remaining == 0 ? null : piece(remaining);
        for (int part = 0; part < PARTS; part++) {
            Memory.f32(ones() + 4L * part, 1);
        }
        return (product.width() + ROWS - 1) / ROWS;
    }

    private long ones() {
        return scratch.shared() + partsBytes(product);
    }

    @Override
    public void run(Step step, int piece, int worker) {
        int first = piece * ROWS;
        int count = Math.min(ROWS, product.width() - first);
        Weight w = product.w();
        Piece of = count == ROWS ? whole : rest;
        long copy = scratch.own(worker);
        long products = copy + copyBytes();
        weights.rows(worker, w, first, count, copy, 0);
        of.products.run(worker, natives.scratchpad(worker), scratch.shared(), copy, products, 0, 0);
        of.sum.run(worker, natives.scratchpad(worker), ones(), products, product.out() + 4L * first, 0, 0);
    }

    @Override
    public String name(Step step) {
        return "oneDNN " + name;
    }

    /**
     * Cuts x into its parts, the largest first, in the shared scratch: [part, column], dense. A finite number is their
     * sum but for what is below 1e-38; one that is not stands in the first part.
     */
    static final class Parts implements Kernel {
        private final Product product;
        private final Scratch scratch;

        Parts(Product product, Scratch scratch) {
            this.product = product;
            this.scratch = scratch;
            scratch.reserveShared(partsBytes(product));
        }

        @Override
        public int pieces(Step step) {
            return 1;
        }

        @Override
        public void run(Step step, int piece, int worker) {
            int depth = product.depth();
            for (int i = 0; i < depth; i++) {
                float left = Memory.f32(product.x() + 4L * i);
                for (int part = 0; part < PARTS; part++) {
                    // Cut, not rounded: the largest finite numbers stay finite.
                    short cut = Float.isNaN(left) ? Narrow.bf16(Float.floatToRawIntBits(left))
                            : (short) (Float.floatToRawIntBits(left) >>> Narrow.CUT);
                    Memory.i16(scratch.shared() + 2L * (part * depth + i), cut);
                    left = Float.isFinite(left) ? left - Float.intBitsToFloat(cut << Narrow.CUT) : 0;
                }
            }
        }
    }
}
