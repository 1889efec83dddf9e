package stormsight.backend.cpu;

import static stormsight.backend.cpu.Memory.ALL;

import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;
import stormsight.program.Op;
import stormsight.program.Step;

/**
 * Layer norm, and root mean square norm: {@code out = residual + (x - mean) / sqrt(variance + epsilon) * w + bias} over
 * each row, where the latter has mean 0 and no bias.
 *
 * @param centred false for the root mean square
 * @param bias address, 0 for none
 * @param residual address, 0 for none
 */
record Norm(long x, long w, long bias, long residual, long out, boolean centred, float epsilon, int columns,
        int capacity) {
    /** Rows of one piece. */
    private static final int PIECE = 8;

    static Kernel kernel(Op.LayerNorm op, Binding binding) {
        return new Norm(binding.address(op.x()), binding.address(op.w()), binding.address(op.bias()), 0,
                binding.address(op.out()), true, op.epsilon(), op.x().columns(), op.out().rows()).choose(op, binding);
    }

    static Kernel kernel(Op.RmsNorm op, Binding binding) {
        return new Norm(binding.address(op.x()), binding.address(op.w()), 0, binding.address(op.residual()),
                binding.address(op.out()), false, op.epsilon(), op.x().columns(), op.out().rows()).choose(op, binding);
    }

    private Kernel choose(Op op, Binding binding) {
        Kernel few = binding.choose(() -> new Scalar(this), () -> new Vectors(this));
        return binding.many(
                op, few, capacity, (natives, name) -> new NativeNorm(this, natives, name, binding.scratch()));
    }

    int rows(Step step) {
        return Math.min(step.rows(), capacity);
    }

    int pieces(Step step) {
        return (rows(step) + PIECE - 1) / PIECE;
    }

    int end(Step step, int piece) {
        return Math.min((piece + 1) * PIECE, rows(step));
    }

    /** Writes columns from {@code first} on, for a row that is normalised by these two numbers. */
    private void write(long offset, double mean, double inverse, int first) {
        for (int c = first; c < columns; c++) {
            double y = (Memory.f32(x + offset + 4L * c) - mean) * inverse * Memory.f32(w + 4L * c);
            if (bias != 0) {
                y += Memory.f32(bias + 4L * c);
            }
            if (residual != 0) {
                y += Memory.f32(residual + offset + 4L * c);
            }
            Memory.f32(out + offset + 4L * c, (float) y);
        }
    }

    /** Two passes in double precision. */
    record Scalar(Norm norm) implements Kernel {
        @Override
        public int pieces(Step step) {
            return norm.pieces(step);
        }

        @Override
        public void run(Step step, int piece, int worker) {
            for (int row = piece * PIECE; row < norm.end(step, piece); row++) {
                long offset = 4L * row * norm.columns;
                double mean = 0;
                if (norm.centred) {
                    for (int c = 0; c < norm.columns; c++) {
                        mean += Memory.f32(norm.x + offset + 4L * c);
                    }
                    mean /= norm.columns;
                }
                double squares = 0;
                for (int c = 0; c < norm.columns; c++) {
                    double difference = Memory.f32(norm.x + offset + 4L * c) - mean;
                    squares += difference * difference;
                }
                norm.write(offset, mean, 1 / Math.sqrt(squares / norm.columns + norm.epsilon), 0);
            }
        }
    }

    /** Sums in as many F32 parts as a vector has lanes, those added in double precision. */
    record Vectors(Norm norm) implements Kernel {
        private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
        private static final int LANES = F.length();
        private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

        @Override
        public int pieces(Step step) {
            return norm.pieces(step);
        }

        @Override
        public void run(Step step, int piece, int worker) {
            for (int row = piece * PIECE; row < norm.end(step, piece); row++) {
                run(4L * row * norm.columns);
            }
        }

        private void run(long offset) {
            int columns = norm.columns;
            int even = columns - columns % LANES;
            long x = norm.x + offset;
            float mean = 0;
            if (norm.centred) {
                FloatVector sums = FloatVector.zero(F);
                for (int c = 0; c < even; c += LANES) {
                    sums = sums.add(FloatVector.fromMemorySegment(F, ALL, x + 4L * c, LE));
                }
                double sum = 0;
                for (int i = 0; i < LANES; i++) {
                    sum += sums.lane(i);
                }
                for (int c = even; c < columns; c++) {
                    sum += Memory.f32(x + 4L * c);
                }
                mean = (float) (sum / columns);
            }
            FloatVector sums = FloatVector.zero(F);
            for (int c = 0; c < even; c += LANES) {
                FloatVector difference = FloatVector.fromMemorySegment(F, ALL, x + 4L * c, LE).sub(mean);
                sums = difference.fma(difference, sums);
            }
            double squares = 0;
            for (int i = 0; i < LANES; i++) {
                squares += sums.lane(i);
            }
            for (int c = even; c < columns; c++) {
                float difference = Memory.f32(x + 4L * c) - mean;
                squares += (double) difference * difference;
            }
            float inverse = (float) (1 / Math.sqrt(squares / columns + norm.epsilon));
            for (int c = 0; c < even; c += LANES) {
                FloatVector y = FloatVector.fromMemorySegment(F, ALL, x + 4L * c, LE).sub(mean).mul(inverse)
                        .mul(FloatVector.fromMemorySegment(F, ALL, norm.w + 4L * c, LE));
                if (norm.bias != 0) {
                    y = y.add(FloatVector.fromMemorySegment(F, ALL, norm.bias + 4L * c, LE));
                }
                if (norm.residual != 0) {
                    y = y.add(FloatVector.fromMemorySegment(F, ALL, norm.residual + offset + 4L * c, LE));
                }
                y.intoMemorySegment(ALL, norm.out + offset + 4L * c, LE);
            }
            norm.write(offset, mean, inverse, even);
        }
    }
}
