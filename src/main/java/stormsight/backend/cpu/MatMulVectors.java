package stormsight.backend.cpu;

import static jdk.incubator.vector.VectorOperators.I2F;
import static stormsight.backend.cpu.Memory.ADDRESSES;
import static stormsight.backend.cpu.Memory.ALL;

import java.nio.ByteOrder;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import stormsight.program.DType;
import stormsight.program.Step;

/**
 * A {@link Product} whose x is packed. A piece is a block of weight rows and, with many tokens, a block of tokens. One
 * token goes through {@link MatVec}, up to 16 through {@link FewTokens}; otherwise 8 rows x {@value #DEPTH} weights at
 * a time are decoded once into a panel that stays in the first-level cache, and {@link Tile} multiplies it with the
 * tiles of tokens.
 */
final class MatMulVectors implements Kernel {
    /** Weights of a row in a panel. */
    private static final int DEPTH = 256;

    /** Tokens of a piece: their x for one panel, and their sums, stay in the second-level cache. */
    private static final int TOKENS = 480;

    private static final int FEW_ROWS = 64;
    private static final int MANY_ROWS = 128;

    /** Tokens whose sums are finished together: a cache line. */
    private static final int TRANSPOSED = 16;

    /** Bytes of the sums of one token. */
    private static final long SUMS = 4L * MANY_ROWS;

    /** From this width on there are enough pieces of many rows for all threads. */
    private static final int MANY_FROM = 4096;

    /** Weights of a piece for one token: each piece begins with reads that nothing was prefetched for. */
    private static final long ONE_BYTES = 1 << 20;

    /** Pieces for one token that each thread should have, so that one that is held up does not hold up all. */
    private static final int ONE_PIECES = 8;

    private static final int LEAST_ROWS = 32;

    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
    private static final VectorSpecies<Long> L = LongVector.SPECIES_PREFERRED;
    private static final int LANES = F.length();
    private static final long BYTES = 4L * LANES;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

    /** As many bytes as a float vector has lanes, or 8 where that is too few for a vector. */
    static final VectorSpecies<Byte> B = LANES == 16 ? ByteVector.SPECIES_128
            : LANES == 32 ? ByteVector.SPECIES_256 : ByteVector.SPECIES_64;

    private final Product product;
    private final Packing packing;
    private final Scratch scratch;
    private final int rows;

    /** Rows of a piece for one token; {@link #rows} for several. */
    private final int oneRows;

    MatMulVectors(Product product, Packing packing, Scratch scratch) {
        this.product = product;
        this.packing = packing;
        this.scratch = scratch;
        rows = product.width() >= MANY_FROM ? MANY_ROWS : FEW_ROWS;
        oneRows = oneRows(product.w().rowBytes(), product.width(), scratch.workers());
        scratch.reserveOwn(rowOffset() + 4L * packing.block());
        scratch.reservePanel(Tile.ROWS * DEPTH);
    }

    /** A multiple of {@link Tile#ROWS}, and no more than what the sums of {@link #TRANSPOSED} tokens have room for. */
    static int oneRows(long rowBytes, int width, int workers) {
        long rows = Math.min(Math.min(ONE_BYTES / rowBytes, width / (ONE_PIECES * workers)), TRANSPOSED * MANY_ROWS);
        return (int) Math.max(rows / LEAST_ROWS * LEAST_ROWS, LEAST_ROWS);
    }

    /**
     * Sums of some tokens [token, row], twice, begin the own scratch; then come the sums of all tokens [row, token],
     * twice; then a row of weights.
     */
    private long blockOffset() {
        return 2 * TRANSPOSED * SUMS;
    }

    private long blockBytes() {
        return 4L * rows * Packing.padded(Math.min(TOKENS, product.capacity()));
    }

    private long rowOffset() {
        return blockOffset() + Math.max(FewTokens.scratch(packing),
                (product.up() == null ? 1 : 2) * blockBytes());
    }

    private int pieceRows(int tokens) {
        return tokens == 1 ? oneRows : rows;
    }

    private int rowBlocks(int tokens) {
        return (product.width() + pieceRows(tokens) - 1) / pieceRows(tokens);
    }

    private static int tokenBlocks(int tokens) {
        return Packing.single(tokens) ? 1 : (tokens + TOKENS - 1) / TOKENS;
    }

    @Override
    public int pieces(Step step) {
        int tokens = product.tokens(step);
        return rowBlocks(tokens) * tokenBlocks(tokens);
    }

    @Override
    public void run(Step step, int piece, int worker) {
        int tokens = product.tokens(step);
        int tokenBlocks = tokenBlocks(tokens);
        int first = piece / tokenBlocks * pieceRows(tokens);
        int count = Math.min(pieceRows(tokens), product.width() - first);
        if (tokens > 1 && Packing.single(tokens) && FewTokens.takes(product.dtype()) && !packing.small()) {
            few(first, count, tokens, worker);
        } else if (Packing.single(tokens)) {
            single(first, count, tokens, worker);
        } else {
            int firstToken = piece % tokenBlocks * TOKENS;
            tiles(first, count, firstToken, Math.min(TOKENS, tokens - firstToken), worker);
        }
    }

    private void single(int first, int count, int tokens, int worker) {
        long sums = scratch.own(worker);
        long upSums = sums + TRANSPOSED * SUMS;
        long lanes = sums + blockOffset();
        long row = sums + rowOffset();
        int whole = (count + Tile.ROWS - 1) / Tile.ROWS * Tile.ROWS;
        for (int t = 0; t < tokens; t++) {
            long x = scratch.shared() + 4L * t * packing.slots();
            if (packing.small()) {
                small(product.w(), first, count, x, sums, row);
            } else {
                MatVec.rows(product.w(), packing, first, whole, x, sums, lanes);
            }
            if (product.up() != null) {
                if (packing.small()) {
                    small(product.up(), first, count, x, upSums, row);
                } else {
                    MatVec.rows(product.up(), packing, first, whole, x, upSums, lanes);
                }
            }
            finish(sums, upSums, first, count, t);
        }
    }

    private void few(int first, int count, int tokens, int worker) {
        long sums = scratch.own(worker);
        long upSums = sums + TRANSPOSED * SUMS;
        long lanes = sums + blockOffset();
        long xBytes = 4L * packing.slots();
        int whole = (count + Tile.ROWS - 1) / Tile.ROWS * Tile.ROWS;
        FewTokens.rows(product.w(), packing, first, whole, scratch.shared(), xBytes, tokens, sums, SUMS, lanes);
        if (product.up() != null) {
            FewTokens.rows(product.up(), packing, first, whole, scratch.shared(), xBytes, tokens, upSums, SUMS, lanes);
        }
        for (int t = 0; t < tokens; t++) {
            finish(sums + t * SUMS, upSums + t * SUMS, first, count, t);
        }
    }

    private void small(Weight w, int first, int count, long x, long sums, long row) {
        for (int i = 0; i < count; i++) {
            w.decode(first + i, 1, row);
            float sum = 0;
            for (int k = 0; k < packing.depth(); k++) {
                sum = Math.fma(Memory.f32(row + 4L * k), Memory.f32(x + 4L * k), sum);
            }
            Memory.f32(sums + 4L * i, sum);
        }
    }

    private void tiles(int first, int count, int firstToken, int tokens, int worker) {
        long sums = scratch.own(worker);
        long upSums = sums + TRANSPOSED * SUMS;
        long block = sums + blockOffset();
        long upBlock = block + blockBytes();
        long row = sums + rowOffset();
        float[] panel = scratch.panel(worker);
        int slots = packing.slots();
        long stride = 4L * Packing.padded(tokens);
        int whole = (count + Tile.ROWS - 1) / Tile.ROWS * Tile.ROWS;
        Tile.clear(block, whole * stride);
        if (product.up() != null) {
            Tile.clear(upBlock, whole * stride);
        }
        for (int slot = 0; slot < slots; slot += DEPTH) {
            int depth = Math.min(DEPTH, slots - slot);
            for (int i = 0; i < count; i += Tile.ROWS) {
                int group = Math.min(Tile.ROWS, count - i);
                decode(product.w(), first + i, group, slot, depth, row, panel);
                multiply(panel, slot, depth, firstToken, tokens, block + i * stride, stride);
                if (product.up() != null) {
                    decode(product.up(), first + i, group, slot, depth, row, panel);
                    multiply(panel, slot, depth, firstToken, tokens, upBlock + i * stride, stride);
                }
            }
        }
        for (int t = 0; t < tokens; t += TRANSPOSED) {
            int some = Math.min(TRANSPOSED, tokens - t);
            transpose(block + 4L * t, stride, count, some, sums);
            if (product.up() != null) {
                transpose(upBlock + 4L * t, stride, count, some, upSums);
            }
            for (int j = 0; j < some; j++) {
                finish(sums + j * SUMS, upSums + j * SUMS, first, count, firstToken + t + j);
            }
        }
    }

    /** From [row, token] to [token, row]: a cache line of each row at a time. */
    private static void transpose(long block, long stride, int count, int tokens, long sums) {
        for (int i = 0; i < count; i++) {
            long from = block + i * stride & ADDRESSES;
            long to = sums + 4L * i & ADDRESSES;
            for (int j = 0; j < tokens; j++) {
                Memory.f32(to + j * SUMS, Memory.f32(from + 4L * j));
            }
        }
    }

    private void multiply(float[] panel, int slot, int depth, int firstToken, int tokens, long block, long stride) {
        for (int t = 0; t < tokens; t += Pack.TILE) {
            int padded = Packing.padded(Math.min(Pack.TILE, tokens - t));
            long x = scratch.shared() + 4L * ((long) (firstToken + t) * packing.slots() + (long) slot * padded);
            Tile.multiply(padded / LANES, panel, 0, DEPTH, 1, depth, x, 4L * padded, block + 4L * t, stride);
        }
    }

    /** Decodes slots of some rows into the panel; a row shorter than a block goes through {@code small}. */
    private void decode(Weight w, int first, int count, int slot, int depth, long small, float[] panel) {
        // All but the partial block at the end of a row, which reads what comes before it again.
        int whole = Math.min(depth, packing.fullBlocks() * packing.block() - slot);
        for (int i = 0; i < count; i++) {
            int to = DEPTH * i;
            if (packing.small()) {
                w.decode(first + i, 1, small);
                for (int k = 0; k < depth; k++) {
                    panel[to + k] = k < packing.depth() ? Memory.f32(small + 4L * k) : 0;
                }
                continue;
            }
            decode(w, first + i, slot, slot / packing.block(), whole, panel, to);
            if (whole < depth) {
                decode(w, first + i, packing.depth() - packing.block(), packing.fullBlocks(), packing.block(), panel,
                        to + whole);
            }
        }
    }

    /** Decodes whole blocks of a row: count values from that column on, which are the blocks from that number on. */
    private static void decode(Weight w, int row, int column, int block, int count, float[] panel, int to) {
        long from = w.address() + row * w.rowBytes() + w.dtype().elementBytes((long) column) & ADDRESSES;
        switch (w.dtype()) {
            case BF16 -> bf16(from, count, panel, to);
            case F16 -> f16(from, count, panel, to);
            case F32 -> f32(from, count, panel, to);
            case Q8 -> q8(from, w.scales() + 4L * ((long) row * w.scalesPerRow() + block), count, panel, to);
            case Q4 -> q4(from, w.scales() + 2L * ((long) row * w.scalesPerRow() + block), count, panel, to);
            case I32, U8 -> throw new IllegalStateException("weights of type " + w.dtype());
        }
    }

    private static void bf16(long from, int count, float[] panel, int to) {
        ALL.get(Memory.FAULT, from);
        for (int s = 0; s < count; s += 2 * LANES) {
            IntVector pairs = IntVector.fromMemorySegment(I, ALL, from + 2L * s, LE);
            pairs.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().intoArray(panel, to + s);
            pairs.and(0xFFFF0000).reinterpretAsFloats().intoArray(panel, to + s + LANES);
        }
    }

    private static void f16(long from, int count, float[] panel, int to) {
        ALL.get(Memory.FAULT, from);
        for (int s = 0; s < count; s += 2 * LANES) {
            IntVector pairs = IntVector.fromMemorySegment(I, ALL, from + 2L * s, LE);
            IntVector low = pairs.lanewise(VectorOperators.LSHL, 16).lanewise(VectorOperators.ASHR, 3).and(Half.KEPT);
            IntVector high = pairs.lanewise(VectorOperators.ASHR, 3).and(Half.KEPT);
            low = low.lanewise(VectorOperators.OR, Half.INFINITE, low.and(Half.LARGEST).eq(Half.LARGEST));
            high = high.lanewise(VectorOperators.OR, Half.INFINITE, high.and(Half.LARGEST).eq(Half.LARGEST));
            low.reinterpretAsFloats().mul(Half.REBIAS).intoArray(panel, to + s);
            high.reinterpretAsFloats().mul(Half.REBIAS).intoArray(panel, to + s + LANES);
        }
    }

    private static void f32(long from, int count, float[] panel, int to) {
        ALL.get(Memory.FAULT, from);
        for (int s = 0; s < count; s += LANES) {
            FloatVector.fromMemorySegment(F, ALL, from + 4L * s, LE).intoArray(panel, to + s);
        }
    }

    private static void q8(long from, long scales, int count, float[] panel, int to) {
        // All but the blocks at the end of a row that are no vector of integers.
        int vector = Packing.Q8_BLOCKS * DType.Q8_BLOCK;
        int whole = vector == 0 ? 0 : count / vector * vector;
        for (int s = 0; s < whole; s += vector) {
            long at = scales + 4L * (s / DType.Q8_BLOCK);
            FloatVector scale = (MatVec.TWO_BLOCKS
                    ? LongVector.broadcast(L, Memory.i64(at)).reinterpretAsInts().rearrange(MatVec.HALVES)
                    : IntVector.broadcast(I, Memory.i32(at))).reinterpretAsFloats().mul(MatVec.UNDO);
            IntVector quads = IntVector.fromMemorySegment(I, ALL, from + s, LE);
            ((FloatVector) quads.lanewise(VectorOperators.LSHL, 24).convertShape(I2F, F, 0)).mul(scale)
                    .intoArray(panel, to + s);
            ((FloatVector) quads.lanewise(VectorOperators.LSHL, 16).and(MatVec.TOP).convertShape(I2F, F, 0))
                    .mul(scale).intoArray(panel, to + s + LANES);
            ((FloatVector) quads.lanewise(VectorOperators.LSHL, 8).and(MatVec.TOP).convertShape(I2F, F, 0))
                    .mul(scale).intoArray(panel, to + s + 2 * LANES);
            ((FloatVector) quads.and(MatVec.TOP).convertShape(I2F, F, 0)).mul(scale)
                    .intoArray(panel, to + s + 3 * LANES);
        }
        for (int s = whole; s < count; s += DType.Q8_BLOCK) {
            float scale = Memory.f32(scales + 4L * (s / DType.Q8_BLOCK));
            for (int i = s; i < s + DType.Q8_BLOCK; i += LANES) {
                FloatVector weights = (FloatVector) ByteVector.fromMemorySegment(B, ALL, from + i, LE)
                        .convertShape(VectorOperators.B2F, F, 0);
                weights.mul(scale).intoArray(panel, to + i);
            }
        }
    }

    private static void q4(long from, long scales, int count, float[] panel, int to) {
        int half = DType.Q4_BLOCK / 2;
        // All but the blocks at the end of a row that are no vector of integers.
        int vector = Packing.Q4_BLOCKS * DType.Q4_BLOCK;
        int whole = vector == 0 ? 0 : count / vector * vector;
        for (int s = 0; s < whole; s += vector) {
            FloatVector scale = LongVector.broadcast(L, Memory.i64(scales + 2L * (s / DType.Q4_BLOCK)))
                    .reinterpretAsShorts().rearrange(MatVec.SPREAD).reinterpretAsInts().and(MatVec.UPPER)
                    .reinterpretAsFloats();
            IntVector eights = IntVector.fromMemorySegment(I, ALL, from + s / 2, LE);
            for (int i = 0; i < Integer.BYTES; i++) {
                IntVector bytes = eights.lanewise(VectorOperators.LSHL, 24 - 8 * i).lanewise(VectorOperators.LSHR, 9);
                bytes.and(MatVec.LOW_MASK).lanewise(VectorOperators.XOR, MatVec.LOW).reinterpretAsFloats()
                        .sub(MatVec.LOW_BIAS).mul(scale).intoArray(panel, to + s + 2 * i * LANES);
                bytes.and(MatVec.HIGH_MASK).lanewise(VectorOperators.XOR, MatVec.HIGH).reinterpretAsFloats()
                        .sub(MatVec.HIGH_BIAS).mul(scale).intoArray(panel, to + s + (2 * i + 1) * LANES);
            }
        }
        for (int s = whole; s < count; s += DType.Q4_BLOCK) {
            float scale = Float.intBitsToFloat(Memory.i16(scales + 2L * (s / DType.Q4_BLOCK)) << 16);
            for (int i = 0; i < half; i += LANES) {
                IntVector pairs = (IntVector) ByteVector.fromMemorySegment(MatVec.PAIRS, ALL, from + s / 2 + i, LE)
                        .convertShape(VectorOperators.B2I, I, 0);
                ((FloatVector) pairs.lanewise(VectorOperators.LSHL, 28).lanewise(VectorOperators.ASHR, 28)
                        .convertShape(I2F, F, 0)).mul(scale).intoArray(panel, to + s + i);
                ((FloatVector) pairs.lanewise(VectorOperators.ASHR, 4).convertShape(I2F, F, 0)).mul(scale)
                        .intoArray(panel, to + s + half + i);
            }
        }
    }

    /** Bias, activation, second factor and residual for some columns of one token. The sums are overwritten. */
    private void finish(long sums, long upSums, int first, int count, int token) {
        long x = sums & ADDRESSES;
        if (product.bias() != 0) {
            long bias = product.bias() + 4L * first & ADDRESSES;
            for (int i = 0; i < count; i++) {
                Memory.f32(x + 4L * i, Memory.f32(x + 4L * i) + Memory.f32(bias + 4L * i));
            }
        }
        ActivationVectors.apply(product.activation(), x, count);
        if (product.up() != null) {
            long up = upSums & ADDRESSES;
            for (int i = 0; i < count; i++) {
                Memory.f32(x + 4L * i, Memory.f32(x + 4L * i) * Memory.f32(up + 4L * i));
            }
        }
        long at = 4L * ((long) token * product.width() + first);
        if (product.residual() != 0) {
            long residual = product.residual() + at & ADDRESSES;
            for (int i = 0; i < count; i++) {
                Memory.f32(x + 4L * i, Memory.f32(x + 4L * i) + Memory.f32(residual + 4L * i));
            }
        }
        Memory.copy(x, product.out() + at, 4L * count);
    }
}
