package stormsight.model.nn;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import stormsight.model.Weights;
import stormsight.program.Op;
import stormsight.program.Op.Activation;
import stormsight.program.Tensor;

/** Linear layers as Hugging Face stores them: a {@code .weight} [out, in], and mostly a {@code .bias} [out]. */
public final class Linear {
    private Linear() {}

    /**
     * {@code out = activation(x . transpose(weight) + bias)}.
     *
     * @param name of the stored weight without {@code .weight}
     */
    public static Op op(Weights weights, String name, boolean bias, Tensor x, Activation activation, Tensor out) {
        return op(weights, name, bias, x, activation, Optional.empty(), out);
    }

    /** @param residual what the result is added to, may be {@code out} */
    public static Op op(
            Weights weights,
            String name,
            boolean bias,
            Tensor x,
            Activation activation,
            Optional<Tensor> residual,
            Tensor out) {
        return new Op.MatMul(
                x,
                weights.matrix(name + ".weight", out.columns(), x.columns()),
                bias ? Optional.of(weights.vector(name + ".bias", out.columns())) : Optional.empty(),
                activation,
                residual,
                out);
    }

    /**
     * Several products whose weights of equal size are stored as one, one below the other.
     *
     * @param outs one a product
     */
    static List<Op> fused(Weights weights, String name, boolean bias, Tensor x, List<Tensor> outs) {
        int rows = outs.size() * outs.getFirst().columns();
        List<Tensor> matrices =
                weights.parts(name + ".weight", Weights.Use.MATRIX, outs.size(), rows, x.columns());
        List<Tensor> biases = bias ? weights.parts(name + ".bias", Weights.Use.VECTOR, outs.size(), rows) : List.of();
        List<Op> ops = new ArrayList<>();
        for (int i = 0; i < outs.size(); i++) {
            ops.add(new Op.MatMul(
                    x,
                    matrices.get(i),
                    bias ? Optional.of(biases.get(i)) : Optional.empty(),
                    Activation.NONE,
                    Optional.empty(),
                    outs.get(i)));
        }
        return ops;
    }
}
