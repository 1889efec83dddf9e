package stormsight.model.paligemma;

import java.util.Optional;
import stormsight.checkpoint.ConfigFile;
import stormsight.model.nn.Activations;
import stormsight.model.nn.Norm;
import stormsight.model.nn.Sizes;
import stormsight.model.nn.TransformerLayer;
import stormsight.model.nn.VisionTower;
import stormsight.program.Op.Activation;

/**
 * Sizes of a SigLIP vision tower, with the defaults of transformers for what config.json leaves out.
 *
 * @see <a href="https://arxiv.org/abs/2303.15343">Sigmoid Loss for Language Image Pre-Training</a>
 */
final class SiglipConfig {
    private static final VisionTower.Names NAMES = new VisionTower.Names("embeddings.patch_embedding", true, Optional.empty(),
            "embeddings.position_embedding.weight", Optional.empty(), "encoder.layers.{i}.", Optional.of("post_layernorm"));

    private SiglipConfig() {}

    static VisionTower.Config read(ConfigFile config, String prefix) {
        String type = config.text(prefix + "model_type", "siglip_vision_model");
        if (!type.equals("siglip_vision_model")) {
            throw config.invalid(prefix + "model_type", "tower '" + type + "' is not supported; supported is siglip_vision_model");
        }
        Activations.requireGeluTanh(config, prefix + "hidden_act");
        if (config.integer(prefix + "num_channels", VisionTower.CHANNELS) != VisionTower.CHANNELS) {
            throw config.invalid(prefix + "num_channels", "only " + VisionTower.CHANNELS + " channels are supported");
        }
        int width = Sizes.positive(config, prefix + "hidden_size", 768);
        int intermediateSize = Sizes.positive(config, prefix + "intermediate_size", 3072);
        int layers = Sizes.positive(config, prefix + "num_hidden_layers", 12);
        int heads = Sizes.positive(config, prefix + "num_attention_heads", 12);
        int imageSize = Sizes.positive(config, prefix + "image_size", 224);
        int patchSize = Sizes.positive(config, prefix + "patch_size", 16);
        float epsilon = (float) Sizes.positiveNumber(config, prefix + "layer_norm_eps", 1e-6);
        if (width % heads != 0) {
            throw config.invalid(prefix + "num_attention_heads", heads + " heads do not divide a hidden_size of " + width);
        }
        // The resized image is one array; then tokens and patches can be counted in an int, too.
        if ((long) imageSize * imageSize > (Integer.MAX_VALUE - 8) / VisionTower.CHANNELS) {
            throw config.invalid(prefix + "image_size", imageSize + " pixels are too many");
        }
        if (patchSize > imageSize) {
            throw config.invalid(prefix + "patch_size", "a patch of " + patchSize + " pixels is larger than an image of " + imageSize);
        }
        TransformerLayer layer = new TransformerLayer(TransformerLayer.Attention.plain(width, heads),
                new TransformerLayer.Mlp(intermediateSize, Activation.GELU_TANH, false, true), new Norm(Norm.Kind.LAYER, epsilon),
                TransformerLayer.Names.CLIP);
        return new VisionTower.Config(width, imageSize, patchSize, layers, layer, NAMES);
    }
}
