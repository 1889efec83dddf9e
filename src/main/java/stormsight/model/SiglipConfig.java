package stormsight.model;

import stormsight.checkpoint.ConfigFile;

/**
 * Sizes of a SigLIP vision tower, with the defaults of transformers for what config.json leaves out.
 *
 * @param imageSize pixels of a side
 * @param patchSize pixels of a side
 */
public record SiglipConfig(int hiddenSize, int intermediateSize, int layers, int heads, int imageSize, int patchSize,
        float layerNormEpsilon) {
    /** Colour channels; no published tower has another number. */
    public static final int CHANNELS = 3;

    static SiglipConfig read(ConfigFile config, String prefix) {
        String type = config.text(prefix + "model_type", "siglip_vision_model");
        if (!type.equals("siglip_vision_model")) {
            throw config.invalid(prefix + "model_type", "tower '" + type + "' is not supported; supported is siglip_vision_model");
        }
        Activations.requireGeluTanh(config, prefix + "hidden_act");
        if (config.integer(prefix + "num_channels", CHANNELS) != CHANNELS) {
            throw config.invalid(prefix + "num_channels", "only " + CHANNELS + " channels are supported");
        }
        SiglipConfig read = new SiglipConfig(
                Sizes.positive(config, prefix + "hidden_size", 768),
                Sizes.positive(config, prefix + "intermediate_size", 3072),
                Sizes.positive(config, prefix + "num_hidden_layers", 12),
                Sizes.positive(config, prefix + "num_attention_heads", 12),
                Sizes.positive(config, prefix + "image_size", 224),
                Sizes.positive(config, prefix + "patch_size", 16),
                (float) Sizes.positiveNumber(config, prefix + "layer_norm_eps", 1e-6));
        if (read.hiddenSize % read.heads != 0) {
            throw config.invalid(prefix + "num_attention_heads",
                    read.heads + " heads do not divide a hidden_size of " + read.hiddenSize);
        }
        // The resized image is one array; then tokens and patches can be counted in an int, too.
        if ((long) read.imageSize * read.imageSize > (Integer.MAX_VALUE - 8) / CHANNELS) {
            throw config.invalid(prefix + "image_size", read.imageSize + " pixels are too many");
        }
        if (read.patchSize > read.imageSize) {
            throw config.invalid(prefix + "patch_size",
                    "a patch of " + read.patchSize + " pixels is larger than an image of " + read.imageSize);
        }
        return read;
    }

    public int headDim() {
        return hiddenSize / heads;
    }

    /** Patches of a side; pixels beyond the last whole patch are not used. */
    public int grid() {
        return imageSize / patchSize;
    }

    /** Image tokens. */
    public int tokens() {
        return grid() * grid();
    }

    /** Values of one patch, ordered channel, y, x. */
    public int patchColumns() {
        return CHANNELS * patchSize * patchSize;
    }
}
