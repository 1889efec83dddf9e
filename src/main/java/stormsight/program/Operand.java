package stormsight.program;

import java.util.function.Predicate;

/**
 * What an operation does with one of its tensors. All that follows from that is derived: what is read and written, how
 * many bytes it takes, which steps fit, which types are allowed.
 */
public record Operand(Tensor tensor, Access access, Extent extent, Type type) {
    public enum Access {
        READ,
        WRITE,
        /** Read, and written in place. */
        UPDATE
    }

    /** Types that an operand may have. */
    public enum Type {
        /** Activations and norms. */
        F32(DType.F32::equals),
        /** Keys and values. */
        CACHE(DType::isCache),
        /** Matrices of products and tables of rows. */
        WEIGHT(DType::isWeight),
        /** Ids and flags. */
        I32(DType.I32::equals),
        /** Masks. */
        U8(DType.U8::equals);

        private final Predicate<DType> takes;

        Type(Predicate<DType> takes) {
            this.takes = takes;
        }
    }

    /**
     * The rows of a tensor that one run covers.
     *
     * @param count capacity of the operation in rows, or how many rows whatever the step
     */
    public record Extent(Kind kind, int count) {
        /** How the rows follow from a step. A capacity limits the rows that an operation handles. */
        public enum Kind {
            /** The whole tensor. */
            ALL,
            /** Row i for each row i of the run. */
            RUN,
            /** The last row of each sequence. */
            LAST,
            /** Row position + i of its sequence's slot for each row i of the run. */
            AT_POSITION,
            /** The rows of all tokens up to the end of the run, in the slots of its sequences. */
            TOKENS,
            /** So many rows, whatever the step. */
            FIXED,
            /** One row for each row of the run, found by an id. */
            GATHERED,
            /** A row for each of the layers that run. */
            LAYERS,
            /** An element for each sequence. */
            SEQUENCES
        }

        public static final Extent ALL = new Extent(Kind.ALL, 0);
        public static final Extent TOKENS = new Extent(Kind.TOKENS, 0);
        public static final Extent LAYERS = new Extent(Kind.LAYERS, 0);
        public static final Extent SEQUENCES = new Extent(Kind.SEQUENCES, 0);

        public static Extent run(int capacity) {
            return new Extent(Kind.RUN, capacity);
        }

        public static Extent last(int capacity) {
            return new Extent(Kind.LAST, capacity);
        }

        public static Extent atPosition(int capacity) {
            return new Extent(Kind.AT_POSITION, capacity);
        }

        public static Extent fixed(int rows) {
            return new Extent(Kind.FIXED, rows);
        }

        public static Extent gathered(int capacity) {
            return new Extent(Kind.GATHERED, capacity);
        }

        /** Whether the operation handles at most {@code count} rows of the run, as many as the tensor should have. */
        boolean limitsRows() {
            return kind == Kind.RUN || kind == Kind.LAST;
        }

        private long rows(Step step, int all) {
            return switch (kind) {
                case ALL -> all;
                case RUN, AT_POSITION, GATHERED -> Math.min(step.rows(), count);
                case LAST, SEQUENCES -> step.sequences().size();
                case LAYERS -> 1;
                case TOKENS -> step.sequences().stream()
                        .mapToLong(sequence -> (long) sequence.position() + sequence.rows())
                        .sum();
                case FIXED -> count;
            };
        }
    }

    static Operand read(Tensor tensor, Extent extent) {
        return new Operand(tensor, Access.READ, extent, Type.F32);
    }

    static Operand write(Tensor tensor, Extent extent) {
        return new Operand(tensor, Access.WRITE, extent, Type.F32);
    }

    static Operand update(Tensor tensor, Extent extent) {
        return new Operand(tensor, Access.UPDATE, extent, Type.F32);
    }

    /** An F32 weight that is read whole. */
    static Operand vector(Tensor tensor) {
        return read(tensor, Extent.ALL);
    }

    /** A weight of any type that is read whole. */
    static Operand matrix(Tensor tensor) {
        return read(tensor, Extent.ALL).as(Type.WEIGHT);
    }

    Operand as(Type other) {
        return new Operand(tensor, access, extent, other);
    }

    public boolean reads() {
        return access != Access.WRITE;
    }

    public boolean writes() {
        return access != Access.READ;
    }

    /** @throws IllegalArgumentException if the tensor is of a type that the operation does not take */
    void checkType(String where) {
        if (!type.takes.test(tensor.dtype())) {
            throw new IllegalArgumentException(where + ": " + tensor + " where " + type + " is expected");
        }
    }

    /** Rows of the tensor; each number is one in a list of ids. */
    int rows() {
        return list() ? tensor.columns() : tensor.rows();
    }

    /** Bytes that a step reads and writes of one layer. */
    long bytes(Step step) {
        DType dtype = tensor.dtype();
        long bytes;
        if (extent.kind == Extent.Kind.ALL) {
            bytes = dtype.bytes(tensor.shape());
        } else {
            long rowBytes = list() ? dtype.elementBytes() : dtype.bytes(Shape.of(1, tensor.columns()));
            bytes = extent.rows(step, rows()) * rowBytes;
        }
        return access == Access.UPDATE ? 2 * bytes : bytes;
    }

    private boolean list() {
        return tensor.shape().rank() == 1 && (type == Type.I32 || extent.kind == Extent.Kind.SEQUENCES);
    }
}
