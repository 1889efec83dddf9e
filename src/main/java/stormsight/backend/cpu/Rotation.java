package stormsight.backend.cpu;

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
        return binding.choose(() -> new Scalar(rotation), () -> new Floats(rotation, binding.scratch()));
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
     * In F32. A plain loop over an array: over vectors it is no visible part of a run, but takes a tenth of a second to
     * compile, which a new process would wait for.
     */
    record Floats(Rotation rotation, Scratch scratch) implements Kernel {
        Floats {
            scratch.reservePanel((rotation.heads + 1) * rotation.headDim);
        }

        @Override
        public int pieces(Step step) {
            return rotation.pieces(step);
        }

        @Override
        public void run(Step step, int piece, int worker) {
            int headDim = rotation.headDim;
            int length = rotation.heads * headDim;
            // A row, and behind it that of its position.
            float[] panel = scratch.panel(worker);
            for (int row = piece * PIECE; row < rotation.end(step, piece); row++) {
                long address = rotation.x + 4L * row * length;
                Memory.copy(address, panel, 0, length);
                Memory.copy(rotation.table + 4L * step.token(row) * headDim, panel, length, headDim);
                for (int head = 0; head < length; head += headDim) {
                    rotate(panel, head, length, headDim / 2);
                }
                Memory.copy(panel, length, address);
            }
        }

        /** Rotates one head. */
        private static void rotate(float[] panel, int head, int cosines, int half) {
            for (int c = 0; c < half; c++) {
                float a = panel[head + c];
                float b = panel[head + half + c];
                float cosine = panel[cosines + c];
                float sine = panel[cosines + half + c];
                panel[head + c] = a * cosine - b * sine;
                panel[head + half + c] = b * cosine + a * sine;
            }
        }
    }
}
