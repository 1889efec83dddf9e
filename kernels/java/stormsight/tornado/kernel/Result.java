package stormsight.tornado.kernel;

import java.util.ArrayList;
import java.util.List;
import stormsight.backend.DeviceInfo;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Tensor;
import stormsight.tornado.Scratch;
import stormsight.tornado.Tasks;

/**
 * How an operation leaves its result: as floats, or split for the tensor cores that multiply it next, see
 * {@link MmaMatMul}, or both. Whoever makes it splits it, so that it is neither read nor written once more for that.
 */
public enum Result {
    FLOATS(Result.STORED, 0), PARTS(0, Result.UPPER), BOTH(Result.STORED, Result.UPPER);

    /** Bits of the constant {@code result} of kernels: floats are stored; upper parts are; lower parts are, too. */
    static final int STORED = 1;
    static final int UPPER = 2;
    static final int LOWER = 4;

    private final int stored;
    private final int upper;

    Result(int stored, int upper) {
        this.stored = stored;
        this.upper = upper;
    }

    /** What is best for the first operation of a list, for the sake of those right behind it. */
    public static Result of(List<Op> ops, Program program, DeviceInfo device) {
        Tensor out = out(ops.getFirst(), device);
        if (out == null || out.kind() != Tensor.Kind.ACTIVATION || out.layers() > 1 || !MmaMatMul.splits(out)) {
            return FLOATS;
        }
        List<Op> products = new ArrayList<>();
        for (Op op : ops.subList(1, ops.size())) {
            if (!isProductOf(out, op, device)) {
                break;
            }
            products.add(op);
        }
        return products.isEmpty() ? FLOATS : InputNorm.isReadElsewhere(ops.getFirst(), out, products, program) ? BOTH
                : PARTS;
    }

    /** What an operation writes that can split it, or null. */
    private static Tensor out(Op op, DeviceInfo device) {
        return switch (op) {
            case Op.LayerNorm norm -> norm.out();
            case Op.RmsNorm norm when norm.residual().isEmpty() -> norm.out();
            case Op.Attention attention when Attention.splits(attention, device) -> attention.out();
            case Op.BlockedAttention blocked when Attention.splits(blocked.attention(), device) ->
                blocked.attention().out();
            case Op.MatMul product when MmaMatMul.fits(product.out().rows(), product.w(), device) -> product.out();
            case Op.GatedMatMul product when MmaMatMul.fits(product.out().rows(), product.gate(), device) ->
                product.out();
            case Op.RmsNorm _, Op.Attention _, Op.BlockedAttention _, Op.MatMul _, Op.GatedMatMul _, Op.Embed _,
                    Op.Rope _, Op.Store _, Op.AttentionWeights _, Op.AttentionPeak _, Op.RowMax _, Op.Copy _,
                    Op.Gather _, Op.LastRow _, Op.MeanRows _, Op.SoftCap _, Op.Sample _ -> null;
        };
    }

    /** Whether tensor cores multiply it, and nothing else of it is read. */
    private static boolean isProductOf(Tensor out, Op op, DeviceInfo device) {
        return switch (op) {
            case Op.MatMul product -> product.x().equals(out) && product.residual().filter(out::equals).isEmpty()
                    && MmaMatMul.fits(product.out().rows(), product.w(), device);
            case Op.GatedMatMul product -> product.x().equals(out)
                    && MmaMatMul.fits(product.out().rows(), product.gate(), device);
            default -> false;
        };
    }

    /** Room for what it leaves beside what whoever reads it needs in any case. */
    public Scratch scratch(Op op) {
        return upper == 0 ? Scratch.NONE : switch (op) {
            case Op.MatMul product -> MmaMatMul.resultScratch(product.out());
            case Op.GatedMatMul product -> MmaMatMul.resultScratch(product.out());
            default -> Scratch.NONE;
        };
    }

    boolean isSplit() {
        return upper != 0;
    }

    /** The constant {@code result}. */
    int bits(Tasks tasks) {
        return stored | upper | (isSplit() && MmaMatMul.parts(tasks) == 2 ? LOWER : 0);
    }
}
