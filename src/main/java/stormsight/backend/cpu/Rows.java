package stormsight.backend.cpu;

import stormsight.program.Op;
import stormsight.program.Step;

/** Operations that move rows: the same for every path. */
final class Rows {
    private Rows() {}

    /**
     * {@code out[i] = scale * table[ids[i]]}, or a row of the image features for a negative id; then the row of its
     * position is added.
     */
    static final class Embed implements Kernel {
        private final long ids;
        private final Weight table;
        private final float scale;
        private final long features;
        private final int featureRows;
        private final long positions;
        private final long out;
        private final int capacity;

        Embed(Op.Embed op, Binding binding) {
            ids = binding.address(op.ids());
            table = binding.weight(op.table());
            scale = op.scale();
            features = binding.address(op.features());
            featureRows = op.features().isPresent() ? op.features().get().rows() : 0;
            positions = binding.address(op.positions());
            out = binding.address(op.out());
            capacity = op.out().rows();
        }

        @Override
        public int pieces(Step step) {
            return Math.min(step.rows(), capacity);
        }

        @Override
        public void run(Step step, int piece, int worker) {
            int id = Memory.i32(ids + 4L * piece);
            long rowBytes = 4L * table.columns();
            long to = out + piece * rowBytes;
            if (id >= 0) {
                if (id >= table.rows()) {
                    throw new IllegalArgumentException("token id " + id + ", the table has " + table.rows() + " rows");
                }
                table.decode(id, scale, to);
            } else {
                long feature = -1L - id;
                if (feature >= featureRows) {
                    throw new IllegalArgumentException("image row " + feature + ", there are " + featureRows);
                }
                Memory.copy(features + feature * rowBytes, to, rowBytes);
            }
            if (positions != 0) {
                long position = positions + step.token(piece) * rowBytes;
                for (long c = 0; c < rowBytes; c += 4) {
                    Memory.f32(to + c, Memory.f32(to + c) + Memory.f32(position + c));
                }
            }
        }
    }

    /** Copies the run's rows to their places in their slots. */
    static final class Store implements Kernel {
        private final long from;
        private final Cache to;
        private final int capacity;

        Store(Op.Store op, Binding binding) {
            from = binding.address(op.x());
            to = Cache.of(op.cache(), binding);
            capacity = op.x().rows();
        }

        @Override
        public int pieces(Step step) {
            return 1;
        }

        @Override
        public void run(Step step, int piece, int worker) {
            int rows = Math.min(step.rows(), capacity);
            // All rows of one sequence at once, or a row of each.
            int together = step.sequences().size() > 1 ? 1 : rows;
            for (int row = 0; row < rows; row += together) {
                to.write(step.sequence(row).slot(), step.token(row), together, from + 4L * row * to.columns());
            }
        }
    }

    /** Copies the run's rows. */
    static final class Copy implements Kernel {
        private final long from;
        private final long to;
        private final int capacity;
        private final long rowBytes;

        Copy(Op.Copy op, Binding binding) {
            from = binding.address(op.x());
            to = binding.address(op.out());
            capacity = op.rows();
            rowBytes = 4L * op.x().columns();
        }

        @Override
        public int pieces(Step step) {
            return 1;
        }

        @Override
        public void run(Step step, int piece, int worker) {
            Memory.copy(from, to, Math.min(step.rows(), capacity) * rowBytes);
        }
    }

    /** {@code out[i, t] = x[index[i, t]]}, or zeros. */
    static final class Gather implements Kernel {
        /** Rows of one piece. */
        private static final int PIECE = 16;

        private final long from;
        private final long index;
        private final long to;
        private final int capacity;
        private final int places;
        private final long rows;
        private final long rowBytes;

        Gather(Op.Gather op, Binding binding) {
            from = binding.address(op.x());
            index = binding.address(op.index());
            to = binding.address(op.out());
            capacity = op.out().rows();
            places = op.index().columns();
            rows = op.x().shape().elements() / op.columns();
            rowBytes = 4L * op.columns();
        }

        private int rows(Step step) {
            return Math.min(step.rows(), capacity);
        }

        @Override
        public int pieces(Step step) {
            return (rows(step) + PIECE - 1) / PIECE;
        }

        @Override
        public void run(Step step, int piece, int worker) {
            long end = (long) places * Math.min(rows(step), (piece + 1) * PIECE);
            for (long place = (long) places * piece * PIECE; place < end; place++) {
                int row = Memory.i32(index + 4 * place);
                if (row >= rows) {
                    throw new IllegalArgumentException("row " + row + ", there are " + rows);
                }
                if (row >= 0) {
                    Memory.copy(from + row * rowBytes, to + place * rowBytes, rowBytes);
                } else {
                    Memory.zero(to + place * rowBytes, rowBytes);
                }
            }
        }
    }

    /** {@code out[0] = x[rows - 1]}. */
    static final class Last implements Kernel {
        private final long from;
        private final long to;
        private final int capacity;
        private final long rowBytes;

        Last(Op.LastRow op, Binding binding) {
            from = binding.address(op.x());
            to = binding.address(op.out());
            capacity = op.x().rows();
            rowBytes = 4L * op.x().columns();
        }

        @Override
        public int pieces(Step step) {
            return 1;
        }

        @Override
        public void run(Step step, int piece, int worker) {
            Memory.copy(from + (Math.min(step.rows(), capacity) - 1) * rowBytes, to, rowBytes);
        }
    }

    /** {@code out[0] = }the mean of the run's rows, summed in double precision. */
    static final class Mean implements Kernel {
        /** Columns of one piece. */
        private static final int PIECE = 64;

        private final long from;
        private final long to;
        private final int capacity;
        private final int columns;

        Mean(Op.MeanRows op, Binding binding) {
            from = binding.address(op.x());
            to = binding.address(op.out());
            capacity = op.x().rows();
            columns = op.x().columns();
        }

        @Override
        public int pieces(Step step) {
            return (columns + PIECE - 1) / PIECE;
        }

        @Override
        public void run(Step step, int piece, int worker) {
            int rows = Math.min(step.rows(), capacity);
            for (int column = piece * PIECE; column < Math.min(columns, (piece + 1) * PIECE); column++) {
                double sum = 0;
                for (int row = 0; row < rows; row++) {
                    sum += Memory.f32(from + 4L * ((long) row * columns + column));
                }
                Memory.f32(to + 4L * column, (float) (sum / rows));
            }
        }
    }

    /** {@code out[i] = max over c of x[i, c]}. */
    static final class Max implements Kernel {
        /** Rows of one piece. */
        private static final int PIECE = 64;

        private final long from;
        private final long to;
        private final int capacity;
        private final int columns;

        Max(Op.RowMax op, Binding binding) {
            from = binding.address(op.x());
            to = binding.address(op.out()) + 4L * op.layers().indexOf(binding.layer()) * op.out().columns();
            capacity = op.x().rows();
            columns = op.x().columns();
        }

        private int rows(Step step) {
            return Math.min(step.rows(), capacity);
        }

        @Override
        public int pieces(Step step) {
            return (rows(step) + PIECE - 1) / PIECE;
        }

        @Override
        public void run(Step step, int piece, int worker) {
            for (int row = piece * PIECE; row < Math.min(rows(step), (piece + 1) * PIECE); row++) {
                float largest = Float.NEGATIVE_INFINITY;
                for (int column = 0; column < columns; column++) {
                    largest = Math.max(largest, Memory.f32(from + 4L * ((long) row * columns + column)));
                }
                Memory.f32(to + 4L * row, largest);
            }
        }
    }
}
