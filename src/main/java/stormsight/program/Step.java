package stormsight.program;

import java.util.Objects;

/**
 * All that changes between two runs of a program.
 *
 * <p>Row i of this run is token {@code position + i}; it sees token j iff {@code j < prefixLength || j <= position +
 * i}. A bidirectional pass has {@code prefixLength = rows}, a causal one 0.
 *
 * @param position tokens already in the cache
 * @param rows tokens of this run, at most the capacity of the program's activations; an operation handles
 *     {@code min(rows, capacity of its output)} rows
 * @param prefixLength tokens that every token sees
 * @param coin in [0, 1), used by {@link Op.Sample} alone
 */
public record Step(int position, int rows, int prefixLength, float coin, Sampling sampling) {
    public Step {
        Objects.requireNonNull(sampling, "sampling");
        if (position < 0 || rows < 1 || prefixLength < 0) {
            throw new IllegalArgumentException(
                    "position " + position + ", rows " + rows + ", prefixLength " + prefixLength);
        }
        if (!(coin >= 0 && coin < 1)) {
            throw new IllegalArgumentException("coin " + coin + " is not in [0, 1)");
        }
    }

    /** A greedy step. */
    public Step(int position, int rows, int prefixLength) {
        this(position, rows, prefixLength, 0, Sampling.GREEDY);
    }
}
