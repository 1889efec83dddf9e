package stormsight.backend.cpu;

import static stormsight.backend.cpu.Memory.ADDRESSES;
import static stormsight.backend.cpu.Memory.ALL;

import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import stormsight.program.DType;

/**
 * Dot products of a few packed rows of x with rows of weights: {@link MatVec} for several tokens, which share what is
 * read and decoded. Two rows of weights meet four tokens at a time; the next four find the weights in the cache. Each
 * sum is added up in the order of MatVec, so that a token's result does not depend on the others.
 *
 * <p>The bodies are spelled out: a method of ours that takes or returns vectors may not be inlined, and then they are
 * boxed.
 */
final class FewTokens {
    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
    private static final int LANES = F.length();
    private static final long BYTES = 4L * LANES;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

    /** Rows of weights that meet the same tokens at once. */
    private static final int ROWS = 2;

    /** Tokens of one pass over them. */
    private static final int TOKENS = 4;

    /** Rows of weights that are read by turns, far apart as in MatVec. */
    private static final int STREAMS = 4;

    /** Bytes of scratch for the sums of the lanes. */
    static final long SCRATCH = ROWS * TOKENS * BYTES;

    private FewTokens() {}

    /** Whether there are such loops for a type; others are multiplied token by token. */
    static boolean takes(DType dtype) {
        return dtype == DType.BF16 || dtype == DType.Q8 && Packing.QUADS;
    }

    /**
     * {@code sums[t, i] = w[first + i] . x[t]} for count rows; count is a multiple of 4. Rows past the last one repeat
     * it.
     *
     * @param xBytes from a token of x to the next
     * @param sumBytes from the sums of a token to those of the next
     * @param lanes scratch of {@link #SCRATCH} bytes
     */
    static void rows(Weight w, Packing packing, int first, int count, long x, long xBytes, int tokens, long sums,
            long sumBytes, long lanes) {
        int distance = count / STREAMS;
        int last = w.rows() - 1;
        long scaleBytes = 4L * w.scalesPerRow();
        for (int i = 0; i < distance; i++) {
            for (int stream = 0; stream < STREAMS; stream += ROWS) {
                int place = i + stream * distance;
                int r0 = Math.min(first + place, last);
                int r1 = Math.min(first + place + distance, last);
                long w0 = w.address() + r0 * w.rowBytes();
                long w1 = w.address() + r1 * w.rowBytes();
                for (int t = 0; t < tokens; t += TOKENS) {
                    // Surplus tokens repeat the last one.
                    int left = tokens - 1 - t;
                    long d1 = Math.min(1, left) * xBytes;
                    long d2 = Math.min(2, left) * xBytes;
                    long d3 = Math.min(3, left) * xBytes;
                    if (w.dtype() == DType.BF16) {
                        bf16(w0, w1, packing, x + t * xBytes, d1, d2, d3, lanes);
                    } else {
                        q8Quads(w0, w1, w.scales() + r0 * scaleBytes, w.scales() + r1 * scaleBytes, packing,
                                x + t * xBytes, d1, d2, d3, lanes, MatVec.TOP);
                    }
                    for (int j = 0; j < Math.min(TOKENS, tokens - t); j++) {
                        add(lanes + j * BYTES, sums + (t + j) * sumBytes + 4L * place, 4L * distance);
                    }
                }
            }
        }
    }

    /** The sums of the lanes of one token, of both rows. */
    private static void add(long lanes, long to, long distance) {
        float s0 = 0;
        float s1 = 0;
        for (int lane = 0; lane < LANES; lane++) {
            s0 += Memory.f32(lanes + 4L * lane);
            s1 += Memory.f32(lanes + TOKENS * BYTES + 4L * lane);
        }
        Memory.f32(to, s0);
        Memory.f32(to + distance, s1);
    }

    private static void bf16(long w0, long w1, Packing packing, long x, long d1, long d2, long d3, long lanes) {
        FloatVector e00 = FloatVector.zero(F);
        FloatVector o00 = FloatVector.zero(F);
        FloatVector e01 = FloatVector.zero(F);
        FloatVector o01 = FloatVector.zero(F);
        FloatVector e02 = FloatVector.zero(F);
        FloatVector o02 = FloatVector.zero(F);
        FloatVector e03 = FloatVector.zero(F);
        FloatVector o03 = FloatVector.zero(F);
        FloatVector e10 = FloatVector.zero(F);
        FloatVector o10 = FloatVector.zero(F);
        FloatVector e11 = FloatVector.zero(F);
        FloatVector o11 = FloatVector.zero(F);
        FloatVector e12 = FloatVector.zero(F);
        FloatVector o12 = FloatVector.zero(F);
        FloatVector e13 = FloatVector.zero(F);
        FloatVector o13 = FloatVector.zero(F);
        int blocks = packing.slots() / packing.block();
        int full = packing.fullBlocks();
        // The second round is the partial block, which starts earlier in the row than its number says.
        for (int round = 0; round < 2; round++) {
            int from = round == 0 ? 0 : full;
            int to = round == 0 ? full : blocks;
            long shift = round == 0 ? 0 : 2L * (packing.depth() - packing.block() - full * packing.block());
            for (int b = from; b < to; b++) {
                long at = b * BYTES + shift;
                long xs = x + b * (2 * BYTES);
                IntVector pairs = IntVector.fromMemorySegment(I, ALL, w0 + at, LE);
                FloatVector u = pairs.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                FloatVector p = pairs.and(0xFFFF0000).reinterpretAsFloats();
                pairs = IntVector.fromMemorySegment(I, ALL, w1 + at, LE);
                FloatVector v = pairs.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                FloatVector q = pairs.and(0xFFFF0000).reinterpretAsFloats();
                FloatVector y = FloatVector.fromMemorySegment(F, ALL, xs, LE);
                e00 = u.fma(y, e00);
                e10 = v.fma(y, e10);
                y = FloatVector.fromMemorySegment(F, ALL, xs + BYTES, LE);
                o00 = p.fma(y, o00);
                o10 = q.fma(y, o10);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d1, LE);
                e01 = u.fma(y, e01);
                e11 = v.fma(y, e11);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d1 + BYTES, LE);
                o01 = p.fma(y, o01);
                o11 = q.fma(y, o11);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d2, LE);
                e02 = u.fma(y, e02);
                e12 = v.fma(y, e12);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d2 + BYTES, LE);
                o02 = p.fma(y, o02);
                o12 = q.fma(y, o12);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d3, LE);
                e03 = u.fma(y, e03);
                e13 = v.fma(y, e13);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d3 + BYTES, LE);
                o03 = p.fma(y, o03);
                o13 = q.fma(y, o13);
            }
        }
        e00.add(o00).intoMemorySegment(ALL, lanes, LE);
        e01.add(o01).intoMemorySegment(ALL, lanes + BYTES, LE);
        e02.add(o02).intoMemorySegment(ALL, lanes + 2 * BYTES, LE);
        e03.add(o03).intoMemorySegment(ALL, lanes + 3 * BYTES, LE);
        e10.add(o10).intoMemorySegment(ALL, lanes + 4 * BYTES, LE);
        e11.add(o11).intoMemorySegment(ALL, lanes + 5 * BYTES, LE);
        e12.add(o12).intoMemorySegment(ALL, lanes + 6 * BYTES, LE);
        e13.add(o13).intoMemorySegment(ALL, lanes + 7 * BYTES, LE);
    }

    /** Weights are moved to the top of an integer as in MatVec, and what is 2^24 times too much is undone. */
    private static void q8Quads(long w0, long w1, long s0, long s1, Packing packing, long x, long d1, long d2, long d3,
            long lanes, int mask) {
        IntVector top = IntVector.broadcast(I, mask);
        FloatVector a00 = FloatVector.zero(F);
        FloatVector a01 = FloatVector.zero(F);
        FloatVector a02 = FloatVector.zero(F);
        FloatVector a03 = FloatVector.zero(F);
        FloatVector a10 = FloatVector.zero(F);
        FloatVector a11 = FloatVector.zero(F);
        FloatVector a12 = FloatVector.zero(F);
        FloatVector a13 = FloatVector.zero(F);
        int blocks = packing.slots() / packing.block();
        int full = packing.fullBlocks();
        // The second round is the partial block, which starts earlier in the row than its number says.
        for (int round = 0; round < 2; round++) {
            int from = round == 0 ? 0 : full;
            int to = round == 0 ? full : blocks;
            long shift = round == 0 ? 0 : 1L * (packing.depth() - packing.block() - full * packing.block());
            for (int b = from; b < to; b++) {
                // First of all, as calls past a certain size of the method are not inlined.
                float scale0 = Memory.f32(s0 + 4L * b & ADDRESSES);
                float scale1 = Memory.f32(s1 + 4L * b & ADDRESSES);
                long at = b * BYTES + shift;
                long xs = x + b * (4 * BYTES) & ADDRESSES;
                IntVector v0 = IntVector.fromMemorySegment(I, ALL, w0 + at & ADDRESSES, LE);
                IntVector v1 = IntVector.fromMemorySegment(I, ALL, w1 + at & ADDRESSES, LE);
                FloatVector u = (FloatVector) v0.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                FloatVector v = (FloatVector) v1.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                FloatVector y = FloatVector.fromMemorySegment(F, ALL, xs, LE);
                FloatVector p00 = u.mul(y);
                FloatVector p10 = v.mul(y);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d1, LE);
                FloatVector p01 = u.mul(y);
                FloatVector p11 = v.mul(y);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d2, LE);
                FloatVector p02 = u.mul(y);
                FloatVector p12 = v.mul(y);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d3, LE);
                FloatVector p03 = u.mul(y);
                FloatVector p13 = v.mul(y);
                u = (FloatVector) v0.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                v = (FloatVector) v1.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                y = FloatVector.fromMemorySegment(F, ALL, xs + BYTES, LE);
                p00 = u.fma(y, p00);
                p10 = v.fma(y, p10);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d1 + BYTES, LE);
                p01 = u.fma(y, p01);
                p11 = v.fma(y, p11);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d2 + BYTES, LE);
                p02 = u.fma(y, p02);
                p12 = v.fma(y, p12);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d3 + BYTES, LE);
                p03 = u.fma(y, p03);
                p13 = v.fma(y, p13);
                u = (FloatVector) v0.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                v = (FloatVector) v1.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                y = FloatVector.fromMemorySegment(F, ALL, xs + 2 * BYTES, LE);
                p00 = u.fma(y, p00);
                p10 = v.fma(y, p10);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d1 + 2 * BYTES, LE);
                p01 = u.fma(y, p01);
                p11 = v.fma(y, p11);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d2 + 2 * BYTES, LE);
                p02 = u.fma(y, p02);
                p12 = v.fma(y, p12);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d3 + 2 * BYTES, LE);
                p03 = u.fma(y, p03);
                p13 = v.fma(y, p13);
                u = (FloatVector) v0.and(top).convert(VectorOperators.I2F, 0);
                v = (FloatVector) v1.and(top).convert(VectorOperators.I2F, 0);
                y = FloatVector.fromMemorySegment(F, ALL, xs + 3 * BYTES, LE);
                p00 = u.fma(y, p00);
                p10 = v.fma(y, p10);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d1 + 3 * BYTES, LE);
                p01 = u.fma(y, p01);
                p11 = v.fma(y, p11);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d2 + 3 * BYTES, LE);
                p02 = u.fma(y, p02);
                p12 = v.fma(y, p12);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d3 + 3 * BYTES, LE);
                p03 = u.fma(y, p03);
                p13 = v.fma(y, p13);
                y = FloatVector.broadcast(F, scale0);
                a00 = p00.fma(y, a00);
                a01 = p01.fma(y, a01);
                a02 = p02.fma(y, a02);
                a03 = p03.fma(y, a03);
                y = FloatVector.broadcast(F, scale1);
                a10 = p10.fma(y, a10);
                a11 = p11.fma(y, a11);
                a12 = p12.fma(y, a12);
                a13 = p13.fma(y, a13);
            }
        }
        a00.mul(MatVec.UNDO).intoMemorySegment(ALL, lanes, LE);
        a01.mul(MatVec.UNDO).intoMemorySegment(ALL, lanes + BYTES, LE);
        a02.mul(MatVec.UNDO).intoMemorySegment(ALL, lanes + 2 * BYTES, LE);
        a03.mul(MatVec.UNDO).intoMemorySegment(ALL, lanes + 3 * BYTES, LE);
        a10.mul(MatVec.UNDO).intoMemorySegment(ALL, lanes + 4 * BYTES, LE);
        a11.mul(MatVec.UNDO).intoMemorySegment(ALL, lanes + 5 * BYTES, LE);
        a12.mul(MatVec.UNDO).intoMemorySegment(ALL, lanes + 6 * BYTES, LE);
        a13.mul(MatVec.UNDO).intoMemorySegment(ALL, lanes + 7 * BYTES, LE);
    }
}
