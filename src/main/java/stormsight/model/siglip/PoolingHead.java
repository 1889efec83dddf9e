package stormsight.model.siglip;

import java.util.List;
import java.util.Optional;
import stormsight.model.Weights;
import stormsight.model.nn.Linear;
import stormsight.model.nn.Pooled;
import stormsight.model.nn.VisionTower;
import stormsight.program.Op;
import stormsight.program.Op.Activation;
import stormsight.program.Segment;
import stormsight.program.Tensor;

/**
 * SigLIP's pooling: a learned query attends to all patches, then {@code x + mlp(norm(x))}.
 *
 * @see <a href="https://arxiv.org/abs/2106.04560">Scaling Vision Transformers</a>, appendix C
 */
final class PoolingHead {
    static final String SEGMENT = "vision.head";

    private PoolingHead() {}

    /**
     * @param weights under the head's prefix
     * @param images says how many there are
     * @param rows what is pooled, [rows of all images, width]
     * @param out [images, width]
     */
    static Segment segment(VisionTower.Config config, Weights weights, Pooled images, Tensor rows, Tensor out) {
        int width = config.width();
        Op.Heads heads = config.layer().attention().heads();
        List<Tensor> projections = weights.parts("attention.in_proj_weight", Weights.Use.MATRIX, 3, 3 * width, width);
        List<Tensor> biases = weights.parts("attention.in_proj_bias", Weights.Use.VECTOR, 3, 3 * width);
        Tensor probe = images.repeated(weights, weights.vector("probe", 1, 1, width));
        Tensor q = images.activation("head.q", width);
        Tensor k = Tensor.activation("head.k", rows.rows(), width);
        Tensor v = Tensor.activation("head.v", rows.rows(), width);
        Tensor mixed = images.activation("head.mixed", width);
        Tensor attended = images.activation("head.attended", width);
        Tensor normed = images.activation("head.normed", width);
        Tensor hidden = images.activation("head.hidden", config.layer().mlp().width());
        return Segment.once(
                SEGMENT,
                List.of(
                        projection(probe, projections.get(0), biases.get(0), q),
                        projection(rows, projections.get(1), biases.get(1), k),
                        projection(rows, projections.get(2), biases.get(2), v),
                        new Op.Attention(
                                q,
                                k,
                                v,
                                heads,
                                config.layer().attention().scale(),
                                0,
                                Op.Windows.NONE,
                                Op.Keys.each(config.rows(), rows.rows() / config.rows()),
                                mixed),
                        Linear.op(weights, "attention.out_proj", true, mixed, Activation.NONE, attended),
                        config.layer().norm().op(weights, "layernorm", attended, Optional.empty(), normed),
                        Linear.op(
                                weights,
                                "mlp.fc1",
                                true,
                                normed,
                                config.layer().mlp().activation(),
                                hidden),
                        Linear.op(weights, "mlp.fc2", true, hidden, Activation.NONE, Optional.of(attended), out)));
    }

    private static Op projection(Tensor x, Tensor weight, Tensor bias, Tensor out) {
        return new Op.MatMul(x, weight, Optional.of(bias), Activation.NONE, Optional.empty(), out);
    }
}
