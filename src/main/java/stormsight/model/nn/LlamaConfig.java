package stormsight.model.nn;

import java.util.List;
import java.util.Optional;
import stormsight.checkpoint.ConfigFile;
import stormsight.program.Op.Activation;
import stormsight.program.Op.Heads;

/**
 * Sizes of a Llama or Mistral decoder, with the defaults of transformers for what config.json leaves out: published
 * LLaVA files leave out nearly all of it.
 *
 * @param slidingWindow tokens that a token sees, 0 for all
 * @param tied whether the embedding table is the head; as config.json has it until the weights have been looked at
 * @see <a href="https://arxiv.org/abs/2302.13971">LLaMA</a>
 * @see <a href="https://arxiv.org/abs/2310.06825">Mistral 7B</a>
 */
public record LlamaConfig(
        boolean mistral,
        int hiddenSize,
        int intermediateSize,
        int layers,
        Heads heads,
        int vocabularySize,
        Activation activation,
        float rmsNormEpsilon,
        Rotation rotation,
        int maxPositions,
        int slidingWindow,
        boolean tied) {
    /**
     * As config.json has it.
     *
     * @param prefix of the decoder's keys, with the dot
     * @throws stormsight.checkpoint.CheckpointException if it describes what is not supported
     */
    public static LlamaConfig read(ConfigFile config, String prefix) {
        String type = config.text(prefix + "model_type", "llama");
        boolean mistral =
                switch (type) {
                    case "llama" -> false;
                    case "mistral" -> true;
                    default ->
                        throw config.invalid(
                                prefix + "model_type",
                                "decoder '" + type + "' is not supported; supported are llama and mistral");
                };
        for (String bias : List.of("attention_bias", "mlp_bias")) {
            if (config.bool(prefix + bias, false)) {
                throw config.invalid(prefix + bias, "biases in the decoder are not supported");
            }
        }
        int hiddenSize = Sizes.positive(config, prefix + "hidden_size", 4096);
        int queryHeads = Sizes.positive(config, prefix + "num_attention_heads", 32);
        if (!config.has(prefix + "head_dim") && hiddenSize % queryHeads != 0) {
            throw config.invalid(
                    prefix + "num_attention_heads", queryHeads + " heads do not divide a hidden_size of " + hiddenSize);
        }
        Heads heads = Sizes.heads(config, prefix, 32, mistral ? 8 : queryHeads, hiddenSize / queryHeads);
        boolean everything = !mistral || config.isNull(prefix + "sliding_window");
        return new LlamaConfig(
                mistral,
                hiddenSize,
                Sizes.positive(config, prefix + "intermediate_size", mistral ? 14336 : 11008),
                Sizes.positive(config, prefix + "num_hidden_layers", 32),
                heads,
                Sizes.positive(config, prefix + "vocab_size", 32000),
                Activations.read(config, prefix + "hidden_act", "silu"),
                (float) Sizes.positiveNumber(config, prefix + "rms_norm_eps", 1e-6),
                Rotation.read(config, prefix),
                Sizes.positive(config, prefix + "max_position_embeddings", mistral ? 131072 : 2048),
                everything ? 0 : Sizes.positive(config, prefix + "sliding_window", 4096),
                config.bool("tie_word_embeddings", false));
    }

    /** The same with a head that is the embedding table, or is not. */
    public LlamaConfig withTied(boolean chosen) {
        return new LlamaConfig(
                mistral,
                hiddenSize,
                intermediateSize,
                layers,
                heads,
                vocabularySize,
                activation,
                rmsNormEpsilon,
                rotation,
                maxPositions,
                slidingWindow,
                chosen);
    }

    /** The decoder as data. */
    public Decoder.Config decoder() {
        Norm norm = new Norm(Norm.Kind.RMS, rmsNormEpsilon);
        TransformerLayer layer = new TransformerLayer(
                new TransformerLayer.Attention(
                        heads, (float) (1 / Math.sqrt(heads.headDim())), 0, slidingWindow, false),
                new TransformerLayer.Mlp(intermediateSize, activation, true, false),
                norm,
                TransformerLayer.Names.LLAMA);
        return new Decoder.Config(
                hiddenSize,
                vocabularySize,
                maxPositions,
                List.of(new Decoder.Group(layers, layer)),
                Optional.of(norm),
                1,
                Optional.of(rotation),
                0,
                tied,
                Decoder.Names.LANGUAGE_MODEL);
    }
}
