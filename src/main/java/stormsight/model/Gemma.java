package stormsight.model;

import static stormsight.model.WeightSpec.matrix;
import static stormsight.model.WeightSpec.onePlus;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.Strictness;
import stormsight.program.DType;
import stormsight.program.Op.Activation;
import stormsight.program.Op.Attention;
import stormsight.program.Op.Embed;
import stormsight.program.Op.GatedMatMul;
import stormsight.program.Op.Keys;
import stormsight.program.Op.LastRow;
import stormsight.program.Op.MatMul;
import stormsight.program.Op.RmsNorm;
import stormsight.program.Op.Rope;
import stormsight.program.Op.Sample;
import stormsight.program.Op.SlidingWindow;
import stormsight.program.Op.SoftCap;
import stormsight.program.Op.Store;
import stormsight.program.Op;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Tensor;

/**
 * The Gemma 1 and Gemma 2 decoders over a key-value cache, for a pass of up to a fixed number of rows.
 *
 * @see <a href="https://arxiv.org/abs/2403.08295">Gemma</a>
 * @see <a href="https://arxiv.org/abs/2408.00118">Gemma 2</a>
 */
final class Gemma {
    /** Segments' names, which analysis refers to. */
    static final String EMBEDDINGS = "decoder.embeddings";
    static final String LAYERS = "decoder.layers";
    static final String HEAD = "decoder.head";

    private static final String MODEL = "language_model.model.";
    private static final String LAYER = MODEL + "layers.{i}.";
    private static final String EMBED_TOKENS = MODEL + "embed_tokens.weight";
    private static final String FINAL_NORM = MODEL + "norm.weight";
    /** The head, if it is stored. */
    static final String LM_HEAD = "language_model.lm_head.weight";

    private final GemmaConfig config;
    private final Weights weights;
    private final Optional<SlidingWindow> window;
    private final Tensor rope;
    private final Tensor keys;
    private final Tensor values;
    private final Tensor x;
    private final Tensor normed;
    private final Tensor q;
    private final Tensor k;
    private final Tensor v;
    private final Tensor mixed;
    private final Tensor hidden;
    private final Tensor branch;

    /**
     * @param pass prefix of the names of this pass's activations
     * @param rows most tokens of a run
     * @param capacity tokens that the cache holds
     */
    Gemma(GemmaConfig config, Weights weights, Tensor rope, boolean slidingWindow, String pass, int rows, int capacity) {
        this.config = config;
        this.weights = weights;
        this.rope = rope;
        // transformers: the layers 0, 2, 4 .. slide, the others see everything.
        window = slidingWindow && config.slidingWindow() > 0
                ? Optional.of(new SlidingWindow(config.slidingWindow(), 2)) : Optional.empty();
        int width = config.hiddenSize();
        keys = cache("cache.k", capacity);
        values = cache("cache.v", capacity);
        x = Tensor.activation(pass + ".x", rows, width);
        normed = Tensor.activation(pass + ".normed", rows, width);
        q = Tensor.activation(pass + ".q", rows, config.heads().queryColumns());
        k = Tensor.activation(pass + ".k", rows, config.heads().keyValueColumns());
        v = Tensor.activation(pass + ".v", rows, config.heads().keyValueColumns());
        mixed = Tensor.activation(pass + ".mixed", rows, config.heads().queryColumns());
        hidden = Tensor.activation(pass + ".hidden", rows, config.intermediateSize());
        branch = Tensor.activation(pass + ".branch", rows, width);
    }

    private Tensor cache(String name, int capacity) {
        return new Tensor(name, DType.F32, Shape.of(capacity, config.heads().keyValueColumns()), Tensor.Kind.CACHE,
                config.layers());
    }

    static List<WeightSpec> weights(GemmaConfig config) {
        int width = config.hiddenSize();
        int layers = config.layers();
        int queryColumns = config.heads().queryColumns();
        int keyValueColumns = config.heads().keyValueColumns();
        List<WeightSpec> specs = new ArrayList<>();
        specs.add(matrix(EMBED_TOKENS, 1, config.vocabularySize(), width));
        for (String norm : norms(config)) {
            specs.add(onePlus(LAYER + norm + ".weight", layers, width));
        }
        specs.add(matrix(LAYER + "self_attn.q_proj.weight", layers, queryColumns, width));
        specs.add(matrix(LAYER + "self_attn.k_proj.weight", layers, keyValueColumns, width));
        specs.add(matrix(LAYER + "self_attn.v_proj.weight", layers, keyValueColumns, width));
        specs.add(matrix(LAYER + "self_attn.o_proj.weight", layers, width, queryColumns));
        // One operation reads both.
        specs.add(matrix(LAYER + "mlp.gate_proj.weight", layers, config.intermediateSize(), width).ofOneTypeWith(LAYER + "mlp.up_proj.weight"));
        specs.add(matrix(LAYER + "mlp.up_proj.weight", layers, config.intermediateSize(), width).ofOneTypeWith(LAYER + "mlp.gate_proj.weight"));
        specs.add(matrix(LAYER + "mlp.down_proj.weight", layers, width, config.intermediateSize()));
        specs.add(onePlus(FINAL_NORM, 1, width));
        if (!config.tied()) {
            specs.add(matrix(LM_HEAD, 1, config.vocabularySize(), width));
        }
        return specs;
    }

    /**
     * Whether the embedding table is the head, decided as transformers 5 does: a stored head with other values is used although config.json ties the two, and
     * where the head alone is stored it is the table, too.
     */
    static boolean tied(GemmaConfig config, Checkpoint checkpoint, Strictness strictness) {
        if (!config.tied() || !checkpoint.names().contains(LM_HEAD)) {
            return config.tied();
        }
        if (!checkpoint.names().contains(EMBED_TOKENS)) {
            checkpoint.rename(LM_HEAD, EMBED_TOKENS);
            return true;
        }
        if (checkpoint.sameValues(EMBED_TOKENS, LM_HEAD)) {
            return true;
        }
        strictness.odd(checkpoint.source(), "tensor " + LM_HEAD + " differs from " + EMBED_TOKENS
                + ", although config.json ties the two: the stored head is used, as transformers does");
        return false;
    }

    private static List<String> norms(GemmaConfig config) {
        return switch (config.version()) {
            // In Gemma 1 post_attention_layernorm stands before the MLP, in Gemma 2 behind the attention.
            case GEMMA -> List.of("input_layernorm", "post_attention_layernorm");
            case GEMMA2 -> List.of("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
                    "post_feedforward_layernorm");
        };
    }

    /** Residual stream: what a trace of the embeddings or of a layer shows, [rows, hiddenSize]. */
    Tensor stream() {
        return x;
    }

    /**
     * Token rows are scaled by sqrt(hiddenSize), image rows are not.
     *
     * @param ids [rows], negative for rows of the features
     */
    Segment embeddings(Tensor ids, Optional<Tensor> features) {
        return Segment.once(EMBEDDINGS, List.of(
                new Embed(ids, weights.get(EMBED_TOKENS), (float) Math.sqrt(config.hiddenSize()), features, Optional.empty(), x)));
    }

    Segment layers() {
        List<Op> ops = new ArrayList<>();
        boolean second = config.version() == GemmaConfig.Version.GEMMA2;
        ops.add(norm(x, LAYER + "input_layernorm.weight", Optional.empty(), normed));
        ops.add(linear(normed, LAYER + "self_attn.q_proj.weight", Optional.empty(), q));
        ops.add(linear(normed, LAYER + "self_attn.k_proj.weight", Optional.empty(), k));
        ops.add(linear(normed, LAYER + "self_attn.v_proj.weight", Optional.empty(), v));
        ops.add(new Rope(q, rope, config.heads().queryHeads()));
        ops.add(new Rope(k, rope, config.heads().keyValueHeads()));
        ops.add(new Store(k, keys));
        ops.add(new Store(v, values));
        ops.add(new Attention(q, keys, values, config.heads(), config.queryScale(), config.attentionSoftCap(), window,
                Keys.TOKENS, mixed));
        if (second) {
            ops.add(linear(mixed, LAYER + "self_attn.o_proj.weight", Optional.empty(), branch));
            ops.add(norm(branch, LAYER + "post_attention_layernorm.weight", Optional.of(x), x));
            ops.add(norm(x, LAYER + "pre_feedforward_layernorm.weight", Optional.empty(), normed));
        } else {
            ops.add(linear(mixed, LAYER + "self_attn.o_proj.weight", Optional.of(x), x));
            ops.add(norm(x, LAYER + "post_attention_layernorm.weight", Optional.empty(), normed));
        }
        ops.add(new GatedMatMul(normed, weights.get(LAYER + "mlp.gate_proj.weight"), weights.get(LAYER + "mlp.up_proj.weight"),
                Activation.GELU_TANH, hidden));
        if (second) {
            ops.add(linear(hidden, LAYER + "mlp.down_proj.weight", Optional.empty(), branch));
            ops.add(norm(branch, LAYER + "post_feedforward_layernorm.weight", Optional.of(x), x));
        } else {
            ops.add(linear(hidden, LAYER + "mlp.down_proj.weight", Optional.of(x), x));
        }
        return new Segment(LAYERS, 0, config.layers(), ops);
    }

    /**
     * Final norm, logits and the next token.
     *
     * @param logits [1, vocabularySize] for the last row alone, or [rows, vocabularySize] for all rows
     * @param answerParts as {@link Sample} takes them
     */
    Segment head(boolean finalSoftCap, Tensor logits, Tensor answerParts, Tensor token, Tensor logProbability) {
        List<Op> ops = new ArrayList<>();
        Tensor state = x;
        if (logits.rows() < x.rows()) {
            state = Tensor.activation("head.last", 1, config.hiddenSize());
            ops.add(new LastRow(x, state));
        }
        ops.add(finalNorm(state, headInput(logits)));
        ops.add(logits(headInput(logits), logits));
        if (finalSoftCap && config.finalSoftCap() > 0) {
            ops.add(new SoftCap(logits, config.finalSoftCap()));
        }
        ops.add(new Sample(logits, answerParts, token, logProbability));
        return Segment.once(HEAD, ops);
    }

    /** What the logits are computed from. */
    Tensor headInput(Tensor logits) {
        return logits.rows() < x.rows() ? Tensor.activation("head.normed", 1, config.hiddenSize()) : normed;
    }

    Op finalNorm(Tensor in, Tensor out) {
        return norm(in, FINAL_NORM, Optional.empty(), out);
    }

    /** Without the final soft cap. */
    Op logits(Tensor in, Tensor out) {
        return linear(in, config.tied() ? EMBED_TOKENS : LM_HEAD, Optional.empty(), out);
    }

    private Op norm(Tensor in, String name, Optional<Tensor> residual, Tensor out) {
        return new RmsNorm(in, weights.get(name), config.rmsNormEpsilon(), residual, out);
    }

    private Op linear(Tensor in, String name, Optional<Tensor> residual, Tensor out) {
        return new MatMul(in, weights.get(name), Optional.empty(), Activation.NONE, residual, out);
    }
}
