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
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;
import stormsight.program.DType;

/**
 * Dot products of one packed row of x with rows of weights: memory bandwidth is the limit. Each loop reads several rows
 * at once that lie far apart, which suits hardware prefetchers better than neighbours do. Two 16-bit weights are read
 * as one integer lane. The sums of the lanes go through memory, to be added in a fixed order.
 *
 * <p>The bodies are spelled out: a method of ours that takes or returns vectors may not be inlined, and then they are
 * boxed. Nor may a body be too long. HotSpot's second compiler stops inlining where a method has grown to 40,000 nodes
 * (LiveNodeCountInliningCutoff); an operation of the Vector API takes 350 to 450 of them. What is not inlined by then
 * may box its vectors for as long as the process runs, at a hundredth of the speed. In still longer bodies the first
 * compiler runs out of registers, and the second never gets to compile them. So none grows beyond 35,000 nodes:
 * {@code live} in the log of -XX:+UnlockDiagnosticVMOptions -XX:+LogCompilation. VectorCallsTest counts
 * calls. Conversions name their species: {@code convert} takes it from its receiver, whose type the compiler may not
 * know yet.
 */
final class MatVec {
    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
    private static final int LANES = F.length();
    private static final long BYTES = 4L * LANES;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

    /** As many bytes as a float vector has lanes, or 8 where that is too few for a vector. */
    private static final VectorSpecies<Byte> B = LANES == 16 ? ByteVector.SPECIES_128
            : LANES == 8 ? ByteVector.SPECIES_64 : LANES == 32 ? ByteVector.SPECIES_256 : ByteVector.SPECIES_64;

    /** As many bytes of pairs of four-bit weights as a float vector has lanes, or 8 where that is too few. */
    static final VectorSpecies<Byte> PAIRS = LANES >= 16 ? ByteVector.SPECIES_128 : ByteVector.SPECIES_64;

    /** The byte of an integer that a weight is moved to, and what undoes that. */
    static final int TOP = 0xFF000000;
    static final float UNDO = 0x1p-24f;

    /** No two rows, of weights or of x, are farther apart, and the compiler may know. */
    static final long FAR = (1L << 40) - 1;

    /** Rows that one pass reads. */
    private static final int STREAMS = 4;

    /** Bytes of scratch for the sums of the lanes, twice: of what a row ends with, too. */
    static final long SCRATCH = 2 * STREAMS * BYTES;

    private static final VectorSpecies<Long> L = LongVector.SPECIES_PREFERRED;
    private static final VectorSpecies<Short> S = ShortVector.SPECIES_PREFERRED;

    /** Four scales of 16 bits, in every place of a vector of them, become those of four lanes each. */
    static final VectorShuffle<Short> SPREAD = VectorShuffle.fromOp(S, i -> i / 8);

    /** Whether a vector of integers holds two blocks of Q8, each with its scale in half the lanes. */
    static final boolean TWO_BLOCKS = Packing.Q8_BLOCKS == 2;

    /** Bytes of the scales of a vector of integers of Q8. */
    static final long SCALES = 4L * Packing.Q8_BLOCKS;

    /** Two scales, in every place of a vector of them, become those of half the lanes each. */
    static final VectorShuffle<Integer> HALVES = VectorShuffle.fromOp(I, i -> i / 8 % LANES);

    /** What is left of a lane: a scale is the upper half of a float. */
    static final int UPPER = 0xFFFF0000;

    // A byte of two weights of four bits is moved to the upper bits of a float's fraction. Either of them, with another
    // sign, makes a float of that size that is larger than the weight by a constant.
    static final int LOW_MASK = 0x0F << 15;
    static final int HIGH_MASK = 0xF0 << 15;
    static final int LOW = Float.floatToRawIntBits(0x1p8f) ^ 0x08 << 15;
    static final int HIGH = Float.floatToRawIntBits(0x1p4f) ^ 0x80 << 15;
    static final float LOW_BIAS = 0x1p8f + 8;
    static final float HIGH_BIAS = 0x1p4f + 8;

    private MatVec() {}

    /**
     * Whether loads of four-bit weights end behind the tensor: they take more bytes than a short vector has lanes, and
     * few scales follow the last ones.
     */
    static boolean readsPast(Weight w) {
        return w.dtype() == DType.Q4 && w.rows() * w.scaleBytes() < PAIRS.length() - LANES;
    }

    /**
     * {@code sums[i] = w[first + i] . x} for count rows; count is a multiple of 4. Rows past the last one repeat it.
     *
     * @param lanes scratch of {@link #SCRATCH} bytes, and for Q4 an eighth of x more
     */
    static void rows(Weight w, Packing packing, int first, int count, long x, long sums, long lanes) {
        int distance = count / STREAMS;
        if (w.dtype() == DType.Q4) {
            corrections(packing.vectors(), x, lanes + SCRATCH);
        }
        for (int i = 0; i < distance; i++) {
            lanes(w, packing, first + i, distance, x, lanes, lanes + SCRATCH / 2);
            LaneSums.four(lanes, sums + 4L * i, 4L * distance);
        }
    }

    /**
     * Writes the lanes of four rows.
     *
     * @param rest scratch of four vectors, half of {@link #SCRATCH} before the corrections
     */
    private static void lanes(Weight w, Packing packing, int row, int distance, long x, long lanes, long rest) {
        int last = w.rows() - 1;
        long rowBytes = w.rowBytes();
        long scaleBytes = w.scaleBytes();
        int vectors = packing.vectors();
        long end = vectors == 0 ? lanes : rest;
        switch (w.dtype()) {
            case BF16 -> bf16(w.address(), rowBytes, row, distance, last, packing, x, lanes);
            case F16 -> f16(w.address(), rowBytes, row, distance, last, packing, x, lanes);
            case F32 -> f32(w.address(), rowBytes, row, distance, last, packing, x, lanes);
            case Q8 -> {
                if (vectors > 0) {
                    q8Quads(w.address(), rowBytes, w.scales(), scaleBytes, row, distance, last, packing, x, lanes,
                            TOP);
                }
                if (vectors == 0 || packing.leavesOver()) {
                    q8(w.address(), rowBytes, w.scales(), scaleBytes, row, distance, last, packing, x, end);
                }
            }
            case Q4 -> {
                if (vectors > 0) {
                    q4Eights(w.address(), rowBytes, w.scales(), scaleBytes, row, distance, last, vectors, x,
                            rest + SCRATCH / 2, lanes, LOW_MASK, HIGH_MASK, LOW, HIGH, UPPER);
                }
                if (vectors == 0 || packing.leavesOver()) {
                    q4(w.address(), rowBytes, w.scales(), scaleBytes, row, distance, last, packing, x, end);
                }
            }
            case I32, U8 -> throw new IllegalStateException("weights of type " + w.dtype());
        }
        if (end != lanes && packing.leavesOver()) {
            merge(lanes, end, STREAMS);
        }
    }

    /** Adds vectors to others. */
    static void merge(long lanes, long rest, int vectors) {
        for (int i = 0; i < vectors; i++) {
            FloatVector.fromMemorySegment(F, ALL, lanes + i * BYTES, LE)
                    .add(FloatVector.fromMemorySegment(F, ALL, rest + i * BYTES, LE))
                    .intoMemorySegment(ALL, lanes + i * BYTES, LE);
        }
    }

    private static void bf16(long w, long rowBytes, int row, int distance, int last, Packing packing, long x,
            long lanes) {
        ALL.get(Memory.FAULT, w);
        long w0 = w + Math.min(row, last) * rowBytes;
        long w1 = w + Math.min(row + distance, last) * rowBytes;
        long w2 = w + Math.min(row + 2 * distance, last) * rowBytes;
        long w3 = w + Math.min(row + 3 * distance, last) * rowBytes;
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        int blocks = packing.slots() / packing.block();
        int full = packing.fullBlocks();
        // The second round is the partial block, which starts earlier in the row than its number says.
        for (int round = 0; round < 2; round++) {
            int from = round == 0 ? 0 : full;
            int to = round == 0 ? full : blocks;
            long shift = round == 0 ? 0 : 2L * (packing.depth() - packing.block() - full * packing.block());
            for (int b = from; b < to; b++) {
                long at = b * BYTES + shift;
                FloatVector xe = FloatVector.fromMemorySegment(F, ALL, x + b * (2 * BYTES), LE);
                FloatVector xo = FloatVector.fromMemorySegment(F, ALL, x + b * (2 * BYTES) + BYTES, LE);
                IntVector pairs = IntVector.fromMemorySegment(I, ALL, w0 + at, LE);
                a0 = pairs.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(xe, a0);
                a0 = pairs.and(0xFFFF0000).reinterpretAsFloats().fma(xo, a0);
                pairs = IntVector.fromMemorySegment(I, ALL, w1 + at, LE);
                a1 = pairs.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(xe, a1);
                a1 = pairs.and(0xFFFF0000).reinterpretAsFloats().fma(xo, a1);
                pairs = IntVector.fromMemorySegment(I, ALL, w2 + at, LE);
                a2 = pairs.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(xe, a2);
                a2 = pairs.and(0xFFFF0000).reinterpretAsFloats().fma(xo, a2);
                pairs = IntVector.fromMemorySegment(I, ALL, w3 + at, LE);
                a3 = pairs.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(xe, a3);
                a3 = pairs.and(0xFFFF0000).reinterpretAsFloats().fma(xo, a3);
            }
        }
        a0.intoMemorySegment(ALL, lanes, LE);
        a1.intoMemorySegment(ALL, lanes + BYTES, LE);
        a2.intoMemorySegment(ALL, lanes + 2 * BYTES, LE);
        a3.intoMemorySegment(ALL, lanes + 3 * BYTES, LE);
    }

    private static void f16(long w, long rowBytes, int row, int distance, int last, Packing packing, long x,
            long lanes) {
        ALL.get(Memory.FAULT, w);
        long w0 = w + Math.min(row, last) * rowBytes;
        long w1 = w + Math.min(row + distance, last) * rowBytes;
        long w2 = w + Math.min(row + 2 * distance, last) * rowBytes;
        long w3 = w + Math.min(row + 3 * distance, last) * rowBytes;
        IntVector kept = IntVector.broadcast(I, Half.KEPT);
        IntVector largest = IntVector.broadcast(I, Half.LARGEST);
        IntVector infinite = IntVector.broadcast(I, Half.INFINITE);
        FloatVector rebias = FloatVector.broadcast(F, Half.REBIAS);
        FloatVector e0 = FloatVector.zero(F);
        FloatVector o0 = FloatVector.zero(F);
        FloatVector e1 = FloatVector.zero(F);
        FloatVector o1 = FloatVector.zero(F);
        FloatVector e2 = FloatVector.zero(F);
        FloatVector o2 = FloatVector.zero(F);
        FloatVector e3 = FloatVector.zero(F);
        FloatVector o3 = FloatVector.zero(F);
        int blocks = packing.slots() / packing.block();
        int full = packing.fullBlocks();
        // The second round is the partial block, which starts earlier in the row than its number says.
        for (int round = 0; round < 2; round++) {
            int from = round == 0 ? 0 : full;
            int to = round == 0 ? full : blocks;
            long shift = round == 0 ? 0 : 2L * (packing.depth() - packing.block() - full * packing.block());
            for (int b = from; b < to; b++) {
                long at = b * BYTES + shift;
                FloatVector xe = FloatVector.fromMemorySegment(F, ALL, x + b * (2 * BYTES), LE);
                FloatVector xo = FloatVector.fromMemorySegment(F, ALL, x + b * (2 * BYTES) + BYTES, LE);
                IntVector pairs = IntVector.fromMemorySegment(I, ALL, w0 + at, LE);
                IntVector low = pairs.lanewise(VectorOperators.LSHL, 16).lanewise(VectorOperators.ASHR, 3).and(kept);
                IntVector high = pairs.lanewise(VectorOperators.ASHR, 3).and(kept);
                low = low.lanewise(VectorOperators.OR, infinite, low.and(largest).eq(largest));
                high = high.lanewise(VectorOperators.OR, infinite, high.and(largest).eq(largest));
                e0 = low.reinterpretAsFloats().mul(rebias).fma(xe, e0);
                o0 = high.reinterpretAsFloats().mul(rebias).fma(xo, o0);
                pairs = IntVector.fromMemorySegment(I, ALL, w1 + at, LE);
                low = pairs.lanewise(VectorOperators.LSHL, 16).lanewise(VectorOperators.ASHR, 3).and(kept);
                high = pairs.lanewise(VectorOperators.ASHR, 3).and(kept);
                low = low.lanewise(VectorOperators.OR, infinite, low.and(largest).eq(largest));
                high = high.lanewise(VectorOperators.OR, infinite, high.and(largest).eq(largest));
                e1 = low.reinterpretAsFloats().mul(rebias).fma(xe, e1);
                o1 = high.reinterpretAsFloats().mul(rebias).fma(xo, o1);
                pairs = IntVector.fromMemorySegment(I, ALL, w2 + at, LE);
                low = pairs.lanewise(VectorOperators.LSHL, 16).lanewise(VectorOperators.ASHR, 3).and(kept);
                high = pairs.lanewise(VectorOperators.ASHR, 3).and(kept);
                low = low.lanewise(VectorOperators.OR, infinite, low.and(largest).eq(largest));
                high = high.lanewise(VectorOperators.OR, infinite, high.and(largest).eq(largest));
                e2 = low.reinterpretAsFloats().mul(rebias).fma(xe, e2);
                o2 = high.reinterpretAsFloats().mul(rebias).fma(xo, o2);
                pairs = IntVector.fromMemorySegment(I, ALL, w3 + at, LE);
                low = pairs.lanewise(VectorOperators.LSHL, 16).lanewise(VectorOperators.ASHR, 3).and(kept);
                high = pairs.lanewise(VectorOperators.ASHR, 3).and(kept);
                low = low.lanewise(VectorOperators.OR, infinite, low.and(largest).eq(largest));
                high = high.lanewise(VectorOperators.OR, infinite, high.and(largest).eq(largest));
                e3 = low.reinterpretAsFloats().mul(rebias).fma(xe, e3);
                o3 = high.reinterpretAsFloats().mul(rebias).fma(xo, o3);
            }
        }
        e0.add(o0).intoMemorySegment(ALL, lanes, LE);
        e1.add(o1).intoMemorySegment(ALL, lanes + BYTES, LE);
        e2.add(o2).intoMemorySegment(ALL, lanes + 2 * BYTES, LE);
        e3.add(o3).intoMemorySegment(ALL, lanes + 3 * BYTES, LE);
    }

    private static void f32(long w, long rowBytes, int row, int distance, int last, Packing packing, long x,
            long lanes) {
        ALL.get(Memory.FAULT, w);
        long w0 = w + Math.min(row, last) * rowBytes;
        long w1 = w + Math.min(row + distance, last) * rowBytes;
        long w2 = w + Math.min(row + 2 * distance, last) * rowBytes;
        long w3 = w + Math.min(row + 3 * distance, last) * rowBytes;
        FloatVector e0 = FloatVector.zero(F);
        FloatVector o0 = FloatVector.zero(F);
        FloatVector e1 = FloatVector.zero(F);
        FloatVector o1 = FloatVector.zero(F);
        FloatVector e2 = FloatVector.zero(F);
        FloatVector o2 = FloatVector.zero(F);
        FloatVector e3 = FloatVector.zero(F);
        FloatVector o3 = FloatVector.zero(F);
        int blocks = packing.slots() / packing.block();
        int full = packing.fullBlocks();
        // The second round is the partial block, which starts earlier in the row than its number says.
        for (int round = 0; round < 2; round++) {
            int from = round == 0 ? 0 : full;
            int to = round == 0 ? full : blocks;
            long shift = round == 0 ? 0 : 4L * (packing.depth() - packing.block() - full * packing.block());
            for (int b = from; b < to; b++) {
                long at = b * (2 * BYTES) + shift;
                FloatVector xe = FloatVector.fromMemorySegment(F, ALL, x + b * (2 * BYTES), LE);
                FloatVector xo = FloatVector.fromMemorySegment(F, ALL, x + b * (2 * BYTES) + BYTES, LE);
                e0 = FloatVector.fromMemorySegment(F, ALL, w0 + at, LE).fma(xe, e0);
                o0 = FloatVector.fromMemorySegment(F, ALL, w0 + at + BYTES, LE).fma(xo, o0);
                e1 = FloatVector.fromMemorySegment(F, ALL, w1 + at, LE).fma(xe, e1);
                o1 = FloatVector.fromMemorySegment(F, ALL, w1 + at + BYTES, LE).fma(xo, o1);
                e2 = FloatVector.fromMemorySegment(F, ALL, w2 + at, LE).fma(xe, e2);
                o2 = FloatVector.fromMemorySegment(F, ALL, w2 + at + BYTES, LE).fma(xo, o2);
                e3 = FloatVector.fromMemorySegment(F, ALL, w3 + at, LE).fma(xe, e3);
                o3 = FloatVector.fromMemorySegment(F, ALL, w3 + at + BYTES, LE).fma(xo, o3);
            }
        }
        e0.add(o0).intoMemorySegment(ALL, lanes, LE);
        e1.add(o1).intoMemorySegment(ALL, lanes + BYTES, LE);
        e2.add(o2).intoMemorySegment(ALL, lanes + 2 * BYTES, LE);
        e3.add(o3).intoMemorySegment(ALL, lanes + 3 * BYTES, LE);
    }

    /** Blocks that {@link #q8Quads} leaves over: bytes become integers, and those floats. */
    private static void q8(long w, long rowBytes, long scales, long scaleBytes, int row, int distance, int last,
            Packing packing, long x, long lanes) {
        int r0 = Math.min(row, last);
        int r1 = Math.min(row + distance, last);
        int r2 = Math.min(row + 2 * distance, last);
        int r3 = Math.min(row + 3 * distance, last);
        long first = w + r0 * rowBytes;
        long d1 = (r1 - r0) * rowBytes & FAR;
        long d2 = (r2 - r0) * rowBytes & FAR;
        long d3 = (r3 - r0) * rowBytes & FAR;
        long firstScale = scales + r0 * scaleBytes;
        long e1 = (r1 - r0) * scaleBytes & FAR;
        long e2 = (r2 - r0) * scaleBytes & FAR;
        long e3 = (r3 - r0) * scaleBytes & FAR;
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        int blocks = packing.slots() / packing.block();
        int full = packing.fullBlocks();
        // The second round is the partial block, which starts earlier in the row than its number says.
        for (int round = 0; round < 2; round++) {
            int from = round == 0 ? packing.rest() : full;
            int to = round == 0 ? full : blocks;
            long shift = round == 0 ? 0 : 1L * (packing.depth() - packing.block() - full * packing.block());
            for (int b = from; b < to; b++) {
                // First of all, as calls past a certain size of the method are not inlined. A float would take two
                // instructions more than an integer.
                long ss = firstScale + 4L * b & ADDRESSES;
                FloatVector scale0 = IntVector.broadcast(I, Memory.i32(ss)).reinterpretAsFloats();
                FloatVector scale1 = IntVector.broadcast(I, Memory.i32(ss + e1)).reinterpretAsFloats();
                FloatVector scale2 = IntVector.broadcast(I, Memory.i32(ss + e2)).reinterpretAsFloats();
                FloatVector scale3 = IntVector.broadcast(I, Memory.i32(ss + e3)).reinterpretAsFloats();
                long at = first + b * (long) DType.Q8_BLOCK + shift & ADDRESSES;
                long xs = x + 4L * b * DType.Q8_BLOCK & ADDRESSES;
                // Where a byte vector has more lanes than a float vector, the lower half of it is converted. Two
                // vectors are a whole block where vectors are widest: spelled out, they take half the time that they
                // take in a loop.
                FloatVector xv = FloatVector.fromMemorySegment(F, ALL, xs, LE);
                FloatVector p0 = ((FloatVector) ByteVector.fromMemorySegment(B, ALL, at,
                        LE).convertShape(VectorOperators.B2F, F, 0)).mul(xv);
                FloatVector p1 = ((FloatVector) ByteVector.fromMemorySegment(B, ALL, at + d1,
                        LE).convertShape(VectorOperators.B2F, F, 0)).mul(xv);
                FloatVector p2 = ((FloatVector) ByteVector.fromMemorySegment(B, ALL, at + d2,
                        LE).convertShape(VectorOperators.B2F, F, 0)).mul(xv);
                FloatVector p3 = ((FloatVector) ByteVector.fromMemorySegment(B, ALL, at + d3,
                        LE).convertShape(VectorOperators.B2F, F, 0)).mul(xv);
                if (LANES < DType.Q8_BLOCK) {
                    xv = FloatVector.fromMemorySegment(F, ALL, xs + BYTES, LE);
                    p0 = ((FloatVector) ByteVector.fromMemorySegment(B, ALL, at + LANES,
                            LE).convertShape(VectorOperators.B2F, F, 0)).fma(xv, p0);
                    p1 = ((FloatVector) ByteVector.fromMemorySegment(B, ALL, at + d1 + LANES,
                            LE).convertShape(VectorOperators.B2F, F, 0)).fma(xv, p1);
                    p2 = ((FloatVector) ByteVector.fromMemorySegment(B, ALL, at + d2 + LANES,
                            LE).convertShape(VectorOperators.B2F, F, 0)).fma(xv, p2);
                    p3 = ((FloatVector) ByteVector.fromMemorySegment(B, ALL, at + d3 + LANES,
                            LE).convertShape(VectorOperators.B2F, F, 0)).fma(xv, p3);
                }
                for (int i = 2 * LANES; i < DType.Q8_BLOCK; i += LANES) {
                    xv = FloatVector.fromMemorySegment(F, ALL, xs + 4L * i, LE);
                    p0 = ((FloatVector) ByteVector.fromMemorySegment(B, ALL, at + i,
                            LE).convertShape(VectorOperators.B2F, F, 0)).fma(xv, p0);
                    p1 = ((FloatVector) ByteVector.fromMemorySegment(B, ALL, at + d1 + i,
                            LE).convertShape(VectorOperators.B2F, F, 0)).fma(xv, p1);
                    p2 = ((FloatVector) ByteVector.fromMemorySegment(B, ALL, at + d2 + i,
                            LE).convertShape(VectorOperators.B2F, F, 0)).fma(xv, p2);
                    p3 = ((FloatVector) ByteVector.fromMemorySegment(B, ALL, at + d3 + i,
                            LE).convertShape(VectorOperators.B2F, F, 0)).fma(xv, p3);
                }
                a0 = p0.fma(scale0, a0);
                a1 = p1.fma(scale1, a1);
                a2 = p2.fma(scale2, a2);
                a3 = p3.fma(scale3, a3);
            }
        }
        a0.intoMemorySegment(ALL, lanes, LE);
        a1.intoMemorySegment(ALL, lanes + BYTES, LE);
        a2.intoMemorySegment(ALL, lanes + 2 * BYTES, LE);
        a3.intoMemorySegment(ALL, lanes + 3 * BYTES, LE);
    }

    /**
     * Four-bit weights, of blocks that {@link #q4Eights} leaves over. A byte becomes an integer whose lowest four bits
     * and next four, with their signs, are a weight each; a vector of bytes gives two of weights, in the order of x.
     * Vectors are at most half a block.
     */
    private static void q4(long w, long rowBytes, long scales, long scaleBytes, int row, int distance, int last,
            Packing packing, long x, long lanes) {
        int r0 = Math.min(row, last);
        int r1 = Math.min(row + distance, last);
        int r2 = Math.min(row + 2 * distance, last);
        int r3 = Math.min(row + 3 * distance, last);
        long w0 = w + r0 * rowBytes;
        long w1 = w + r1 * rowBytes;
        long w2 = w + r2 * rowBytes;
        long w3 = w + r3 * rowBytes;
        long s0 = scales + r0 * scaleBytes;
        long s1 = scales + r1 * scaleBytes;
        long s2 = scales + r2 * scaleBytes;
        long s3 = scales + r3 * scaleBytes;
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        int blocks = packing.fullBlocks();
        for (int b = packing.rest(); b < blocks; b++) {
            // First of all, as calls past a certain size of the method are not inlined.
            float scale0 = Float.intBitsToFloat(Memory.i16(s0 + 2L * b & ADDRESSES) << 16);
            float scale1 = Float.intBitsToFloat(Memory.i16(s1 + 2L * b & ADDRESSES) << 16);
            float scale2 = Float.intBitsToFloat(Memory.i16(s2 + 2L * b & ADDRESSES) << 16);
            float scale3 = Float.intBitsToFloat(Memory.i16(s3 + 2L * b & ADDRESSES) << 16);
            long at = b * (DType.Q4_BLOCK / 2L);
            long xs = x + b * (4L * DType.Q4_BLOCK) & ADDRESSES;
            FloatVector low = FloatVector.fromMemorySegment(F, ALL, xs, LE);
            FloatVector high = FloatVector.fromMemorySegment(F, ALL, xs + 2L * DType.Q4_BLOCK, LE);
            IntVector v0 = (IntVector) ByteVector.fromMemorySegment(PAIRS, ALL, w0 + at & ADDRESSES, LE)
                    .convertShape(VectorOperators.B2I, I, 0);
            FloatVector p0 = ((FloatVector) v0.lanewise(VectorOperators.LSHL, 28).lanewise(VectorOperators.ASHR, 28)
                    .convertShape(I2F, F, 0)).mul(low);
            p0 = ((FloatVector) v0.lanewise(VectorOperators.ASHR, 4).convertShape(I2F, F, 0)).fma(high, p0);
            IntVector v1 = (IntVector) ByteVector.fromMemorySegment(PAIRS, ALL, w1 + at & ADDRESSES, LE)
                    .convertShape(VectorOperators.B2I, I, 0);
            FloatVector p1 = ((FloatVector) v1.lanewise(VectorOperators.LSHL, 28).lanewise(VectorOperators.ASHR, 28)
                    .convertShape(I2F, F, 0)).mul(low);
            p1 = ((FloatVector) v1.lanewise(VectorOperators.ASHR, 4).convertShape(I2F, F, 0)).fma(high, p1);
            IntVector v2 = (IntVector) ByteVector.fromMemorySegment(PAIRS, ALL, w2 + at & ADDRESSES, LE)
                    .convertShape(VectorOperators.B2I, I, 0);
            FloatVector p2 = ((FloatVector) v2.lanewise(VectorOperators.LSHL, 28).lanewise(VectorOperators.ASHR, 28)
                    .convertShape(I2F, F, 0)).mul(low);
            p2 = ((FloatVector) v2.lanewise(VectorOperators.ASHR, 4).convertShape(I2F, F, 0)).fma(high, p2);
            IntVector v3 = (IntVector) ByteVector.fromMemorySegment(PAIRS, ALL, w3 + at & ADDRESSES, LE)
                    .convertShape(VectorOperators.B2I, I, 0);
            FloatVector p3 = ((FloatVector) v3.lanewise(VectorOperators.LSHL, 28).lanewise(VectorOperators.ASHR, 28)
                    .convertShape(I2F, F, 0)).mul(low);
            p3 = ((FloatVector) v3.lanewise(VectorOperators.ASHR, 4).convertShape(I2F, F, 0)).fma(high, p3);
            for (int i = LANES; i < DType.Q4_BLOCK / 2; i += LANES) {
                low = FloatVector.fromMemorySegment(F, ALL, xs + 4L * i, LE);
                high = FloatVector.fromMemorySegment(F, ALL, xs + 4L * i + 2L * DType.Q4_BLOCK, LE);
                v0 = (IntVector) ByteVector.fromMemorySegment(PAIRS, ALL, w0 + at + i & ADDRESSES, LE)
                        .convertShape(VectorOperators.B2I, I, 0);
                p0 = ((FloatVector) v0.lanewise(VectorOperators.LSHL, 28).lanewise(VectorOperators.ASHR, 28)
                        .convertShape(I2F, F, 0)).fma(low, p0);
                p0 = ((FloatVector) v0.lanewise(VectorOperators.ASHR, 4).convertShape(I2F, F, 0)).fma(high, p0);
                v1 = (IntVector) ByteVector.fromMemorySegment(PAIRS, ALL, w1 + at + i & ADDRESSES, LE)
                        .convertShape(VectorOperators.B2I, I, 0);
                p1 = ((FloatVector) v1.lanewise(VectorOperators.LSHL, 28).lanewise(VectorOperators.ASHR, 28)
                        .convertShape(I2F, F, 0)).fma(low, p1);
                p1 = ((FloatVector) v1.lanewise(VectorOperators.ASHR, 4).convertShape(I2F, F, 0)).fma(high, p1);
                v2 = (IntVector) ByteVector.fromMemorySegment(PAIRS, ALL, w2 + at + i & ADDRESSES, LE)
                        .convertShape(VectorOperators.B2I, I, 0);
                p2 = ((FloatVector) v2.lanewise(VectorOperators.LSHL, 28).lanewise(VectorOperators.ASHR, 28)
                        .convertShape(I2F, F, 0)).fma(low, p2);
                p2 = ((FloatVector) v2.lanewise(VectorOperators.ASHR, 4).convertShape(I2F, F, 0)).fma(high, p2);
                v3 = (IntVector) ByteVector.fromMemorySegment(PAIRS, ALL, w3 + at + i & ADDRESSES, LE)
                        .convertShape(VectorOperators.B2I, I, 0);
                p3 = ((FloatVector) v3.lanewise(VectorOperators.LSHL, 28).lanewise(VectorOperators.ASHR, 28)
                        .convertShape(I2F, F, 0)).fma(low, p3);
                p3 = ((FloatVector) v3.lanewise(VectorOperators.ASHR, 4).convertShape(I2F, F, 0)).fma(high, p3);
            }
            a0 = p0.fma(FloatVector.broadcast(F, scale0), a0);
            a1 = p1.fma(FloatVector.broadcast(F, scale1), a1);
            a2 = p2.fma(FloatVector.broadcast(F, scale2), a2);
            a3 = p3.fma(FloatVector.broadcast(F, scale3), a3);
        }
        a0.intoMemorySegment(ALL, lanes, LE);
        a1.intoMemorySegment(ALL, lanes + BYTES, LE);
        a2.intoMemorySegment(ALL, lanes + 2 * BYTES, LE);
        a3.intoMemorySegment(ALL, lanes + 3 * BYTES, LE);
    }

    /**
     * What products of four-bit weights begin with, a vector for four blocks: x times what is taken for a weight of 0.
     *
     * @param to [vectors, lanes]
     */
    static void corrections(int vectors, long x, long to) {
        for (int v = 0; v < vectors; v++) {
            long xs = x + v * (8 * BYTES) & ADDRESSES;
            FloatVector low = FloatVector.zero(F);
            FloatVector high = FloatVector.zero(F);
            for (int i = 0; i < 4; i++) {
                low = low.add(FloatVector.fromMemorySegment(F, ALL, xs + 2 * i * BYTES, LE));
                high = high.add(FloatVector.fromMemorySegment(F, ALL, xs + (2 * i + 1) * BYTES, LE));
            }
            low.mul(-LOW_BIAS).add(high.mul(-HIGH_BIAS)).intoMemorySegment(ALL, to + v * BYTES & ADDRESSES, LE);
        }
    }

    /**
     * Four-bit weights where a vector of integers is four blocks of them: eight weights are read as one lane. They
     * become floats by operations on bits alone and are too large by constants; x times those is taken away before. It
     * costs three of the 24 bits of the sums, and makes the fewest instructions of a byte.
     *
     * @param corrections {@link #corrections} of x
     * @param lowMask {@link #LOW_MASK}, as are the others: as constants they would be read from memory each time
     */
    private static void q4Eights(long w, long rowBytes, long scales, long scaleBytes, int row, int distance, int last,
            int vectors, long x, long corrections, long lanes, int lowMask, int highMask, int low, int high,
            int upper) {
        int r0 = Math.min(row, last);
        int r1 = Math.min(row + distance, last);
        int r2 = Math.min(row + 2 * distance, last);
        int r3 = Math.min(row + 3 * distance, last);
        long first = w + r0 * rowBytes;
        long d1 = (r1 - r0) * rowBytes & FAR;
        long d2 = (r2 - r0) * rowBytes & FAR;
        long d3 = (r3 - r0) * rowBytes & FAR;
        long firstScale = scales + r0 * scaleBytes;
        long e1 = (r1 - r0) * scaleBytes & FAR;
        long e2 = (r2 - r0) * scaleBytes & FAR;
        long e3 = (r3 - r0) * scaleBytes & FAR;
        IntVector lowMasks = IntVector.broadcast(I, lowMask);
        IntVector highMasks = IntVector.broadcast(I, highMask);
        IntVector lows = IntVector.broadcast(I, low);
        IntVector highs = IntVector.broadcast(I, high);
        ShortVector uppers = IntVector.broadcast(I, upper).reinterpretAsShorts();
        FloatVector zero = FloatVector.zero(F);
        FloatVector a0 = zero;
        FloatVector a1 = zero;
        FloatVector a2 = zero;
        FloatVector a3 = zero;
        for (int i = 0; i < vectors; i++) {
            // First of all, as calls past a certain size of the method are not inlined.
            long ss = firstScale + 8L * i & ADDRESSES;
            FloatVector s0 = LongVector.broadcast(L, Memory.i64(ss)).reinterpretAsShorts().rearrange(SPREAD)
                    .and(uppers).reinterpretAsFloats();
            FloatVector s1 = LongVector.broadcast(L, Memory.i64(ss + e1)).reinterpretAsShorts().rearrange(SPREAD)
                    .and(uppers).reinterpretAsFloats();
            FloatVector s2 = LongVector.broadcast(L, Memory.i64(ss + e2)).reinterpretAsShorts().rearrange(SPREAD)
                    .and(uppers).reinterpretAsFloats();
            FloatVector s3 = LongVector.broadcast(L, Memory.i64(ss + e3)).reinterpretAsShorts().rearrange(SPREAD)
                    .and(uppers).reinterpretAsFloats();
            long at = first + i * BYTES & ADDRESSES;
            long xs = x + i * (8 * BYTES) & ADDRESSES;
            FloatVector c = FloatVector.fromMemorySegment(F, ALL, corrections + i * BYTES & ADDRESSES, LE);
            IntVector v0 = IntVector.fromMemorySegment(I, ALL, at, LE).lanewise(VectorOperators.ROL, 15);
            IntVector v1 = IntVector.fromMemorySegment(I, ALL, at + d1, LE).lanewise(VectorOperators.ROL, 15);
            IntVector v2 = IntVector.fromMemorySegment(I, ALL, at + d2, LE).lanewise(VectorOperators.ROL, 15);
            IntVector v3 = IntVector.fromMemorySegment(I, ALL, at + d3, LE).lanewise(VectorOperators.ROL, 15);
            FloatVector p0 = c;
            FloatVector p1 = c;
            FloatVector p2 = c;
            FloatVector p3 = c;
            FloatVector q0 = zero;
            FloatVector q1 = zero;
            FloatVector q2 = zero;
            FloatVector q3 = zero;
            // One byte of each lane at a time: all four, spelled out, would be more than the compiler inlines. j
            // doubles, as the compiler would unroll a loop that counts, and that takes a tenth longer.
            for (int j = 1; j < 16; j <<= 1) {
                FloatVector y = FloatVector.fromMemorySegment(F, ALL, xs, LE);
                FloatVector z = FloatVector.fromMemorySegment(F, ALL, xs + BYTES, LE);
                xs = xs + 2 * BYTES & ADDRESSES;
                p0 = v0.and(lowMasks).lanewise(VectorOperators.XOR, lows).reinterpretAsFloats().fma(y, p0);
                q0 = v0.and(highMasks).lanewise(VectorOperators.XOR, highs).reinterpretAsFloats().fma(z, q0);
                v0 = v0.lanewise(VectorOperators.ROR, 8);
                p1 = v1.and(lowMasks).lanewise(VectorOperators.XOR, lows).reinterpretAsFloats().fma(y, p1);
                q1 = v1.and(highMasks).lanewise(VectorOperators.XOR, highs).reinterpretAsFloats().fma(z, q1);
                v1 = v1.lanewise(VectorOperators.ROR, 8);
                p2 = v2.and(lowMasks).lanewise(VectorOperators.XOR, lows).reinterpretAsFloats().fma(y, p2);
                q2 = v2.and(highMasks).lanewise(VectorOperators.XOR, highs).reinterpretAsFloats().fma(z, q2);
                v2 = v2.lanewise(VectorOperators.ROR, 8);
                p3 = v3.and(lowMasks).lanewise(VectorOperators.XOR, lows).reinterpretAsFloats().fma(y, p3);
                q3 = v3.and(highMasks).lanewise(VectorOperators.XOR, highs).reinterpretAsFloats().fma(z, q3);
                v3 = v3.lanewise(VectorOperators.ROR, 8);
            }
            a0 = q0.fma(s0, p0.fma(s0, a0));
            a1 = q1.fma(s1, p1.fma(s1, a1));
            a2 = q2.fma(s2, p2.fma(s2, a2));
            a3 = q3.fma(s3, p3.fma(s3, a3));
        }
        a0.intoMemorySegment(ALL, lanes, LE);
        a1.intoMemorySegment(ALL, lanes + BYTES, LE);
        a2.intoMemorySegment(ALL, lanes + 2 * BYTES, LE);
        a3.intoMemorySegment(ALL, lanes + 3 * BYTES, LE);
    }

    /**
     * Eight-bit weights where a vector of integers is a block or two of them: four weights are read as one lane, each
     * is moved to the top of it, and what is 2^24 times too much is taken from the sums. Turning bytes into integers,
     * which {@link #q8} does, takes more instructions: as reads retire in order, fewer of them are under way.
     *
     * @param mask {@link #TOP}: as a constant it would be read from memory each time
     */
    private static void q8Quads(long w, long rowBytes, long scales, long scaleBytes, int row, int distance, int last,
            Packing packing, long x, long lanes, int mask) {
        int r0 = Math.min(row, last);
        int r1 = Math.min(row + distance, last);
        int r2 = Math.min(row + 2 * distance, last);
        int r3 = Math.min(row + 3 * distance, last);
        long first = w + r0 * rowBytes;
        long d1 = (r1 - r0) * rowBytes & FAR;
        long d2 = (r2 - r0) * rowBytes & FAR;
        long d3 = (r3 - r0) * rowBytes & FAR;
        long firstScale = scales + r0 * scaleBytes;
        long e1 = (r1 - r0) * scaleBytes & FAR;
        long e2 = (r2 - r0) * scaleBytes & FAR;
        long e3 = (r3 - r0) * scaleBytes & FAR;
        IntVector top = IntVector.broadcast(I, mask);
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        // The second round is the partial block, which starts earlier in the row than its number says; it is left over
        // where a vector is two, and then the compiler knows of one round.
        int full = packing.vectors();
        int blocks = TWO_BLOCKS ? full : packing.slots() / packing.block();
        for (int round = 0; round < (TWO_BLOCKS ? 1 : 2); round++) {
            int from = TWO_BLOCKS || round == 0 ? 0 : full;
            int to = TWO_BLOCKS || round == 0 ? full : blocks;
            long shift = TWO_BLOCKS || round == 0
                    ? 0 : 1L * (packing.depth() - packing.block() - full * packing.block());
            for (int b = from; b < to; b++) {
                // First of all, as calls past a certain size of the method are not inlined.
                long ss = firstScale + SCALES * b & ADDRESSES;
                FloatVector scale0 = (TWO_BLOCKS
                        ? LongVector.broadcast(L, Memory.i64(ss)).reinterpretAsInts().rearrange(HALVES)
                        : IntVector.broadcast(I, Memory.i32(ss))).reinterpretAsFloats();
                FloatVector scale1 = (TWO_BLOCKS
                        ? LongVector.broadcast(L, Memory.i64(ss + e1)).reinterpretAsInts().rearrange(HALVES)
                        : IntVector.broadcast(I, Memory.i32(ss + e1))).reinterpretAsFloats();
                FloatVector scale2 = (TWO_BLOCKS
                        ? LongVector.broadcast(L, Memory.i64(ss + e2)).reinterpretAsInts().rearrange(HALVES)
                        : IntVector.broadcast(I, Memory.i32(ss + e2))).reinterpretAsFloats();
                FloatVector scale3 = (TWO_BLOCKS
                        ? LongVector.broadcast(L, Memory.i64(ss + e3)).reinterpretAsInts().rearrange(HALVES)
                        : IntVector.broadcast(I, Memory.i32(ss + e3))).reinterpretAsFloats();
                long at = first + b * BYTES + shift & ADDRESSES;
                long xs = x + b * (4 * BYTES) & ADDRESSES;
                FloatVector x0 = FloatVector.fromMemorySegment(F, ALL, xs, LE);
                FloatVector x1 = FloatVector.fromMemorySegment(F, ALL, xs + BYTES, LE);
                FloatVector x2 = FloatVector.fromMemorySegment(F, ALL, xs + 2 * BYTES, LE);
                FloatVector x3 = FloatVector.fromMemorySegment(F, ALL, xs + 3 * BYTES, LE);
                IntVector v = IntVector.fromMemorySegment(I, ALL, at, LE);
                FloatVector p = ((FloatVector) v.lanewise(VectorOperators.LSHL, 24).convertShape(I2F, F, 0)).mul(x0);
                p = ((FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convertShape(I2F, F, 0)).fma(x1, p);
                p = ((FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convertShape(I2F, F, 0)).fma(x2, p);
                p = ((FloatVector) v.and(top).convertShape(I2F, F, 0)).fma(x3, p);
                a0 = p.fma(scale0, a0);
                v = IntVector.fromMemorySegment(I, ALL, at + d1, LE);
                p = ((FloatVector) v.lanewise(VectorOperators.LSHL, 24).convertShape(I2F, F, 0)).mul(x0);
                p = ((FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convertShape(I2F, F, 0)).fma(x1, p);
                p = ((FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convertShape(I2F, F, 0)).fma(x2, p);
                p = ((FloatVector) v.and(top).convertShape(I2F, F, 0)).fma(x3, p);
                a1 = p.fma(scale1, a1);
                v = IntVector.fromMemorySegment(I, ALL, at + d2, LE);
                p = ((FloatVector) v.lanewise(VectorOperators.LSHL, 24).convertShape(I2F, F, 0)).mul(x0);
                p = ((FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convertShape(I2F, F, 0)).fma(x1, p);
                p = ((FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convertShape(I2F, F, 0)).fma(x2, p);
                p = ((FloatVector) v.and(top).convertShape(I2F, F, 0)).fma(x3, p);
                a2 = p.fma(scale2, a2);
                v = IntVector.fromMemorySegment(I, ALL, at + d3, LE);
                p = ((FloatVector) v.lanewise(VectorOperators.LSHL, 24).convertShape(I2F, F, 0)).mul(x0);
                p = ((FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convertShape(I2F, F, 0)).fma(x1, p);
                p = ((FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convertShape(I2F, F, 0)).fma(x2, p);
                p = ((FloatVector) v.and(top).convertShape(I2F, F, 0)).fma(x3, p);
                a3 = p.fma(scale3, a3);
            }
        }
        a0.mul(UNDO).intoMemorySegment(ALL, lanes, LE);
        a1.mul(UNDO).intoMemorySegment(ALL, lanes + BYTES, LE);
        a2.mul(UNDO).intoMemorySegment(ALL, lanes + 2 * BYTES, LE);
        a3.mul(UNDO).intoMemorySegment(ALL, lanes + 3 * BYTES, LE);
    }
}
