package stormsight.program;

import static stormsight.program.Operand.read;
import static stormsight.program.Operand.update;
import static stormsight.program.Operand.vector;
import static stormsight.program.Operand.write;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import stormsight.program.Operand.Extent;

/**
 * A coarse, already fused operation. The set is closed: an executor switches over it, and one that forgets an operation
 * does not compile.
 *
 * <p>Rows that are tokens belong to the sequences of a {@link Step}, and what becomes of a row depends on its own
 * sequence alone.
 *
 * <p>R is the capacity in rows; a run handles the first {@code min(step.rows(), capacity of out)} of them: an out of
 * one row takes the first row alone, where a model pools at its class token. Activations and norms are F32, keys and
 * values of a {@link DType#isCache cache's} type; only the {@code w}, {@code gate}, {@code up} of a product and the
 * {@code table} of {@link Embed} may have any type of {@link DType#isWeight weights}. A product with weight w [M, K] is
 * {@code y = x . transpose(w)}, as Hugging Face stores linear layers.
 */
public sealed interface Op {
    /** Every tensor of the operation and what becomes of it, in order of declaration. */
    List<Operand> operands();

    /** Floating-point operations of a step in one layer, see {@link OpCost}. */
    long operations(Step step);

    /** Sizes of a step, see {@link OpName#shape}. */
    String shape(Step step);

    /** Whether it means something only where all rows of a run are of one sequence. */
    default boolean ofOneSequence() {
        return false;
    }

    /** Tensors that this operation reads, in order of declaration. */
    default List<Tensor> reads() {
        return operands().stream().filter(Operand::reads).map(Operand::tensor).toList();
    }

    /** Tensors that it writes. One that is updated in place stands in both lists. */
    default List<Tensor> writes() {
        return operands().stream().filter(Operand::writes).map(Operand::tensor).toList();
    }

    default List<Tensor> tensors() {
        return operands().stream().map(Operand::tensor).distinct().toList();
    }

    /** Elementwise function applied to a product. */
    enum Activation {
        NONE,
        /** 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). */
        GELU_TANH,
        /** x Phi(x) = 0.5 x (1 + erf(x / sqrt(2))): the exact GELU. */
        GELU_ERF,
        /** x / (1 + exp(-1.702 x)). */
        QUICK_GELU,
        /** x / (1 + exp(-x)). */
        SILU,
        /** max(x, 0). */
        RELU
    }

    /**
     * Layout of attention heads in a row: head h has columns h x headDim onwards; query head h reads key-value head
     * h / (queryHeads / keyValueHeads).
     */
    record Heads(int queryHeads, int keyValueHeads, int headDim) {
        public Heads {
            if (queryHeads < 1 || keyValueHeads < 1 || headDim < 1 || queryHeads % keyValueHeads != 0) {
                throw new IllegalArgumentException(
                        queryHeads + " query heads, " + keyValueHeads + " key-value heads of size " + headDim);
            }
        }

        public int queryColumns() {
            return queryHeads * headDim;
        }

        /** {@code 8 query heads and 1 key-value head of 256}. */
        public String text() {
            return queryHeads + (queryHeads == 1 ? " query head and " : " query heads and ") + keyValueHeads
                    + (keyValueHeads == 1 ? " key-value head of " : " key-value heads of ") + headDim;
        }

        public int keyValueColumns() {
            return keyValueHeads * headDim;
        }
    }

    /**
     * How far back generated tokens see, in each layer: token i past the prefix sees token j only if
     * {@code i - j < window}. Tokens of the prefix see the whole prefix, as in transformers 5.
     *
     * @param tokens windows of layer 0, 1, .., 0 for one without; where there are more layers, they begin anew
     */
    record Windows(List<Integer> tokens) {
        /** In no layer. */
        public static final Windows NONE = new Windows(List.of(0));

        public Windows {
            tokens = List.copyOf(tokens);
            if (tokens.isEmpty() || tokens.stream().anyMatch(window -> window < 0)) {
                throw new IllegalArgumentException("windows of " + tokens + " tokens");
            }
        }

        /** 0 for none. */
        public int of(int layer) {
            return tokens.get(layer % tokens.size());
        }

        /** The shortest there is, in any layer. */
        public OptionalInt shortest() {
            return tokens.stream().mapToInt(Integer::intValue).filter(window -> window > 0).min();
        }

        public boolean isNone() {
            return shortest().isEmpty();
        }

        /** The first token that row i of a step sees through a window, 0 for none. */
        public static int first(int window, Step step, int i) {
            return window == 0 || step.token(i) < step.sequence(i).prefixLength()
                    ? 0
                    : Math.max(0, step.token(i) - window + 1);
        }
    }

    /**
     * The keys of an attention: rows of its k and v.
     *
     * @param fixed 0 for {@link #TOKENS}; else the first so many rows, whatever the step, all of them visible to every
     *     row
     * @param blocks How many blocks of {@code fixed} keys follow one another. Rows form as many blocks of equal size,
     *     and each sees the keys of its own block only.
     */
    record Keys(int fixed, int blocks) {
        /**
         * Tokens 0 .. position + rows - 1, of which a row sees those that {@link Step} says. Padding is no token: a run
         * has as many rows as there are others.
         */
        public static final Keys TOKENS = new Keys(0, 1);

        public Keys {
            if (fixed < 0 || blocks < 1 || fixed == 0 && blocks > 1) {
                throw new IllegalArgumentException(blocks + " blocks of " + fixed + " keys");
            }
        }

        /** The rows of a tower that is run at any position, or those of an image that text attends to. */
        public static Keys first(int rows) {
            return each(rows, 1);
        }

        /** The same of several images in one run, of which none sees another one. */
        public static Keys each(int rows, int images) {
            if (rows < 1) {
                throw new IllegalArgumentException(rows + " keys");
            }
            return new Keys(rows, images);
        }

        /** How many keys there are in the sequence of row i. */
        public int count(Step step, int i) {
            return fixed > 0 ? fixed : step.sequence(i).position() + step.sequence(i).rows();
        }

        /** How many of them row i sees, if none are taken away by a window. */
        public int seen(Step step, int i) {
            return fixed > 0
                    ? fixed
                    : Math.min(count(step, i), Math.max(step.sequence(i).prefixLength(), step.token(i) + 1));
        }

        private Extent extent() {
            return fixed > 0 ? Extent.fixed(Math.multiplyExact(fixed, blocks)) : Extent.TOKENS;
        }
    }

    /**
     * {@code out[i] = scale * table[ids[i]]} for an id from 0 on; {@code out[i] = features[-1 - ids[i]]}, unscaled, for
     * a negative one: row 0 of the image is -1, row 1 is -2. Then {@code out[i] += positions[position + i]}, whatever
     * the id.
     *
     * @param ids [R] I32; a run must not have more rows
     * @param table [V, D]
     * @param features [N, D] if images are merged in
     * @param positions [P, D] F32 if positions are learned; the first one is that of token 0
     * @param out [R, D]
     */
    record Embed(
            Tensor ids, Tensor table, float scale, Optional<Tensor> features, Optional<Tensor> positions, Tensor out)
            implements Op {
        public Embed {
            requireColumns(out, table.columns());
            features.ifPresent(f -> requireColumns(f, table.columns()));
            positions.ifPresent(p -> requireColumns(p, table.columns()));
        }

        @Override
        public List<Operand> operands() {
            List<Operand> operands = new ArrayList<>(List.of(
                    read(ids, Extent.run(Integer.MAX_VALUE)).as(Operand.Type.I32),
                    read(table, Extent.gathered(out.rows())).as(Operand.Type.WEIGHT)));
            // A row is of the table or of the features; it is counted once.
            features.ifPresent(tensor -> operands.add(read(tensor, Extent.gathered(0))));
            positions.ifPresent(tensor -> operands.add(read(tensor, Extent.atPosition(out.rows()))));
            operands.add(write(out, Extent.run(out.rows())));
            return operands;
        }

        @Override
        public long operations(Step step) {
            return elements(step, out, positions.isPresent() ? 2 : 1);
        }

        @Override
        public String shape(Step step) {
            return matrix(step, out) + "of" + table.rows();
        }
    }

    /**
     * {@code out = residual + activation(x . transpose(w) + bias)}.
     *
     * @param x [R, K]
     * @param w [M, K] of any weight type
     * @param bias [M] F32
     * @param residual [R, M], may be {@code out} itself
     * @param out [R, M], not {@code x}
     */
    record MatMul(
            Tensor x, Tensor w, Optional<Tensor> bias, Activation activation, Optional<Tensor> residual, Tensor out)
            implements Op {
        public MatMul {
            requireColumns(x, w.columns());
            requireColumns(out, w.rows());
            bias.ifPresent(b -> requireColumns(b, w.rows()));
            residual.ifPresent(r -> requireColumns(r, w.rows()));
            require(!x.equals(out), "%s is both read and written", x);
        }

        @Override
        public List<Operand> operands() {
            List<Operand> operands = new ArrayList<>(List.of(read(x, Extent.run(out.rows())), Operand.matrix(w)));
            bias.ifPresent(tensor -> operands.add(vector(tensor)));
            residual.ifPresent(tensor -> operands.add(read(tensor, Extent.run(out.rows()))));
            operands.add(write(out, Extent.run(out.rows())));
            return operands;
        }

        @Override
        public long operations(Step step) {
            return 2 * rows(step, out) * w.shape().elements();
        }

        @Override
        public String shape(Step step) {
            return product(step, out, w);
        }
    }

    /**
     * {@code out = activation(x . transpose(gate)) * (x . transpose(up))}.
     *
     * @param x [R, K]
     * @param gate [M, K]
     * @param up [M, K], of the same type
     * @param out [R, M], not {@code x}
     */
    record GatedMatMul(Tensor x, Tensor gate, Tensor up, Activation activation, Tensor out) implements Op {
        public GatedMatMul {
            requireColumns(x, gate.columns());
            requireColumns(x, up.columns());
            requireColumns(out, gate.rows());
            requireColumns(out, up.rows());
            require(gate.dtype() == up.dtype(), "%s and %s differ in type", gate, up);
            require(!x.equals(out), "%s is both read and written", x);
        }

        @Override
        public List<Operand> operands() {
            return List.of(
                    read(x, Extent.run(out.rows())),
                    Operand.matrix(gate),
                    Operand.matrix(up),
                    write(out, Extent.run(out.rows())));
        }

        @Override
        public long operations(Step step) {
            return 4 * rows(step, out) * gate.shape().elements();
        }

        @Override
        public String shape(Step step) {
            return product(step, out, gate);
        }
    }

    /**
     * {@code out = (x - mean) / sqrt(variance + epsilon) * w + bias} over each row, population variance.
     *
     * @param x [R, D]
     * @param w [D]
     * @param bias [D]
     * @param out [R, D], may be {@code x}
     */
    record LayerNorm(Tensor x, Tensor w, Tensor bias, float epsilon, Tensor out) implements Op {
        public LayerNorm {
            requireColumns(x, w.columns());
            requireColumns(bias, w.columns());
            requireColumns(out, w.columns());
        }

        @Override
        public List<Operand> operands() {
            return List.of(
                    read(x, Extent.run(out.rows())), vector(w), vector(bias), write(out, Extent.run(out.rows())));
        }

        @Override
        public long operations(Step step) {
            return elements(step, out, 8);
        }

        @Override
        public String shape(Step step) {
            return matrix(step, out);
        }
    }

    /**
     * {@code out = residual + x / sqrt(mean(x^2) + epsilon) * w} over each row. Gemma's {@code 1 + w} is already in w.
     *
     * @param x [R, D]
     * @param w [D]
     * @param residual [R, D], may be {@code out} itself
     * @param out [R, D], may be {@code x} if there is no residual
     */
    record RmsNorm(Tensor x, Tensor w, float epsilon, Optional<Tensor> residual, Tensor out) implements Op {
        public RmsNorm {
            requireColumns(x, w.columns());
            requireColumns(out, w.columns());
            residual.ifPresent(r -> requireColumns(r, w.columns()));
        }

        @Override
        public List<Operand> operands() {
            List<Operand> operands = new ArrayList<>(List.of(read(x, Extent.run(out.rows())), vector(w)));
            residual.ifPresent(tensor -> operands.add(read(tensor, Extent.run(out.rows()))));
            operands.add(write(out, Extent.run(out.rows())));
            return operands;
        }

        @Override
        public long operations(Step step) {
            return elements(step, out, 4);
        }

        @Override
        public String shape(Step step) {
            return matrix(step, out);
        }
    }

    /**
     * Rotates pairs (c, c + headDim/2) of each head of row i, in place, by the angle of token {@code position + i}.
     *
     * @param x [R, heads x headDim]
     * @param table [positions, headDim] F32: the cosines of the headDim/2 angles, then their sines
     * @see <a href="https://arxiv.org/abs/2104.09864">RoFormer</a>
     */
    record Rope(Tensor x, Tensor table, int heads) implements Op {
        public Rope {
            requireColumns(x, Math.multiplyExact(heads, table.columns()));
            require(table.columns() % 2 == 0, "%s has an odd head size", table);
        }

        public int headDim() {
            return table.columns();
        }

        @Override
        public List<Operand> operands() {
            return List.of(update(x, Extent.run(x.rows())), read(table, Extent.atPosition(x.rows())));
        }

        @Override
        public long operations(Step step) {
            return elements(step, x, 3);
        }

        @Override
        public String shape(Step step) {
            return rows(step, x) + "x" + heads + "x" + headDim();
        }
    }

    /**
     * {@code cache[slot, position + i] = x[i]} for the run's rows, or for all of x where it has fewer: those of a tower
     * that pools.
     *
     * @param x [R, C]
     * @param cache [capacity, C] or [slots, capacity, C] of kind CACHE
     */
    record Store(Tensor x, Tensor cache) implements Op {
        public Store {
            requireColumns(x, cache.columns());
        }

        @Override
        public List<Operand> operands() {
            return List.of(
                    read(x, Extent.run(x.rows())),
                    write(cache, Extent.atPosition(x.rows())).as(Operand.Type.CACHE));
        }

        @Override
        public long operations(Step step) {
            return 0;
        }

        @Override
        public String shape(Step step) {
            return matrix(step, x);
        }
    }

    /**
     * For every row i and query head h: {@code out = sum over visible j of softmax_j(s_j) v_j}, with
     * {@code s_j = scale * (q . k_j)}, then {@code s = softCap * tanh(s / softCap)} if softCap is not 0. Which keys are
     * visible, see {@link Keys} and {@link Windows}. Cross attention is one whose k and v are of something else than q.
     *
     * @param q [R, queryHeads x headDim]
     * @param k [at least as many rows as there are keys, keyValueHeads x headDim], an activation or a cache; or a cache
     *     of [slots, as many rows, keyValueHeads x headDim], of which a row reads the slot of its sequence
     * @param v as k
     * @param windows only for keys that are tokens
     * @param out [R, queryHeads x headDim], not q, k or v
     */
    record Attention(Tensor q, Tensor k, Tensor v, Heads heads, float scale, float softCap,
            Windows windows, Keys keys, Tensor out) implements Op {
        public Attention {
            if ((long) keys.fixed() * keys.blocks() > Math.min(k.rows(), v.rows())) {
                throw new IllegalArgumentException((keys.blocks() > 1 ? keys.blocks() + " x " : "") + keys.fixed()
                        + " keys of " + k + " and " + v);
            }
            require(out.rows() % keys.blocks() == 0, "%s does not have " + keys.blocks() + " equal blocks", out);
            require(keys.fixed() == 0 || windows.isNone(), "%s: a sliding window over keys that are no tokens", out);
            requireColumns(q, heads.queryColumns());
            requireColumns(out, heads.queryColumns());
            requireColumns(k, heads.keyValueColumns());
            requireColumns(v, heads.keyValueColumns());
            require(!out.equals(q), "%s is both read and written", q);
            require(softCap >= 0, "%s: a negative soft cap", out);
            require(k.slots() == v.slots(), "%s and %s differ in slots", k, v);
            require(keys.fixed() == 0 || k.slots() == 1, "%s: fixed keys in slots", out);
        }

        @Override
        public List<Operand> operands() {
            return List.of(
                    read(q, Extent.run(out.rows())),
                    read(k, keys.extent()).as(Operand.Type.CACHE),
                    read(v, keys.extent()).as(Operand.Type.CACHE),
                    write(out, Extent.run(out.rows())));
        }

        private String shape(Step step, int capacity) {
            return Math.min(step.rows(), capacity) + "x" + heads.queryHeads() + "of" + heads.keyValueHeads() + "x"
                    + heads.headDim()
                    + (keys.fixed() > 0 ? "to" + keys.fixed() : step.position() == 0 ? "" : "at" + step.position())
                    + (keys.blocks() > 1 ? "x" + keys.blocks() : "");
        }

        @Override
        public long operations(Step step) {
            long seen = 0;
            for (int i = 0; i < rows(step, out); i++) {
                seen += keys.seen(step, i);
            }
            return 4 * seen * heads.queryColumns();
        }

        @Override
        public String shape(Step step) {
            return shape(step, out.rows());
        }
    }

    /**
     * A probe: {@link Attention} with edges taken away. In layer l and query head h with {@code flags[l, h] != 0}, row
     * i does not see token j where {@code blocked[position + i, j] != 0}. A row that sees nothing becomes 0.
     *
     * @param blocked [tokens, tokens] U8, an input; tokens beyond it are not blocked
     * @param flags [layers, queryHeads] I32, an input
     */
    record BlockedAttention(Attention attention, Tensor blocked, Tensor flags) implements Op {
        public BlockedAttention {
            requireOneBlock(attention);
            requireColumns(flags, attention.heads().queryHeads());
            require(blocked.rows() == blocked.columns(), "%s is not square", blocked);
        }

        @Override
        public boolean ofOneSequence() {
            return true;
        }

        @Override
        public List<Operand> operands() {
            List<Operand> operands = new ArrayList<>(attention.operands());
            operands.add(read(blocked, Extent.ALL).as(Operand.Type.U8));
            operands.add(read(flags, Extent.LAYERS).as(Operand.Type.I32));
            return operands;
        }

        @Override
        public long operations(Step step) {
            return attention.operations(step);
        }

        @Override
        public String shape(Step step) {
            return attention.shape(step);
        }
    }

    /**
     * What a probe takes of the weights of an attention: some layers, some query heads, and the corner from which rows
     * and keys count. It does nothing in other layers.
     *
     * @param layers indices of layers, rising
     * @param heads indices of query heads, rising
     * @param firstRow row of the run that is the probe's row 0
     * @param firstKey token that is the probe's key 0
     */
    record Part(List<Integer> layers, List<Integer> heads, int firstRow, int firstKey) {
        public Part {
            layers = List.copyOf(layers);
            heads = List.copyOf(heads);
            requireRising("layers", layers);
            requireRising("heads", heads);
            if (firstRow < 0 || firstKey < 0) {
                throw new IllegalArgumentException("rows from " + firstRow + ", keys from " + firstKey);
            }
        }

        /** Place of a layer among the chosen ones, -1 if it is none of them. */
        public int place(int layer) {
            return layers.indexOf(layer);
        }
    }

    /** What becomes of the weights of the chosen layers. */
    enum Kept {
        /** Each layer has planes of its own. */
        EACH,
        /** They are added up, starting anew with the first chosen layer. */
        SUM,
        /** Each layer overwrites the one before, for an operation that reads them within the layer. */
        LAST
    }

    /**
     * A probe: the softmax weights that {@code attention} uses, 0 where a key is not visible. Only rows and keys that
     * out has a place for are written, and of them those of the run: the rest is left as it is.
     *
     * @param headMean whether the chosen heads are averaged to one plane; else each has its own
     * @param out [L x H, R, keys], no stack, with L = 1 if not each layer is kept, H = 1 if heads are averaged
     */
    record AttentionWeights(Attention attention, Part part, boolean headMean, Kept kept, Tensor out) implements Op {
        public AttentionWeights {
            int planes = (kept == Kept.EACH ? part.layers().size() : 1) * (headMean ? 1 : part.heads().size());
            require(out.layers() == 1 && out.shape().rank() == 3 && out.shape().dimension(0) == planes,
                    "%s does not have the " + planes + " planes of a probe", out);
            requireHeads(part, attention);
        }

        /** Rows that out has a place for. */
        public int rows() {
            return out.shape().dimension(1);
        }

        /** At most: those of one layer. */
        private Extent written() {
            return Extent.fixed(rows() * (headMean ? 1 : part.heads().size()));
        }

        @Override
        public boolean ofOneSequence() {
            return true;
        }

        @Override
        public List<Operand> operands() {
            return tapped(attention, kept == Kept.SUM ? update(out, written()) : write(out, written()));
        }

        @Override
        public long operations(Step step) {
            return scores(step, attention, part, rows());
        }

        @Override
        public String shape(Step step) {
            return attention.shape(step, rows());
        }
    }

    /**
     * A probe: for each row the largest of the weights that {@code attention} gives to {@code keys} tokens from {@code
     * part.firstKey()} on, 0 if it sees none of them. Nothing as large as a plane of weights is kept.
     *
     * @param out [L x H, R], no stack, for each chosen layer and head
     */
    record AttentionPeak(Attention attention, Part part, int keys, Tensor out) implements Op {
        public AttentionPeak {
            int planes = part.layers().size() * part.heads().size();
            require(out.layers() == 1 && out.shape().rank() == 2 && out.rows() == planes,
                    "%s does not have the " + planes + " planes of a probe", out);
            require(keys >= 1, "%s: the largest of " + keys + " keys", out);
            requireHeads(part, attention);
        }

        @Override
        public boolean ofOneSequence() {
            return true;
        }

        @Override
        public List<Operand> operands() {
            return tapped(attention, write(out, Extent.fixed(part.heads().size())));
        }

        @Override
        public long operations(Step step) {
            return scores(step, attention, part, out.columns());
        }

        @Override
        public String shape(Step step) {
            return attention.shape(step, out.columns());
        }
    }

    /**
     * A probe: {@code out[p, i] = max over c of x[i, c]} in the p-th of the chosen layers.
     *
     * @param x [R, C], or [1, R, C]
     * @param layers indices of layers, rising; {@code [0]} in a segment that runs once
     * @param out [L, R], no stack
     */
    record RowMax(Tensor x, List<Integer> layers, Tensor out) implements Op {
        public RowMax {
            layers = List.copyOf(layers);
            requireRising("layers", layers);
            require(
                    out.layers() == 1 && out.rows() == layers.size(),
                    "%s does not have " + layers.size() + " rows",
                    out);
            requireColumns(out, x.rows());
        }

        @Override
        public List<Operand> operands() {
            return List.of(read(x, Extent.run(x.rows())), write(out, Extent.fixed(1)));
        }

        @Override
        public long operations(Step step) {
            return elements(step, x, 1);
        }

        @Override
        public String shape(Step step) {
            return matrix(step, x);
        }
    }

    /**
     * {@code out[i] = x[i]} for the rows that both have: an x of one row takes the place of the first.
     *
     * @param x [R, D]
     * @param out [R, D]
     */
    record Copy(Tensor x, Tensor out) implements Op {
        public Copy {
            requireColumns(out, x.columns());
        }

        /** Most rows that are copied. */
        public int rows() {
            return Math.min(x.rows(), out.rows());
        }

        @Override
        public List<Operand> operands() {
            return List.of(read(x, Extent.run(rows())), write(out, Extent.run(rows())));
        }

        @Override
        public long operations(Step step) {
            return 0;
        }

        @Override
        public String shape(Step step) {
            return matrix(step, out);
        }
    }

    /**
     * {@code out[i, t] = x[index[i, t]]}, or zeros for a negative index, where x is seen as rows of as many columns as
     * out has for one t: what a convolution reads around each place, for a product to sum up.
     *
     * @param x [N, n x C], the rows [n x N, C]; all of them are there, whatever the rows of the run
     * @param index [R, T] I32, below n x N
     * @param out [R, T x C], not {@code x}
     */
    record Gather(Tensor x, Tensor index, Tensor out) implements Op {
        public Gather {
            require(
                    index.shape().rank() == 2 && out.columns() % index.columns() == 0,
                    "%s does not have so many rows side by side as %s",
                    out,
                    index);
            require(
                    x.columns() % (out.columns() / index.columns()) == 0,
                    "%s cannot be seen as rows of " + out.columns() / index.columns(),
                    x);
            require(index.rows() == out.rows(), "%s and %s differ in rows", index, out);
            require(!x.equals(out), "%s is both read and written", x);
        }

        /** Columns of one row of x. */
        public int columns() {
            return out.columns() / index.columns();
        }

        @Override
        public List<Operand> operands() {
            return List.of(
                    read(x, Extent.ALL),
                    read(index, Extent.run(out.rows())).as(Operand.Type.I32),
                    write(out, Extent.run(out.rows())));
        }

        @Override
        public long operations(Step step) {
            return 0;
        }

        @Override
        public String shape(Step step) {
            return matrix(step, out) + "of" + x.shape().elements() / columns();
        }
    }

    /**
     * {@code out[0] = x[rows - 1]}: the row that predicts the next token of one sequence.
     *
     * @param x [R, D]
     * @param out [1, D]
     */
    record LastRow(Tensor x, Tensor out) implements Op {
        public LastRow {
            requireColumns(out, x.columns());
            require(out.rows() == 1, "%s has more than one row", out);
        }

        @Override
        public boolean ofOneSequence() {
            return true;
        }

        @Override
        public List<Operand> operands() {
            return List.of(read(x, Extent.last(x.rows())), write(out, Extent.fixed(1)));
        }

        @Override
        public long operations(Step step) {
            return 0;
        }

        @Override
        public String shape(Step step) {
            return matrix(step, x);
        }
    }

    /**
     * {@code out[0] = }the mean of the run's rows.
     *
     * @param x [R, D]
     * @param out [1, D]
     */
    record MeanRows(Tensor x, Tensor out) implements Op {
        public MeanRows {
            requireColumns(out, x.columns());
            require(out.rows() == 1, "%s has more than one row", out);
        }

        @Override
        public boolean ofOneSequence() {
            return true;
        }

        @Override
        public List<Operand> operands() {
            return List.of(read(x, Extent.run(x.rows())), write(out, Extent.fixed(1)));
        }

        @Override
        public long operations(Step step) {
            return elements(step, x, 1);
        }

        @Override
        public String shape(Step step) {
            return matrix(step, x);
        }
    }

    /**
     * {@code x = cap * tanh(x / cap)}, in place.
     *
     * @param x [R, D]
     * @param cap positive
     */
    record SoftCap(Tensor x, float cap) implements Op {
        public SoftCap {
            require(cap > 0, "%s: a soft cap that is not positive", x);
        }

        @Override
        public List<Operand> operands() {
            return List.of(update(x, Extent.run(x.rows())));
        }

        @Override
        public long operations(Step step) {
            return elements(step, x, 3);
        }

        @Override
        public String shape(Step step) {
            return matrix(step, x);
        }
    }

    /**
     * Draws the next token of each sequence from the last of its rows of logits, by its {@link Sampling} and coin. The
     * token is -1 if any logit that counts is not a number.
     *
     * @param logits [R, V]
     * @param parts [V] U8: which part each id has, {@link #DRAWN}, {@link #COUNTED} or {@link #PADDING}
     * @param token [sequences] I32
     * @param logProbability [sequences] F32: natural logarithm of the token's probability under the softmax of all
     *     logits but those of padding, whatever the sampling
     */
    record Sample(Tensor logits, Tensor parts, Tensor token, Tensor logProbability) implements Op {
        /** The id may be drawn. */
        public static final byte DRAWN = 0;
        /** The id is not drawn, and takes part in the softmax. */
        public static final byte COUNTED = 1;
        /** The id is not drawn, and its logit means nothing. */
        public static final byte PADDING = 2;

        public Sample {
            require(parts.shape().equals(Shape.of(logits.columns())), "%s is not the parts of %s", parts, logits);
            require(token.shape().equals(logProbability.shape()), "%s and %s differ in shape", token, logProbability);
        }

        @Override
        public List<Operand> operands() {
            return List.of(read(logits, Extent.last(logits.rows())), read(parts, Extent.ALL).as(Operand.Type.U8),
                    write(token, Extent.SEQUENCES).as(Operand.Type.I32), write(logProbability, Extent.SEQUENCES));
        }

        @Override
        public long operations(Step step) {
            return 3L * step.sequences().size() * logits.columns();
        }

        @Override
        public String shape(Step step) {
            Sampling sampling = step.sequence(0).sampling();
            return (step.sequences().size() > 1 ? step.sequences().size() + "x" : "") + logits.columns()
                    + (sampling.greedy() ? "" : "top" + sampling.topK());
        }
    }

    private static void require(boolean condition, String message, Object... tensors) {
        if (!condition) {
            throw new IllegalArgumentException(message.formatted(tensors));
        }
    }

    private static void requireRising(String what, List<Integer> values) {
        for (int i = 0; i < values.size(); i++) {
            if (values.get(i) <= (i == 0 ? -1 : values.get(i - 1))) {
                throw new IllegalArgumentException(what + " " + values + " do not rise from 0 on");
            }
        }
        if (values.isEmpty()) {
            throw new IllegalArgumentException("no " + what);
        }
    }

    private static void requireOneBlock(Attention attention) {
        require(attention.keys().blocks() == 1, "a probe of %s, which holds several images", attention.k());
    }

    private static void requireHeads(Part part, Attention attention) {
        requireOneBlock(attention);
        require(attention.k().slots() == 1, "a probe of %s, which holds several sequences", attention.k());
        if (part.heads().getLast() >= attention.heads().queryHeads()) {
            throw new IllegalArgumentException("heads " + part.heads() + " of " + attention.heads().queryHeads());
        }
    }

    private static void requireColumns(Tensor tensor, int columns) {
        if (tensor.columns() != columns) {
            throw new IllegalArgumentException(
                    tensor.name() + " has " + tensor.columns() + " columns, " + columns + " expected");
        }
    }

    /** What a probe of the weights does: it looks at all rows, in the chosen layers. */
    private static List<Operand> tapped(Attention attention, Operand out) {
        return List.of(
                read(attention.q(), Extent.run(attention.q().rows())),
                read(attention.k(), attention.keys().extent()).as(Operand.Type.CACHE),
                out);
    }

    /** Scores of the chosen heads in the chosen rows, without the values; every row counts as if it saw every key. */
    private static long scores(Step step, Attention attention, Part part, int capacity) {
        long rows = Math.max(0, Math.min(step.rows() - part.firstRow(), capacity));
        return 2 * rows * attention.keys().count(step, 0) * part.heads().size() * attention.heads().headDim();
    }

    private static long rows(Step step, Tensor tensor) {
        return Math.min(step.rows(), tensor.rows());
    }

    private static long elements(Step step, Tensor tensor, int operations) {
        return operations * rows(step, tensor) * tensor.columns();
    }

    private static String matrix(Step step, Tensor tensor) {
        return rows(step, tensor) + "x" + tensor.columns();
    }

    private static String product(Step step, Tensor out, Tensor weight) {
        return rows(step, out) + "x" + weight.columns() + "x" + weight.rows();
    }
}
