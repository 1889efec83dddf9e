package stormsight.backend.cpu;

import java.util.List;
import stormsight.program.DType;
import stormsight.program.Step;

/**
 * A {@link Product} with many tokens, whose x is narrowed to BF16, by oneDNN. A piece is a block of weight rows. They
 * are copied into the thread's own scratch first, as BF16, where they stay in the second-level cache: native code that
 * reads a mapping would end the process if its file was cut short. Each call into the library leaves a few hundred
 * bytes of short-lived objects behind.
 */
final class NativeMatMul implements Kernel {
    private static final int FEW_ROWS = 64;
    private static final int MANY_ROWS = 128;

    /** From this width on there are enough pieces of many rows for all threads. */
    private static final int MANY_FROM = 4096;

    private final Product product;
    private final List<NativeProducts.Compiled> whole;
    private final List<NativeProducts.Compiled> rest;
    private final NativeProducts natives;
    private final String name;
    private final Scratch scratch;
    private final int rows;

    /** For the tokens of this run; set before its pieces begin. */
    private final OneDnn.Primitive[] wholePrimitives;

    private final OneDnn.Primitive[] restPrimitives;

    /**
     * Reserves what it needs.
     *
     * @param whole what computes a whole piece, the gate of a gated product first
     * @param rest the same for a last piece of fewer rows
     * @param name of oneDNN's kernel
     */
    NativeMatMul(Product product, List<NativeProducts.Compiled> whole, List<NativeProducts.Compiled> rest,
            NativeProducts natives, String name, Scratch scratch) {
        this.product = product;
        this.whole = whole;
        this.rest = rest;
        this.natives = natives;
        this.name = name;
        this.scratch = scratch;
        rows = rows(product.width());
        wholePrimitives = new OneDnn.Primitive[whole.size()];
        restPrimitives = new OneDnn.Primitive[rest.size()];
        scratch.reserveOwn(2L * rows * product.depth());
        scratch.reserveShared(Narrow.bytes(product)
                + (product.up() == null ? 0 : DType.F32.elementBytes() * (long) product.capacity() * product.width()));
    }

    /** Weight rows of a piece. */
    static int rows(int width) {
        return width >= MANY_FROM ? MANY_ROWS : FEW_ROWS;
    }

    @Override
    public int pieces(Step step) {
        int tokens = product.tokens(step);
        compile(whole, wholePrimitives, tokens);
        compile(rest, restPrimitives, tokens);
        return (product.width() + rows - 1) / rows;
    }

    private static void compile(List<NativeProducts.Compiled> from, OneDnn.Primitive[] to, int tokens) {
        for (int i = 0; i < to.length; i++) {
            to[i] = from.get(i).of(tokens);
        }
    }

    @Override
    public void run(Step step, int piece, int worker) {
        int first = piece * rows;
        int count = Math.min(rows, product.width() - first);
        OneDnn.Primitive[] primitives = count == rows ? wholePrimitives : restPrimitives;
        long column = 4L * first;
        long out = product.out() + column;
        if (product.up() == null) {
            multiply(primitives[0], product.w(), first, count, out, product.residual() + column, worker);
        } else {
            long gate = scratch.shared() + Narrow.bytes(product) + column;
            multiply(primitives[0], product.w(), first, count, gate, 0, worker);
            multiply(primitives[1], product.up(), first, count, out, gate, worker);
        }
    }

    private void multiply(OneDnn.Primitive primitive, Weight w, int first, int count, long out, long other,
            int worker) {
        long copy = scratch.own(worker);
        NarrowWeights.rows(w, first, count, copy);
        primitive.run(worker, scratch.shared(), copy, out, natives.scratchpad(worker), product.bias() + 4L * first,
                other);
    }

    @Override
    public String name(Step step) {
        return "oneDNN " + name;
    }

    @Override
    public boolean bf16(Step step) {
        return true;
    }
}
