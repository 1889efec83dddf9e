package stormsight.model;

import static stormsight.model.WeightSpec.matrix;
import static stormsight.model.WeightSpec.vector;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import stormsight.program.Op.Activation;
import stormsight.program.Op.Attention;
import stormsight.program.Op.Heads;
import stormsight.program.Op.Keys;
import stormsight.program.Op.LayerNorm;
import stormsight.program.Op.MatMul;
import stormsight.program.Op;
import stormsight.program.Segment;
import stormsight.program.Tensor;

/**
 * The SigLIP vision tower: patch embedding with learned positions, pre-norm blocks, a last norm. All its tokens are its result.
 *
 * @see <a href="https://arxiv.org/abs/2303.15343">Sigmoid Loss for Language Image Pre-Training</a>
 */
final class SigLip {
    /** Segments' names, which analysis refers to. */
    static final String EMBEDDINGS = "vision.embeddings";
    static final String LAYERS = "vision.layers";
    static final String POST_LAYERNORM = "vision.post_layernorm";

    private static final String TOWER = "vision_tower.vision_model.";
    private static final String LAYER = TOWER + "encoder.layers.{i}.";

    private final SiglipConfig config;
    private final Weights weights;
    private final Tensor x;
    private final Tensor normed;
    private final Tensor q;
    private final Tensor k;
    private final Tensor v;
    private final Tensor mixed;
    private final Tensor hidden;

    SigLip(SiglipConfig config, Weights weights) {
        this.config = config;
        this.weights = weights;
        int tokens = config.tokens();
        int width = config.hiddenSize();
        x = Tensor.activation("vision.x", tokens, width);
        normed = Tensor.activation("vision.normed", tokens, width);
        q = Tensor.activation("vision.q", tokens, width);
        k = Tensor.activation("vision.k", tokens, width);
        v = Tensor.activation("vision.v", tokens, width);
        mixed = Tensor.activation("vision.mixed", tokens, width);
        hidden = Tensor.activation("vision.hidden", tokens, config.intermediateSize());
    }

    static List<WeightSpec> weights(SiglipConfig config) {
        int width = config.hiddenSize();
        int layers = config.layers();
        List<WeightSpec> specs = new ArrayList<>();
        specs.add(matrix(TOWER + "embeddings.patch_embedding.weight", 1, width, SiglipConfig.CHANNELS, config.patchSize(),
                config.patchSize()));
        specs.add(vector(TOWER + "embeddings.patch_embedding.bias", 1, width));
        specs.add(vector(TOWER + "embeddings.position_embedding.weight", 1, config.tokens(), width));
        for (String norm : List.of("layer_norm1", "layer_norm2")) {
            specs.add(vector(LAYER + norm + ".weight", layers, width));
            specs.add(vector(LAYER + norm + ".bias", layers, width));
        }
        for (String projection : List.of("q_proj", "k_proj", "v_proj", "out_proj")) {
            specs.add(matrix(LAYER + "self_attn." + projection + ".weight", layers, width, width));
            specs.add(vector(LAYER + "self_attn." + projection + ".bias", layers, width));
        }
        specs.add(matrix(LAYER + "mlp.fc1.weight", layers, config.intermediateSize(), width));
        specs.add(vector(LAYER + "mlp.fc1.bias", layers, config.intermediateSize()));
        specs.add(matrix(LAYER + "mlp.fc2.weight", layers, width, config.intermediateSize()));
        specs.add(vector(LAYER + "mlp.fc2.bias", layers, width));
        specs.add(vector(TOWER + "post_layernorm.weight", 1, width));
        specs.add(vector(TOWER + "post_layernorm.bias", 1, width));
        return specs;
    }

    /** Residual stream: what a trace of a layer shows, [tokens, hiddenSize]. */
    Tensor stream() {
        return x;
    }

    /** Result of {@link #segments}, [tokens, hiddenSize]. */
    Tensor output() {
        return normed;
    }

    /** @param patches [tokens, channels x patchSize x patchSize], an input */
    List<Segment> segments(Tensor patches) {
        return List.of(
                Segment.once(EMBEDDINGS, List.of(
                        linear(patches, TOWER + "embeddings.patch_embedding", Activation.NONE,
                                Optional.of(weights.get(TOWER + "embeddings.position_embedding.weight")), x))),
                new Segment(LAYERS, 0, config.layers(), layer()),
                Segment.once(POST_LAYERNORM, List.of(norm(TOWER + "post_layernorm", normed))));
    }

    private List<Op> layer() {
        Heads heads = new Heads(config.heads(), config.heads(), config.headDim());
        float scale = (float) (1 / Math.sqrt(config.headDim()));
        return List.of(
                norm(LAYER + "layer_norm1", normed),
                linear(normed, LAYER + "self_attn.q_proj", Activation.NONE, Optional.empty(), q),
                linear(normed, LAYER + "self_attn.k_proj", Activation.NONE, Optional.empty(), k),
                linear(normed, LAYER + "self_attn.v_proj", Activation.NONE, Optional.empty(), v),
                new Attention(q, k, v, heads, scale, 0, Optional.empty(), Keys.first(config.tokens()), mixed),
                linear(mixed, LAYER + "self_attn.out_proj", Activation.NONE, Optional.of(x), x),
                norm(LAYER + "layer_norm2", normed),
                linear(normed, LAYER + "mlp.fc1", Activation.GELU_TANH, Optional.empty(), hidden),
                linear(hidden, LAYER + "mlp.fc2", Activation.NONE, Optional.of(x), x));
    }

    private Op norm(String name, Tensor out) {
        return new LayerNorm(x, weights.get(name + ".weight"), weights.get(name + ".bias"), config.layerNormEpsilon(), out);
    }

    private Op linear(Tensor in, String name, Activation activation, Optional<Tensor> residual, Tensor out) {
        return new MatMul(in, weights.get(name + ".weight"), Optional.of(weights.get(name + ".bias")), activation, residual, out);
    }
}
