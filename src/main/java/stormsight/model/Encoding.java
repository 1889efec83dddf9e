package stormsight.model;

import java.util.List;
import stormsight.program.Program;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * A program that makes one row, or a fixed number of rows, of an image, a text or both.
 *
 * @param pass its input is patches of a view, [rows, channels x patchSize x patchSize] F32, or ids, [positions] I32;
 *     its output [1, columns], or [rows, columns] where {@link Matcher} says so
 * @param stages where probes can be put, in order
 * @param whole whether tokens of a text see each other, not only what comes before them
 */
public record Encoding(Pass pass, List<Stage> stages, boolean whole) {
    public Encoding {
        stages = List.copyOf(stages);
    }

    /** Of images, or of texts whose tokens see what comes before them. */
    public Encoding(Pass pass, List<Stage> stages) {
        this(pass, stages, false);
    }

    public Program program() {
        return pass.program();
    }

    /** The same with a rewritten program. */
    public Encoding with(Program rewritten) {
        return new Encoding(pass.with(rewritten), stages, whole);
    }

    /** Most rows of an input. */
    public int rows() {
        Tensor input = pass.input();
        return input.shape().rank() == 1 ? input.columns() : input.rows();
    }

    /** The step for an input of so many rows or ids. */
    public Step step(int rows) {
        return new Step(0, rows, whole ? rows : 0);
    }
}
