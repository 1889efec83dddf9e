package stormsight.backend.cpu;

import stormsight.program.Op;
import stormsight.program.Step;

/**
 * What {@link Op.Attention}, {@link Op.BlockedAttention} and the probes of their weights share. The keys that a row
 * sees are an interval, from {@link #from} to {@link #to}, less what is blocked.
 *
 * @param q address
 * @param v absent for a probe of the weights
 * @param out address
 * @param capacity rows of q that a run handles at most
 * @param keys which there are
 * @param window 0 where this layer does not slide
 * @param blocked address of [tokens, tokens], 0 for none
 * @param flags address of this layer's flags, one a query head
 */
record Attention(long q, Cache k, Cache v, long out, Op.Heads heads, float scale, float softCap, int window,
        int capacity, Op.Keys keys, long blocked, int blockedTokens, long flags) {
    static Kernel kernel(Op.Attention op, Binding binding) {
        return of(op, binding).choose(op, binding);
    }

    static Kernel kernel(Op.BlockedAttention op, Binding binding) {
        return of(op, binding).choose(op, binding);
    }

    private Kernel choose(Op op, Binding binding) {
        Kernel few = binding.choose(() -> new AttentionScalar(this, binding.scratch()),
                () -> new AttentionVectors(this, binding.scratch()));
        return binding.many(op, few, capacity,
                (natives, name) -> new NativeAttention(this, natives, name, binding.scratch()));
    }

    private static Attention of(Op.Attention op, Binding binding) {
        return new Attention(binding.address(op.q()), Cache.of(op.k(), binding), Cache.of(op.v(), binding),
                binding.address(op.out()), op.heads(), op.scale(), op.softCap(), op.windows().of(binding.layer()),
                op.out().rows(), op.keys(), 0, 0, 0);
    }

    private static Attention of(Op.BlockedAttention op, Binding binding) {
        Attention plain = of(op.attention(), binding);
        return new Attention(plain.q, plain.k, plain.v, plain.out, plain.heads, plain.scale, plain.softCap,
                plain.window, plain.capacity, plain.keys,
                binding.address(op.blocked()),
                op.blocked().columns(), binding.address(op.flags()) + 4L * plain.heads.queryHeads() * binding.layer());
    }

    /** For a probe: the values and the output of the operation are not touched. */
    static Attention weightsOf(Op.Attention op, Binding binding) {
        return new Attention(binding.address(op.q()), Cache.of(op.k(), binding), null, 0, op.heads(), op.scale(),
                op.softCap(), op.windows().of(binding.layer()), op.q().rows(), op.keys(), 0, 0, 0);
    }

    int rows(Step step) {
        return Math.min(step.rows(), capacity);
    }

    /** Keys of the first sequence. */
    int keys(Step step) {
        return keys.count(step, 0);
    }

    /** First column in k and v of the head that a query head reads. */
    int column(int queryHead) {
        return queryHead / (heads.queryHeads() / heads.keyValueHeads()) * heads.headDim();
    }

    /** Rows of a block, see {@link Op.Keys#blocks}. */
    int blockRows() {
        return capacity / keys.blocks();
    }

    private int firstOfBlock(int i) {
        return keys.blocks() == 1 ? 0 : i / blockRows() * keys.fixed();
    }

    /** First key that row i sees. */
    int from(Step step, int i) {
        return firstOfBlock(i) + Op.Windows.first(window, step, i);
    }

    /** One past the last key that row i sees. */
    int to(Step step, int i) {
        return firstOfBlock(i) + keys.seen(step, i);
    }

    /** Whether edges are taken away in this layer and query head. */
    boolean blocks(int h) {
        return blocked != 0 && Memory.i32(flags + 4L * h) != 0;
    }

    /** Whether that edge is taken away, given that this layer and head have any. */
    boolean blocks(int token, int key) {
        return token < blockedTokens && key < blockedTokens && Memory.i8(blocked + (long) token * blockedTokens
                + key) != 0;
    }
}
