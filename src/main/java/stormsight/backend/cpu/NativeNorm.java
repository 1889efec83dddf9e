package stormsight.backend.cpu;

import java.util.List;
import stormsight.program.Op;
import stormsight.program.Step;

/**
 * {@link Norm} of many rows, without a residual, by oneDNN in F32. Scale and shift are copied before each run: native
 * code that reads a mapping would end the process if its file was cut short.
 */
final class NativeNorm implements Kernel {
    /** Rows of one piece. */
    private static final int PIECE = 16;

    private final Norm norm;
    private final NativeKernels natives;
    private final String name;
    private final Scratch scratch;

    /** For the rows of this run; set before its pieces begin. */
    private OneDnn.Primitive whole;

    private OneDnn.Primitive rest;

    /**
     * Reserves what it needs.
     *
     * @param name of oneDNN's kernel
     */
    NativeNorm(Norm norm, NativeKernels natives, String name, Scratch scratch) {
        this.norm = norm;
        this.natives = natives;
        this.name = name;
        this.scratch = scratch;
        scratch.reserveShared(2 * vectorBytes());
    }

    /** Of the scale, and of the shift behind it. */
    private long vectorBytes() {
        return Scratch.align(4L * norm.columns());
    }

    /** Of a whole piece. */
    static List<OneDnn.Work> work(Op.LayerNorm op) {
        return List.of(work(PIECE, op.x().columns(), true, op.epsilon()));
    }

    /** Of a whole piece. */
    static List<OneDnn.Work> work(Op.RmsNorm op) {
        return List.of(work(PIECE, op.x().columns(), false, op.epsilon()));
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
        Memory.copy(norm.w(), scratch.shared(), 4L * norm.columns());
        if (norm.bias() != 0) {
            Memory.copy(norm.bias(), scratch.shared() + vectorBytes(), 4L * norm.columns());
        }
        whole = rows < PIECE ? null : primitive(PIECE);
        rest = rows % PIECE == 0 ? null : primitive(rows % PIECE);
        return (rows + PIECE - 1) / PIECE;
    }

    @Override
    public void run(Step step, int piece, int worker) {
        int first = piece * PIECE;
        long offset = 4L * first * norm.columns();
        (norm.rows(step) - first < PIECE ? rest : whole).run(worker, natives.scratchpad(worker), norm.x() + offset,
                norm.out() + offset, scratch.shared(), scratch.shared() + vectorBytes());
    }

    @Override
    public String name(Step step) {
        return "oneDNN " + name;
    }
}
