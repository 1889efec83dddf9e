package stormsight.program;

import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;

/**
 * All that changes between two runs of a program: one sequence with any number of rows, or several with a row each, so
 * that a decode of all of them reads every weight once.
 *
 * <p>What a row becomes depends on its own sequence alone. It sees the tokens of its sequence: token i sees token j iff
 * {@code j < prefixLength || j <= i}. A bidirectional pass has {@code prefixLength = rows}, a causal one 0.
 *
 * @param sequences at most {@link #MOST_SEQUENCES}, each in a slot of its own
 */
public record Step(List<Sequence> sequences) {
    /** As many as kernels for few rows are made for. */
    public static final int MOST_SEQUENCES = 16;

    /**
     * A sequence of a run. Its row i is token {@code position + i}.
     *
     * @param slot where it lies in caches that hold several
     * @param position tokens already in the cache
     * @param rows tokens of this run, at most the capacity of the program's activations; an operation handles
     *     {@code min(rows, capacity of its output)} rows
     * @param prefixLength tokens that every token sees
     * @param coin in [0, 1), used by {@link Op.Sample} alone
     */
    public record Sequence(int slot, int position, int rows, int prefixLength, float coin, Sampling sampling) {
        public Sequence {
            Objects.requireNonNull(sampling, "sampling");
            if (slot < 0 || position < 0 || rows < 1 || prefixLength < 0) {
                throw new IllegalArgumentException("slot " + slot + ", position " + position + ", rows " + rows
                        + ", prefixLength " + prefixLength);
            }
            if (!(coin >= 0 && coin < 1)) {
                throw new IllegalArgumentException("coin " + coin + " is not in [0, 1)");
            }
        }
    }

    public Step {
        sequences = List.copyOf(sequences);
        if (sequences.isEmpty() || sequences.size() > MOST_SEQUENCES) {
            throw new IllegalArgumentException(sequences.size() + " sequences, at most " + MOST_SEQUENCES);
        }
        if (sequences.size() > 1) {
            Set<Integer> slots = new HashSet<>();
            for (Sequence sequence : sequences) {
                if (sequence.rows != 1) {
                    throw new IllegalArgumentException("one of " + sequences.size() + " sequences has "
                            + sequence.rows + " rows; several have one each");
                }
                if (!slots.add(sequence.slot)) {
                    throw new IllegalArgumentException("two sequences in slot " + sequence.slot);
                }
            }
        }
    }

    /** A greedy step of one sequence. */
    public Step(int position, int rows, int prefixLength) {
        this(position, rows, prefixLength, 0, Sampling.GREEDY);
    }

    /** A step of one sequence, in the first slot. */
    public Step(int position, int rows, int prefixLength, float coin, Sampling sampling) {
        this(List.of(new Sequence(0, position, rows, prefixLength, coin, sampling)));
    }

    /** Rows of all sequences. */
    public int rows() {
        return sequences.size() > 1 ? sequences.size() : sequences.get(0).rows;
    }

    /** The sequence that a row belongs to. */
    public Sequence sequence(int row) {
        return sequences.get(sequences.size() > 1 ? row : 0);
    }

    /** Place of a row in its sequence. */
    public int token(int row) {
        return sequences.size() > 1 ? sequences.get(row).position : sequences.get(0).position + row;
    }

    /** Tokens that are in the cache of the longest sequence before this run. */
    public int position() {
        int position = 0;
        for (int i = 0; i < sequences.size(); i++) {
            position = Math.max(position, sequences.get(i).position);
        }
        return position;
    }
}
