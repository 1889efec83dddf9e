package stormsight.backend.cpu;

import java.util.List;
import stormsight.program.Step;

/** {@link Norm} of many rows, without a residual, by oneDNN in F32. */
final class NativeNorm implements Kernel {
    /** Rows of one piece. */
    private static final int PIECE = 16;

    private final Norm norm;
    private final NativeProducts natives;
    private final String name;

    /** For the rows of this run; set before its pieces begin. */
    private OneDnn.Primitive whole;

    private OneDnn.Primitive rest;

    /** @param name of oneDNN's kernel */
    NativeNorm(Norm norm, NativeProducts natives, String name) {
        this.norm = norm;
        this.natives = natives;
        this.name = name;
    }

    /** Of a whole piece. */
    static List<OneDnn.Work> work(int columns, boolean centred, float epsilon) {
        return List.of(work(PIECE, columns, centred, epsilon));
    }

    private static OneDnn.Work work(int rows, int columns, boolean centred, float epsilon) {
        return new OneDnn.Norm(OneDnn.Matrix.dense(OneDnn.F32, rows, columns), centred, epsilon);
    }

    private OneDnn.Primitive primitive(int rows) {
        return natives.primitive(work(rows, norm.columns(), norm.centred(), norm.epsilon()));
    }

    @Override
    public int pieces(Step step) {
        int rows = norm.rows(step);
        whole = primitive(PIECE);
        rest = rows % PIECE == 0 ? null : primitive(rows % PIECE);
        return (rows + PIECE - 1) / PIECE;
    }

    @Override
    public void run(Step step, int piece, int worker) {
        int first = piece * PIECE;
        long offset = 4L * first * norm.columns();
        (norm.rows(step) - first < PIECE ? rest : whole).run(worker, natives.scratchpad(worker), norm.x() + offset,
                norm.out() + offset, norm.w(), norm.bias());
    }

    @Override
    public String name(Step step) {
        return "oneDNN " + name;
    }
}
