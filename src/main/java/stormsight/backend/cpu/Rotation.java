package stormsight.backend.cpu;

import static stormsight.backend.cpu.Memory.ALL;

import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;
import stormsight.program.Op;
import stormsight.program.Step;

/**
 * {@link Op.Rope}: {@code (a, b) = (a cos - b sin, b cos + a sin)} for pairs (c, c + headDim/2) of each head.
 *
 * @param table row p holds the cosines of the angles of position p, then their sines
 */
record Rotation(long x, long table, int heads, int headDim, int capacity) {
    /** Rows of one piece. */
    private static final int PIECE = 8;

    static Kernel kernel(Op.Rope op, Binding binding) {
        return kernel(new Rotation(binding.address(op.x()), binding.address(op.table()), op.heads(), op.headDim(),
                op.x().rows()), binding);
    }

    private static Kernel kernel(Rotation rotation, Binding binding) {
        return binding.choose(() -> new Scalar(rotation), () -> new Vectors(rotation));
    }

    int pieces(Step step) {
        return (Math.min(step.rows(), capacity) + PIECE - 1) / PIECE;
    }

    int end(Step step, int piece) {
        return Math.min((piece + 1) * PIECE, Math.min(step.rows(), capacity));
    }

    /** Rotates one head from pair {@code first} on. */
    private void rotate(long head, long cosines, int first) {
        int half = headDim / 2;
        for (int c = first; c < half; c++) {
            double a = Memory.f32(head + 4L * c);
            double b = Memory.f32(head + 4L * (c + half));
            double cosine = Memory.f32(cosines + 4L * c);
            double sine = Memory.f32(cosines + 4L * (c + half));
            Memory.f32(head + 4L * c, (float) (a * cosine - b * sine));
            Memory.f32(head + 4L * (c + half), (float) (b * cosine + a * sine));
        }
    }

    record Scalar(Rotation rotation) implements Kernel {
        @Override
        public int pieces(Step step) {
            return rotation.pieces(step);
        }

        @Override
        public void run(Step step, int piece, int worker) {
            long headBytes = 4L * rotation.headDim;
            for (int row = piece * PIECE; row < rotation.end(step, piece); row++) {
                long cosines = rotation.table + step.token(row) * headBytes;
                for (int head = 0; head < rotation.heads; head++) {
                    rotation.rotate(rotation.x + ((long) row * rotation.heads + head) * headBytes, cosines, 0);
                }
            }
        }
    }

    record Vectors(Rotation rotation) implements Kernel {
        private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
        private static final int LANES = F.length();
        private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

        @Override
        public int pieces(Step step) {
            return rotation.pieces(step);
        }

        @Override
        public void run(Step step, int piece, int worker) {
            long headBytes = 4L * rotation.headDim;
            long half = headBytes / 2;
            int even = rotation.headDim / 2 / LANES * LANES;
            for (int row = piece * PIECE; row < rotation.end(step, piece); row++) {
                long cosines = rotation.table + step.token(row) * headBytes;
                for (int head = 0; head < rotation.heads; head++) {
                    long at = rotation.x + ((long) row * rotation.heads + head) * headBytes;
                    for (int c = 0; c < even; c += LANES) {
                        FloatVector a = FloatVector.fromMemorySegment(F, ALL, at + 4L * c, LE);
                        FloatVector b = FloatVector.fromMemorySegment(F, ALL, at + half + 4L * c, LE);
                        FloatVector cosine = FloatVector.fromMemorySegment(F, ALL, cosines + 4L * c, LE);
                        FloatVector sine = FloatVector.fromMemorySegment(F, ALL, cosines + half + 4L * c, LE);
                        a.mul(cosine).sub(b.mul(sine)).intoMemorySegment(ALL, at + 4L * c, LE);
                        b.mul(cosine).add(a.mul(sine)).intoMemorySegment(ALL, at + half + 4L * c, LE);
                    }
                    rotation.rotate(at, cosines, even);
                }
            }
        }
    }
}
