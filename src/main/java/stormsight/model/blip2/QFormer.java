package stormsight.model.blip2;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import stormsight.checkpoint.ConfigFile;
import stormsight.model.Stage;
import stormsight.model.Weights;
import stormsight.model.nn.Activations;
import stormsight.model.nn.Linear;
import stormsight.model.nn.Norm;
import stormsight.model.nn.Sizes;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Op.Activation;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Tensor;

/**
 * The Querying Transformer: a BERT whose first rows are learned queries. Queries and text see each other; in every
 * second layer the queries, and they alone, attend to the rows of an image; behind that, queries and text have an MLP
 * each. The stream is normalised after each sum.
 *
 * <p>Each part of a layer is a segment of its own, since layers differ: the attention of all rows, {@code self}, that
 * to the image, {@code cross}, counted over the layers that have one, and the MLP, whose end is the layer's, {@code
 * layers}.
 *
 * @see <a href="https://arxiv.org/abs/2301.12597">BLIP-2: Bootstrapping Language-Image Pre-training</a>
 */
final class QFormer {
    private static final String LAYER = "qformer.encoder.layer.";

    /**
     * Sizes.
     *
     * @param crossEvery the queries attend to the image in layers whose index is a multiple of it
     * @param positions most tokens of a text
     * @param queries how many learned queries
     */
    record Config(
            int width,
            int heads,
            int mlp,
            int layers,
            int crossEvery,
            Activation activation,
            Norm norm,
            int vocabularySize,
            int positions,
            int queries) {
        /** Reads qformer_config and the number of queries, with the defaults of transformers. */
        static Config read(ConfigFile config, String prefix) {
            int width = Sizes.positive(config, prefix + "hidden_size", 768);
            int heads = Sizes.positive(config, prefix + "num_attention_heads", 12);
            if (width % heads != 0) {
                throw config.invalid(
                        prefix + "num_attention_heads", heads + " heads do not divide a hidden_size of " + width);
            }
            String positions = config.text(prefix + "position_embedding_type", "absolute");
            if (!positions.equals("absolute")) {
                throw config.invalid(
                        prefix + "position_embedding_type", "'" + positions + "' is not supported, only absolute");
            }
            return new Config(
                    width,
                    heads,
                    Sizes.positive(config, prefix + "intermediate_size", 3072),
                    Sizes.positive(config, prefix + "num_hidden_layers", 12),
                    Sizes.positive(config, prefix + "cross_attention_frequency", 2),
                    Activations.read(config, prefix + "hidden_act", "gelu"),
                    new Norm(Norm.Kind.LAYER, (float)
                            Sizes.positiveNumber(config, prefix + "layer_norm_eps", 1e-12)),
                    Sizes.positive(config, prefix + "vocab_size", 30522),
                    Sizes.positive(config, prefix + "max_position_embeddings", 512),
                    Sizes.positive(config, "num_query_tokens", 32));
        }

        /** Layers in which the queries attend to the image. */
        int crossLayers() {
            return (layers + crossEvery - 1) / crossEvery;
        }

        private Op.Heads attentionHeads() {
            return new Op.Heads(heads, heads, width / heads);
        }

        /** A line about it, for people. */
        String describe() {
            return String.format(
                    Locale.ROOT,
                    "%d queries, %d layers, width %d, %d heads of %d, MLP %d, attention to the image in %d layers",
                    queries,
                    layers,
                    width,
                    heads,
                    width / heads,
                    mlp,
                    crossLayers());
        }
    }

    /** Which rows there are. */
    private enum Rows {
        QUERIES,
        TEXT,
        /** The queries, then the text. */
        BOTH;

        boolean queries() {
            return this != TEXT;
        }

        boolean text() {
            return this != QUERIES;
        }
    }

    /**
     * Keys and values of an image, [rows, width]. Activations serve one layer after the other; caches, stacks of the
     * layers with attention to the image, serve other programs, too.
     *
     * @param rows of the image, [rows, width of the tower]; absent where keys and values have been made before
     */
    record Image(Optional<Tensor> rows, Tensor keys, Tensor values) {
        /** For the program that encodes the image alone. */
        static Image within(Config config, Tensor rows) {
            return new Image(
                    Optional.of(rows),
                    Tensor.activation("qformer.image.keys", rows.rows(), config.width()),
                    Tensor.activation("qformer.image.values", rows.rows(), config.width()));
        }

        /** For the program that encodes the image, and others after it. */
        static Image kept(Config config, Tensor rows) {
            return new Image(Optional.of(rows), cache(config, "keys", rows), cache(config, "values", rows));
        }

        private static Tensor cache(Config config, String what, Tensor rows) {
            return new Tensor("qformer.image." + what, DType.F32, Shape.of(rows.rows(), config.width()),
                    Tensor.Kind.CACHE, config.crossLayers());
        }

        /** The same for programs that are run after the one that makes them. */
        Image made() {
            return new Image(Optional.empty(), keys, values);
        }
    }

    private final Config config;
    private final Weights weights;
    private final String name;
    private final Rows rows;
    private final Optional<Image> image;
    private final Tensor x;
    private final Tensor q;
    private final Tensor k;
    private final Tensor v;
    private final Tensor mixed;
    private final Tensor top;
    private final List<Segment> segments = new ArrayList<>();
    private final List<Stage> stages = new ArrayList<>();

    private QFormer(
            Config config, Weights weights, String name, Rows rows, Optional<Tensor> ids, Optional<Image> image) {
        this.config = config;
        this.weights = weights;
        this.name = name;
        this.rows = rows;
        this.image = image;
        int capacity = (rows.queries() ? config.queries() : 0) + (rows.text() ? config.positions() : 0);
        x = activation("x", capacity);
        q = activation("q", capacity);
        k = activation("k", capacity);
        v = activation("v", capacity);
        mixed = activation("mixed", capacity);
        top = rows == Rows.BOTH ? activation("queries", config.queries()) : x;
        add("embeddings", "Q-Former embedding", Segment.once(name + "embeddings", embeddings(ids)));
        for (int layer = 0; layer < config.layers(); layer++) {
            Weights here = weights.in(LAYER + layer + ".");
            segments.add(new Segment(name + "self:" + layer, layer, 1, self(here)));
            if (rows.queries() && layer % config.crossEvery() == 0) {
                int cross = layer / config.crossEvery();
                segments.add(new Segment(name + "cross:" + cross, cross, 1, cross(here)));
            }
            segments.add(new Segment(name + "layers:" + layer, layer, 1, mlp(here)));
        }
        stage("self", "Q-Former self-attention");
        if (rows.queries()) {
            stage("cross", "Q-Former attention to the image");
        }
        stage("layers", "Q-Former layer");
    }

    /**
     * The queries alone, over an image whose rows are in the same program.
     *
     * @param name prefix of stages, segments and activations
     */
    static QFormer queries(Config config, Weights weights, String name, Image image) {
        return new QFormer(config, weights, name, Rows.QUERIES, Optional.empty(), Optional.of(image));
    }

    /**
     * A text alone.
     *
     * @param ids input, [positions] I32
     */
    static QFormer text(Config config, Weights weights, String name, Tensor ids) {
        return new QFormer(config, weights, name, Rows.TEXT, Optional.of(ids), Optional.empty());
    }

    /**
     * Queries and text together.
     *
     * @param ids input, [queries + positions] I32: {@link #queryIds}, then the text's
     */
    static QFormer both(Config config, Weights weights, String name, Tensor ids, Image image) {
        return new QFormer(config, weights, name, Rows.BOTH, Optional.of(ids), Optional.of(image));
    }

    /** What stands for the queries in the ids of queries and text together. */
    static int[] queryIds(Config config) {
        int[] ids = new int[config.queries()];
        Arrays.setAll(ids, query -> -1 - query);
        return ids;
    }

    private Tensor activation(String what, int capacity) {
        return Tensor.activation(name + what, capacity, config.width());
    }

    private void add(String stage, String title, Segment segment) {
        segments.add(segment);
        stage(stage, title);
    }

    private void stage(String stage, String title) {
        stages.add(new Stage(name + stage, title, name + stage, stage.equals("cross") ? top : x));
    }

    private List<Op> embeddings(Optional<Tensor> ids) {
        Tensor queries = weights.vector("query_tokens", 1, config.queries(), config.width());
        if (ids.isEmpty()) {
            return List.of(norm(weights, "qformer.layernorm", queries, x));
        }
        Tensor table = weights.matrix("embeddings.word_embeddings.weight", config.vocabularySize(), config.width());
        Tensor stored = weights.vector("embeddings.position_embeddings.weight", config.positions(), config.width());
        // Queries have no positions, and those of the text are counted from its first token.
        int before = config.queries() * config.width();
        Tensor positions = rows == Rows.TEXT
                ? stored
                : weights.computed(
                        "embeddings.position_embeddings.behind_queries",
                        Shape.of(config.queries() + config.positions(), config.width()),
                        List.of(stored),
                        values -> {
                            float[] moved = new float[before + values.getFirst().length];
                            System.arraycopy(values.getFirst(), 0, moved, before, moved.length - before);
                            return moved;
                        });
        return List.of(
                new Op.Embed(
                        ids.get(),
                        table,
                        1,
                        rows == Rows.BOTH ? Optional.of(queries) : Optional.empty(),
                        Optional.of(positions),
                        x),
                norm(weights, "qformer.layernorm", x, x));
    }

    private Op norm(Weights from, String stored, Tensor in, Tensor out) {
        return config.norm().op(from, stored, in, Optional.empty(), out);
    }

    private static Op linear(Weights here, String stored, Tensor in, Tensor out) {
        return Linear.op(here, stored, true, in, Activation.NONE, out);
    }

    private Op attention(Tensor queries, Tensor keys, Tensor values, Op.Keys which, Tensor out) {
        Op.Heads heads = config.attentionHeads();
        return new Op.Attention(
                queries,
                keys,
                values,
                heads,
                (float) (1 / Math.sqrt(heads.headDim())),
                0,
                Op.Windows.NONE,
                which,
                out);
    }

    /** {@code x = norm(x + attention(x))}. */
    private List<Op> self(Weights here) {
        return List.of(
                linear(here, "attention.attention.query", x, q),
                linear(here, "attention.attention.key", x, k),
                linear(here, "attention.attention.value", x, v),
                attention(q, k, v, rows == Rows.QUERIES ? Op.Keys.first(config.queries()) : Op.Keys.TOKENS, mixed),
                Linear.op(here, "attention.output.dense", true, mixed, Activation.NONE, Optional.of(x), x),
                norm(here, "attention.output.LayerNorm", x, x));
    }

    /** {@code x = norm(x + attention(x, image))} in the rows of the queries. */
    private List<Op> cross(Weights here) {
        Image from = image.orElseThrow();
        Tensor queries = activation("cross.q", config.queries());
        Tensor read = activation("cross.mixed", config.queries());
        List<Op> ops = new ArrayList<>();
        from.rows().ifPresent(all -> {
            ops.addAll(fromImage(here, "key", all, from.keys()));
            ops.addAll(fromImage(here, "value", all, from.values()));
        });
        ops.add(linear(here, "crossattention.attention.query", x, queries));
        ops.add(attention(
                queries, from.keys(), from.values(), Op.Keys.first(from.keys().rows()), read));
        ops.add(Linear.op(
                here, "crossattention.output.dense", true, read, Activation.NONE, Optional.of(x), top));
        ops.add(norm(here, "crossattention.output.LayerNorm", top, top));
        if (!top.equals(x)) {
            ops.add(new Op.Copy(top, x));
        }
        return ops;
    }

    private List<Op> fromImage(Weights here, String what, Tensor all, Tensor to) {
        String stored = "crossattention.attention." + what;
        if (to.kind() != Tensor.Kind.CACHE) {
            return List.of(linear(here, stored, all, to));
        }
        Tensor made = activation("cross." + what, all.rows());
        return List.of(linear(here, stored, all, made), new Op.Store(made, to));
    }

    /**
     * {@code x = norm(x + mlp(x))}, with an MLP for queries and one for text. That for text is run over all rows, since
     * operations begin with the first one; then the queries' rows are put in their place.
     */
    private List<Op> mlp(Weights here) {
        List<Op> ops = new ArrayList<>();
        if (rows.queries()) {
            ops.addAll(mlp(here, "_query", activation("queries.hidden", config.queries(), config.mlp()), top));
        }
        if (rows.text()) {
            ops.addAll(mlp(here, "", activation("hidden", x.rows(), config.mlp()), x));
        }
        if (!top.equals(x)) {
            ops.add(new Op.Copy(top, x));
        }
        return ops;
    }

    private Tensor activation(String what, int capacity, int columns) {
        return Tensor.activation(name + what, capacity, columns);
    }

    private List<Op> mlp(Weights here, String kind, Tensor hidden, Tensor out) {
        return List.of(
                Linear.op(here, "intermediate" + kind + ".dense", true, x, config.activation(), hidden),
                Linear.op(here, "output" + kind + ".dense", true, hidden, Activation.NONE, Optional.of(x), out),
                norm(here, "output" + kind + ".LayerNorm", out, out));
    }

    /** The result, [queries, width], [positions, width], or both. */
    Tensor output() {
        return x;
    }

    List<Segment> segments() {
        return List.copyOf(segments);
    }

    List<Stage> stages() {
        return List.copyOf(stages);
    }
}
