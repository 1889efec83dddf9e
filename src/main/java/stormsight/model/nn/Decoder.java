package stormsight.model.nn;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.Strictness;
import stormsight.model.Description;
import stormsight.model.Limits;
import stormsight.model.Options;
import stormsight.model.Options.PromptRows;
import stormsight.model.Pass;
import stormsight.model.Passes;
import stormsight.model.Stage;
import stormsight.model.Weights;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Op.Activation;
import stormsight.program.Op.Heads;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Tensor;

/**
 * A language model over a key-value cache: embeddings into which rows of features are merged, layers, a head. Writes
 * prefill and decode.
 *
 * @see <a href="https://arxiv.org/abs/2302.13971">LLaMA</a>
 */
public final class Decoder {
    /** Names of the segments. */
    private static final String EMBEDDINGS = "decoder.embeddings";
    private static final String LAYERS = "decoder.layers";
    private static final String HEAD = "decoder.head";

    /**
     * A decoder.
     *
     * @param vocabularySize rows of the embedding table
     * @param positions longest sequence
     * @param groups the layers in order, each group a segment; all are of one shape
     * @param finalNorm before the head, if there is one
     * @param embeddingScale of token rows; rows of features are not scaled
     * @param finalSoftCap of the logits, 0 for none
     * @param tied whether the embedding table is the head
     */
    public record Config(int width, int vocabularySize, int positions, List<Group> groups,
            Optional<Norm> finalNorm,
            float embeddingScale,
            Optional<Rotation> rotation,
            float finalSoftCap,
            boolean tied,
            Names names) {
        public Config {
            groups = List.copyOf(groups);
        }

        private Heads heads() {
            return groups.getFirst().layer().attention().heads();
        }

        private int layers() {
            return groups.stream().mapToInt(Group::count).sum();
        }

        public Description.Decoder describe() {
            return new Description.Decoder(layers(), heads(), width, vocabularySize, positions, tied);
        }
    }

    /**
     * Neighbouring layers that differ in their windows at most.
     *
     * @param layers in order; where there are more, they begin anew
     */
    public record Group(int count, List<TransformerLayer> layers) {
        public Group {
            layers = List.copyOf(layers);
            if (layers.stream().map(layer -> layer.withWindow(0)).distinct().count() != 1) {
                throw new IllegalArgumentException("layers of a group differ: " + layers);
            }
        }

        /** Equal layers. */
        public Group(int count, TransformerLayer layer) {
            this(count, List.of(layer));
        }

        private TransformerLayer layer() {
            return layers.getFirst();
        }

        /** @param first index of the first layer of the group */
        private Op.Windows windows(int first) {
            List<Integer> windows = new ArrayList<>();
            layers.forEach(layer -> windows.add(layer.attention().window()));
            Collections.rotate(windows, first);
            return new Op.Windows(windows);
        }
    }

    /**
     * Names of the stored weights.
     *
     * @param positions if positions are learned, not rotated
     * @param layers prefix of a layer, with {@value Weights#LAYER}
     * @param head unused if it is tied
     */
    public record Names(
            String embeddings, Optional<LearnedPositions> positions, String layers, String finalNorm, String head) {
        /** As published PaliGemma and LLaVA checkpoints name them. */
        public static final Names LANGUAGE_MODEL = new Names(
                "language_model.model.embed_tokens.weight",
                Optional.empty(),
                "language_model.model.layers.{i}.",
                "language_model.model.norm",
                "language_model.lm_head.weight");
    }

    /**
     * A table that is added to the embeddings.
     *
     * @param rows of the table
     * @param first row of the first token: 2 in OPT
     */
    public record LearnedPositions(String name, int rows, int first) {
        /** [rows - first, width]. */
        private Tensor table(Weights weights, int width) {
            Tensor stored = weights.vector(name, rows, width);
            return first == 0
                    ? stored
                    : weights.computed(
                            name + "[" + first + "..]",
                            Shape.of(rows - first, width),
                            List.of(stored),
                            values -> Arrays.copyOfRange(values.getFirst(), first * width, rows * width));
        }
    }

    private final Config config;
    private final Weights weights;
    private final Limits limits;
    private final Options options;
    private final Tensor token;
    private final Tensor logProbability;
    private final Tensor answerParts;
    private final TransformerLayer.Cache cache;

    public Decoder(Config config, Weights weights, Limits limits, Options options) {
        this.config = config;
        this.weights = weights;
        this.limits = limits;
        this.options = options;
        Shape each = Shape.of(limits.sequences());
        token = new Tensor("token", DType.I32, each, Tensor.Kind.OUTPUT, 1);
        logProbability = new Tensor("log_probability", DType.F32, each, Tensor.Kind.OUTPUT, 1);
        answerParts = new Tensor("answer_parts", DType.U8, Shape.of(config.vocabularySize()), Tensor.Kind.INPUT, 1);
        cache = new TransformerLayer.Cache(
                cache("cache.k"),
                cache("cache.v"),
                config.rotation()
                        .map(rotation -> rotation.table(
                                weights, limits.capacity(), config.heads().headDim(), options.firstPosition())));
    }

    private Tensor cache(String name) {
        int columns = config.heads().keyValueColumns();
        return new Tensor(
                name,
                DType.F32,
                limits.sequences() == 1
                        ? Shape.of(limits.capacity(), columns)
                        : Shape.of(limits.sequences(), limits.capacity(), columns),
                Tensor.Kind.CACHE,
                config.layers());
    }

    /**
     * The model's programs.
     *
     * @param encode whose output this decoder reads
     * @param encodeStages where probes can be put in it
     */
    public Passes passes(Pass encode, List<Stage> encodeStages) {
        Rows next = new Rows("decode", limits.sequences());
        Tensor nextId = new Tensor("next_id", DType.I32, Shape.of(limits.sequences()), Tensor.Kind.INPUT, 1);
        Tensor nextLogits = logits("next_logits", limits.sequences());
        int tokens = limits.promptTokens();
        Tensor promptIds = new Tensor("prompt_ids", DType.I32, Shape.of(tokens), Tensor.Kind.INPUT, 1);
        Rows prompt;
        Tensor promptLogits;
        if (options.promptRows() == PromptRows.LOGITS) {
            prompt = new Rows("prefill", tokens);
            promptLogits = logits("prompt_logits", tokens);
        } else if (limits.sequences() > 1) {
            prompt = new Rows("prefill", tokens, buffers("prefill.last", 1));
            promptLogits = logits("prompt_logits", 1);
        } else {
            // In decode's tensors the last row has the same operations as there, which a device compiles once.
            prompt = new Rows("prefill", tokens, next.buffers);
            promptLogits = nextLogits;
        }
        List<Stage> stages = List.of(
                new Stage(Stage.DECODER_EMBEDDINGS, "decoder embeddings", EMBEDDINGS, prompt.buffers.x()),
                new Stage(Stage.DECODER_LAYERS, "decoder layer", LAYERS, prompt.buffers.x()),
                new Stage(Stage.FINAL_NORM, "final norm", HEAD, prompt.last.normed()));
        return new Passes(
                limits,
                encode,
                new Pass(
                        prompt.program(promptIds, Optional.of(encode.output()), promptLogits), promptIds, promptLogits),
                new Pass(next.program(nextId, Optional.empty(), nextLogits), nextId, nextLogits),
                answerParts,
                token,
                logProbability,
                encodeStages,
                stages,
                this::readOut);
    }

    private Tensor logits(String name, int rows) {
        return new Tensor(name, DType.F32, Shape.of(rows, config.vocabularySize()), Tensor.Kind.OUTPUT, 1);
    }

    private List<Op> readOut(Tensor state, Tensor logits, boolean normed) {
        return normed && config.finalNorm().isPresent()
                ? List.of(finalNorm(state, state), head(state, logits))
                : List.of(head(state, logits));
    }

    private Op finalNorm(Tensor in, Tensor out) {
        return config.finalNorm()
                .map(norm -> norm.op(weights, config.names().finalNorm(), in, Optional.empty(), out))
                .orElseGet(() -> new Op.Copy(in, out));
    }

    private Tensor table() {
        return weights.matrix(config.names().embeddings(), config.vocabularySize(), config.width());
    }

    private Optional<Tensor> positions() {
        return config.names().positions().map(learned -> learned.table(weights, config.width()));
    }

    /** Without the final soft cap. */
    private Op head(Tensor in, Tensor out) {
        Tensor head = config.tied()
                ? table()
                : weights.matrix(config.names().head(), config.vocabularySize(), config.width());
        return new Op.MatMul(in, head, Optional.empty(), Activation.NONE, Optional.empty(), out);
    }

    /**
     * Whether the embedding table is the head, decided as transformers 5 does: a stored head with other values is used
     * although the configuration ties the two, and where the head alone is stored it is the table, too.
     *
     * @param tied what the configuration says
     */
    public static boolean tied(boolean tied, Names names, Checkpoint checkpoint, Strictness strictness) {
        if (!tied || !checkpoint.names().contains(names.head())) {
            return tied;
        }
        if (!checkpoint.names().contains(names.embeddings())) {
            checkpoint.rename(names.head(), names.embeddings());
            return true;
        }
        if (checkpoint.sameValues(names.embeddings(), names.head())) {
            return true;
        }
        strictness.odd(checkpoint.source(), "tensor " + names.head() + " differs from " + names.embeddings()
                + ", although the configuration ties the two: the stored head is used, as transformers does");
        return false;
    }

    /** A pass of up to a fixed number of rows. */
    private final class Rows {
        private final String pass;
        private final TransformerLayer.Buffers buffers;
        /** Of the rows that the head reads: the same, or one alone. */
        private final TransformerLayer.Buffers last;

        /** All of which the head reads. */
        Rows(String pass, int rows) {
            this.pass = pass;
            buffers = buffers(pass, rows);
            last = buffers;
        }

        /** @param last of one row, for the last one, which the head reads */
        Rows(String pass, int rows, TransformerLayer.Buffers last) {
            this.pass = pass;
            buffers = buffers(pass, rows);
            this.last = last;
        }

        private Program program(Tensor ids, Optional<Tensor> features, Tensor logits) {
            // Where every state is wanted, the last row is taken behind the layers.
            boolean ends = last != buffers && options.promptRows() == PromptRows.LAST;
            List<Segment> segments = new ArrayList<>();
            segments.add(Segment.once(
                    EMBEDDINGS,
                    List.of(new Op.Embed(ids, table(), config.embeddingScale(), features, positions(), buffers.x()))));
            segments.addAll(layers(ends));
            List<Op> head = new ArrayList<>();
            if (last != buffers && !ends) {
                head.add(new Op.LastRow(buffers.x(), last.x()));
            }
            head.addAll(head(logits));
            segments.add(Segment.once(HEAD, head));
            return new Program(pass, segments);
        }

        /**
         * One segment a group, whose name tells the first layer where there are several.
         *
         * @param ends whether the last row alone goes through the end of the last layer, which is a segment then
         */
        private List<Segment> layers(boolean ends) {
            Weights stack = weights.layers(config.names().layers(), config.layers());
            boolean several = config.groups().size() > 1 || ends && config.layers() > 1;
            List<Segment> segments = new ArrayList<>();
            int first = 0;
            for (Group group : config.groups()) {
                TransformerLayer layer = group.layer();
                Op.Windows windows = group.windows(first);
                int end = first + group.count();
                boolean split = ends && end == config.layers();
                int whole = split ? end - 1 : end;
                if (first < whole) {
                    segments.add(layers(several, first, whole,
                            layer.ops(stack, buffers, Optional.of(cache), Op.Keys.TOKENS, windows)));
                }
                if (split) {
                    segments.add(layers(several, whole, end,
                            layer.opsOfLast(stack, buffers, Optional.of(cache), Op.Keys.TOKENS, windows, last)));
                }
                first = end;
            }
            return segments;
        }

        private static Segment layers(boolean several, int first, int end, List<Op> ops) {
            return new Segment(several ? LAYERS + ":" + first : LAYERS, first, end - first, ops);
        }

        /** Final norm, logits and the next token. */
        private List<Op> head(Tensor logits) {
            List<Op> ops = new ArrayList<>();
            ops.add(finalNorm(last.x(), last.normed()));
            ops.add(Decoder.this.head(last.normed(), logits));
            if (options.finalSoftCap() && config.finalSoftCap() > 0) {
                ops.add(new Op.SoftCap(logits, config.finalSoftCap()));
            }
            ops.add(new Op.Sample(logits, answerParts, token, logProbability));
            return ops;
        }
    }

    private TransformerLayer.Buffers buffers(String pass, int rows) {
        return TransformerLayer.Buffers.of(
                pass, rows, config.width(), config.groups().getFirst().layer());
    }
}
