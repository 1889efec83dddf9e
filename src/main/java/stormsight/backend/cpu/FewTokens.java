package stormsight.backend.cpu;

import static jdk.incubator.vector.VectorOperators.I2F;
import static stormsight.backend.cpu.Memory.ADDRESSES;
import static stormsight.backend.cpu.Memory.ALL;

import java.nio.ByteOrder;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import stormsight.program.DType;
import stormsight.program.Step;

/**
 * Dot products of a few packed rows of x with rows of weights: {@link MatVec} for several tokens, which share what is
 * read and decoded. Four rows of weights meet four tokens at a time, or two rows where they are Q4, or Q8 read as
 * integers; the next four tokens find the weights in the cache. Each sum is added up in the order of MatVec, so that a
 * token's result does not depend on the others.
 *
 * <p>The bodies are spelled out, and no longer than the compilers take, as in MatVec.
 */
final class FewTokens {
    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
    private static final VectorSpecies<Long> L = LongVector.SPECIES_PREFERRED;
    private static final int LANES = F.length();
    private static final long BYTES = 4L * LANES;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

    /** Neighbouring rows of weights that meet the same tokens. */
    private static final int ROWS = 4;

    /** Tokens of one pass over them. */
    private static final int TOKENS = 4;

    /** Bytes of the sums of the lanes: of each token those of each row. */
    private static final long SUMS = ROWS * TOKENS * BYTES;

    /** Bytes of scratch for the sums of the lanes, twice: of what a row ends with, too. */
    private static final long SCRATCH = 2 * SUMS;

    /** Weights that are read before they are multiplied, or {@link #ROWS} rows: they fit in the second-level cache. */
    private static final long AHEAD_BYTES = 64 << 10;

    /** Of a cache. */
    private static final long LINE = 64;

    /** What is read of a line. */
    private static final VectorSpecies<Integer> READ = IntVector.SPECIES_128;

    /** Whether two vectors of floats are a block of weights with a scale. */
    private static final boolean HALVES = 2 * LANES == DType.Q8_BLOCK;

    /** As many bytes as a float vector has lanes, where blocks are read as halves. */
    private static final VectorSpecies<Byte> B = HALVES ? ByteVector.SPECIES_128 : ByteVector.SPECIES_64;

    private FewTokens() {}

    /** Bytes of scratch; {@link MatVec#SCRATCH} is no more. For Q4, corrections of each token come last. */
    static long scratch(Packing packing) {
        return SCRATCH + (packing.perLane() == 8 ? Step.MOST_SEQUENCES * packing.slots() / 2L : 0);
    }

    /** Whether there are such loops for a type; others are multiplied token by token. */
    static boolean takes(DType dtype) {
        return dtype == DType.BF16 || dtype == DType.Q8 && Packing.Q8_BLOCKS > 0 || dtype == DType.Q4 && HALVES;
    }

    /**
     * {@code sums[t, i] = w[first + i] . x[t]} for count rows; count is a multiple of 4. Rows past the last one repeat
     * it.
     *
     * @param xBytes from a token of x to the next
     * @param sumBytes from the sums of a token to those of the next
     * @param lanes {@link #scratch}
     */
    static void rows(Weight w, Packing packing, int first, int count, long x, long xBytes, int tokens, long sums,
            long sumBytes, long lanes) {
        int last = w.rows() - 1;
        long rowBytes = w.rowBytes();
        long scaleBytes = w.scaleBytes();
        long corrections = lanes + SCRATCH;
        if (w.dtype() == DType.Q4) {
            for (int t = 0; t < tokens; t++) {
                MatVec.corrections(packing.vectors(), x + t * xBytes, corrections + t * (xBytes / 8));
            }
        }
        int ahead = (int) Math.max(1, AHEAD_BYTES / (ROWS * rowBytes)) * ROWS;
        for (int i = 0; i < count; i += ROWS) {
            int r0 = Math.min(first + i, last);
            int r1 = Math.min(first + i + 1, last);
            int r2 = Math.min(first + i + 2, last);
            int r3 = Math.min(first + i + 3, last);
            long w0 = w.address() + r0 * rowBytes;
            long w1 = w.address() + r1 * rowBytes;
            long w2 = w.address() + r2 * rowBytes;
            long w3 = w.address() + r3 * rowBytes;
            if (i % ahead == 0) {
                fetch(w0, Math.min(Math.min(ahead, count - i), w.rows() - r0) * rowBytes, lanes);
            }
            for (int t = 0; t < tokens; t += TOKENS) {
                // Surplus tokens repeat the last one.
                int left = tokens - 1 - t;
                long xs = x + t * xBytes;
                long d1 = Math.min(1, left) * xBytes;
                long d2 = Math.min(2, left) * xBytes;
                long d3 = Math.min(3, left) * xBytes;
                if (w.dtype() == DType.BF16) {
                    bf16(w0, w1, w2, w3, packing, xs, d1 & MatVec.FAR, d2 & MatVec.FAR, d3 & MatVec.FAR, lanes);
                } else {
                    d1 &= MatVec.FAR;
                    d2 &= MatVec.FAR;
                    d3 &= MatVec.FAR;
                    long c0 = w.scales() + r0 * scaleBytes;
                    long c1 = w.scales() + r1 * scaleBytes;
                    long c2 = w.scales() + r2 * scaleBytes;
                    long c3 = w.scales() + r3 * scaleBytes;
                    boolean q8 = w.dtype() == DType.Q8;
                    int vectors = packing.vectors();
                    long rest = vectors == 0 ? lanes : lanes + SUMS;
                    if (vectors > 0 && q8) {
                        q8Quads(w0, w1, c0, c1, packing, xs, d1, d2, d3, lanes, MatVec.TOP);
                        q8Quads(w2, w3, c2, c3, packing, xs, d1, d2, d3, lanes + 2 * BYTES, MatVec.TOP);
                    } else if (vectors > 0) {
                        long c = corrections + t * (xBytes / 8);
                        q4Eights(w0, w1, c0, c1, vectors, xs, d1, d2, d3, c, lanes, MatVec.LOW_MASK,
                                MatVec.HIGH_MASK, MatVec.LOW, MatVec.HIGH, MatVec.UPPER);
                        q4Eights(w2, w3, c2, c3, vectors, xs, d1, d2, d3, c, lanes + 2 * BYTES, MatVec.LOW_MASK,
                                MatVec.HIGH_MASK, MatVec.LOW, MatVec.HIGH, MatVec.UPPER);
                    }
                    if (vectors == 0 || packing.leavesOver()) {
                        if (q8) {
                            q8(w0, w1, w2, w3, c0, c1, c2, c3, packing, xs, d1, d2, d3, rest);
                        } else {
                            q4(w0, w1, c0, c1, packing, xs, d1, d2, d3, rest);
                            q4(w2, w3, c2, c3, packing, xs, d1, d2, d3, rest + 2 * BYTES);
                        }
                        if (vectors > 0) {
                            MatVec.merge(lanes, rest, ROWS * TOKENS);
                        }
                    }
                }
                long to = sums + t * sumBytes + 4L * i;
                int some = Math.min(TOKENS, tokens - t);
                LaneSums.add(lanes, some, to, sumBytes);
            }
        }
    }

    /**
     * Reads bytes one after the other, so that they are in the cache when they are multiplied. Prefetchers keep up with
     * a reading loop, and not with four rows that are read while much is computed.
     *
     * @param to where something is written that depends on all, or the compiler would read nothing
     */
    private static void fetch(long from, long bytes, long to) {
        // From the beginning of a cache line on, which is on the same page.
        long first = from & -LINE & ADDRESSES;
        ALL.get(Memory.FAULT, first);
        int lines = (int) ((from + bytes - first + LINE - 1) / LINE);
        IntVector all = IntVector.zero(READ);
        for (int i = 0; i < lines; i++) {
            all = all.add(IntVector.fromMemorySegment(READ, ALL, first + i * LINE & ADDRESSES, LE));
        }
        all.intoMemorySegment(ALL, to, LE);
    }

    private static void bf16(long w0, long w1, long w2, long w3, Packing packing, long x, long d1, long d2, long d3,
            long lanes) {
        ALL.get(Memory.FAULT, w0);
        FloatVector a00 = FloatVector.zero(F);
        FloatVector a01 = FloatVector.zero(F);
        FloatVector a02 = FloatVector.zero(F);
        FloatVector a03 = FloatVector.zero(F);
        FloatVector a10 = FloatVector.zero(F);
        FloatVector a11 = FloatVector.zero(F);
        FloatVector a12 = FloatVector.zero(F);
        FloatVector a13 = FloatVector.zero(F);
        FloatVector a20 = FloatVector.zero(F);
        FloatVector a21 = FloatVector.zero(F);
        FloatVector a22 = FloatVector.zero(F);
        FloatVector a23 = FloatVector.zero(F);
        FloatVector a30 = FloatVector.zero(F);
        FloatVector a31 = FloatVector.zero(F);
        FloatVector a32 = FloatVector.zero(F);
        FloatVector a33 = FloatVector.zero(F);
        int blocks = packing.slots() / packing.block();
        int full = packing.fullBlocks();
        // The second round is the partial block, which starts earlier in the row than its number says.
        for (int round = 0; round < 2; round++) {
            int from = round == 0 ? 0 : full;
            int to = round == 0 ? full : blocks;
            long shift = round == 0 ? 0 : 2L * (packing.depth() - packing.block() - full * packing.block());
            for (int b = from; b < to; b++) {
                long at = b * BYTES + shift;
                long xs = x + b * (2 * BYTES) & ADDRESSES;
                IntVector pairs = IntVector.fromMemorySegment(I, ALL, w0 + at & ADDRESSES, LE);
                FloatVector e0 = pairs.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                FloatVector o0 = pairs.and(0xFFFF0000).reinterpretAsFloats();
                pairs = IntVector.fromMemorySegment(I, ALL, w1 + at & ADDRESSES, LE);
                FloatVector e1 = pairs.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                FloatVector o1 = pairs.and(0xFFFF0000).reinterpretAsFloats();
                pairs = IntVector.fromMemorySegment(I, ALL, w2 + at & ADDRESSES, LE);
                FloatVector e2 = pairs.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                FloatVector o2 = pairs.and(0xFFFF0000).reinterpretAsFloats();
                pairs = IntVector.fromMemorySegment(I, ALL, w3 + at & ADDRESSES, LE);
                FloatVector e3 = pairs.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                FloatVector o3 = pairs.and(0xFFFF0000).reinterpretAsFloats();
                FloatVector y = FloatVector.fromMemorySegment(F, ALL, xs, LE);
                a00 = e0.fma(y, a00);
                a10 = e1.fma(y, a10);
                a20 = e2.fma(y, a20);
                a30 = e3.fma(y, a30);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d1, LE);
                a01 = e0.fma(y, a01);
                a11 = e1.fma(y, a11);
                a21 = e2.fma(y, a21);
                a31 = e3.fma(y, a31);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d2, LE);
                a02 = e0.fma(y, a02);
                a12 = e1.fma(y, a12);
                a22 = e2.fma(y, a22);
                a32 = e3.fma(y, a32);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d3, LE);
                a03 = e0.fma(y, a03);
                a13 = e1.fma(y, a13);
                a23 = e2.fma(y, a23);
                a33 = e3.fma(y, a33);
                y = FloatVector.fromMemorySegment(F, ALL, xs + BYTES, LE);
                a00 = o0.fma(y, a00);
                a10 = o1.fma(y, a10);
                a20 = o2.fma(y, a20);
                a30 = o3.fma(y, a30);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d1 + BYTES, LE);
                a01 = o0.fma(y, a01);
                a11 = o1.fma(y, a11);
                a21 = o2.fma(y, a21);
                a31 = o3.fma(y, a31);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d2 + BYTES, LE);
                a02 = o0.fma(y, a02);
                a12 = o1.fma(y, a12);
                a22 = o2.fma(y, a22);
                a32 = o3.fma(y, a32);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d3 + BYTES, LE);
                a03 = o0.fma(y, a03);
                a13 = o1.fma(y, a13);
                a23 = o2.fma(y, a23);
                a33 = o3.fma(y, a33);
            }
        }
        a00.intoMemorySegment(ALL, lanes, LE);
        a01.intoMemorySegment(ALL, lanes + 4 * BYTES, LE);
        a02.intoMemorySegment(ALL, lanes + 8 * BYTES, LE);
        a03.intoMemorySegment(ALL, lanes + 12 * BYTES, LE);
        a10.intoMemorySegment(ALL, lanes + BYTES, LE);
        a11.intoMemorySegment(ALL, lanes + 5 * BYTES, LE);
        a12.intoMemorySegment(ALL, lanes + 9 * BYTES, LE);
        a13.intoMemorySegment(ALL, lanes + 13 * BYTES, LE);
        a20.intoMemorySegment(ALL, lanes + 2 * BYTES, LE);
        a21.intoMemorySegment(ALL, lanes + 6 * BYTES, LE);
        a22.intoMemorySegment(ALL, lanes + 10 * BYTES, LE);
        a23.intoMemorySegment(ALL, lanes + 14 * BYTES, LE);
        a30.intoMemorySegment(ALL, lanes + 3 * BYTES, LE);
        a31.intoMemorySegment(ALL, lanes + 7 * BYTES, LE);
        a32.intoMemorySegment(ALL, lanes + 11 * BYTES, LE);
        a33.intoMemorySegment(ALL, lanes + 15 * BYTES, LE);
    }

    /**
     * Of blocks that {@link #q8Quads} leaves over: one is two vectors, whose sum is multiplied with its scale, as in
     * MatVec.
     */
    private static void q8(long w0, long w1, long w2, long w3, long s0, long s1, long s2, long s3, Packing packing,
            long x, long d1, long d2, long d3, long lanes) {
        FloatVector a00 = FloatVector.zero(F);
        FloatVector a01 = FloatVector.zero(F);
        FloatVector a02 = FloatVector.zero(F);
        FloatVector a03 = FloatVector.zero(F);
        FloatVector a10 = FloatVector.zero(F);
        FloatVector a11 = FloatVector.zero(F);
        FloatVector a12 = FloatVector.zero(F);
        FloatVector a13 = FloatVector.zero(F);
        FloatVector a20 = FloatVector.zero(F);
        FloatVector a21 = FloatVector.zero(F);
        FloatVector a22 = FloatVector.zero(F);
        FloatVector a23 = FloatVector.zero(F);
        FloatVector a30 = FloatVector.zero(F);
        FloatVector a31 = FloatVector.zero(F);
        FloatVector a32 = FloatVector.zero(F);
        FloatVector a33 = FloatVector.zero(F);
        int blocks = packing.slots() / packing.block();
        int full = packing.fullBlocks();
        // The second round is the partial block, which starts earlier in the row than its number says.
        for (int round = 0; round < 2; round++) {
            int from = round == 0 ? packing.rest() : full;
            int to = round == 0 ? full : blocks;
            long shift = round == 0 ? 0 : 1L * (packing.depth() - packing.block() - full * packing.block());
            for (int b = from; b < to; b++) {
                // First of all, as calls past a certain size of the method are not inlined.
                float scale0 = Memory.f32(s0 + 4L * b & ADDRESSES);
                float scale1 = Memory.f32(s1 + 4L * b & ADDRESSES);
                float scale2 = Memory.f32(s2 + 4L * b & ADDRESSES);
                float scale3 = Memory.f32(s3 + 4L * b & ADDRESSES);
                long at = b * (long) DType.Q8_BLOCK + shift;
                long xs = x + b * (2 * BYTES) & ADDRESSES;
                FloatVector f0 = FloatVector.broadcast(F, scale0);
                long block0 = w0 + at & ADDRESSES;
                FloatVector u0 = (FloatVector) ByteVector.fromMemorySegment(B, ALL, block0, LE)
                        .convertShape(VectorOperators.B2F, F, 0);
                FloatVector v0 = (FloatVector) ByteVector.fromMemorySegment(B, ALL, block0 + LANES, LE)
                        .convertShape(VectorOperators.B2F, F, 0);
                FloatVector f1 = FloatVector.broadcast(F, scale1);
                long block1 = w1 + at & ADDRESSES;
                FloatVector u1 = (FloatVector) ByteVector.fromMemorySegment(B, ALL, block1, LE)
                        .convertShape(VectorOperators.B2F, F, 0);
                FloatVector v1 = (FloatVector) ByteVector.fromMemorySegment(B, ALL, block1 + LANES, LE)
                        .convertShape(VectorOperators.B2F, F, 0);
                FloatVector f2 = FloatVector.broadcast(F, scale2);
                long block2 = w2 + at & ADDRESSES;
                FloatVector u2 = (FloatVector) ByteVector.fromMemorySegment(B, ALL, block2, LE)
                        .convertShape(VectorOperators.B2F, F, 0);
                FloatVector v2 = (FloatVector) ByteVector.fromMemorySegment(B, ALL, block2 + LANES, LE)
                        .convertShape(VectorOperators.B2F, F, 0);
                FloatVector f3 = FloatVector.broadcast(F, scale3);
                long block3 = w3 + at & ADDRESSES;
                FloatVector u3 = (FloatVector) ByteVector.fromMemorySegment(B, ALL, block3, LE)
                        .convertShape(VectorOperators.B2F, F, 0);
                FloatVector v3 = (FloatVector) ByteVector.fromMemorySegment(B, ALL, block3 + LANES, LE)
                        .convertShape(VectorOperators.B2F, F, 0);
                FloatVector y = FloatVector.fromMemorySegment(F, ALL, xs, LE);
                FloatVector z = FloatVector.fromMemorySegment(F, ALL, xs + BYTES, LE);
                a00 = v0.fma(z, u0.mul(y)).fma(f0, a00);
                a10 = v1.fma(z, u1.mul(y)).fma(f1, a10);
                a20 = v2.fma(z, u2.mul(y)).fma(f2, a20);
                a30 = v3.fma(z, u3.mul(y)).fma(f3, a30);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d1, LE);
                z = FloatVector.fromMemorySegment(F, ALL, xs + d1 + BYTES, LE);
                a01 = v0.fma(z, u0.mul(y)).fma(f0, a01);
                a11 = v1.fma(z, u1.mul(y)).fma(f1, a11);
                a21 = v2.fma(z, u2.mul(y)).fma(f2, a21);
                a31 = v3.fma(z, u3.mul(y)).fma(f3, a31);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d2, LE);
                z = FloatVector.fromMemorySegment(F, ALL, xs + d2 + BYTES, LE);
                a02 = v0.fma(z, u0.mul(y)).fma(f0, a02);
                a12 = v1.fma(z, u1.mul(y)).fma(f1, a12);
                a22 = v2.fma(z, u2.mul(y)).fma(f2, a22);
                a32 = v3.fma(z, u3.mul(y)).fma(f3, a32);
                y = FloatVector.fromMemorySegment(F, ALL, xs + d3, LE);
                z = FloatVector.fromMemorySegment(F, ALL, xs + d3 + BYTES, LE);
                a03 = v0.fma(z, u0.mul(y)).fma(f0, a03);
                a13 = v1.fma(z, u1.mul(y)).fma(f1, a13);
                a23 = v2.fma(z, u2.mul(y)).fma(f2, a23);
                a33 = v3.fma(z, u3.mul(y)).fma(f3, a33);
            }
        }
        a00.intoMemorySegment(ALL, lanes, LE);
        a01.intoMemorySegment(ALL, lanes + 4 * BYTES, LE);
        a02.intoMemorySegment(ALL, lanes + 8 * BYTES, LE);
        a03.intoMemorySegment(ALL, lanes + 12 * BYTES, LE);
        a10.intoMemorySegment(ALL, lanes + BYTES, LE);
        a11.intoMemorySegment(ALL, lanes + 5 * BYTES, LE);
        a12.intoMemorySegment(ALL, lanes + 9 * BYTES, LE);
        a13.intoMemorySegment(ALL, lanes + 13 * BYTES, LE);
        a20.intoMemorySegment(ALL, lanes + 2 * BYTES, LE);
        a21.intoMemorySegment(ALL, lanes + 6 * BYTES, LE);
        a22.intoMemorySegment(ALL, lanes + 10 * BYTES, LE);
        a23.intoMemorySegment(ALL, lanes + 14 * BYTES, LE);
        a30.intoMemorySegment(ALL, lanes + 3 * BYTES, LE);
        a31.intoMemorySegment(ALL, lanes + 7 * BYTES, LE);
        a32.intoMemorySegment(ALL, lanes + 11 * BYTES, LE);
        a33.intoMemorySegment(ALL, lanes + 15 * BYTES, LE);
    }

    /**
     * As {@link #q8}, of four-bit weights of blocks that {@link #q4Eights} leaves over, in two rows: a vector of bytes
     * gives both vectors of a block.
     */
    private static void q4(long w0, long w1, long s0, long s1, Packing packing, long x, long d1, long d2, long d3,
            long lanes) {
        FloatVector a00 = FloatVector.zero(F);
        FloatVector a01 = FloatVector.zero(F);
        FloatVector a02 = FloatVector.zero(F);
        FloatVector a03 = FloatVector.zero(F);
        FloatVector a10 = FloatVector.zero(F);
        FloatVector a11 = FloatVector.zero(F);
        FloatVector a12 = FloatVector.zero(F);
        FloatVector a13 = FloatVector.zero(F);
        int blocks = packing.fullBlocks();
        for (int b = packing.rest(); b < blocks; b++) {
            // First of all, as calls past a certain size of the method are not inlined.
            float scale0 = Float.intBitsToFloat(Memory.i16(s0 + 2L * b & ADDRESSES) << 16);
            float scale1 = Float.intBitsToFloat(Memory.i16(s1 + 2L * b & ADDRESSES) << 16);
            long at = b * (DType.Q4_BLOCK / 2L);
            long xs = x + b * (2 * BYTES) & ADDRESSES;
            FloatVector f0 = FloatVector.broadcast(F, scale0);
            IntVector pairs0 = (IntVector) ByteVector.fromMemorySegment(MatVec.PAIRS, ALL, w0 + at & ADDRESSES, LE)
                    .convertShape(VectorOperators.B2I, I, 0);
            FloatVector u0 = (FloatVector) pairs0.lanewise(VectorOperators.LSHL, 28)
                    .lanewise(VectorOperators.ASHR, 28).convertShape(I2F, F, 0);
            FloatVector v0 = (FloatVector) pairs0.lanewise(VectorOperators.ASHR, 4).convertShape(I2F, F, 0);
            FloatVector f1 = FloatVector.broadcast(F, scale1);
            IntVector pairs1 = (IntVector) ByteVector.fromMemorySegment(MatVec.PAIRS, ALL, w1 + at & ADDRESSES, LE)
                    .convertShape(VectorOperators.B2I, I, 0);
            FloatVector u1 = (FloatVector) pairs1.lanewise(VectorOperators.LSHL, 28)
                    .lanewise(VectorOperators.ASHR, 28).convertShape(I2F, F, 0);
            FloatVector v1 = (FloatVector) pairs1.lanewise(VectorOperators.ASHR, 4).convertShape(I2F, F, 0);
            FloatVector y = FloatVector.fromMemorySegment(F, ALL, xs, LE);
            FloatVector z = FloatVector.fromMemorySegment(F, ALL, xs + BYTES, LE);
            a00 = v0.fma(z, u0.mul(y)).fma(f0, a00);
            a10 = v1.fma(z, u1.mul(y)).fma(f1, a10);
            y = FloatVector.fromMemorySegment(F, ALL, xs + d1, LE);
            z = FloatVector.fromMemorySegment(F, ALL, xs + d1 + BYTES, LE);
            a01 = v0.fma(z, u0.mul(y)).fma(f0, a01);
            a11 = v1.fma(z, u1.mul(y)).fma(f1, a11);
            y = FloatVector.fromMemorySegment(F, ALL, xs + d2, LE);
            z = FloatVector.fromMemorySegment(F, ALL, xs + d2 + BYTES, LE);
            a02 = v0.fma(z, u0.mul(y)).fma(f0, a02);
            a12 = v1.fma(z, u1.mul(y)).fma(f1, a12);
            y = FloatVector.fromMemorySegment(F, ALL, xs + d3, LE);
            z = FloatVector.fromMemorySegment(F, ALL, xs + d3 + BYTES, LE);
            a03 = v0.fma(z, u0.mul(y)).fma(f0, a03);
            a13 = v1.fma(z, u1.mul(y)).fma(f1, a13);
        }
        a00.intoMemorySegment(ALL, lanes, LE);
        a01.intoMemorySegment(ALL, lanes + 4 * BYTES, LE);
        a02.intoMemorySegment(ALL, lanes + 8 * BYTES, LE);
        a03.intoMemorySegment(ALL, lanes + 12 * BYTES, LE);
        a10.intoMemorySegment(ALL, lanes + BYTES, LE);
        a11.intoMemorySegment(ALL, lanes + 5 * BYTES, LE);
        a12.intoMemorySegment(ALL, lanes + 9 * BYTES, LE);
        a13.intoMemorySegment(ALL, lanes + 13 * BYTES, LE);
    }

    /**
     * Eight weights are read as one integer, as in MatVec: first the lower four bits of each byte meet all tokens, byte
     * by byte, then the upper ones.
     *
     * @param c corrections of the first token; those of the others are an eighth as far apart as they are in x
     */
    private static void q4Eights(long w0, long w1, long s0, long s1, int vectors, long x, long d1, long d2, long d3,
            long c, long lanes, int lowMask, int highMask, int low, int high, int upper) {
        IntVector lowMasks = IntVector.broadcast(I, lowMask);
        IntVector highMasks = IntVector.broadcast(I, highMask);
        IntVector lows = IntVector.broadcast(I, low);
        IntVector highs = IntVector.broadcast(I, high);
        ShortVector uppers = IntVector.broadcast(I, upper).reinterpretAsShorts();
        FloatVector zero = FloatVector.zero(F);
        FloatVector a00 = zero;
        FloatVector a01 = zero;
        FloatVector a02 = zero;
        FloatVector a03 = zero;
        FloatVector a10 = zero;
        FloatVector a11 = zero;
        FloatVector a12 = zero;
        FloatVector a13 = zero;
        for (int i = 0; i < vectors; i++) {
            // First of all, as calls past a certain size of the method are not inlined.
            FloatVector f0 = LongVector.broadcast(L, Memory.i64(s0 + 8L * i & ADDRESSES)).reinterpretAsShorts()
                    .rearrange(MatVec.SPREAD).and(uppers).reinterpretAsFloats();
            FloatVector f1 = LongVector.broadcast(L, Memory.i64(s1 + 8L * i & ADDRESSES)).reinterpretAsShorts()
                    .rearrange(MatVec.SPREAD).and(uppers).reinterpretAsFloats();
            long xs = x + i * (8 * BYTES) & ADDRESSES;
            long cs = c + i * BYTES & ADDRESSES;
            IntVector v0 = IntVector.fromMemorySegment(I, ALL, w0 + i * BYTES & ADDRESSES, LE)
                    .lanewise(VectorOperators.ROL, 15);
            IntVector v1 = IntVector.fromMemorySegment(I, ALL, w1 + i * BYTES & ADDRESSES, LE)
                    .lanewise(VectorOperators.ROL, 15);
            FloatVector p00 = FloatVector.fromMemorySegment(F, ALL, cs, LE);
            FloatVector p01 = FloatVector.fromMemorySegment(F, ALL, cs + (d1 >>> 3), LE);
            FloatVector p02 = FloatVector.fromMemorySegment(F, ALL, cs + (d2 >>> 3), LE);
            FloatVector p03 = FloatVector.fromMemorySegment(F, ALL, cs + (d3 >>> 3), LE);
            FloatVector p10 = p00;
            FloatVector p11 = p01;
            FloatVector p12 = p02;
            FloatVector p13 = p03;
            for (int j = 0; j < 4; j++) {
                long at = xs + j * (2 * BYTES) & ADDRESSES;
                FloatVector u = v0.and(lowMasks).lanewise(VectorOperators.XOR, lows).reinterpretAsFloats();
                FloatVector v = v1.and(lowMasks).lanewise(VectorOperators.XOR, lows).reinterpretAsFloats();
                FloatVector y = FloatVector.fromMemorySegment(F, ALL, at, LE);
                p00 = u.fma(y, p00);
                p10 = v.fma(y, p10);
                y = FloatVector.fromMemorySegment(F, ALL, at + d1, LE);
                p01 = u.fma(y, p01);
                p11 = v.fma(y, p11);
                y = FloatVector.fromMemorySegment(F, ALL, at + d2, LE);
                p02 = u.fma(y, p02);
                p12 = v.fma(y, p12);
                y = FloatVector.fromMemorySegment(F, ALL, at + d3, LE);
                p03 = u.fma(y, p03);
                p13 = v.fma(y, p13);
                v0 = v0.lanewise(VectorOperators.ROR, 8);
                v1 = v1.lanewise(VectorOperators.ROR, 8);
            }
            a00 = p00.fma(f0, a00);
            a01 = p01.fma(f0, a01);
            a02 = p02.fma(f0, a02);
            a03 = p03.fma(f0, a03);
            a10 = p10.fma(f1, a10);
            a11 = p11.fma(f1, a11);
            a12 = p12.fma(f1, a12);
            a13 = p13.fma(f1, a13);
            p00 = zero;
            p01 = zero;
            p02 = zero;
            p03 = zero;
            p10 = zero;
            p11 = zero;
            p12 = zero;
            p13 = zero;
            for (int j = 0; j < 4; j++) {
                long at = xs + j * (2 * BYTES) + BYTES & ADDRESSES;
                FloatVector u = v0.and(highMasks).lanewise(VectorOperators.XOR, highs).reinterpretAsFloats();
                FloatVector v = v1.and(highMasks).lanewise(VectorOperators.XOR, highs).reinterpretAsFloats();
                FloatVector y = FloatVector.fromMemorySegment(F, ALL, at, LE);
                p00 = u.fma(y, p00);
                p10 = v.fma(y, p10);
                y = FloatVector.fromMemorySegment(F, ALL, at + d1, LE);
                p01 = u.fma(y, p01);
                p11 = v.fma(y, p11);
                y = FloatVector.fromMemorySegment(F, ALL, at + d2, LE);
                p02 = u.fma(y, p02);
                p12 = v.fma(y, p12);
                y = FloatVector.fromMemorySegment(F, ALL, at + d3, LE);
                p03 = u.fma(y, p03);
                p13 = v.fma(y, p13);
                v0 = v0.lanewise(VectorOperators.ROR, 8);
                v1 = v1.lanewise(VectorOperators.ROR, 8);
            }
            a00 = p00.fma(f0, a00);
            a01 = p01.fma(f0, a01);
            a02 = p02.fma(f0, a02);
            a03 = p03.fma(f0, a03);
            a10 = p10.fma(f1, a10);
            a11 = p11.fma(f1, a11);
            a12 = p12.fma(f1, a12);
            a13 = p13.fma(f1, a13);
        }
        a00.intoMemorySegment(ALL, lanes, LE);
        a01.intoMemorySegment(ALL, lanes + 4 * BYTES, LE);
        a02.intoMemorySegment(ALL, lanes + 8 * BYTES, LE);
        a03.intoMemorySegment(ALL, lanes + 12 * BYTES, LE);
        a10.intoMemorySegment(ALL, lanes + BYTES, LE);
        a11.intoMemorySegment(ALL, lanes + 5 * BYTES, LE);
        a12.intoMemorySegment(ALL, lanes + 9 * BYTES, LE);
        a13.intoMemorySegment(ALL, lanes + 13 * BYTES, LE);
    }

    /** Weights are moved to the top of an integer as in MatVec, and what is 2^24 times too much is undone. */
    private static void q8Quads(long w0, long w1, long s0, long s1, Packing packing, long x, long d1, long d2, long d3,
            long lanes, int mask) {
        IntVector top = IntVector.broadcast(I, mask);
        FloatVector undo = FloatVector.broadcast(F, MatVec.UNDO);
        FloatVector a00 = FloatVector.zero(F);
        FloatVector a01 = FloatVector.zero(F);
        FloatVector a02 = FloatVector.zero(F);
        FloatVector a03 = FloatVector.zero(F);
        FloatVector a10 = FloatVector.zero(F);
        FloatVector a11 = FloatVector.zero(F);
        FloatVector a12 = FloatVector.zero(F);
        FloatVector a13 = FloatVector.zero(F);
        // The second round is the partial block, which starts earlier in the row than its number says; it is left over
        // where a vector is two.
        int full = packing.vectors();
        int blocks = MatVec.TWO_BLOCKS ? full : packing.slots() / packing.block();
        for (int round = 0; round < 2; round++) {
            int from = round == 0 ? 0 : full;
            int to = round == 0 ? full : blocks;
            long shift = round == 0 ? 0 : 1L * (packing.depth() - packing.block() - full * packing.block());
            for (int b = from; b < to; b++) {
                // First of all, as calls past a certain size of the method are not inlined.
                FloatVector scale0 = (MatVec.TWO_BLOCKS
                        ? LongVector.broadcast(L, Memory.i64(s0 + MatVec.SCALES * b & ADDRESSES)).reinterpretAsInts()
                                .rearrange(MatVec.HALVES)
                        : IntVector.broadcast(I, Memory.i32(s0 + MatVec.SCALES * b & ADDRESSES)))
                        .reinterpretAsFloats();
                FloatVector scale1 = (MatVec.TWO_BLOCKS
                        ? LongVector.broadcast(L, Memory.i64(s1 + MatVec.SCALES * b & ADDRESSES)).reinterpretAsInts()
                                .rearrange(MatVec.HALVES)
                        : IntVector.broadcast(I, Memory.i32(s1 + MatVec.SCALES * b & ADDRESSES)))
                        .reinterpretAsFloats();
                long at = b * BYTES + shift;
                long xs = x + b * (4 * BYTES) & ADDRESSES;
                IntVector v0 = IntVector.fromMemorySegment(I, ALL, w0 + at & ADDRESSES, LE);
                IntVector v1 = IntVector.fromMemorySegment(I, ALL, w1 + at & ADDRESSES, LE);
                FloatVector u = (FloatVector) v0.lanewise(VectorOperators.LSHL, 24).convertShape(I2F, F, 0);
                FloatVector v = (FloatVector) v1.lanewise(VectorOperators.LSHL, 24).convertShape(I2F, F, 0);
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
                u = (FloatVector) v0.lanewise(VectorOperators.LSHL, 16).and(top).convertShape(I2F, F, 0);
                v = (FloatVector) v1.lanewise(VectorOperators.LSHL, 16).and(top).convertShape(I2F, F, 0);
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
                u = (FloatVector) v0.lanewise(VectorOperators.LSHL, 8).and(top).convertShape(I2F, F, 0);
                v = (FloatVector) v1.lanewise(VectorOperators.LSHL, 8).and(top).convertShape(I2F, F, 0);
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
                u = (FloatVector) v0.and(top).convertShape(I2F, F, 0);
                v = (FloatVector) v1.and(top).convertShape(I2F, F, 0);
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
                a00 = p00.fma(scale0, a00);
                a01 = p01.fma(scale0, a01);
                a02 = p02.fma(scale0, a02);
                a03 = p03.fma(scale0, a03);
                a10 = p10.fma(scale1, a10);
                a11 = p11.fma(scale1, a11);
                a12 = p12.fma(scale1, a12);
                a13 = p13.fma(scale1, a13);
            }
        }
        a00.mul(undo).intoMemorySegment(ALL, lanes, LE);
        a01.mul(undo).intoMemorySegment(ALL, lanes + 4 * BYTES, LE);
        a02.mul(undo).intoMemorySegment(ALL, lanes + 8 * BYTES, LE);
        a03.mul(undo).intoMemorySegment(ALL, lanes + 12 * BYTES, LE);
        a10.mul(undo).intoMemorySegment(ALL, lanes + BYTES, LE);
        a11.mul(undo).intoMemorySegment(ALL, lanes + 5 * BYTES, LE);
        a12.mul(undo).intoMemorySegment(ALL, lanes + 9 * BYTES, LE);
        a13.mul(undo).intoMemorySegment(ALL, lanes + 13 * BYTES, LE);
    }
}
