package stormsight.backend.cpu;

import static stormsight.backend.cpu.Memory.ALL;

import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import stormsight.program.Op;
import stormsight.program.Step;

/** {@link Op.SoftCap}: {@code x = cap * tanh(x / cap)}. */
record Cap(long x, float cap, int columns, int capacity) {
    /** Elements of one piece. */
    private static final int PIECE = 1 << 13;

    static Kernel kernel(Op.SoftCap op, Binding binding) {
        return kernel(new Cap(binding.address(op.x()), op.cap(), op.x().columns(), op.x().rows()), binding);
    }

    private static Kernel kernel(Cap cap, Binding binding) {
        return binding.choose(() -> new Scalar(cap), () -> new Vectors(cap));
    }

    long elements(Step step) {
        return (long) Math.min(step.rows(), capacity) * columns;
    }

    int pieces(Step step) {
        return Math.toIntExact((elements(step) + PIECE - 1) / PIECE);
    }

    record Scalar(Cap cap) implements Kernel {
        @Override
        public int pieces(Step step) {
            return cap.pieces(step);
        }

        @Override
        public void run(Step step, int piece, int worker) {
            long end = Math.min((piece + 1L) * PIECE, cap.elements(step));
            for (long i = (long) piece * PIECE; i < end; i++) {
                long at = cap.x + 4 * i;
                Memory.f32(at, (float) (cap.cap * Math.tanh(Memory.f32(at) / (double) cap.cap)));
            }
        }
    }

    record Vectors(Cap cap) implements Kernel {
        private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
        private static final int LANES = F.length();
        private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
        private static final float SATURATED = 40;

        @Override
        public int pieces(Step step) {
            return cap.pieces(step);
        }

        @Override
        public void run(Step step, int piece, int worker) {
            long start = (long) piece * PIECE;
            int count = (int) (Math.min(start + PIECE, cap.elements(step)) - start);
            int even = count - count % LANES;
            long x = cap.x + 4 * start;
            apply(x, even, cap.cap);
            for (int i = even; i < count; i++) {
                float value = Memory.f32(x + 4L * i);
                Memory.f32(x + 4L * i, (float) (cap.cap * Math.tanh(value / (double) cap.cap)));
            }
        }

        /**
         * {@code x = cap * tanh(x / cap)} over whole vectors, by tanh(y) = e / (e + 2) with e = exp(2 y) - 1, which
         * stays exact near 0. From |2 y| = {@value #SATURATED} on the result is 1.
         */
        static void apply(long x, int count, float cap) {
            for (int i = 0; i < count; i += LANES) {
                FloatVector a = FloatVector.fromMemorySegment(F, ALL, x + 4L * i,
                        LE).mul(2 / cap).max(-SATURATED).min(SATURATED);
                FloatVector t = a.fma(FloatVector.broadcast(F, Exp.LOG2_E), FloatVector.broadcast(F, Exp.ROUND));
                FloatVector n = t.sub(Exp.ROUND);
                FloatVector r = n.fma(FloatVector.broadcast(F, -Exp.LN2_HIGH), a);
                r = n.fma(FloatVector.broadcast(F, -Exp.LN2_LOW), r);
                FloatVector p = r.fma(FloatVector.broadcast(F, Exp.C5), FloatVector.broadcast(F, Exp.C4));
                p = p.fma(r, FloatVector.broadcast(F, Exp.C3));
                p = p.fma(r, FloatVector.broadcast(F, Exp.C2));
                p = p.fma(r, FloatVector.broadcast(F, Exp.C1));
                p = p.fma(r, FloatVector.broadcast(F, Exp.C0));
                p = p.mul(r).fma(r, r);
                FloatVector power = t.reinterpretAsInts().lanewise(VectorOperators.LSHL,
                        23).add(Exp.ONE_BITS).reinterpretAsFloats();
                FloatVector e = p.fma(power, power.sub(1f));
                e.div(e.add(2f)).mul(cap).intoMemorySegment(ALL, x + 4L * i, LE);
            }
        }
    }
}
