package stormsight.cli;

import stormsight.program.Step;

/** How many sequences a run may have, wherever an option says so. */
final class Parallel {
    static final String OPTION = "--parallel";
    /** What stands behind what is counted, in help. */
    static final String RANGE = "at a time, 1 to " + Step.MOST_SEQUENCES + "; more take more memory.";

    private Parallel() {}

    /** @throws UsageException if it cannot be so many */
    static void check(int count) {
        check(OPTION, count);
    }

    /**
     * @param option that says how many
     * @throws UsageException if it cannot be so many
     */
    static void check(String option, int count) {
        if (count < 1 || count > Step.MOST_SEQUENCES) {
            throw new UsageException(option + " " + count + " is not in 1 .. " + Step.MOST_SEQUENCES);
        }
    }
}
