package stormsight.model.nn;

import java.util.ArrayList;
import java.util.List;
import stormsight.model.Encoding;
import stormsight.model.Pass;
import stormsight.model.Stage;
import stormsight.program.DType;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Tensor;

/** Puts what makes one row behind a tower. */
public final class Pooled {
    private Pooled() {}

    /** The row that a program leaves, [1, columns]. */
    public static Tensor output(String name, int columns) {
        return new Tensor(name, DType.F32, Shape.of(1, columns), Tensor.Kind.OUTPUT, 1);
    }

    /**
     * The program of a vision tower.
     *
     * @param stages of the segments behind it, in order
     */
    public static Encoding image(VisionTower tower, List<Segment> behind, List<Stage> stages, Tensor output) {
        return encoding("image", tower.segments(), tower.stages(), tower.patches(), behind, stages, output);
    }

    /** The same of a text tower. */
    public static Encoding text(TextTower tower, List<Segment> behind, List<Stage> stages, Tensor output) {
        return encoding("text", tower.segments(), tower.stages(), tower.ids(), behind, stages, output);
    }

    private static Encoding encoding(
            String name,
            List<Segment> segments,
            List<Stage> stages,
            Tensor input,
            List<Segment> behind,
            List<Stage> more,
            Tensor output) {
        List<Segment> all = new ArrayList<>(segments);
        all.addAll(behind);
        List<Stage> allStages = new ArrayList<>(stages);
        allStages.addAll(more);
        return new Encoding(new Pass(new Program(name, all), input, output), allStages);
    }
}
