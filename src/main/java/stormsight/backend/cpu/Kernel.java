package stormsight.backend.cpu;

import stormsight.program.Step;

/**
 * One operation of one layer, or a phase of it, with all its addresses resolved. Its work is cut into pieces. Results
 * depend on the step alone, never on the number of threads, and bounds of pieces only where they do not matter to
 * results. Nothing here allocates.
 */
interface Kernel {
    /** Pieces that this step takes, at least 1; they may run in any order and at the same time. */
    int pieces(Step step);

    /** @param worker index of the running thread, for its own scratch memory */
    void run(Step step, int piece, int worker);

    /** As profiles call it. */
    default String name(Step step) {
        String name = getClass().getName();
        return name.substring(name.lastIndexOf('.') + 1).replace('$', '.');
    }

    /** Whether the step's products are those of the processor's units for BF16. */
    default boolean bf16(Step step) {
        return false;
    }
}
