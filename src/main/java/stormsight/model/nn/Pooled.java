package stormsight.model.nn;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import stormsight.model.Encoding;
import stormsight.model.Pass;
import stormsight.model.Stage;
import stormsight.model.Weights;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Tensor;

/** Puts what makes one row of each image or text behind a tower. */
public final class Pooled {
    private final String name;
    private final List<Segment> segments;
    private final List<Stage> stages;
    private final Tensor input;
    private final Tensor rows;
    private final int together;

    private Pooled(String name, List<Segment> segments, List<Stage> stages, Tensor input, Tensor rows, int together) {
        this.name = name;
        this.segments = segments;
        this.stages = stages;
        this.input = input;
        this.rows = rows;
        this.together = together;
    }

    /** Behind a vision tower. */
    public static Pooled image(VisionTower tower) {
        return new Pooled("image", tower.segments(), tower.stages(), tower.patches(), tower.output(), tower.together());
    }

    /** Behind a text tower. */
    public static Pooled text(TextTower tower) {
        return new Pooled("text", tower.segments(), tower.stages(), tower.ids(), tower.output(), tower.together());
    }

    /** The rows that a program leaves, [images or texts, columns]. */
    public Tensor output(String output, int columns) {
        return output(output, together, columns);
    }

    /** Rows that a program leaves. */
    public static Tensor output(String output, int rows, int columns) {
        return new Tensor(output, DType.F32, Shape.of(rows, columns), Tensor.Kind.OUTPUT, 1);
    }

    /** Values of one row an image or text. */
    public Tensor activation(String activation, int columns) {
        return Tensor.activation(activation, together, columns);
    }

    /** The same rows for each image or text: a weight of [1, columns] as it is, or of [images or texts, columns]. */
    public Tensor repeated(Weights weights, Tensor row) {
        return repeated(weights, row, 1, together);
    }

    /** Rows of a weight, one after the other, as often as there are images or texts. */
    static Tensor repeated(Weights weights, Tensor weight, int rows, int together) {
        return together == 1
                ? weight
                : weights.computed(
                        weight.name() + " x " + together,
                        Shape.of(Math.multiplyExact(rows, together), weight.columns()),
                        List.of(weight),
                        values -> repeated(values.getFirst(), together));
    }

    private static float[] repeated(float[] values, int times) {
        float[] all = new float[Math.multiplyExact(values.length, times)];
        for (int i = 0; i < times; i++) {
            System.arraycopy(values, 0, all, i * values.length, values.length);
        }
        return all;
    }

    /** The first row of each, as they are or put beside each other by the operation that is added. */
    public Tensor first(List<Op> ops, Weights weights, String firsts) {
        return together == 1 ? rows : pick(ops, weights, firsts, 0);
    }

    /** The last row of each, see {@link #first}. */
    public Tensor last(List<Op> ops, Weights weights, String lasts) {
        if (together == 1) {
            Tensor last = activation(lasts, rows.columns());
            ops.add(new Op.LastRow(rows, last));
            return last;
        }
        return pick(ops, weights, lasts, rows.rows() / together - 1);
    }

    private Tensor pick(List<Op> ops, Weights weights, String picked, int row) {
        int[][] places = IntStream.range(0, together)
                .mapToObj(i -> new int[] {row + i * (rows.rows() / together)})
                .toArray(int[][]::new);
        Tensor to = activation(picked, rows.columns());
        ops.add(new Op.Gather(rows, weights.indices(picked + ".rows", places), to));
        return to;
    }

    /**
     * The program.
     *
     * @param behind the tower, in order
     * @param more stages of these segments, in order
     */
    public Encoding encoding(List<Segment> behind, List<Stage> more, Tensor output) {
        List<Segment> all = new ArrayList<>(segments);
        all.addAll(behind);
        List<Stage> allStages = new ArrayList<>(stages);
        allStages.addAll(more);
        return new Encoding(new Pass(new Program(name, all), input, output), allStages, false, together);
    }
}
