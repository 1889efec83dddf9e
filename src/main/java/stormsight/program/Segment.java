package stormsight.program;

import java.util.List;

/**
 * Operations that run once for each of some identical layers. The layer {@code firstLayer + i} picks its tensors from
 * the stacks (those with {@code layers > 1}) that the operations name.
 *
 * @param firstLayer index of the first layer into the stacks
 * @param layers how many layers run, at least 1
 */
public record Segment(String name, int firstLayer, int layers, List<Op> ops) {
    public Segment {
        ops = List.copyOf(ops);
        if (firstLayer < 0 || layers < 1) {
            throw new IllegalArgumentException(name + ": layers from " + firstLayer + ", " + layers + " of them");
        }
        for (Op op : ops) {
            for (Operand operand : op.operands()) {
                operand.checkType(name);
                Tensor tensor = operand.tensor();
                int has = operand.extent().kind() == Operand.Extent.Kind.LAYERS ? tensor.rows() : tensor.layers();
                if ((has > 1 || operand.extent().kind() == Operand.Extent.Kind.LAYERS) && has < firstLayer + layers) {
                    throw new IllegalArgumentException(name + " runs layers " + firstLayer + ".."
                            + (firstLayer + layers - 1) + ", " + tensor.name() + " has " + has);
                }
            }
        }
    }

    /** Operations that run once. */
    public static Segment once(String name, List<Op> ops) {
        return new Segment(name, 0, 1, ops);
    }

    /** The same layers with other operations. */
    public Segment with(List<Op> otherOps) {
        return new Segment(name, firstLayer, layers, otherOps);
    }
}
