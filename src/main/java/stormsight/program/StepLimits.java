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
 * @param positions limits of {@code position + rows}
 */
public record StepLimits(int rows, Tensor rowsOf, Position[] positions) {
    /** {@code position + min(rows, capacity)} may not pass {@code tokens}, the rows of that tensor. */
    public record Position(int capacity, int tokens, Tensor of) {}

    public static StepLimits of(Program program) {
        int largestRows = 0;
        Tensor largest = null;
        int limitRows = Integer.MAX_VALUE;
        Tensor limit = null;
        List<Position> positions = new ArrayList<>();
        for (Segment segment : program.segments()) {
            for (Op op : segment.ops()) {
                // What is written says most about an operation.
                for (Operand operand : op.operands().stream().sorted(Comparator.comparing(Operand::reads)).toList()) {
                    Operand.Extent extent = operand.extent();
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
                        case AT_POSITION -> positions.add(new Position(extent.count(), rows, operand.tensor()));
                        case TOKENS -> positions.add(new Position(Integer.MAX_VALUE, rows, operand.tensor()));
                        case ALL, RUN, LAST, FIXED, GATHERED, LAYERS -> { }
                    }
                }
            }
        }
        boolean limited = limit != null && (largest == null || limitRows < largestRows);
        return new StepLimits(
                limited ? limitRows : largestRows, limited ? limit : largest, positions.toArray(Position[]::new));
    }

    /** @throws IllegalArgumentException if the step passes the end of a tensor */
    public void check(Program program, Step step) {
        if (step.rows() > rows) {
            throw new IllegalArgumentException(
                    program.name() + ": " + step.rows() + " rows, " + rowsOf + " has " + rows);
        }
        for (Position position : positions) {
            long tokens = (long) step.position() + Math.min(step.rows(), position.capacity);
            if (tokens > position.tokens) {
                throw new IllegalArgumentException(program.name() + ": position " + step.position() + " and "
                        + step.rows() + " rows, " + position.of + " has " + position.tokens);
            }
        }
    }
}
