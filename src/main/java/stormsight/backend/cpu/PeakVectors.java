package stormsight.backend.cpu;

import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** {@link Peaks.Loops} in the Vector API. */
final class PeakVectors implements Peaks.Loops {
    private static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
    private static final VectorSpecies<Integer> INTS = IntVector.SPECIES_PREFERRED;
    private static final int VECTOR_BYTES = INTS.vectorByteSize();
    /**
     * Sums that do not wait for each other: the latency of an operation times how many a core starts at once, and some
     * more.
     */
    private static final int SUMS = 12;

    @Override
    public String description() {
        return "Vector API, " + FLOATS.vectorBitSize() + " bits";
    }

    @Override
    public long read(long address, long distance, long step, int times) {
        IntVector a = IntVector.zero(INTS);
        IntVector b = a;
        IntVector c = a;
        IntVector d = a;
        long at = address;
        for (int i = 0; i < times; i++, at += step) {
            a = a.lanewise(VectorOperators.XOR, IntVector.fromMemorySegment(INTS, Memory.ALL, at,
                    ByteOrder.LITTLE_ENDIAN));
            b = b.lanewise(VectorOperators.XOR, IntVector.fromMemorySegment(INTS, Memory.ALL, at + distance,
                    ByteOrder.LITTLE_ENDIAN));
            c = c.lanewise(VectorOperators.XOR, IntVector.fromMemorySegment(INTS, Memory.ALL, at + 2 * distance,
                    ByteOrder.LITTLE_ENDIAN));
            d = d.lanewise(VectorOperators.XOR, IntVector.fromMemorySegment(INTS, Memory.ALL, at + 3 * distance,
                    ByteOrder.LITTLE_ENDIAN));
        }
        return a.lanewise(VectorOperators.XOR, b).lanewise(VectorOperators.XOR, c).lanewise(VectorOperators.XOR, d)
                .reduceLanes(VectorOperators.XOR);
    }

    @Override
    public int readBytes() {
        return VECTOR_BYTES;
    }

    @Override
    public float fma(int rounds) {
        FloatVector half = FloatVector.broadcast(FLOATS, 0.5f);
        FloatVector one = FloatVector.broadcast(FLOATS, 1);
        FloatVector a = FloatVector.broadcast(FLOATS, 3);
        FloatVector b = a.add(1);
        FloatVector c = a.add(2);
        FloatVector d = a.add(3);
        FloatVector e = a.add(4);
        FloatVector f = a.add(5);
        FloatVector g = a.add(6);
        FloatVector h = a.add(7);
        FloatVector i = a.add(8);
        FloatVector j = a.add(9);
        FloatVector k = a.add(10);
        FloatVector l = a.add(11);
        // Into what is added, as the instruction does it and as products do: a constant there would have to be copied
        // each time.
        for (int round = 0; round < rounds; round++) {
            a = half.fma(one, a);
            b = half.fma(one, b);
            c = half.fma(one, c);
            d = half.fma(one, d);
            e = half.fma(one, e);
            f = half.fma(one, f);
            g = half.fma(one, g);
            h = half.fma(one, h);
            i = half.fma(one, i);
            j = half.fma(one, j);
            k = half.fma(one, k);
            l = half.fma(one, l);
        }
        return a.add(b)
                .add(c)
                .add(d)
                .add(e)
                .add(f)
                .add(g)
                .add(h)
                .add(i)
                .add(j)
                .add(k)
                .add(l)
                .reduceLanes(VectorOperators.ADD);
    }

    @Override
    public long operations() {
        return 2L * SUMS * FLOATS.length();
    }
}
