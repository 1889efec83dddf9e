package stormsight.model;

import java.util.List;
import stormsight.program.Program;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * A program that makes one row, or a fixed number of rows, of an image, a text or both; or a row each of several images
 * or texts in one run.
 *
 * @param pass its input is patches of a view, [rows, channels x patchSize x patchSize] F32, or ids, [positions] I32;
 *     its output [1, columns], or [rows, columns] where {@link Matcher} says so. Of several, inputs and outputs follow
 *     each other
 * @param stages where probes can be put, in order
 * @param whole whether tokens of a text see each other, not only what comes before them
 * @param together how many images or texts one run takes at most
 */
public record Encoding(Pass pass, List<Stage> stages, boolean whole, int together) {
    public Encoding {
        stages = List.copyOf(stages);
    }

    /** Of one image or text at a time. */
    public Encoding(Pass pass, List<Stage> stages, boolean whole) {
        this(pass, stages, whole, 1);
    }

    public Program program() {
        return pass.program();
    }

    /** The same with a rewritten program. */
    public Encoding with(Program rewritten) {
        return new Encoding(pass.with(rewritten), stages, whole, together);
    }

    /** Most rows of the input of one image or text. */
    public int rows() {
        Tensor input = pass.input();
        return (input.shape().rank() == 1 ? input.columns() : input.rows()) / together;
    }

    /** The step for an input of so many rows or ids. */
    public Step step(int rows) {
        return new Step(0, rows, whole ? rows : 0);
    }
}
