package stormsight.backend.cpu;

import stormsight.program.Op;
import stormsight.program.Step;

/**
 * What {@link Op.Attention}, {@link Op.BlockedAttention} and the probes of their weights share. The keys that a row
 * sees are an interval, from {@link #from} to {@link #to}, less what is blocked.
 *
 * @param out address
 * @param capacity rows of q that a run handles at most
 * @param keys which there are
 * @param keyCapacity rows of a slot of k
 * @param slotBytes from a slot of k and v to the next, 0 where there is one
 * @param window 0 where this layer does not slide
 * @param blocked address of [tokens, tokens], 0 for none
 * @param flags address of this layer's flags, one a query head
 */
record Attention(long q, long k, long v, long out, Op.Heads heads, float scale, float softCap, int window, int capacity,
        Op.Keys keys, int keyCapacity, long slotBytes, long blocked, int blockedTokens, long flags) {
    static Kernel kernel(Op.Attention op, Binding binding) {
        return of(op, binding).kernel(binding);
    }

    static Kernel kernel(Op.BlockedAttention op, Binding binding) {
        return of(op, binding).kernel(binding);
    }

    private Kernel kernel(Binding binding) {
        return binding.choose(() -> new AttentionScalar(this, binding.scratch()),
                () -> new AttentionVectors(this, binding.scratch()));
    }

    private static Attention of(Op.Attention op, Binding binding) {
        return new Attention(binding.address(op.q()), binding.address(op.k()), binding.address(op.v()),
                binding.address(op.out()), op.heads(), op.scale(), op.softCap(), op.windows().of(binding.layer()),
                op.out().rows(), op.keys(), op.k().slotRows(), slotBytes(op), 0, 0, 0);
    }

    private static Attention of(Op.BlockedAttention op, Binding binding) {
        Attention plain = of(op.attention(), binding);
        return new Attention(plain.q, plain.k, plain.v, plain.out, plain.heads, plain.scale, plain.softCap,
                plain.window, plain.capacity, plain.keys, plain.keyCapacity, plain.slotBytes,
                binding.address(op.blocked()),
                op.blocked().columns(), binding.address(op.flags()) + 4L * plain.heads.queryHeads() * binding.layer());
    }

    /** For a probe: the values and the output of the operation are not touched. */
    static Attention weightsOf(Op.Attention op, Binding binding) {
        return new Attention(binding.address(op.q()), binding.address(op.k()), 0, 0, op.heads(), op.scale(),
                op.softCap(), op.windows().of(binding.layer()), op.q().rows(), op.keys(), op.k().slotRows(),
                slotBytes(op), 0, 0, 0);
    }

    private static long slotBytes(Op.Attention op) {
        return op.k().slots() == 1 ? 0 : 4L * op.k().slotRows() * op.k().columns();
    }

    int rows(Step step) {
        return Math.min(step.rows(), capacity);
    }

    /** Keys of the first sequence. */
    int keys(Step step) {
        return keys.count(step, 0);
    }

    /** Offset into k and v of the keys that row i may see. */
    long slotOffset(Step step, int i) {
        return slotBytes * step.sequence(i).slot();
    }

    /** First key that row i sees. */
    int from(Step step, int i) {
        return Op.Windows.first(window, step, i);
    }

    /** One past the last key that row i sees. */
    int to(Step step, int i) {
        return keys.seen(step, i);
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
