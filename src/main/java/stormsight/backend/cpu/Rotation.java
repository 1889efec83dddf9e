package stormsight.backend.cpu;

import static stormsight.backend.cpu.Memory.ADDRESSES;

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
        return binding.choose(() -> new Scalar(rotation), () -> new Floats(rotation));
    }

    int pieces(Step step) {
        return (Math.min(step.rows(), capacity) + PIECE - 1) / PIECE;
    }

    int end(Step step, int piece) {
        return Math.min((piece + 1) * PIECE, Math.min(step.rows(), capacity));
    }

    /** Rotates one head in double precision. */
    private void rotate(long head, long cosines) {
        int half = headDim / 2;
        for (int c = 0; c < half; c++) {
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
                    rotation.rotate(rotation.x + ((long) row * rotation.heads + head) * headBytes, cosines);
                }
            }
        }
    }

    /**
     * In F32. A plain loop: over vectors it is no visible part of a run, but takes a tenth of a second to compile,
     * which a new process would wait for.
     */
    record Floats(Rotation rotation) implements Kernel {
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
                    rotate(rotation.x + ((long) row * rotation.heads + head) * headBytes, cosines,
                            2 * rotation.headDim);
                }
            }
        }

        /** Rotates one head, of which half has that many bytes. */
        private static void rotate(long head, long cosines, int half) {
            long low = head & ADDRESSES;
            long high = head + half & ADDRESSES;
            long cosine = cosines & ADDRESSES;
            long sine = cosines + half & ADDRESSES;
            for (int c = 0; c < half; c += Float.BYTES) {
                float a = Memory.f32(low + c);
                float b = Memory.f32(high + c);
                Memory.f32(low + c, a * Memory.f32(cosine + c) - b * Memory.f32(sine + c));
                Memory.f32(high + c, b * Memory.f32(cosine + c) + a * Memory.f32(sine + c));
            }
        }
    }
}
