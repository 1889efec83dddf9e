package stormsight.backend.cpu;

import stormsight.program.Step;

/**
 * One of two kernels of the same, by how many tokens a step has.
 *
 * @param capacity tokens that count at most
 */
record ByTokens(Kernel few, Kernel many, int capacity) implements Kernel {
    /** By those that a product has. */
    static ByTokens of(Product product, Kernel few, Kernel many) {
        return new ByTokens(few, many, product.capacity());
    }

    /** By those of the step, however few of them an operation has. */
    static ByTokens ofStep(Kernel few, Kernel many) {
        return new ByTokens(few, many, Integer.MAX_VALUE);
    }

    private Kernel of(Step step) {
        return Packing.single(Math.min(step.rows(), capacity)) ? few : many;
    }

    @Override
    public int pieces(Step step) {
        return of(step).pieces(step);
    }

    @Override
    public void run(Step step, int piece, int worker) {
        of(step).run(step, piece, worker);
    }

    @Override
    public String name(Step step) {
        return of(step).name(step);
    }

    @Override
    public boolean bf16(Step step) {
        return of(step).bf16(step);
    }
}
