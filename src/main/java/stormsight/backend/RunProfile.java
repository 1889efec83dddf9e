package stormsight.backend;

import java.util.List;
import java.util.Optional;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Step;

/**
 * Where the time of one run went.
 *
 * @param nanos from call to return, with what no entry accounts for: launches, transfers
 * @param entries in the order in which the program runs them, one for each operation of each segment, and those of the
 *     backend's own
 */
public record RunProfile(Program program, Step step, long nanos, List<Entry> entries) {
    public RunProfile {
        entries = List.copyOf(entries);
    }

    /**
     * One operation over all layers of its segment.
     *
     * @param op empty for what a backend adds of its own
     * @param kernel what ran for it; several are joined by {@code " + "}
     * @param calls how often it ran: once a layer
     * @param nanos of all calls together
     * @param bf16 whether it ran on units for products of BF16, whose ceiling is another one
     */
    public record Entry(String segment, Optional<Op> op, String kernel, int calls, long nanos, boolean bf16) {
        public Entry(String segment, Optional<Op> op, String kernel, int calls, long nanos) {
            this(segment, op, kernel, calls, nanos, false);
        }
    }
}
