package stormsight.backend.cpu;

import java.util.ArrayList;
import java.util.List;
import stormsight.program.Step;

/**
 * A {@link Product} of one row of x by oneDNN, as exact as in F32: x is the sum of three rows of numbers that BF16 has,
 * which are multiplied side by side. {@link MatVec} is faster once it is compiled, which a new process would wait for
 * longer than all such products of a prompt take. A piece is a block of weight rows, copied as in
 * {@link NativeMatMul}.
 */
final class NativeMatVec implements Kernel {
    /** Numbers of 8 bits that make up one of 24. */
    private static final int PARTS = 3;

    /** Weight rows of a piece. */
    static final int ROWS = 128;

    private final Product product;
    private final NativeMatMul.Pieces work;
    private final NativeKernels natives;
    private final FirstRead.Weights weights;
    private final String name;
    private final Scratch scratch;

    /** Of whole pieces and of the last one, if that is smaller; set before pieces begin. */
    private Piece whole;

    private Piece rest;

    /** Products of the parts, and what adds these: of each matrix of weights. */
    private record Piece(OneDnn.Primitive products, List<OneDnn.Primitive> sums) {}

    /**
     * Reserves what it needs.
     *
     * @param work of one token
     * @param name of oneDNN's kernel
     */
    NativeMatVec(Product product, NativeMatMul.Pieces work, NativeKernels natives, String name, Scratch scratch) {
        this.product = product;
        this.work = work;
        this.natives = natives;
        weights = natives.weights();
        this.name = name;
        this.scratch = scratch;
        scratch.reserveOwn(biasOffset() + 4L * ROWS);
        scratch.reserveShared(gateOffset() + (product.up() == null ? 0 : 4L * product.width()));
    }

    /** Behind the weights of a piece. */
    private long productsOffset() {
        return Scratch.align(2L * ROWS * product.depth());
    }

    /** Behind the products of a piece. */
    private long biasOffset() {
        return productsOffset() + 4L * PARTS * ROWS;
    }

    private static long partsBytes(Product product) {
        return Scratch.align(2L * PARTS * product.depth());
    }

    /** Behind the parts of x and as many ones. */
    private long gateOffset() {
        return Scratch.align(partsBytes(product) + 4L * PARTS);
    }

    /**
     * What a piece computes: products of the parts, then the sums of these with all that becomes of them.
     *
     * @param of what a piece of one token is otherwise
     */
    static List<OneDnn.Work> work(List<OneDnn.Product> of) {
        OneDnn.Product first = of.getFirst();
        OneDnn.Matrix products = OneDnn.Matrix.dense(OneDnn.F32, PARTS, first.out().columns());
        List<OneDnn.Work> all = new ArrayList<>();
        all.add(new OneDnn.Product(OneDnn.Matrix.dense(OneDnn.BF16, PARTS, first.x().columns()), first.w(), false,
                List.of(), OneDnn.Last.NONE, products));
        for (OneDnn.Product each : of) {
            all.add(new OneDnn.Product(OneDnn.Matrix.dense(OneDnn.F32, 1, PARTS), products, each.bias(),
                    each.functions(), each.last(), each.out()));
        }
        return all;
    }

    private Piece piece(int rows) {
        List<OneDnn.Primitive> all = work(work.work(1, rows)).stream().map(natives::primitive).toList();
        return new Piece(all.getFirst(), all.subList(1, all.size()));
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
        Piece of = count == ROWS ? whole : rest;
        long column = 4L * first;
        long out = product.out() + column;
        if (product.up() == null) {
            multiply(of, 0, product.w(), first, count, out, product.residual() + column, worker);
        } else {
            long gate = scratch.shared() + gateOffset() + column;
            multiply(of, 0, product.w(), first, count, gate, 0, worker);
            multiply(of, 1, product.up(), first, count, out, gate, worker);
        }
    }

    private void multiply(Piece of, int index, Weight w, int first, int count, long out, long other, int worker) {
        long copy = scratch.own(worker);
        long products = copy + productsOffset();
        long bias = copy + biasOffset();
        long pad = natives.scratchpad(worker);
        weights.rows(worker, w, first, count, copy, 0);
        if (product.bias() != 0) {
            Memory.copy(product.bias() + 4L * first, bias, 4L * count);
        }
        of.products.run(worker, pad, scratch.shared(), copy, products, 0, 0);
        of.sums.get(index).run(worker, pad, ones(), products, out, bias, other);
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
