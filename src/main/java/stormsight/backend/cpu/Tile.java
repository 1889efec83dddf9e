package stormsight.backend.cpu;

import static stormsight.backend.cpu.Memory.ALL;

import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The inner loops of all products of many rows: {@code c[r, lane] += sum over s of w[r, s] * x[s, lane]} for {@value #ROWS} rows r. Lanes are tokens;
 * w is read as scalars at {@code w[at + r * rowStride + s * slotStride]}, so it may be transposed. Strides of x and c are bytes.
 *
 * <p>w is an array because a scalar from a memory segment costs as much as a dozen multiplications here: with an array, the loop reaches the
 * machine's peak.
 *
 * <p>The bodies are spelled out: a method of ours that takes or returns vectors may not be inlined, and then they are boxed. For the same reason they
 * always add to c: a choice between zeros and loads made them too large for the compiler, and a hundred times slower.
 */
final class Tile {
    static final int ROWS = 8;

    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    static final int LANES = F.length();

    /**
     * Vectors of tokens in a full tile. Three keep 24 sums in 32 registers; 256-bit vectors are taken as those of AVX2, which has 16 registers.
     */
    static final int VECTORS = LANES == 8 ? 1 : 3;

    private static final long BYTES = 4L * LANES;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

    private Tile() {}

    /** Zeros to add to. */
    static void clear(long c, long bytes) {
        for (long at = c; at < c + bytes; at += BYTES) {
            FloatVector.zero(F).intoMemorySegment(ALL, at, LE);
        }
    }

    /** @param rows of w; further ones of c, up to {@value #ROWS}, get values without meaning */
    static void multiply(int vectors, float[] w, int at, int rowStride, int slotStride, int rows, int slots, long x, long xStride,
            long c, long cStride) {
        int v = 0;
        for (; v + 3 <= vectors && VECTORS == 3; v += 3) {
            multiply3(w, at, rowStride, slotStride, rows, slots, x + v * BYTES, xStride, c + v * BYTES, cStride);
        }
        if (v + 2 <= vectors && VECTORS == 3) {
            multiply2(w, at, rowStride, slotStride, rows, slots, x + v * BYTES, xStride, c + v * BYTES, cStride);
            v += 2;
        }
        for (; v < vectors; v++) {
            multiply1(w, at, rowStride, slotStride, rows, slots, x + v * BYTES, xStride, c + v * BYTES, cStride);
        }
    }


    private static void multiply3(float[] w, int at, int rowStride, int slotStride, int rows, int slots, long x, long xStride,
            long c, long cStride) {
        int last = rows - 1;
        int w0 = at;
        int w1 = at + Math.min(1, last) * rowStride;
        int w2 = at + Math.min(2, last) * rowStride;
        int w3 = at + Math.min(3, last) * rowStride;
        int w4 = at + Math.min(4, last) * rowStride;
        int w5 = at + Math.min(5, last) * rowStride;
        int w6 = at + Math.min(6, last) * rowStride;
        int w7 = at + Math.min(7, last) * rowStride;
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
        FloatVector c40 = FloatVector.fromMemorySegment(F, ALL, c + 4 * cStride, LE);
        FloatVector c41 = FloatVector.fromMemorySegment(F, ALL, c + 4 * cStride + BYTES, LE);
        FloatVector c42 = FloatVector.fromMemorySegment(F, ALL, c + 4 * cStride + 2 * BYTES, LE);
        FloatVector c50 = FloatVector.fromMemorySegment(F, ALL, c + 5 * cStride, LE);
        FloatVector c51 = FloatVector.fromMemorySegment(F, ALL, c + 5 * cStride + BYTES, LE);
        FloatVector c52 = FloatVector.fromMemorySegment(F, ALL, c + 5 * cStride + 2 * BYTES, LE);
        FloatVector c60 = FloatVector.fromMemorySegment(F, ALL, c + 6 * cStride, LE);
        FloatVector c61 = FloatVector.fromMemorySegment(F, ALL, c + 6 * cStride + BYTES, LE);
        FloatVector c62 = FloatVector.fromMemorySegment(F, ALL, c + 6 * cStride + 2 * BYTES, LE);
        FloatVector c70 = FloatVector.fromMemorySegment(F, ALL, c + 7 * cStride, LE);
        FloatVector c71 = FloatVector.fromMemorySegment(F, ALL, c + 7 * cStride + BYTES, LE);
        FloatVector c72 = FloatVector.fromMemorySegment(F, ALL, c + 7 * cStride + 2 * BYTES, LE);
        for (int s = 0; s < slots; s++) {
            int slot = s * slotStride;
            long xs = x + s * xStride;
            FloatVector x0 = FloatVector.fromMemorySegment(F, ALL, xs, LE);
            FloatVector x1 = FloatVector.fromMemorySegment(F, ALL, xs + BYTES, LE);
            FloatVector x2 = FloatVector.fromMemorySegment(F, ALL, xs + 2 * BYTES, LE);
            FloatVector b = FloatVector.broadcast(F, w[w0 + slot]);
            c00 = b.fma(x0, c00);
            c01 = b.fma(x1, c01);
            c02 = b.fma(x2, c02);
            b = FloatVector.broadcast(F, w[w1 + slot]);
            c10 = b.fma(x0, c10);
            c11 = b.fma(x1, c11);
            c12 = b.fma(x2, c12);
            b = FloatVector.broadcast(F, w[w2 + slot]);
            c20 = b.fma(x0, c20);
            c21 = b.fma(x1, c21);
            c22 = b.fma(x2, c22);
            b = FloatVector.broadcast(F, w[w3 + slot]);
            c30 = b.fma(x0, c30);
            c31 = b.fma(x1, c31);
            c32 = b.fma(x2, c32);
            b = FloatVector.broadcast(F, w[w4 + slot]);
            c40 = b.fma(x0, c40);
            c41 = b.fma(x1, c41);
            c42 = b.fma(x2, c42);
            b = FloatVector.broadcast(F, w[w5 + slot]);
            c50 = b.fma(x0, c50);
            c51 = b.fma(x1, c51);
            c52 = b.fma(x2, c52);
            b = FloatVector.broadcast(F, w[w6 + slot]);
            c60 = b.fma(x0, c60);
            c61 = b.fma(x1, c61);
            c62 = b.fma(x2, c62);
            b = FloatVector.broadcast(F, w[w7 + slot]);
            c70 = b.fma(x0, c70);
            c71 = b.fma(x1, c71);
            c72 = b.fma(x2, c72);
        }
        c00.intoMemorySegment(ALL, c, LE);
        c01.intoMemorySegment(ALL, c + BYTES, LE);
        c02.intoMemorySegment(ALL, c + 2 * BYTES, LE);
        c10.intoMemorySegment(ALL, c + cStride, LE);
        c11.intoMemorySegment(ALL, c + cStride + BYTES, LE);
        c12.intoMemorySegment(ALL, c + cStride + 2 * BYTES, LE);
        c20.intoMemorySegment(ALL, c + 2 * cStride, LE);
        c21.intoMemorySegment(ALL, c + 2 * cStride + BYTES, LE);
        c22.intoMemorySegment(ALL, c + 2 * cStride + 2 * BYTES, LE);
        c30.intoMemorySegment(ALL, c + 3 * cStride, LE);
        c31.intoMemorySegment(ALL, c + 3 * cStride + BYTES, LE);
        c32.intoMemorySegment(ALL, c + 3 * cStride + 2 * BYTES, LE);
        c40.intoMemorySegment(ALL, c + 4 * cStride, LE);
        c41.intoMemorySegment(ALL, c + 4 * cStride + BYTES, LE);
        c42.intoMemorySegment(ALL, c + 4 * cStride + 2 * BYTES, LE);
        c50.intoMemorySegment(ALL, c + 5 * cStride, LE);
        c51.intoMemorySegment(ALL, c + 5 * cStride + BYTES, LE);
        c52.intoMemorySegment(ALL, c + 5 * cStride + 2 * BYTES, LE);
        c60.intoMemorySegment(ALL, c + 6 * cStride, LE);
        c61.intoMemorySegment(ALL, c + 6 * cStride + BYTES, LE);
        c62.intoMemorySegment(ALL, c + 6 * cStride + 2 * BYTES, LE);
        c70.intoMemorySegment(ALL, c + 7 * cStride, LE);
        c71.intoMemorySegment(ALL, c + 7 * cStride + BYTES, LE);
        c72.intoMemorySegment(ALL, c + 7 * cStride + 2 * BYTES, LE);
    }

    private static void multiply2(float[] w, int at, int rowStride, int slotStride, int rows, int slots, long x, long xStride,
            long c, long cStride) {
        int last = rows - 1;
        int w0 = at;
        int w1 = at + Math.min(1, last) * rowStride;
        int w2 = at + Math.min(2, last) * rowStride;
        int w3 = at + Math.min(3, last) * rowStride;
        int w4 = at + Math.min(4, last) * rowStride;
        int w5 = at + Math.min(5, last) * rowStride;
        int w6 = at + Math.min(6, last) * rowStride;
        int w7 = at + Math.min(7, last) * rowStride;
        FloatVector c00 = FloatVector.fromMemorySegment(F, ALL, c, LE);
        FloatVector c01 = FloatVector.fromMemorySegment(F, ALL, c + BYTES, LE);
        FloatVector c10 = FloatVector.fromMemorySegment(F, ALL, c + cStride, LE);
        FloatVector c11 = FloatVector.fromMemorySegment(F, ALL, c + cStride + BYTES, LE);
        FloatVector c20 = FloatVector.fromMemorySegment(F, ALL, c + 2 * cStride, LE);
        FloatVector c21 = FloatVector.fromMemorySegment(F, ALL, c + 2 * cStride + BYTES, LE);
        FloatVector c30 = FloatVector.fromMemorySegment(F, ALL, c + 3 * cStride, LE);
        FloatVector c31 = FloatVector.fromMemorySegment(F, ALL, c + 3 * cStride + BYTES, LE);
        FloatVector c40 = FloatVector.fromMemorySegment(F, ALL, c + 4 * cStride, LE);
        FloatVector c41 = FloatVector.fromMemorySegment(F, ALL, c + 4 * cStride + BYTES, LE);
        FloatVector c50 = FloatVector.fromMemorySegment(F, ALL, c + 5 * cStride, LE);
        FloatVector c51 = FloatVector.fromMemorySegment(F, ALL, c + 5 * cStride + BYTES, LE);
        FloatVector c60 = FloatVector.fromMemorySegment(F, ALL, c + 6 * cStride, LE);
        FloatVector c61 = FloatVector.fromMemorySegment(F, ALL, c + 6 * cStride + BYTES, LE);
        FloatVector c70 = FloatVector.fromMemorySegment(F, ALL, c + 7 * cStride, LE);
        FloatVector c71 = FloatVector.fromMemorySegment(F, ALL, c + 7 * cStride + BYTES, LE);
        for (int s = 0; s < slots; s++) {
            int slot = s * slotStride;
            long xs = x + s * xStride;
            FloatVector x0 = FloatVector.fromMemorySegment(F, ALL, xs, LE);
            FloatVector x1 = FloatVector.fromMemorySegment(F, ALL, xs + BYTES, LE);
            FloatVector b = FloatVector.broadcast(F, w[w0 + slot]);
            c00 = b.fma(x0, c00);
            c01 = b.fma(x1, c01);
            b = FloatVector.broadcast(F, w[w1 + slot]);
            c10 = b.fma(x0, c10);
            c11 = b.fma(x1, c11);
            b = FloatVector.broadcast(F, w[w2 + slot]);
            c20 = b.fma(x0, c20);
            c21 = b.fma(x1, c21);
            b = FloatVector.broadcast(F, w[w3 + slot]);
            c30 = b.fma(x0, c30);
            c31 = b.fma(x1, c31);
            b = FloatVector.broadcast(F, w[w4 + slot]);
            c40 = b.fma(x0, c40);
            c41 = b.fma(x1, c41);
            b = FloatVector.broadcast(F, w[w5 + slot]);
            c50 = b.fma(x0, c50);
            c51 = b.fma(x1, c51);
            b = FloatVector.broadcast(F, w[w6 + slot]);
            c60 = b.fma(x0, c60);
            c61 = b.fma(x1, c61);
            b = FloatVector.broadcast(F, w[w7 + slot]);
            c70 = b.fma(x0, c70);
            c71 = b.fma(x1, c71);
        }
        c00.intoMemorySegment(ALL, c, LE);
        c01.intoMemorySegment(ALL, c + BYTES, LE);
        c10.intoMemorySegment(ALL, c + cStride, LE);
        c11.intoMemorySegment(ALL, c + cStride + BYTES, LE);
        c20.intoMemorySegment(ALL, c + 2 * cStride, LE);
        c21.intoMemorySegment(ALL, c + 2 * cStride + BYTES, LE);
        c30.intoMemorySegment(ALL, c + 3 * cStride, LE);
        c31.intoMemorySegment(ALL, c + 3 * cStride + BYTES, LE);
        c40.intoMemorySegment(ALL, c + 4 * cStride, LE);
        c41.intoMemorySegment(ALL, c + 4 * cStride + BYTES, LE);
        c50.intoMemorySegment(ALL, c + 5 * cStride, LE);
        c51.intoMemorySegment(ALL, c + 5 * cStride + BYTES, LE);
        c60.intoMemorySegment(ALL, c + 6 * cStride, LE);
        c61.intoMemorySegment(ALL, c + 6 * cStride + BYTES, LE);
        c70.intoMemorySegment(ALL, c + 7 * cStride, LE);
        c71.intoMemorySegment(ALL, c + 7 * cStride + BYTES, LE);
    }

    private static void multiply1(float[] w, int at, int rowStride, int slotStride, int rows, int slots, long x, long xStride,
            long c, long cStride) {
        int last = rows - 1;
        int w0 = at;
        int w1 = at + Math.min(1, last) * rowStride;
        int w2 = at + Math.min(2, last) * rowStride;
        int w3 = at + Math.min(3, last) * rowStride;
        int w4 = at + Math.min(4, last) * rowStride;
        int w5 = at + Math.min(5, last) * rowStride;
        int w6 = at + Math.min(6, last) * rowStride;
        int w7 = at + Math.min(7, last) * rowStride;
        FloatVector c00 = FloatVector.fromMemorySegment(F, ALL, c, LE);
        FloatVector c10 = FloatVector.fromMemorySegment(F, ALL, c + cStride, LE);
        FloatVector c20 = FloatVector.fromMemorySegment(F, ALL, c + 2 * cStride, LE);
        FloatVector c30 = FloatVector.fromMemorySegment(F, ALL, c + 3 * cStride, LE);
        FloatVector c40 = FloatVector.fromMemorySegment(F, ALL, c + 4 * cStride, LE);
        FloatVector c50 = FloatVector.fromMemorySegment(F, ALL, c + 5 * cStride, LE);
        FloatVector c60 = FloatVector.fromMemorySegment(F, ALL, c + 6 * cStride, LE);
        FloatVector c70 = FloatVector.fromMemorySegment(F, ALL, c + 7 * cStride, LE);
        for (int s = 0; s < slots; s++) {
            int slot = s * slotStride;
            long xs = x + s * xStride;
            FloatVector x0 = FloatVector.fromMemorySegment(F, ALL, xs, LE);
            FloatVector b = FloatVector.broadcast(F, w[w0 + slot]);
            c00 = b.fma(x0, c00);
            b = FloatVector.broadcast(F, w[w1 + slot]);
            c10 = b.fma(x0, c10);
            b = FloatVector.broadcast(F, w[w2 + slot]);
            c20 = b.fma(x0, c20);
            b = FloatVector.broadcast(F, w[w3 + slot]);
            c30 = b.fma(x0, c30);
            b = FloatVector.broadcast(F, w[w4 + slot]);
            c40 = b.fma(x0, c40);
            b = FloatVector.broadcast(F, w[w5 + slot]);
            c50 = b.fma(x0, c50);
            b = FloatVector.broadcast(F, w[w6 + slot]);
            c60 = b.fma(x0, c60);
            b = FloatVector.broadcast(F, w[w7 + slot]);
            c70 = b.fma(x0, c70);
        }
        c00.intoMemorySegment(ALL, c, LE);
        c10.intoMemorySegment(ALL, c + cStride, LE);
        c20.intoMemorySegment(ALL, c + 2 * cStride, LE);
        c30.intoMemorySegment(ALL, c + 3 * cStride, LE);
        c40.intoMemorySegment(ALL, c + 4 * cStride, LE);
        c50.intoMemorySegment(ALL, c + 5 * cStride, LE);
        c60.intoMemorySegment(ALL, c + 6 * cStride, LE);
        c70.intoMemorySegment(ALL, c + 7 * cStride, LE);
    }
}
