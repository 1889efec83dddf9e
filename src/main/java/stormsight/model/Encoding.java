package stormsight.model;

import java.util.List;
import stormsight.program.Program;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * A program that makes one row of an image or a text.
 *
 * @param pass its input is patches of a view, [rows, channels x patchSize x patchSize] F32, or ids, [positions] I32;
 *     its output [1, columns]
 * @param stages where probes can be put, in order
 */
public record Encoding(Pass pass, List<Stage> stages) {
    public Encoding {
        stages = List.copyOf(stages);
    }

    public Program program() {
        return pass.program();
    }

    /** The same with a rewritten program. */
    public Encoding with(Program rewritten) {
        return new Encoding(pass.with(rewritten), stages);
    }

    /** Most rows of an input. */
    public int rows() {
        Tensor input = pass.input();
        return input.shape().rank() == 1 ? input.columns() : input.rows();
    }

    /** The step for an input of so many rows or ids. */
    public static Step step(int rows) {
        return new Step(0, rows, 0);
    }
}
