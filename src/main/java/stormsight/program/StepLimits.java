package stormsight.program;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * Which steps a program can run without passing the end of a tensor.
 *
 * @param rows largest number of rows: at most those of the largest tensor that an operation handles row by row, and of
 *     all that it reads with it
 * @param rowsOf the tensor that says so
 * @param sequences most sequences: one where there is room for more rows than sequences can be
 * @param sequencesOf what says so
 * @param positions limits of {@code position + rows}
 */
public record StepLimits(int rows, Tensor rowsOf, int sequences, String sequencesOf, Position[] positions) {
    /** {@code position + min(rows, capacity)} may not pass {@code tokens}, the rows of a slot of that tensor. */
    public record Position(int capacity, int tokens, Tensor of) {}

    public static StepLimits of(Program program) {
        int largestRows = 0;
        Tensor largest = null;
        int limitRows = Integer.MAX_VALUE;
        Tensor limit = null;
        int sequences = Step.MOST_SEQUENCES;
        String sequencesOf = "a step";
        boolean draws = false;
        int slots = 1;
        List<Position> positions = new ArrayList<>();
        for (Segment segment : program.segments()) {
            for (Op op : segment.ops()) {
                if (op.ofOneSequence() && sequences > 1) {
                    sequences = 1;
                    sequencesOf = op.getClass().getSimpleName();
                }
                // What is written says most about an operation.
                for (Operand operand : op.operands().stream().sorted(Comparator.comparing(Operand::reads)).toList()) {
                    Operand.Extent extent = operand.extent();
                    slots = Math.max(slots, operand.tensor().slots());
                    int rows = operand.rows();
                    if (extent.limitsRows() && rows >= extent.count() && extent.count() > largestRows) {
                        largestRows = extent.count();
                        largest = operand.tensor();
                    }
                    if (extent.limitsRows() && rows < extent.count() && rows < limitRows) {
                        limitRows = rows;
                        limit = operand.tensor();
                    }
                    switch (extent.kind()) {
                        case AT_POSITION -> positions.add(
                                new Position(extent.count(), operand.tensor().slotRows(), operand.tensor()));
                        case TOKENS -> positions.add(
                                new Position(Integer.MAX_VALUE, operand.tensor().slotRows(), operand.tensor()));
                        case SEQUENCES -> {
                            draws = true;
                            if (rows < sequences) {
                                sequences = rows;
                                sequencesOf = operand.tensor().toString();
                            }
                        }
                        case ALL, RUN, LAST, FIXED, GATHERED, LAYERS -> { }
                    }
                }
            }
        }
        boolean limited = limit != null && (largest == null || limitRows < largestRows);
        // A program that neither keeps nor draws anything of several sequences is for one.
        if (!draws && slots < sequences) {
            sequences = slots;
            sequencesOf = program.name();
        }
        int rows = limited ? limitRows : largestRows;
        Tensor rowsOf = limited ? limit : largest;
        if (rows > Step.MOST_SEQUENCES && sequences > 1) {
            // Kernels for many rows are made for one sequence.
            sequences = 1;
            sequencesOf = rowsOf.toString();
        }
        return new StepLimits(
                rows,
                rowsOf,
                sequences,
                sequencesOf,
                positions.toArray(Position[]::new));
    }

    /** @throws IllegalArgumentException if the step passes the end of a tensor */
    public void check(Program program, Step step) {
        if (step.rows() > rows) {
            throw new IllegalArgumentException(
                    program.name() + ": " + step.rows() + " rows, " + rowsOf + " has " + rows);
        }
        if (step.sequences().size() > sequences) {
            throw new IllegalArgumentException(program.name() + ": " + step.sequences().size() + " sequences, "
                    + sequencesOf + " takes " + sequences);
        }
        for (Position position : positions) {
            for (int i = 0; i < step.sequences().size(); i++) {
                check(program, step.sequences().get(i), position);
            }
        }
    }

    private static void check(Program program, Step.Sequence sequence, Position position) {
        long tokens = (long) sequence.position() + Math.min(sequence.rows(), position.capacity);
        if (tokens > position.tokens) {
            throw new IllegalArgumentException(program.name() + ": position " + sequence.position() + " and "
                    + sequence.rows() + " rows, " + position.of + " has " + position.tokens);
        }
        if (position.of.kind() == Tensor.Kind.CACHE && sequence.slot() >= position.of.slots()) {
            throw new IllegalArgumentException(program.name() + ": slot " + sequence.slot() + ", " + position.of
                    + " has " + position.of.slots());
        }
    }
}
