package stormsight.model.nn;

import java.util.List;
import java.util.Optional;
import stormsight.checkpoint.ConfigFile;
import stormsight.model.Options;
import stormsight.program.Op.Activation;
import stormsight.program.Op.Heads;

/**
 * Sizes of a Gemma decoder, with the defaults of transformers for what config.json leaves out. The head size is never
 * derived from the hidden size: they are independent.
 *
 * @param queryScale factor of q . k
 * @param attentionSoftCap 0 for none
 * @param finalSoftCap 0 for none; whether it is applied is the caller's choice
 * @param windows of the layers, 0 for one without; where there are more layers, they begin anew. Whether they are
 *     applied is the caller's choice
 * @param vocabularySize rows of the embedding table
 * @param maxPositions longest sequence
 * @param tied the embedding table is the head. As config.json has it until the weights have been looked at:
 *     transformers asks its top level alone; old versions of it asked the decoder's object
 */
public record GemmaConfig(Version version, int hiddenSize, int intermediateSize, int layers, Heads heads,
        int vocabularySize, float rmsNormEpsilon, Rotation rotation, int maxPositions, float queryScale,
        float attentionSoftCap, float finalSoftCap, List<Integer> windows, boolean tied) {
    /** Which of them. */
    public enum Version {
        GEMMA,
        GEMMA2
    }

    /**
     * As config.json has it.
     *
     * @param prefix of the decoder's keys, with the dot
     * @throws stormsight.checkpoint.CheckpointException if it describes what is not supported
     */
    public static GemmaConfig read(ConfigFile config, String prefix) {
        String type = config.text(prefix + "model_type", "gemma");
        boolean second = switch (type) {
            case "gemma" -> false;
            case "gemma2" -> true;
            default -> throw config.invalid(prefix + "model_type",
                    "decoder '" + type + "' is not supported; supported are gemma and gemma2");
        };
        // hidden_activation overrides hidden_act, in which the first files have gelu for the tanh that they mean.
        // Gemma 2 knows the former alone.
        String key = prefix
                + (second || config.has(prefix + "hidden_activation") ? "hidden_activation" : "hidden_act");
        if (Activations.read(config, key, "gelu_pytorch_tanh") != Activation.GELU_TANH
                && !(key.equals(prefix + "hidden_act") && config.text(key).equals("gelu"))) {
            throw config.invalid(key, "only gelu_pytorch_tanh is supported");
        }
        if (config.bool(prefix + "attention_bias", false)) {
            throw config.invalid(prefix + "attention_bias", "biases in attention are not supported");
        }
        Heads heads = Sizes.heads(config, prefix, second ? 8 : 16, second ? 4 : 16, 256);
        int layers = Sizes.positive(config, prefix + "num_hidden_layers", second ? 26 : 28);
        double scale = second ? Sizes.positiveNumber(config, prefix + "query_pre_attn_scalar", 256) : heads.headDim();
        return new GemmaConfig(
                second ? Version.GEMMA2 : Version.GEMMA,
                Sizes.positive(config, prefix + "hidden_size", second ? 2304 : 3072),
                Sizes.positive(config, prefix + "intermediate_size", second ? 9216 : 24576),
                layers,
                heads,
                Sizes.positive(config, prefix + "vocab_size", 256000),
                (float) Sizes.positiveNumber(config, prefix + "rms_norm_eps", 1e-6),
                Rotation.read(config, prefix),
                Sizes.positive(config, prefix + "max_position_embeddings", 8192),
                (float) (1 / Math.sqrt(scale)),
                second ? softCap(config, prefix + "attn_logit_softcapping", 50) : 0,
                second ? softCap(config, prefix + "final_logit_softcapping", 30) : 0,
                second ? windows(config, prefix, layers) : List.of(0),
                config.bool("tie_word_embeddings", true) || config.bool(prefix + "tie_word_embeddings", false));
    }

    /** The same with a head that is the embedding table, or is not. */
    public GemmaConfig withTied(boolean chosen) {
        return new GemmaConfig(
                version,
                hiddenSize,
                intermediateSize,
                layers,
                heads,
                vocabularySize,
                rmsNormEpsilon,
                rotation,
                maxPositions,
                queryScale,
                attentionSoftCap,
                finalSoftCap,
                windows,
                chosen);
    }

    /** The decoder as data. */
    public Decoder.Config decoder(Options options) {
        Norm norm = new Norm(Norm.Kind.RMS_ONE_PLUS, rmsNormEpsilon);
        List<TransformerLayer> inTurn = (options.slidingWindow() ? windows : List.of(0))
                .stream()
                        .map(window -> new TransformerLayer(
                                new TransformerLayer.Attention(heads, queryScale, attentionSoftCap, window, false),
                                new TransformerLayer.Mlp(intermediateSize, Activation.GELU_TANH, true, false),
                                norm,
                                version == Version.GEMMA2
                                        ? TransformerLayer.Names.GEMMA2
                                        : TransformerLayer.Names.LLAMA))
                        .toList();
        return new Decoder.Config(
                hiddenSize,
                vocabularySize,
                maxPositions,
                List.of(new Decoder.Group(layers, inTurn)),
                Optional.of(norm),
                (float) Math.sqrt(hiddenSize),
                Optional.of(rotation),
                finalSoftCap,
                tied,
                Decoder.Names.LANGUAGE_MODEL);
    }

    /** As transformers has it where {@code layer_types} does not say: the layers 0, 2, 4 .. slide. */
    private static List<Integer> windows(ConfigFile config, String prefix, int layers) {
        if (config.isNull(prefix + "sliding_window")) {
            return List.of(0);
        }
        int window = Sizes.positive(config, prefix + "sliding_window", 4096);
        String key = prefix + "layer_types";
        List<String> types = config.texts(key);
        if (!types.isEmpty() && types.size() != layers) {
            throw config.invalid(key, types.size() + " types of " + layers + " layers");
        }
        return types.isEmpty()
                ? List.of(window, 0)
                : types.stream().map(type -> window(config, key, type, window)).toList();
    }

    private static int window(ConfigFile config, String key, String type, int window) {
        return switch (type) {
            case "sliding_attention" -> window;
            case "full_attention" -> 0;
            default -> throw config.invalid(
                    key, "'" + type + "' is not supported; supported are sliding_attention and full_attention");
        };
    }

    /** As transformers reads it: absent takes the default, null is none. */
    private static float softCap(ConfigFile config, String key, double absent) {
        return config.isNull(key) ? 0 : (float) Sizes.positiveNumber(config, key, absent);
    }
}
