package stormsight.backend.cpu;

import static stormsight.backend.cpu.Memory.ADDRESSES;
import static stormsight.backend.cpu.Memory.ALL;

import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The inner loops of all products of many rows: {@code c[r, lane] += sum over s of w[r, s] * x[s, lane]} for
 * {@value #ROWS} rows r. Lanes are tokens; w is read as scalars at {@code w[at + r * rowStride + s * slotStride]}, so
 * it may be transposed. Strides of x and c are bytes.
 *
 * <p>w is an array because a scalar from a memory segment costs as much as a dozen multiplications here: with an array,
 * the loop reaches the machine's peak. The checks of its indices also keep its scalars in their order: where there are
 * none, the compiler reads all of them ahead, and registers run out.
 *
 * <p>The bodies are spelled out: a method of ours that takes or returns vectors may not be inlined, and then they are
 * boxed. For the same reason they always add to c: a choice between zeros and loads made them too large for the
 * compiler, and a hundred times slower. A choice by {@link #HALVES} costs nothing, as it is a constant when they are
 * compiled. Sums are written to addresses computed anew: those that they were read from would take registers from the
 * loop.
 */
final class Tile {
    static final int ROWS = 8;

    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    static final int LANES = F.length();

    /** Vectors of tokens in a full tile. */
    static final int VECTORS = 3;

    /**
     * Whether the rows are taken in two halves. Three vectors of {@value #ROWS} rows are 24 sums, for 32 registers;
     * 256-bit vectors are taken as those of AVX2, which has 16: room for 12 sums, three vectors of x and one scalar of
     * w.
     */
    private static final boolean HALVES = LANES == 8;

    private static final int AT_ONCE = HALVES ? ROWS / 2 : ROWS;

    private static final long BYTES = 4L * LANES;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

    private Tile() {}

    /** Zeros to add to. */
    static void clear(long c, long bytes) {
        for (long at = c; at < c + bytes; at += BYTES) {
            FloatVector.zero(F).intoMemorySegment(ALL, at, LE);
        }
    }

    /** Always {@value #ROWS} rows: where fewer mean something, w and c still have room for all. */
    static void multiply(int vectors, float[] w, int at, int rowStride, int slotStride, int slots, long x, long xStride,
            long c, long cStride) {
        int v = 0;
        for (; v + 3 <= vectors; v += 3) {
            for (int r = 0; r < ROWS; r += AT_ONCE) {
                multiply3(w, at + r * rowStride, rowStride, slotStride, slots, x + v * BYTES, xStride,
                        c + r * cStride + v * BYTES, cStride);
            }
        }
        if (v + 2 <= vectors) {
            for (int r = 0; r < ROWS; r += AT_ONCE) {
                multiply2(w, at + r * rowStride, rowStride, slotStride, slots, x + v * BYTES, xStride,
                        c + r * cStride + v * BYTES, cStride);
            }
            v += 2;
        }
        for (; v < vectors; v++) {
            multiply1(w, at, rowStride, slotStride, slots, x + v * BYTES, xStride, c + v * BYTES, cStride);
        }
    }

    private static void multiply3(float[] w, int at, int rowStride, int slotStride, int slots, long x, long xStride,
            long c, long cStride) {
        FloatVector c00 = FloatVector.fromMemorySegment(F, ALL, c, LE);
        FloatVector c01 = FloatVector.fromMemorySegment(F, ALL, c + BYTES, LE);
        FloatVector c02 = FloatVector.fromMemorySegment(F, ALL, c + 2 * BYTES, LE);
        FloatVector c10 = FloatVector.fromMemorySegment(F, ALL, c + cStride, LE);
        FloatVector c11 = FloatVector.fromMemorySegment(F, ALL, c + cStride + BYTES, LE);
        FloatVector c12 = FloatVector.fromMemorySegment(F, ALL, c + cStride + 2 * BYTES, LE);
        FloatVector c20 = FloatVector.fromMemorySegment(F, ALL, c + 2 * cStride, LE);
        FloatVector c21 = FloatVector.fromMemorySegment(F, ALL, c + 2 * cStride + BYTES, LE);
        FloatVector c22 = FloatVector.fromMemorySegment(F, ALL, c + 2 * cStride + 2 * BYTES, LE);
        FloatVector c30 = FloatVector.fromMemorySegment(F, ALL, c + 3 * cStride, LE);
        FloatVector c31 = FloatVector.fromMemorySegment(F, ALL, c + 3 * cStride + BYTES, LE);
        FloatVector c32 = FloatVector.fromMemorySegment(F, ALL, c + 3 * cStride + 2 * BYTES, LE);
        FloatVector none = FloatVector.zero(F);
        FloatVector c40 = none;
        FloatVector c41 = none;
        FloatVector c42 = none;
        FloatVector c50 = none;
        FloatVector c51 = none;
        FloatVector c52 = none;
        FloatVector c60 = none;
        FloatVector c61 = none;
        FloatVector c62 = none;
        FloatVector c70 = none;
        FloatVector c71 = none;
        FloatVector c72 = none;
        if (!HALVES) {
            c40 = FloatVector.fromMemorySegment(F, ALL, c + 4 * cStride, LE);
            c41 = FloatVector.fromMemorySegment(F, ALL, c + 4 * cStride + BYTES, LE);
            c42 = FloatVector.fromMemorySegment(F, ALL, c + 4 * cStride + 2 * BYTES, LE);
            c50 = FloatVector.fromMemorySegment(F, ALL, c + 5 * cStride, LE);
            c51 = FloatVector.fromMemorySegment(F, ALL, c + 5 * cStride + BYTES, LE);
            c52 = FloatVector.fromMemorySegment(F, ALL, c + 5 * cStride + 2 * BYTES, LE);
            c60 = FloatVector.fromMemorySegment(F, ALL, c + 6 * cStride, LE);
            c61 = FloatVector.fromMemorySegment(F, ALL, c + 6 * cStride + BYTES, LE);
            c62 = FloatVector.fromMemorySegment(F, ALL, c + 6 * cStride + 2 * BYTES, LE);
            c70 = FloatVector.fromMemorySegment(F, ALL, c + 7 * cStride, LE);
            c71 = FloatVector.fromMemorySegment(F, ALL, c + 7 * cStride + BYTES, LE);
            c72 = FloatVector.fromMemorySegment(F, ALL, c + 7 * cStride + 2 * BYTES, LE);
        }
        int i = at;
        long xs = x & ADDRESSES;
        for (int s = 0; s < slots; s++, i += slotStride, xs = xs + xStride & ADDRESSES) {
            FloatVector x0 = FloatVector.fromMemorySegment(F, ALL, xs, LE);
            FloatVector x1 = FloatVector.fromMemorySegment(F, ALL, xs + BYTES, LE);
            FloatVector x2 = FloatVector.fromMemorySegment(F, ALL, xs + 2 * BYTES, LE);
            FloatVector b = FloatVector.broadcast(F, w[i]);
            c00 = b.fma(x0, c00);
            c01 = b.fma(x1, c01);
            c02 = b.fma(x2, c02);
            b = FloatVector.broadcast(F, w[i + rowStride]);
            c10 = b.fma(x0, c10);
            c11 = b.fma(x1, c11);
            c12 = b.fma(x2, c12);
            b = FloatVector.broadcast(F, w[i + 2 * rowStride]);
            c20 = b.fma(x0, c20);
            c21 = b.fma(x1, c21);
            c22 = b.fma(x2, c22);
            b = FloatVector.broadcast(F, w[i + 3 * rowStride]);
            c30 = b.fma(x0, c30);
            c31 = b.fma(x1, c31);
            c32 = b.fma(x2, c32);
            if (!HALVES) {
                b = FloatVector.broadcast(F, w[i + 4 * rowStride]);
                c40 = b.fma(x0, c40);
                c41 = b.fma(x1, c41);
                c42 = b.fma(x2, c42);
                b = FloatVector.broadcast(F, w[i + 5 * rowStride]);
                c50 = b.fma(x0, c50);
                c51 = b.fma(x1, c51);
                c52 = b.fma(x2, c52);
                b = FloatVector.broadcast(F, w[i + 6 * rowStride]);
                c60 = b.fma(x0, c60);
                c61 = b.fma(x1, c61);
                c62 = b.fma(x2, c62);
                b = FloatVector.broadcast(F, w[i + 7 * rowStride]);
                c70 = b.fma(x0, c70);
                c71 = b.fma(x1, c71);
                c72 = b.fma(x2, c72);
            }
        }
        long to = c & ADDRESSES;
        c00.intoMemorySegment(ALL, to, LE);
        c01.intoMemorySegment(ALL, to + BYTES, LE);
        c02.intoMemorySegment(ALL, to + 2 * BYTES, LE);
        c10.intoMemorySegment(ALL, to + cStride, LE);
        c11.intoMemorySegment(ALL, to + cStride + BYTES, LE);
        c12.intoMemorySegment(ALL, to + cStride + 2 * BYTES, LE);
        c20.intoMemorySegment(ALL, to + 2 * cStride, LE);
        c21.intoMemorySegment(ALL, to + 2 * cStride + BYTES, LE);
        c22.intoMemorySegment(ALL, to + 2 * cStride + 2 * BYTES, LE);
        c30.intoMemorySegment(ALL, to + 3 * cStride, LE);
        c31.intoMemorySegment(ALL, to + 3 * cStride + BYTES, LE);
        c32.intoMemorySegment(ALL, to + 3 * cStride + 2 * BYTES, LE);
        if (!HALVES) {
            c40.intoMemorySegment(ALL, to + 4 * cStride, LE);
            c41.intoMemorySegment(ALL, to + 4 * cStride + BYTES, LE);
            c42.intoMemorySegment(ALL, to + 4 * cStride + 2 * BYTES, LE);
            c50.intoMemorySegment(ALL, to + 5 * cStride, LE);
            c51.intoMemorySegment(ALL, to + 5 * cStride + BYTES, LE);
            c52.intoMemorySegment(ALL, to + 5 * cStride + 2 * BYTES, LE);
            c60.intoMemorySegment(ALL, to + 6 * cStride, LE);
            c61.intoMemorySegment(ALL, to + 6 * cStride + BYTES, LE);
            c62.intoMemorySegment(ALL, to + 6 * cStride + 2 * BYTES, LE);
            c70.intoMemorySegment(ALL, to + 7 * cStride, LE);
            c71.intoMemorySegment(ALL, to + 7 * cStride + BYTES, LE);
            c72.intoMemorySegment(ALL, to + 7 * cStride + 2 * BYTES, LE);
        }
    }

    private static void multiply2(float[] w, int at, int rowStride, int slotStride, int slots, long x, long xStride,
            long c, long cStride) {
        FloatVector c00 = FloatVector.fromMemorySegment(F, ALL, c, LE);
        FloatVector c01 = FloatVector.fromMemorySegment(F, ALL, c + BYTES, LE);
        FloatVector c10 = FloatVector.fromMemorySegment(F, ALL, c + cStride, LE);
        FloatVector c11 = FloatVector.fromMemorySegment(F, ALL, c + cStride + BYTES, LE);
        FloatVector c20 = FloatVector.fromMemorySegment(F, ALL, c + 2 * cStride, LE);
        FloatVector c21 = FloatVector.fromMemorySegment(F, ALL, c + 2 * cStride + BYTES, LE);
        FloatVector c30 = FloatVector.fromMemorySegment(F, ALL, c + 3 * cStride, LE);
        FloatVector c31 = FloatVector.fromMemorySegment(F, ALL, c + 3 * cStride + BYTES, LE);
        FloatVector none = FloatVector.zero(F);
        FloatVector c40 = none;
        FloatVector c41 = none;
        FloatVector c50 = none;
        FloatVector c51 = none;
        FloatVector c60 = none;
        FloatVector c61 = none;
        FloatVector c70 = none;
        FloatVector c71 = none;
        if (!HALVES) {
            c40 = FloatVector.fromMemorySegment(F, ALL, c + 4 * cStride, LE);
            c41 = FloatVector.fromMemorySegment(F, ALL, c + 4 * cStride + BYTES, LE);
            c50 = FloatVector.fromMemorySegment(F, ALL, c + 5 * cStride, LE);
            c51 = FloatVector.fromMemorySegment(F, ALL, c + 5 * cStride + BYTES, LE);
            c60 = FloatVector.fromMemorySegment(F, ALL, c + 6 * cStride, LE);
            c61 = FloatVector.fromMemorySegment(F, ALL, c + 6 * cStride + BYTES, LE);
            c70 = FloatVector.fromMemorySegment(F, ALL, c + 7 * cStride, LE);
            c71 = FloatVector.fromMemorySegment(F, ALL, c + 7 * cStride + BYTES, LE);
        }
        int i = at;
        long xs = x & ADDRESSES;
        for (int s = 0; s < slots; s++, i += slotStride, xs = xs + xStride & ADDRESSES) {
            FloatVector x0 = FloatVector.fromMemorySegment(F, ALL, xs, LE);
            FloatVector x1 = FloatVector.fromMemorySegment(F, ALL, xs + BYTES, LE);
            FloatVector b = FloatVector.broadcast(F, w[i]);
            c00 = b.fma(x0, c00);
            c01 = b.fma(x1, c01);
            b = FloatVector.broadcast(F, w[i + rowStride]);
            c10 = b.fma(x0, c10);
            c11 = b.fma(x1, c11);
            b = FloatVector.broadcast(F, w[i + 2 * rowStride]);
            c20 = b.fma(x0, c20);
            c21 = b.fma(x1, c21);
            b = FloatVector.broadcast(F, w[i + 3 * rowStride]);
            c30 = b.fma(x0, c30);
            c31 = b.fma(x1, c31);
            if (!HALVES) {
                b = FloatVector.broadcast(F, w[i + 4 * rowStride]);
                c40 = b.fma(x0, c40);
                c41 = b.fma(x1, c41);
                b = FloatVector.broadcast(F, w[i + 5 * rowStride]);
                c50 = b.fma(x0, c50);
                c51 = b.fma(x1, c51);
                b = FloatVector.broadcast(F, w[i + 6 * rowStride]);
                c60 = b.fma(x0, c60);
                c61 = b.fma(x1, c61);
                b = FloatVector.broadcast(F, w[i + 7 * rowStride]);
                c70 = b.fma(x0, c70);
                c71 = b.fma(x1, c71);
            }
        }
        long to = c & ADDRESSES;
        c00.intoMemorySegment(ALL, to, LE);
        c01.intoMemorySegment(ALL, to + BYTES, LE);
        c10.intoMemorySegment(ALL, to + cStride, LE);
        c11.intoMemorySegment(ALL, to + cStride + BYTES, LE);
        c20.intoMemorySegment(ALL, to + 2 * cStride, LE);
        c21.intoMemorySegment(ALL, to + 2 * cStride + BYTES, LE);
        c30.intoMemorySegment(ALL, to + 3 * cStride, LE);
        c31.intoMemorySegment(ALL, to + 3 * cStride + BYTES, LE);
        if (!HALVES) {
            c40.intoMemorySegment(ALL, to + 4 * cStride, LE);
            c41.intoMemorySegment(ALL, to + 4 * cStride + BYTES, LE);
            c50.intoMemorySegment(ALL, to + 5 * cStride, LE);
            c51.intoMemorySegment(ALL, to + 5 * cStride + BYTES, LE);
            c60.intoMemorySegment(ALL, to + 6 * cStride, LE);
            c61.intoMemorySegment(ALL, to + 6 * cStride + BYTES, LE);
            c70.intoMemorySegment(ALL, to + 7 * cStride, LE);
            c71.intoMemorySegment(ALL, to + 7 * cStride + BYTES, LE);
        }
    }

    private static void multiply1(float[] w, int at, int rowStride, int slotStride, int slots, long x, long xStride,
            long c, long cStride) {
        FloatVector c00 = FloatVector.fromMemorySegment(F, ALL, c, LE);
        FloatVector c10 = FloatVector.fromMemorySegment(F, ALL, c + cStride, LE);
        FloatVector c20 = FloatVector.fromMemorySegment(F, ALL, c + 2 * cStride, LE);
        FloatVector c30 = FloatVector.fromMemorySegment(F, ALL, c + 3 * cStride, LE);
        FloatVector c40 = FloatVector.fromMemorySegment(F, ALL, c + 4 * cStride, LE);
        FloatVector c50 = FloatVector.fromMemorySegment(F, ALL, c + 5 * cStride, LE);
        FloatVector c60 = FloatVector.fromMemorySegment(F, ALL, c + 6 * cStride, LE);
        FloatVector c70 = FloatVector.fromMemorySegment(F, ALL, c + 7 * cStride, LE);
        int i = at;
        long xs = x & ADDRESSES;
        for (int s = 0; s < slots; s++, i += slotStride, xs = xs + xStride & ADDRESSES) {
            FloatVector x0 = FloatVector.fromMemorySegment(F, ALL, xs, LE);
            FloatVector b = FloatVector.broadcast(F, w[i]);
            c00 = b.fma(x0, c00);
            b = FloatVector.broadcast(F, w[i + rowStride]);
            c10 = b.fma(x0, c10);
            b = FloatVector.broadcast(F, w[i + 2 * rowStride]);
            c20 = b.fma(x0, c20);
            b = FloatVector.broadcast(F, w[i + 3 * rowStride]);
            c30 = b.fma(x0, c30);
            b = FloatVector.broadcast(F, w[i + 4 * rowStride]);
            c40 = b.fma(x0, c40);
            b = FloatVector.broadcast(F, w[i + 5 * rowStride]);
            c50 = b.fma(x0, c50);
            b = FloatVector.broadcast(F, w[i + 6 * rowStride]);
            c60 = b.fma(x0, c60);
            b = FloatVector.broadcast(F, w[i + 7 * rowStride]);
            c70 = b.fma(x0, c70);
        }
        long to = c & ADDRESSES;
        c00.intoMemorySegment(ALL, to, LE);
        c10.intoMemorySegment(ALL, to + cStride, LE);
        c20.intoMemorySegment(ALL, to + 2 * cStride, LE);
        c30.intoMemorySegment(ALL, to + 3 * cStride, LE);
        c40.intoMemorySegment(ALL, to + 4 * cStride, LE);
        c50.intoMemorySegment(ALL, to + 5 * cStride, LE);
        c60.intoMemorySegment(ALL, to + 6 * cStride, LE);
        c70.intoMemorySegment(ALL, to + 7 * cStride, LE);
    }
}
