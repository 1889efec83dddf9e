package stormsight.model.nn;

import java.util.List;
import java.util.Optional;
import stormsight.checkpoint.ConfigFile;
import stormsight.program.Op.Activation;
import stormsight.program.Op.Heads;

/**
 * Sizes of an OPT decoder, with the defaults of transformers for what config.json leaves out: published BLIP-2 files
 * leave out a good part of it.
 *
 * @param normFirst whether a layer normalises what its branches read; else the stream after each sum
 * @param finalNorm whether a norm stands before the head
 * @param bias whether products have biases
 * @param tied whether the embedding table is the head; as config.json has it until the weights have been looked at
 * @see <a href="https://arxiv.org/abs/2205.01068">OPT: Open Pre-trained Transformer Language Models</a>
 */
public record OptConfig(
        int hiddenSize,
        int intermediateSize,
        int layers,
        int heads,
        int vocabularySize,
        int positions,
        Activation activation,
        boolean normFirst,
        boolean finalNorm,
        boolean bias,
        boolean tied) {
    /** transformers writes it into the model: config.json does not have it. */
    private static final float EPSILON = 1e-5f;

    /** Rows of the table of positions before that of the first token; a leftover of fairseq's padding. */
    private static final int POSITION_OFFSET = 2;

    /** As published BLIP-2 checkpoints name its weights. */
    public static final Decoder.Names NAMES = names(0);

    private static Decoder.Names names(int positions) {
        return new Decoder.Names(
                "language_model.model.decoder.embed_tokens.weight",
                Optional.of(new Decoder.LearnedPositions(
                        "language_model.model.decoder.embed_positions.weight",
                        positions + POSITION_OFFSET,
                        POSITION_OFFSET)),
                "language_model.model.decoder.layers.{i}.",
                "language_model.model.decoder.final_layer_norm",
                "language_model.lm_head.weight");
    }

    /**
     * As config.json has it.
     *
     * @param prefix of the decoder's keys, with the dot
     * @throws stormsight.checkpoint.CheckpointException if it describes what is not supported
     */
    public static OptConfig read(ConfigFile config, String prefix) {
        int hiddenSize = Sizes.positive(config, prefix + "hidden_size", 768);
        int heads = Sizes.positive(config, prefix + "num_attention_heads", 12);
        if (hiddenSize % heads != 0) {
            throw config.invalid(
                    prefix + "num_attention_heads", heads + " heads do not divide a hidden_size of " + hiddenSize);
        }
        int projected = Sizes.positive(config, prefix + "word_embed_proj_dim", hiddenSize);
        if (projected != hiddenSize) {
            throw config.invalid(
                    prefix + "word_embed_proj_dim",
                    projected + ": embeddings of another width than the decoder's " + hiddenSize
                            + " are not supported");
        }
        if (!config.bool(prefix + "layer_norm_elementwise_affine", true)) {
            throw config.invalid(prefix + "layer_norm_elementwise_affine", "false is not supported");
        }
        boolean normFirst = config.bool(prefix + "do_layer_norm_before", true);
        return new OptConfig(
                hiddenSize,
                Sizes.positive(config, prefix + "ffn_dim", 3072),
                Sizes.positive(config, prefix + "num_hidden_layers", 12),
                heads,
                Sizes.positive(config, prefix + "vocab_size", 50272),
                Sizes.positive(config, prefix + "max_position_embeddings", 2048),
                Activations.read(config, prefix + "activation_function", "relu"),
                normFirst,
                normFirst && !config.bool(prefix + "_remove_final_layer_norm", false),
                config.bool(prefix + "enable_bias", true),
                config.bool(prefix + "tie_word_embeddings", config.bool("tie_word_embeddings", true)));
    }

    /** The same with a head that is the embedding table, or is not. */
    public OptConfig withTied(boolean chosen) {
        return new OptConfig(
                hiddenSize,
                intermediateSize,
                layers,
                heads,
                vocabularySize,
                positions,
                activation,
                normFirst,
                finalNorm,
                bias,
                chosen);
    }

    /** The decoder as data. */
    public Decoder.Config decoder() {
        int headDim = hiddenSize / heads;
        Norm norm = new Norm(Norm.Kind.LAYER, EPSILON);
        TransformerLayer layer = new TransformerLayer(
                new TransformerLayer.Attention(
                        new Heads(heads, heads, headDim), (float) (1 / Math.sqrt(headDim)), 0, 0, bias),
                new TransformerLayer.Mlp(intermediateSize, activation, false, bias),
                norm,
                !normFirst,
                TransformerLayer.Names.OPT);
        return new Decoder.Config(
                hiddenSize,
                vocabularySize,
                positions,
                List.of(new Decoder.Group(layers, layer)),
                finalNorm ? Optional.of(norm) : Optional.empty(),
                1,
                Optional.empty(),
                0,
                tied,
                names(positions));
    }
}
