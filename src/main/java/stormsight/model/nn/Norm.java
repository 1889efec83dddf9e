package stormsight.model.nn;

import java.util.Optional;
import stormsight.model.Weights;
import stormsight.program.Op;
import stormsight.program.Tensor;

/** A normalisation of rows. */
public record Norm(Kind kind, float epsilon) {
    /** Which formula, and how its weight is stored. */
    public enum Kind {
        /** With weight and bias, see {@link Op.LayerNorm}. */
        LAYER,
        /** With a weight, see {@link Op.RmsNorm}. */
        RMS,
        /** RMS, of which one plus the stored weight is used: Gemma. */
        RMS_ONE_PLUS
    }

    /**
     * The operation that normalises {@code in}.
     *
     * @param name of the stored weight without {@code .weight}
     * @param residual what the result is added to; RMS alone has it
     */
    public Op op(Weights weights, String name, Tensor in, Optional<Tensor> residual, Tensor out) {
        int width = in.columns();
        return switch (kind) {
            case LAYER -> {
                if (residual.isPresent()) {
                    throw new IllegalArgumentException(name + ": a layer norm that adds to a residual");
                }
                yield new Op.LayerNorm(
                        in,
                        weights.vector(name + ".weight", width),
                        weights.vector(name + ".bias", width),
                        epsilon,
                        out);
            }
            case RMS -> new Op.RmsNorm(in, weights.vector(name + ".weight", width), epsilon, residual, out);
            case RMS_ONE_PLUS -> new Op.RmsNorm(in, weights.onePlus(name + ".weight", width), epsilon, residual, out);
        };
    }
}
