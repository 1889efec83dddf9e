package stormsight.model.nn;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.ConfigFile;
import stormsight.model.Stage;
import stormsight.model.Weights;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Tensor;
import stormsight.tokenizer.Tokenizer;

/**
 * A text transformer of SigLIP's and CLIP's kind: learned positions, layers, a last norm. All its rows are its result.
 */
public final class TextTower {
    /**
     * A tower.
     *
     * @param positions most tokens
     * @param causal whether a token sees only what comes before it; else all of the {@code positions} rows see each
     *     other
     */
    public record Config(
            int width, int positions, int vocabularySize, int layers, TransformerLayer layer, boolean causal) {
        /**
         * Reads a tower's sizes.
         *
         * @param prefix of the keys, with the dot
         * @param absent what holds where config.json says nothing
         */
        public static Config read(ConfigFile config, String prefix, Defaults absent) {
            String type = config.text(prefix + "model_type", absent.modelType());
            if (!type.equals(absent.modelType())) {
                throw config.invalid(
                        prefix + "model_type",
                        "text tower '" + type + "' is not supported; supported is " + absent.modelType());
            }
            int width = Sizes.positive(config, prefix + "hidden_size", absent.width());
            int heads = Sizes.positive(config, prefix + "num_attention_heads", absent.heads());
            if (width % heads != 0) {
                throw config.invalid(
                        prefix + "num_attention_heads", heads + " heads do not divide a hidden_size of " + width);
            }
            TransformerLayer layer = new TransformerLayer(
                    TransformerLayer.Attention.plain(width, heads),
                    new TransformerLayer.Mlp(
                            Sizes.positive(config, prefix + "intermediate_size", 4 * absent.width()),
                            Activations.read(config, prefix + "hidden_act", absent.activation()),
                            false,
                            true),
                    new Norm(Norm.Kind.LAYER, (float)
                            Sizes.positiveNumber(config, prefix + "layer_norm_eps", absent.epsilon())),
                    TransformerLayer.Names.CLIP);
            return new Config(
                    width,
                    Sizes.positive(config, prefix + "max_position_embeddings", absent.positions()),
                    Sizes.positive(config, prefix + "vocab_size", absent.vocabularySize()),
                    Sizes.positive(config, prefix + "num_hidden_layers", 12),
                    layer,
                    absent.causal());
        }

        /** A line about the tower, for people. */
        public String describe() {
            return String.format(
                    Locale.ROOT,
                    "%d layers, width %d, %d heads of %d, MLP %d, %d positions, %d rows in the table",
                    layers,
                    width,
                    layer.attention().heads().queryHeads(),
                    layer.attention().heads().headDim(),
                    layer.mlp().width(),
                    positions,
                    vocabularySize);
        }

        /**
         * The ids themselves.
         *
         * @throws CheckpointException if one has no row in the embedding table
         */
        public int[] checked(int[] ids, Tokenizer tokenizer) {
            for (int id : ids) {
                if (id >= vocabularySize) {
                    throw new CheckpointException(
                            tokenizer.file(),
                            "the text holds token " + id + ", \"" + tokenizer.token(id)
                                    + "\", but the embedding table has " + vocabularySize + " rows");
                }
            }
            return ids;
        }
    }

    /**
     * What transformers takes where config.json says nothing; the MLP is four times as wide as the tower, and there are
     * 12 layers.
     *
     * @param modelType of the tower, the only one that is supported
     */
    public record Defaults(
            String modelType,
            int width,
            int heads,
            int positions,
            int vocabularySize,
            String activation,
            double epsilon,
            boolean causal) {}

    private final Config config;
    private final int together;
    private final Tensor ids;
    private final TransformerLayer.Buffers buffers;
    private final List<Segment> segments = new ArrayList<>();
    private final List<Stage> stages = new ArrayList<>();

    /** @param weights under the tower's prefix */
    public TextTower(Config config, Weights weights) {
        this(config, weights, 1);
    }

    /** @param together texts of a run, whose ids follow each other; 1 for a causal tower */
    public TextTower(Config config, Weights weights, int together) {
        if (config.causal() && together > 1) {
            throw new IllegalArgumentException(together + " texts of a causal tower, which differ in length");
        }
        this.config = config;
        this.together = together;
        int rows = Math.multiplyExact(config.positions(), together);
        ids = new Tensor("ids", DType.I32, Shape.of(rows), Tensor.Kind.INPUT, 1);
        buffers = TransformerLayer.Buffers.of("text", rows, config.width(), config.layer());
        Tensor table = weights.matrix("embeddings.token_embedding.weight", config.vocabularySize(), config.width());
        Tensor positions = Pooled.repeated(
                weights,
                weights.vector("embeddings.position_embedding.weight", config.positions(), config.width()),
                config.positions(),
                together);
        add(
                "text.embeddings",
                "text embedding",
                1,
                List.of(new Op.Embed(ids, table, 1, Optional.empty(), Optional.of(positions), buffers.x())),
                buffers.x());
        Op.Keys keys = config.causal() ? Op.Keys.TOKENS : Op.Keys.each(config.positions(), together);
        add(
                Stage.TEXT_LAYERS,
                "text layer",
                config.layers(),
                config.layer()
                        .ops(weights.layers("encoder.layers.{i}.", config.layers()), buffers, Optional.empty(), keys),
                buffers.x());
        add(
                "text.final_layer_norm",
                "text norm",
                1,
                List.of(config.layer()
                        .norm()
                        .op(weights, "final_layer_norm", buffers.x(), Optional.empty(), buffers.normed())),
                buffers.normed());
    }

    private void add(String name, String title, int layers, List<Op> ops, Tensor result) {
        segments.add(new Segment(name, 0, layers, ops));
        stages.add(new Stage(name, title, name, result));
    }

    /** Texts of a run. */
    public int together() {
        return together;
    }

    /** Input, [positions] I32. A causal tower is run with as many rows as there are ids. */
    public Tensor ids() {
        return ids;
    }

    /** The result, [positions, width]. */
    public Tensor output() {
        return buffers.normed();
    }

    public Config config() {
        return config;
    }

    public List<Segment> segments() {
        return List.copyOf(segments);
    }

    /** One a segment. */
    public List<Stage> stages() {
        return List.copyOf(stages);
    }
}
