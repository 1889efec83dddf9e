package stormsight.backend;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import stormsight.checkpoint.HostTensor;
import stormsight.program.Program;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * Operations with their tensors, runs and the outputs to compare.
 *
 * @param tolerance largest error allowed, in parts of 1 + the largest value of the tensor; integers must be equal
 * @param reason why the tolerance is what it is
 * @param setup makes the data, the same ones each time
 */
public record OpCase(String name, double tolerance, String reason, Supplier<Setup> setup) {
    /** @param inputs written before the first run; a tensor that is not named stays 0 */
    public record Setup(Map<Tensor, HostTensor> weights, Map<Tensor, MemorySegment> inputs, List<Run> runs,
            List<Tensor> outputs) {
        public List<Program> programs() {
            return runs.stream().map(Run::program).distinct().toList();
        }
    }

    public record Run(Program program, Step step) {}

    @Override
    public String toString() {
        return name;
    }
}
