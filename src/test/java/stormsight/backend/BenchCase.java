package stormsight.backend;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.OpCost;
import stormsight.program.OpName;
import stormsight.program.Program;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * An operation at one shape, to be checked and then timed.
 *
 * @param op with its tensors, of which none has a value yet
 * @param fused what the product does besides, as the model has it: {@code bias, gelu}; or how a token is drawn
 * @param small whether the slow reference does it in no time
 * @param quick whether the short list has it
 * @param tolerance largest error allowed, in parts of 1 + the largest value
 * @param checked what is compared: rows and columns
 * @param setup makes the data, the same ones each time
 */
public record BenchCase(Op op, Step step, String fused, boolean small, boolean quick, double tolerance, String checked,
        Supplier<Setup> setup) {
    /**
     * What is run and what must come out.
     *
     * @param full the operation: its last run but {@code after} is timed, those before it give tensors their values
     * @param timed index of the run that is timed
     * @param sample the same operation on some of its rows and columns
     * @param rows of the whole result, for each row of the sample's
     * @param columns as rows
     */
    public record Setup(OpCase.Setup full, int timed, OpCase.Setup sample, int[] rows, int[] columns) {
        public Program program() {
            return full.runs().get(timed).program();
        }
    }

    /** {@code matMul_272x2048x16384_bf16}. */
    public String name() {
        return OpName.of(op, step).toString();
    }

    /** What the timed run must at least move and compute. */
    public OpCost cost() {
        return OpCost.of(op, step);
    }

    /**
     * Compares what a backend made with the scalar backend, which computes in double precision.
     *
     * @param actual outputs of the full operation
     * @throws AssertionError at the first element that differs by more than the tolerance
     */
    public void check(Setup setup, Map<Tensor, MemorySegment> actual) {
        Map<Tensor, MemorySegment> expected;
        try (Backend scalar = Backends.open("scalar", BackendOptions.DEFAULT)) {
            expected = OpCases.run(scalar, setup.sample());
        }
        List<Tensor> sampled = setup.sample().outputs();
        for (int i = 0; i < sampled.size(); i++) {
            check(setup, setup.full().outputs().get(i), actual.get(setup.full().outputs().get(i)), sampled.get(i),
                    expected.get(sampled.get(i)));
        }
    }

    private void check(Setup setup, Tensor tensor, MemorySegment actual, Tensor sampled, MemorySegment expected) {
        boolean single = sampled.shape().elements() == 1;
        double largest = 0;
        for (long i = 0; i < sampled.shape().elements() && sampled.dtype() == DType.F32; i++) {
            largest = Math.max(largest, Math.abs(expected.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i)));
        }
        for (int row = 0; row < (single ? 1 : setup.rows.length); row++) {
            for (int column = 0; column < (single ? 1 : setup.columns.length); column++) {
                long at = single ? 0 : (long) setup.rows[row] * tensor.columns() + setup.columns[column];
                long from = single ? 0 : (long) row * sampled.columns() + column;
                boolean equal;
                String found;
                if (sampled.dtype() == DType.I32) {
                    int token = actual.getAtIndex(ValueLayout.JAVA_INT_UNALIGNED, at);
                    equal = token == expected.getAtIndex(ValueLayout.JAVA_INT_UNALIGNED, from);
                    found = token + ", expected " + expected.getAtIndex(ValueLayout.JAVA_INT_UNALIGNED, from);
                } else {
                    float value = actual.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, at);
                    float wanted = expected.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, from);
                    equal = Math.abs((double) value - wanted) <= tolerance * (1 + largest);
                    found = value + ", expected " + wanted + ", tolerance " + tolerance + " of 1 + " + largest;
                }
                if (!equal) {
                    throw new AssertionError(name() + ": " + tensor + " element " + at + " is " + found);
                }
            }
        }
    }

    @Override
    public String toString() {
        return name();
    }
}
