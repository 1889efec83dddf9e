package stormsight.model.nn;

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
}
