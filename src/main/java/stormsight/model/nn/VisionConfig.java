package stormsight.model.nn;

import java.util.Optional;
import stormsight.checkpoint.ConfigFile;

/** The vision towers of config.json, with the defaults of transformers for what it leaves out. */
public final class VisionConfig {
    private static final VisionTower.Names SIGLIP = new VisionTower.Names(
            "embeddings.patch_embedding",
            true,
            Optional.empty(),
            false,
            "embeddings.position_embedding.weight",
            Optional.empty(),
            "encoder.layers.{i}.",
            Optional.of("post_layernorm"));
    /** The name of the first norm is misspelt in every checkpoint. The last norm is for the class token alone. */
    private static final VisionTower.Names CLIP = new VisionTower.Names(
            "embeddings.patch_embedding",
            false,
            Optional.of("embeddings.class_embedding"),
            false,
            "embeddings.position_embedding.weight",
            Optional.of("pre_layrnorm"),
            "encoder.layers.{i}.",
            Optional.empty());

    private static final VisionTower.Names VIT = new VisionTower.Names(
            "embeddings.patch_embeddings.projection",
            true,
            Optional.of("embeddings.cls_token"),
            true,
            "embeddings.position_embeddings",
            Optional.empty(),
            "encoder.layer.{i}.",
            Optional.of("layernorm"));

    private VisionConfig() {}

    /**
     * A SigLIP tower.
     *
     * @param prefix of the keys, with the dot
     * @see <a href="https://arxiv.org/abs/2303.15343">Sigmoid Loss for Language Image Pre-Training</a>
     */
    public static VisionTower.Config siglip(ConfigFile config, String prefix) {
        return read(
                config,
                prefix,
                "siglip_vision_model",
                "gelu_pytorch_tanh",
                16,
                1e-6,
                SIGLIP,
                TransformerLayer.Names.CLIP);
    }

    /**
     * A CLIP tower, with a class token in front and without its last norm.
     *
     * @param prefix of the keys, with the dot
     * @see <a href="https://arxiv.org/abs/2103.00020">Learning Transferable Visual Models From Natural Language
     * Supervision</a>
     */
    public static VisionTower.Config clip(ConfigFile config, String prefix) {
        return read(config, prefix, "clip_vision_model", "quick_gelu", 32, 1e-5, CLIP, TransformerLayer.Names.CLIP);
    }

    /**
     * A ViT, with a class token in front.
     *
     * @param prefix of the keys, with the dot if it is not empty
     * @see <a href="https://arxiv.org/abs/2010.11929">An Image is Worth 16x16 Words</a>
     */
    public static VisionTower.Config vit(ConfigFile config, String prefix) {
        if (!config.bool(prefix + "qkv_bias", true)) {
            throw config.invalid(prefix + "qkv_bias", "false is not supported");
        }
        return read(config, prefix, "vit", "gelu", 16, 1e-12, VIT, TransformerLayer.Names.VIT);
    }

    private static VisionTower.Config read(
            ConfigFile config,
            String prefix,
            String supported,
            String activation,
            int patch,
            double epsilon,
            VisionTower.Names names,
            TransformerLayer.Names layerNames) {
        String type = config.text(prefix + "model_type", supported);
        if (!type.equals(supported)) {
            throw config.invalid(
                    prefix + "model_type", "tower '" + type + "' is not supported; supported is " + supported);
        }
        if (config.integer(prefix + "num_channels", VisionTower.CHANNELS) != VisionTower.CHANNELS) {
            throw config.invalid(prefix + "num_channels", "only " + VisionTower.CHANNELS + " channels are supported");
        }
        int width = Sizes.positive(config, prefix + "hidden_size", 768);
        int intermediateSize = Sizes.positive(config, prefix + "intermediate_size", 3072);
        int layers = Sizes.positive(config, prefix + "num_hidden_layers", 12);
        int heads = Sizes.positive(config, prefix + "num_attention_heads", 12);
        int imageSize = Sizes.positive(config, prefix + "image_size", 224);
        int patchSize = Sizes.positive(config, prefix + "patch_size", patch);
        Norm norm = new Norm(Norm.Kind.LAYER, (float) Sizes.positiveNumber(config, prefix + "layer_norm_eps", epsilon));
        if (width % heads != 0) {
            throw config.invalid(
                    prefix + "num_attention_heads", heads + " heads do not divide a hidden_size of " + width);
        }
        // The resized image is one array; then tokens and patches can be counted in an int, too.
        if ((long) imageSize * imageSize > (Integer.MAX_VALUE - 8) / VisionTower.CHANNELS) {
            throw config.invalid(prefix + "image_size", imageSize + " pixels are too many");
        }
        if (patchSize > imageSize) {
            throw config.invalid(
                    prefix + "patch_size",
                    "a patch of " + patchSize + " pixels is larger than an image of " + imageSize);
        }
        TransformerLayer layer = new TransformerLayer(
                TransformerLayer.Attention.plain(width, heads),
                new TransformerLayer.Mlp(
                        intermediateSize, Activations.read(config, prefix + "hidden_act", activation), false, true),
                norm,
                layerNames);
        return new VisionTower.Config(width, imageSize, patchSize, layers, layer, names);
    }
}
