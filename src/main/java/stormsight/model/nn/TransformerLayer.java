package stormsight.model.nn;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import stormsight.model.Weights;
import stormsight.program.Op;
import stormsight.program.Op.Activation;
import stormsight.program.Op.Heads;
import stormsight.program.Tensor;

/**
 * A transformer layer as data: {@code x += attention(norm(x))}, then {@code x += mlp(norm(x))}. Everything that a layer
 * of one model does and one of another does not is a field here.
 *
 * @param norm of all norms of the layer
 * @param postNorm whether the stream is normalised after each sum instead: {@code x = norm(x + attention(x))}, then
 *     {@code x = norm(x + mlp(x))}
 */
public record TransformerLayer(Attention attention, Mlp mlp, Norm norm, boolean postNorm, Names names) {
    /** A layer that normalises what its branches read. */
    public TransformerLayer(Attention attention, Mlp mlp, Norm norm, Names names) {
        this(attention, mlp, norm, false, names);
    }

    /** The same layer with another window. */
    TransformerLayer withWindow(int window) {
        return new TransformerLayer(
                new Attention(
                        attention.heads,
                        attention.scale,
                        attention.softCap,
                        window,
                        attention.qkvBias,
                        attention.outBias),
                mlp,
                norm,
                postNorm,
                names);
    }

    /**
     * @param scale factor of q . k
     * @param softCap of the scores, 0 for none
     * @param window how many tokens a generated one sees, 0 for all
     * @param qkvBias whether q, k and v have biases
     * @param outBias whether the output has one
     */
    public record Attention(
            Heads heads, float scale, float softCap, int window, boolean qkvBias, boolean outBias) {
        /** @param bias whether q, k, v and the output have biases */
        public Attention(Heads heads, float scale, float softCap, int window, boolean bias) {
            this(heads, scale, softCap, window, bias, bias);
        }

        /** The same with or without biases of q, k and v. */
        public Attention withQkvBias(boolean has) {
            return new Attention(heads, scale, softCap, window, has, outBias);
        }

        /**
         * All heads with keys of their own, scaled by the root of their size, with biases: what most vision towers
         * have.
         */
        public static Attention plain(int width, int heads) {
            int headDim = width / heads;
            return new Attention(
                    new Heads(heads, heads, headDim), (float) (1 / Math.sqrt(headDim)), 0, 0, true);
        }
    }

    /**
     * @param width of the hidden rows
     * @param gated whether the activated product gates another one: {@code activation(gate) * up}
     * @param bias whether the products have biases, which gated ones have not
     */
    public record Mlp(int width, Activation activation, boolean gated, boolean bias) {
        public Mlp {
            if (gated && bias) {
                throw new IllegalArgumentException("a gated MLP with biases");
            }
        }
    }

    /**
     * Names of the stored weights without {@code .weight} and {@code .bias}.
     *
     * @param attentionNorm before the attention, or after it with {@code postNorm}
     * @param q product of the queries; with k and v the same name, where all three are stored as one matrix [3 x width,
     *     width]
     * @param afterAttention norm of the attention's result, before it is added to the stream
     * @param mlpNorm before the MLP, or after it with {@code postNorm}
     * @param gate product that gates; unused unless the MLP is gated
     * @param up first product of the MLP
     * @param afterMlp norm of the MLP's result, before it is added to the stream
     */
    public record Names(
            String attentionNorm,
            String q,
            String k,
            String v,
            String out,
            Optional<String> afterAttention,
            String mlpNorm,
            String gate,
            String up,
            String down,
            Optional<String> afterMlp) {
        /** As SigLIP and CLIP name them. */
        public static final Names CLIP = new Names(
                "layer_norm1",
                "self_attn.q_proj",
                "self_attn.k_proj",
                "self_attn.v_proj",
                "self_attn.out_proj",
                Optional.empty(),
                "layer_norm2",
                "",
                "mlp.fc1",
                "mlp.fc2",
                Optional.empty());
        /** As BLIP-2 names those of its tower, EVA: q, k and v are one matrix. */
        public static final Names EVA = new Names(
                "layer_norm1",
                "self_attn.qkv",
                "self_attn.qkv",
                "self_attn.qkv",
                "self_attn.projection",
                Optional.empty(),
                "layer_norm2",
                "",
                "mlp.fc1",
                "mlp.fc2",
                Optional.empty());
        /** As OPT names them. */
        public static final Names OPT = new Names(
                "self_attn_layer_norm",
                "self_attn.q_proj",
                "self_attn.k_proj",
                "self_attn.v_proj",
                "self_attn.out_proj",
                Optional.empty(),
                "final_layer_norm",
                "",
                "fc1",
                "fc2",
                Optional.empty());
        /** As ViT names them. */
        public static final Names VIT = new Names(
                "layernorm_before",
                "attention.attention.query",
                "attention.attention.key",
                "attention.attention.value",
                "attention.output.dense",
                Optional.empty(),
                "layernorm_after",
                "",
                "intermediate.dense",
                "output.dense",
                Optional.empty());
        /** As Llama, Mistral and Gemma 1 name them. */
        public static final Names LLAMA = new Names(
                "input_layernorm",
                "self_attn.q_proj",
                "self_attn.k_proj",
                "self_attn.v_proj",
                "self_attn.o_proj",
                Optional.empty(),
                "post_attention_layernorm",
                "mlp.gate_proj",
                "mlp.up_proj",
                "mlp.down_proj",
                Optional.empty());
        /** As Gemma 2 names them, where post_attention_layernorm stands behind the attention, not before the MLP. */
        public static final Names GEMMA2 = new Names(
                "input_layernorm",
                "self_attn.q_proj",
                "self_attn.k_proj",
                "self_attn.v_proj",
                "self_attn.o_proj",
                Optional.of("post_attention_layernorm"),
                "pre_feedforward_layernorm",
                "mlp.gate_proj",
                "mlp.up_proj",
                "mlp.down_proj",
                Optional.of("post_feedforward_layernorm"));

        private boolean fused() {
            return q.equals(k);
        }
    }

    /**
     * Keys and values of all tokens so far.
     *
     * @param keys [capacity, keyValueHeads x headDim] of kind CACHE, or [slots, ..] of those; a stack of all layers
     * @param rotation table of {@link Op.Rope}, if positions are rotated
     */
    record Cache(Tensor keys, Tensor values, Optional<Tensor> rotation) {}

    /** Activations of a pass, which all of its layers share. */
    record Buffers(Tensor x, Tensor normed, Tensor q, Tensor k, Tensor v, Tensor mixed, Tensor hidden, Tensor branch) {
        /**
         * @param pass prefix of the names
         * @param rows most rows of a run
         */
        static Buffers of(String pass, int rows, int width, TransformerLayer layer) {
            Heads heads = layer.attention.heads();
            return new Buffers(
                    Tensor.activation(pass + ".x", rows, width),
                    Tensor.activation(pass + ".normed", rows, width),
                    Tensor.activation(pass + ".q", rows, heads.queryColumns()),
                    Tensor.activation(pass + ".k", rows, heads.keyValueColumns()),
                    Tensor.activation(pass + ".v", rows, heads.keyValueColumns()),
                    Tensor.activation(pass + ".mixed", rows, heads.queryColumns()),
                    Tensor.activation(pass + ".hidden", rows, layer.mlp.width()),
                    Tensor.activation(pass + ".branch", rows, width));
        }
    }

    /**
     * The operations of the layer.
     *
     * @param weights of this layer, or the stack of several
     * @param cache absent where the rows of a run attend to each other alone
     */
    List<Op> ops(Weights weights, Buffers to, Optional<Cache> cache) {
        return ops(weights, to, cache, cache.isPresent() ? Op.Keys.TOKENS : Op.Keys.first(to.x.rows()));
    }

    /** @param keys which of the keys the rows see */
    List<Op> ops(Weights weights, Buffers to, Optional<Cache> cache, Op.Keys keys) {
        return ops(weights, to, cache, keys, new Op.Windows(List.of(attention.window)));
    }

    /** @param windows of this layer and those that differ from it in nothing else */
    List<Op> ops(Weights weights, Buffers to, Optional<Cache> cache, Op.Keys keys, Op.Windows windows) {
        List<Op> ops = new ArrayList<>(attend(weights, to, cache, keys, windows));
        ops.addAll(afterAttention(weights, to));
        return ops;
    }

    /**
     * The same up to the attention; behind it the last row of the run goes on alone.
     *
     * @param last of one row, whose {@code x} is the result
     */
    List<Op> opsOfLast(
            Weights weights, Buffers to, Optional<Cache> cache, Op.Keys keys, Op.Windows windows, Buffers last) {
        List<Op> ops = new ArrayList<>(attend(weights, to, cache, keys, windows));
        ops.add(new Op.LastRow(to.x, last.x));
        ops.add(new Op.LastRow(to.mixed, last.mixed));
        ops.addAll(afterAttention(weights, last));
        return ops;
    }

    private List<Op> attend(Weights weights, Buffers to, Optional<Cache> cache, Op.Keys keys, Op.Windows windows) {
        List<Op> ops = new ArrayList<>();
        if (!postNorm) {
            ops.add(norm.op(weights, names.attentionNorm, to.x, Optional.empty(), read(to)));
        }
        ops.addAll(projections(weights, read(to), to));
        cache.flatMap(Cache::rotation).ifPresent(table -> {
            ops.add(new Op.Rope(to.q, table, attention.heads.queryHeads()));
            ops.add(new Op.Rope(to.k, table, attention.heads.keyValueHeads()));
        });
        cache.ifPresent(kept -> {
            ops.add(new Op.Store(to.k, kept.keys));
            ops.add(new Op.Store(to.v, kept.values));
        });
        ops.add(new Op.Attention(
                to.q,
                cache.map(Cache::keys).orElse(to.k),
                cache.map(Cache::values).orElse(to.v),
                attention.heads,
                attention.scale,
                attention.softCap,
                windows,
                keys,
                to.mixed));
        return ops;
    }

    private List<Op> afterAttention(Weights weights, Buffers to) {
        List<Op> ops = new ArrayList<>();
        Tensor in = read(to);
        add(ops, weights, names.out, attention.outBias, to.mixed, names.afterAttention, to);
        ops.add(norm.op(weights, postNorm ? names.attentionNorm : names.mlpNorm, to.x, Optional.empty(), in));
        ops.add(hidden(weights, in, to));
        add(ops, weights, names.down, mlp.bias, to.hidden, names.afterMlp, to);
        if (postNorm) {
            ops.add(norm.op(weights, names.mlpNorm, to.x, Optional.empty(), to.x));
        }
        return ops;
    }

    /** What the branches read. */
    private Tensor read(Buffers from) {
        return postNorm ? from.x : from.normed;
    }

    /** Queries, keys and values. */
    private List<Op> projections(Weights weights, Tensor in, Buffers to) {
        if (!names.fused()) {
            return List.of(
                    Linear.op(weights, names.q, attention.qkvBias, in, Activation.NONE, to.q),
                    Linear.op(weights, names.k, attention.qkvBias, in, Activation.NONE, to.k),
                    Linear.op(weights, names.v, attention.qkvBias, in, Activation.NONE, to.v));
        }
        return Linear.fused(weights, names.q, attention.qkvBias, in, List.of(to.q, to.k, to.v));
    }

    private Op hidden(Weights weights, Tensor in, Buffers to) {
        if (!mlp.gated) {
            return Linear.op(weights, names.up, mlp.bias, in, mlp.activation, to.hidden);
        }
        List<Tensor> both =
                weights.matrices(List.of(names.gate + ".weight", names.up + ".weight"), mlp.width, to.x.columns());
        return new Op.GatedMatMul(in, both.get(0), both.get(1), mlp.activation, to.hidden);
    }

    /** Adds a product to the stream, normalised before if the layer has a norm there. */
    private void add(
            List<Op> ops, Weights weights, String name, boolean bias, Tensor from, Optional<String> after, Buffers to) {
        if (after.isPresent()) {
            ops.add(Linear.op(weights, name, bias, from, Activation.NONE, to.branch));
            ops.add(norm.op(weights, after.get(), to.branch, Optional.of(to.x), to.x));
        } else {
            ops.add(Linear.op(weights, name, bias, from, Activation.NONE, Optional.of(to.x), to.x));
        }
    }
}
