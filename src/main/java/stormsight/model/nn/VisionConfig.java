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

    private static final VisionTower.Names EVA = new VisionTower.Names(
            "embeddings.patch_embedding",
            true,
            Optional.of("embeddings.class_embedding"),
            true,
            "embeddings.position_embedding",
            Optional.empty(),
            "encoder.layers.{i}.",
            Optional.of("post_layernorm"));

    private VisionConfig() {}

    /** What holds where config.json says nothing. */
    private record Absent(
            int width, int mlp, int layers, int heads, int patch, String activation, double epsilon) {
        /** Of a tower of the base size. */
        static Absent base(int patch, String activation, double epsilon) {
            return new Absent(768, 3072, 12, 12, patch, activation, epsilon);
        }
    }

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
                Absent.base(16, "gelu_pytorch_tanh", 1e-6),
                SIGLIP,
                TransformerLayer.Names.CLIP,
                true);
    }

    /**
     * A CLIP tower, with a class token in front and without its last norm.
     *
     * @param prefix of the keys, with the dot
     * @see <a href="https://arxiv.org/abs/2103.00020">Learning Transferable Visual Models From Natural Language
     * Supervision</a>
     */
    public static VisionTower.Config clip(ConfigFile config, String prefix) {
        return read(config, prefix, "clip_vision_model", Absent.base(32, "quick_gelu", 1e-5), CLIP,
                TransformerLayer.Names.CLIP, true);
    }

    /**
     * A ViT, with a class token in front.
     *
     * @param prefix of the keys, with the dot if it is not empty
     * @see <a href="https://arxiv.org/abs/2010.11929">An Image is Worth 16x16 Words</a>
     */
    public static VisionTower.Config vit(ConfigFile config, String prefix) {
        return read(config, prefix, "vit", Absent.base(16, "gelu", 1e-12), VIT, TransformerLayer.Names.VIT,
                qkvBias(config, prefix));
    }

    /**
     * BLIP-2's tower, EVA's ViT-g unless config.json has other sizes, with a class token in front.
     *
     * @param prefix of the keys, with the dot
     * @see <a href="https://arxiv.org/abs/2211.07636">EVA: Exploring the Limits of Masked Visual Representation
     * Learning at Scale</a>
     */
    public static VisionTower.Config eva(ConfigFile config, String prefix) {
        return read(config, prefix, "blip_2_vision_model", new Absent(1408, 6144, 39, 16, 14, "gelu", 1e-6), EVA,
                TransformerLayer.Names.EVA, qkvBias(config, prefix));
    }

    private static boolean qkvBias(ConfigFile config, String prefix) {
        return config.bool(prefix + "qkv_bias", true);
    }

    private static VisionTower.Config read(
            ConfigFile config,
            String prefix,
            String supported,
            Absent absent,
            VisionTower.Names names,
            TransformerLayer.Names layerNames,
            boolean qkvBias) {
        String type = config.text(prefix + "model_type", supported);
        if (!type.equals(supported)) {
            throw config.invalid(
                    prefix + "model_type", "tower '" + type + "' is not supported; supported is " + supported);
        }
        if (config.integer(prefix + "num_channels", VisionTower.CHANNELS) != VisionTower.CHANNELS) {
            throw config.invalid(prefix + "num_channels", "only " + VisionTower.CHANNELS + " channels are supported");
        }
        int width = Sizes.positive(config, prefix + "hidden_size", absent.width());
        int intermediateSize = Sizes.positive(config, prefix + "intermediate_size", absent.mlp());
        int layers = Sizes.positive(config, prefix + "num_hidden_layers", absent.layers());
        int heads = Sizes.positive(config, prefix + "num_attention_heads", absent.heads());
        int imageSize = Sizes.positive(config, prefix + "image_size", 224);
        int patchSize = Sizes.positive(config, prefix + "patch_size", absent.patch());
        Norm norm = new Norm(
                Norm.Kind.LAYER, (float) Sizes.positiveNumber(config, prefix + "layer_norm_eps", absent.epsilon()));
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
                TransformerLayer.Attention.plain(width, heads).withQkvBias(qkvBias),
                new TransformerLayer.Mlp(
                        intermediateSize,
                        Activations.read(config, prefix + "hidden_act", absent.activation()),
                        false,
                        true),
                norm,
                layerNames);
        return new VisionTower.Config(width, imageSize, patchSize, layers, layer, names);
    }
}
