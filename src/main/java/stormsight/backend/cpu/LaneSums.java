package stormsight.backend.cpu;

import static stormsight.backend.cpu.Memory.ADDRESSES;
import static stormsight.backend.cpu.Memory.ALL;

import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/** What products of vectors end with: the sums of their lanes, which lie in memory, in one order everywhere. */
final class LaneSums {
    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final int LANES = F.length();
    private static final long BYTES = 4L * LANES;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

    /** Whether the lanes of as many vectors as there are lanes are added up at once. */
    private static final boolean TRANSPOSED = LANES == 16;

    // Of two rows of a transposition that lie so far apart, what becomes the first and the second one.
    private static final FloatVector LOW1 = exchange(1, 0);
    private static final FloatVector HIGH1 = exchange(1, 1);
    private static final FloatVector LOW2 = exchange(2, 0);
    private static final FloatVector HIGH2 = exchange(2, 2);
    private static final FloatVector LOW4 = exchange(4, 0);
    private static final FloatVector HIGH4 = exchange(4, 4);
    private static final FloatVector LOW8 = exchange(8, 0);
    private static final FloatVector HIGH8 = exchange(8, 8);

    private LaneSums() {}

    /** Unused where vectors are narrower than the distance; the remainder keeps their lanes in range there. */
    private static FloatVector exchange(int distance, int from) {
        float[] lanes = new float[LANES];
        for (int lane = 0; lane < LANES; lane++) {
            int within = lane & ~distance | from;
            lanes[lane] = ((lane & distance) == 0 ? within : LANES + within) % (2 * LANES);
        }
        return FloatVector.fromArray(F, lanes, 0);
    }

    /**
     * Writes the sums of the lanes of vectors, up to four fours of them, which are overwritten. Those of a four lie
     * side by side. Where vectors wait for memory it is better to call {@link #four} as soon as there are as many:
     * reads of the next ones begin earlier.
     *
     * @param between from where the first sum of four goes to where that of the next four does, in bytes
     */
    static void add(long lanes, int fours, long to, long between) {
        if (TRANSPOSED) {
            transposed(lanes);
        }
        for (int i = 0; i < fours; i++) {
            if (TRANSPOSED) {
                long from = lanes + 16L * i & ADDRESSES;
                long at = to + i * between;
                Memory.f32(at, Memory.f32(from));
                Memory.f32(at + 4, Memory.f32(from + 4));
                Memory.f32(at + 8, Memory.f32(from + 8));
                Memory.f32(at + 12, Memory.f32(from + 12));
            } else {
                four(lanes + i * (4 * BYTES), to + i * between, Float.BYTES);
            }
        }
    }

    /**
     * Writes the sums of the lanes of four vectors.
     *
     * @param distance from where one sum goes to where the next does, in bytes
     */
    static void four(long lanes, long to, long distance) {
        float s0 = 0;
        float s1 = 0;
        float s2 = 0;
        float s3 = 0;
        for (int lane = 0; lane < LANES; lane++) {
            long at = lanes + 4L * lane;
            s0 += Memory.f32(at);
            s1 += Memory.f32(at + BYTES);
            s2 += Memory.f32(at + 2 * BYTES);
            s3 += Memory.f32(at + 3 * BYTES);
        }
        Memory.f32(to, s0);
        Memory.f32(to + distance, s1);
        Memory.f32(to + 2 * distance, s2);
        Memory.f32(to + 3 * distance, s3);
    }

    /** Adds up the lanes of 16 vectors of 16 lanes, to the first of them: lanes become vectors, and are added. */
    private static void transposed(long lanes) {
        long at = lanes & ADDRESSES;
        FloatVector v0 = FloatVector.fromMemorySegment(F, ALL, at, LE);
        FloatVector v1 = FloatVector.fromMemorySegment(F, ALL, at + BYTES, LE);
        FloatVector v2 = FloatVector.fromMemorySegment(F, ALL, at + 2 * BYTES, LE);
        FloatVector v3 = FloatVector.fromMemorySegment(F, ALL, at + 3 * BYTES, LE);
        FloatVector v4 = FloatVector.fromMemorySegment(F, ALL, at + 4 * BYTES, LE);
        FloatVector v5 = FloatVector.fromMemorySegment(F, ALL, at + 5 * BYTES, LE);
        FloatVector v6 = FloatVector.fromMemorySegment(F, ALL, at + 6 * BYTES, LE);
        FloatVector v7 = FloatVector.fromMemorySegment(F, ALL, at + 7 * BYTES, LE);
        FloatVector v8 = FloatVector.fromMemorySegment(F, ALL, at + 8 * BYTES, LE);
        FloatVector v9 = FloatVector.fromMemorySegment(F, ALL, at + 9 * BYTES, LE);
        FloatVector v10 = FloatVector.fromMemorySegment(F, ALL, at + 10 * BYTES, LE);
        FloatVector v11 = FloatVector.fromMemorySegment(F, ALL, at + 11 * BYTES, LE);
        FloatVector v12 = FloatVector.fromMemorySegment(F, ALL, at + 12 * BYTES, LE);
        FloatVector v13 = FloatVector.fromMemorySegment(F, ALL, at + 13 * BYTES, LE);
        FloatVector v14 = FloatVector.fromMemorySegment(F, ALL, at + 14 * BYTES, LE);
        FloatVector v15 = FloatVector.fromMemorySegment(F, ALL, at + 15 * BYTES, LE);
        FloatVector low;
        low = LOW1.selectFrom(v0, v1);
        v1 = HIGH1.selectFrom(v0, v1);
        v0 = low;
        low = LOW1.selectFrom(v2, v3);
        v3 = HIGH1.selectFrom(v2, v3);
        v2 = low;
        low = LOW1.selectFrom(v4, v5);
        v5 = HIGH1.selectFrom(v4, v5);
        v4 = low;
        low = LOW1.selectFrom(v6, v7);
        v7 = HIGH1.selectFrom(v6, v7);
        v6 = low;
        low = LOW1.selectFrom(v8, v9);
        v9 = HIGH1.selectFrom(v8, v9);
        v8 = low;
        low = LOW1.selectFrom(v10, v11);
        v11 = HIGH1.selectFrom(v10, v11);
        v10 = low;
        low = LOW1.selectFrom(v12, v13);
        v13 = HIGH1.selectFrom(v12, v13);
        v12 = low;
        low = LOW1.selectFrom(v14, v15);
        v15 = HIGH1.selectFrom(v14, v15);
        v14 = low;
        low = LOW2.selectFrom(v0, v2);
        v2 = HIGH2.selectFrom(v0, v2);
        v0 = low;
        low = LOW2.selectFrom(v1, v3);
        v3 = HIGH2.selectFrom(v1, v3);
        v1 = low;
        low = LOW2.selectFrom(v4, v6);
        v6 = HIGH2.selectFrom(v4, v6);
        v4 = low;
        low = LOW2.selectFrom(v5, v7);
        v7 = HIGH2.selectFrom(v5, v7);
        v5 = low;
        low = LOW2.selectFrom(v8, v10);
        v10 = HIGH2.selectFrom(v8, v10);
        v8 = low;
        low = LOW2.selectFrom(v9, v11);
        v11 = HIGH2.selectFrom(v9, v11);
        v9 = low;
        low = LOW2.selectFrom(v12, v14);
        v14 = HIGH2.selectFrom(v12, v14);
        v12 = low;
        low = LOW2.selectFrom(v13, v15);
        v15 = HIGH2.selectFrom(v13, v15);
        v13 = low;
        low = LOW4.selectFrom(v0, v4);
        v4 = HIGH4.selectFrom(v0, v4);
        v0 = low;
        low = LOW4.selectFrom(v1, v5);
        v5 = HIGH4.selectFrom(v1, v5);
        v1 = low;
        low = LOW4.selectFrom(v2, v6);
        v6 = HIGH4.selectFrom(v2, v6);
        v2 = low;
        low = LOW4.selectFrom(v3, v7);
        v7 = HIGH4.selectFrom(v3, v7);
        v3 = low;
        low = LOW4.selectFrom(v8, v12);
        v12 = HIGH4.selectFrom(v8, v12);
        v8 = low;
        low = LOW4.selectFrom(v9, v13);
        v13 = HIGH4.selectFrom(v9, v13);
        v9 = low;
        low = LOW4.selectFrom(v10, v14);
        v14 = HIGH4.selectFrom(v10, v14);
        v10 = low;
        low = LOW4.selectFrom(v11, v15);
        v15 = HIGH4.selectFrom(v11, v15);
        v11 = low;
        low = LOW8.selectFrom(v0, v8);
        v8 = HIGH8.selectFrom(v0, v8);
        v0 = low;
        low = LOW8.selectFrom(v1, v9);
        v9 = HIGH8.selectFrom(v1, v9);
        v1 = low;
        low = LOW8.selectFrom(v2, v10);
        v10 = HIGH8.selectFrom(v2, v10);
        v2 = low;
        low = LOW8.selectFrom(v3, v11);
        v11 = HIGH8.selectFrom(v3, v11);
        v3 = low;
        low = LOW8.selectFrom(v4, v12);
        v12 = HIGH8.selectFrom(v4, v12);
        v4 = low;
        low = LOW8.selectFrom(v5, v13);
        v13 = HIGH8.selectFrom(v5, v13);
        v5 = low;
        low = LOW8.selectFrom(v6, v14);
        v14 = HIGH8.selectFrom(v6, v14);
        v6 = low;
        low = LOW8.selectFrom(v7, v15);
        v15 = HIGH8.selectFrom(v7, v15);
        v7 = low;
        FloatVector sum = v0.add(0f);
        sum = sum.add(v1);
        sum = sum.add(v2);
        sum = sum.add(v3);
        sum = sum.add(v4);
        sum = sum.add(v5);
        sum = sum.add(v6);
        sum = sum.add(v7);
        sum = sum.add(v8);
        sum = sum.add(v9);
        sum = sum.add(v10);
        sum = sum.add(v11);
        sum = sum.add(v12);
        sum = sum.add(v13);
        sum = sum.add(v14);
        sum = sum.add(v15);
        sum.intoMemorySegment(ALL, at, LE);
    }
}
