package stormsight.program;

/**
 * What an operation must at least move and compute in one layer, whatever the backend: every operand once, and two
 * operations for each product that is summed. Functions count as one operation an element.
 *
 * @param bytes read from and written to memory
 * @param operations floating-point operations
 */
public record OpCost(long bytes, long operations) {
    public static OpCost of(Op op, Step step) {
        return new OpCost(op.operands().stream().mapToLong(operand -> operand.bytes(step)).sum(), op.operations(step));
    }
}
