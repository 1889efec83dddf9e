package stormsight.backend.cpu;

import java.util.List;
import stormsight.program.DType;
import stormsight.program.Step;

/**
 * A {@link Product} with many tokens by oneDNN. Its x is narrowed to BF16 unless weights have 32 bits. A piece is a
 * block of weight rows. They are copied into the thread's own scratch first, as {@link NarrowWeights} writes them and
 * with their part of the bias, where most stay in the second-level cache: native code that reads a mapping would end
 * the process if its file was cut short. Each call into the library leaves a few dozen bytes of short-lived objects
 * behind.
 */
final class NativeMatMul implements Kernel {
    private static final int FEW_ROWS = 64;
    private static final int MANY_ROWS = 128;

    /** From this width on there are enough pieces of many rows for all threads; those of F32 would be too large. */
    private static final int MANY_FROM = 4096;

    private final Product product;
    private final Pieces work;
    private final NativeKernels natives;
    private final FirstRead.Weights weights;
    private final String name;
    private final Scratch scratch;
    private final int rows;

    /** For the tokens of this run; set before its pieces begin. A last piece of fewer rows has its own. */
    private final OneDnn.Primitive[] whole;

    private final OneDnn.Primitive[] rest;

    /** What a piece computes. */
    interface Pieces {
        /** One after the other, the gate of a gated product first. */
        List<OneDnn.Product> work(int tokens, int columns);
    }

    /**
     * Reserves what it needs.
     *
     * @param name of oneDNN's kernel
     */
    NativeMatMul(Product product, Pieces work, NativeKernels natives, String name, Scratch scratch) {
        this.product = product;
        this.work = work;
        this.natives = natives;
        weights = natives.weights();
        this.name = name;
        this.scratch = scratch;
        rows = rows(product.dtype(), product.width());
        int products = product.up() == null ? 1 : 2;
        whole = new OneDnn.Primitive[product.width() / rows == 0 ? 0 : products];
        rest = new OneDnn.Primitive[product.width() % rows == 0 ? 0 : products];
        scratch.reserveOwn(biasOffset() + 4L * rows + FirstRead.bytes(product.w(), rows));
        scratch.reserveShared(gateOffset()
                + (product.up() == null ? 0 : DType.F32.elementBytes() * (long) product.capacity() * product.width()));
    }

    /** Weight rows of a piece. */
    static int rows(DType dtype, int width) {
        return Narrow.narrows(dtype) && width >= MANY_FROM ? MANY_ROWS : FEW_ROWS;
    }

    /** Behind the narrowed x, if there is one. */
    private long gateOffset() {
        return Narrow.narrows(product.dtype()) ? Narrow.bytes(product) : 0;
    }

    /** Behind the weights of a piece. */
    private long biasOffset() {
        return rows * NarrowWeights.rowBytes(product.dtype(), product.depth());
    }

    @Override
    public int pieces(Step step) {
        weights.begin();
        int tokens = product.tokens(step);
        compile(tokens, rows, whole);
        compile(tokens, product.width() % rows, rest);
        return (product.width() + rows - 1) / rows;
    }

    private void compile(int tokens, int columns, OneDnn.Primitive[] to) {
        if (to.length > 0) {
            List<OneDnn.Product> each = work.work(tokens, columns);
            for (int i = 0; i < to.length; i++) {
                to[i] = natives.primitive(each.get(i));
            }
        }
    }

    @Override
    public void run(Step step, int piece, int worker) {
        int first = piece * rows;
        int count = Math.min(rows, product.width() - first);
        OneDnn.Primitive[] primitives = count == rows ? whole : rest;
        long column = 4L * first;
        long out = product.out() + column;
        if (product.up() == null) {
            multiply(primitives[0], product.w(), first, count, out, product.residual() + column, worker);
        } else {
            long gate = scratch.shared() + gateOffset() + column;
            multiply(primitives[0], product.w(), first, count, gate, 0, worker);
            multiply(primitives[1], product.up(), first, count, out, gate, worker);
        }
    }

    private void multiply(OneDnn.Primitive primitive, Weight w, int first, int count, long out, long other,
            int worker) {
        long copy = scratch.own(worker);
        weights.rows(worker, w, first, count, copy, copy + biasOffset() + 4L * rows);
        long bias = copy + biasOffset();
        if (product.bias() != 0) {
            Memory.copy(product.bias() + 4L * first, bias, 4L * count);
        }
        long x = Narrow.narrows(product.dtype()) ? scratch.shared() : product.x();
        primitive.run(worker, natives.scratchpad(worker), x, copy, out, bias, other);
    }

    @Override
    public String name(Step step) {
        return "oneDNN " + name;
    }

    @Override
    public boolean bf16(Step step) {
        return Narrow.narrows(product.dtype());
    }
}
