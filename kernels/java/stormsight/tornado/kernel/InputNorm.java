package stormsight.tornado.kernel;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Tensor;

/**
 * A norm of one row, and the products right behind it that read its result. They compute it for themselves, see
 * {@link MatMul#vector}: it is not launched, and its result is not stored.
 *
 * @param products at least one
 */
public record InputNorm(Op.RmsNorm op, List<Op> products) {
    /** The first operations of a list, if they are such ones and no other one of the program reads the result. */
    public static Optional<InputNorm> of(List<Op> ops, Program program) {
        if (ops.isEmpty() || !(ops.getFirst() instanceof Op.RmsNorm norm) || norm.residual().isPresent()
                || norm.x().layers() > 1 || norm.x().equals(norm.out()) || norm.out().rows() > 1
                || norm.out().layers() > 1 || norm.out().kind() != Tensor.Kind.ACTIVATION) {
            return Optional.empty();
        }
        List<Op> products = new ArrayList<>();
        for (Op op : ops.subList(1, ops.size())) {
            if (!isProductOf(norm, op)) {
                break;
            }
            products.add(op);
        }
        return products.isEmpty() || isReadElsewhere(norm, norm.out(), products, program) ? Optional.empty()
                : Optional.of(new InputNorm(norm, List.copyOf(products)));
    }

    /** Whether it reads the result as x alone, and does not change the norm's x, which its groups read at any time. */
    private static boolean isProductOf(Op.RmsNorm norm, Op op) {
        return switch (op) {
            case Op.MatMul product -> product.x().equals(norm.out()) && !product.out().equals(norm.x())
                    && product.residual().filter(norm.out()::equals).isEmpty();
            case Op.GatedMatMul product -> product.x().equals(norm.out()) && !product.out().equals(norm.x());
            default -> false;
        };
    }

    /**
     * Whether others than these read what an operation wrote. Also where it is not certain: where nothing in a segment
     * writes what is read there.
     */
    static boolean isReadElsewhere(Op from, Tensor out, List<Op> products, Program program) {
        for (Segment segment : program.segments()) {
            Op writer = null;
            for (Op op : segment.ops()) {
                if (op.reads().contains(out) && (writer == null
                        || writer == from && products.stream().noneMatch(product -> product == op))) {
                    return true;
                }
                if (op.writes().contains(out)) {
                    writer = op;
                }
            }
        }
        return false;
    }
}
