package stormsight.backend.cpu;

import stormsight.program.Step;

/** One of two kernels of the same, by how many tokens a step has. */
record ByTokens(Kernel few, Kernel many, int capacity) implements Kernel {
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
