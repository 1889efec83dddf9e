package stormsight.backend.cpu;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.util.ArrayList;
import java.util.List;
import stormsight.backend.BackendException;
import stormsight.backend.NativeCall;
import stormsight.program.Op;

/**
 * The part of oneDNN's C interface that kernels need. Each call works on the thread that makes it, and on no other.
 *
 * @see <a href="https://uxlfoundation.github.io/oneDNN/v3.11/">oneDNN 3.11</a>
 */
final class OneDnn {
    /** dnnl_data_type_t. */
    static final int BF16 = 2;

    static final int F32 = 3;

    /** Bits of dnnl_cpu_isa_avx512_core_bf16, which those of AMX contain. */
    private static final int ISA_BF16 = 0xe7;

    /** dnnl_engine_kind_t, dnnl_stream_flags_t, dnnl_scratchpad_mode_t, dnnl_prop_kind_t. */
    private static final int CPU = 1;

    private static final int IN_ORDER = 1;
    private static final int USER_SCRATCHPAD = 1;
    private static final int FORWARD_INFERENCE = 96;

    /** dnnl_query_t. */
    private static final int QUERY_IMPLEMENTATION = 8;

    private static final int QUERY_SCRATCHPAD = 136;

    /** dnnl_alg_kind_t. */
    private static final int RELU = 0x20;

    private static final int TANH = 0x21;
    private static final int LINEAR = 0x26;
    private static final int GELU_TANH = 0x2b;
    private static final int SWISH = 0x2c;
    private static final int GELU_ERF = 0x31;
    private static final int ADD = 0x1fff0;
    private static final int MUL = 0x1fff1;
    private static final int SOFTMAX = 0x30000;

    /** dnnl_normalization_flags_t. */
    private static final int USE_SCALE = 2;

    private static final int USE_SHIFT = 4;
    private static final int ROOT_MEAN_SQUARE = 0x20;

    /** What a program hands to a primitive: DNNL_ARG_SRC and so on. */
    private static final int ARG_SRC = 1;

    private static final int ARG_SRC_1 = 2;
    private static final int ARG_DST = 17;
    private static final int ARG_WEIGHTS = 33;
    private static final int ARG_BIAS = 41;
    private static final int ARG_SCALE = 51;
    private static final int ARG_SHIFT = 52;
    private static final int ARG_SCRATCHPAD = 80;
    private static final int ARG_POST_OP = 32768;

    /** An argument's number, and a pointer to its memory object. */
    private static final long ARGUMENT_BYTES = 16;

    private static final float QUICK_GELU = 1.702f;

    private final MemorySegment setThreads;
    private final MemorySegment isa;
    private final MemorySegment describe;
    private final MemorySegment destroyDescription;
    private final MemorySegment descriptionBytes;
    private final MemorySegment createAttributes;
    private final MemorySegment destroyAttributes;
    private final MemorySegment setScratchpad;
    private final MemorySegment setPostOps;
    private final MemorySegment createPostOps;
    private final MemorySegment destroyPostOps;
    private final MemorySegment appendFunction;
    private final MemorySegment appendSum;
    private final MemorySegment appendBinary;
    private final MemorySegment describeProduct;
    private final MemorySegment describeSoftmax;
    private final MemorySegment describeNorm;
    private final MemorySegment describeReorder;
    private final MemorySegment destroyPrimitiveDescription;
    private final MemorySegment query;
    private final MemorySegment queryDescription;
    private final MemorySegment createPrimitive;
    private final MemorySegment destroyPrimitive;
    private final MemorySegment execute;
    private final MemorySegment createMemory;
    private final MemorySegment destroyMemory;
    private final MemorySegment setHandle;
    private final long engine;
    private final long stream;

    /**
     * Takes the library's functions.
     *
     * @throws BackendException if it has none of them, or cannot start
     */
    OneDnn(SymbolLookup threads, SymbolLookup library) {
        setThreads = find(threads, "omp_set_num_threads");
        isa = find(library, "dnnl_get_effective_cpu_isa");
        describe = find(library, "dnnl_memory_desc_create_with_strides");
        destroyDescription = find(library, "dnnl_memory_desc_destroy");
        descriptionBytes = find(library, "dnnl_memory_desc_get_size");
        createAttributes = find(library, "dnnl_primitive_attr_create");
        destroyAttributes = find(library, "dnnl_primitive_attr_destroy");
        setScratchpad = find(library, "dnnl_primitive_attr_set_scratchpad_mode");
        setPostOps = find(library, "dnnl_primitive_attr_set_post_ops");
        createPostOps = find(library, "dnnl_post_ops_create");
        destroyPostOps = find(library, "dnnl_post_ops_destroy");
        appendFunction = find(library, "dnnl_post_ops_append_eltwise");
        appendSum = find(library, "dnnl_post_ops_append_sum");
        appendBinary = find(library, "dnnl_post_ops_append_binary");
        describeProduct = find(library, "dnnl_matmul_primitive_desc_create");
        describeSoftmax = find(library, "dnnl_softmax_forward_primitive_desc_create");
        describeNorm = find(library, "dnnl_layer_normalization_forward_primitive_desc_create");
        describeReorder = find(library, "dnnl_reorder_primitive_desc_create");
        destroyPrimitiveDescription = find(library, "dnnl_primitive_desc_destroy");
        query = find(library, "dnnl_primitive_desc_query");
        queryDescription = find(library, "dnnl_primitive_desc_query_md");
        createPrimitive = find(library, "dnnl_primitive_create");
        destroyPrimitive = find(library, "dnnl_primitive_destroy");
        execute = find(library, "dnnl_primitive_execute");
        createMemory = find(library, "dnnl_memory_create");
        destroyMemory = find(library, "dnnl_memory_destroy");
        setHandle = find(library, "dnnl_memory_set_data_handle");
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment to = arena.allocate(JAVA_LONG);
            done(NativeCall.call(find(library, "dnnl_engine_create"), to.address(), CPU, 0, 0));
            engine = to.get(JAVA_LONG, 0);
            done(NativeCall.call(find(library, "dnnl_stream_create"), to.address(), engine, IN_ORDER, 0));
            stream = to.get(JAVA_LONG, 0);
        }
    }

    private static MemorySegment find(SymbolLookup library, String name) {
        return library.find(name).orElseThrow(() -> new BackendException("oneDNN has no " + name));
    }

    /** @param returned a status in its lower half, 0 where all is well */
    private static void done(long returned) {
        if ((int) returned != 0) {
            throw new BackendException("oneDNN refuses an operation, status " + (int) returned);
        }
    }

    /** Whether this processor has units for bf16: those of AVX-512, or AMX. */
    boolean hasBf16() {
        return (NativeCall.call(isa, 0) & ISA_BF16) == ISA_BF16;
    }

    /**
     * How the elements of a matrix lie.
     *
     * @param type BF16 or F32
     * @param rowStride elements from a row to the next one
     * @param columnStride elements from a column to the next one
     */
    record Matrix(int type, int rows, int columns, int rowStride, int columnStride) {
        static Matrix dense(int type, int rows, int columns) {
            return new Matrix(type, rows, columns, columns, 1);
        }

        /** Rows that are parts of longer ones. */
        static Matrix part(int type, int rows, int columns, int stride) {
            return new Matrix(type, rows, columns, stride, 1);
        }

        Matrix transposed() {
            return new Matrix(type, columns, rows, columnStride, rowStride);
        }
    }

    /**
     * A function of each element, as oneDNN knows it.
     *
     * @param kind dnnl_alg_kind_t
     */
    record Function(int kind, float alpha, float beta) {
        /** {@code alpha x + beta}. */
        static Function linear(float alpha, float beta) {
            return new Function(LINEAR, alpha, beta);
        }

        static Function tanh() {
            return new Function(TANH, 0, 0);
        }

        /** None or one. */
        static List<Function> of(Op.Activation activation) {
            return switch (activation) {
                case NONE -> List.of();
                case GELU_TANH -> List.of(new Function(GELU_TANH, 0, 0));
                case GELU_ERF -> List.of(new Function(GELU_ERF, 0, 0));
                case QUICK_GELU -> List.of(new Function(SWISH, QUICK_GELU, 0));
                case SILU -> List.of(new Function(SWISH, 1, 0));
                case RELU -> List.of(new Function(RELU, 0, 0));
            };
        }
    }

    /** What becomes of a product once bias and functions are done. */
    enum Last {
        NONE,
        /** It is added to what stands in the result. */
        SUM,
        /** Another matrix, laid out as the result, is added. */
        ADD,
        /** It is multiplied with another matrix, laid out as the result. */
        MUL
    }

    /** What can be compiled. All numbers are F32 where nothing else is said. */
    sealed interface Work {}

    /**
     * {@code out = last(functions(x . w + bias))}, in this order. Its operands are x, w, out, the bias, and what the
     * last operation reads.
     *
     * @param w [columns of x, columns of out]
     */
    record Product(Matrix x, Matrix w, boolean bias, List<Function> functions, Last last, Matrix out)
            implements Work {}

    /** Softmax of each row. Its operands are x and out, which may be x and lies like it. */
    record Softmax(Matrix x) implements Work {}

    /**
     * {@code out = (x - mean) / sqrt(variance + epsilon) * scale + shift} of each row, or with mean 0 and no shift. Its
     * operands are x, out, which may be x and lies like it, scale and shift.
     *
     * @param centred false for mean 0 and no shift
     */
    record Norm(Matrix x, boolean centred, float epsilon) implements Work {}

    /** F32 becomes BF16, to nearest and ties to even, in one dense row. Its operands are x and out. */
    record Narrowing(int count) implements Work {}

    /** What a primitive needs while oneDNN chooses it; closed when that is done. */
    private final class Choice implements AutoCloseable {
        final Arena arena = Arena.ofConfined();
        private final MemorySegment made = arena.allocate(JAVA_LONG);
        private final List<Long> own = new ArrayList<>();

        /** Each operand's DNNL_ARG, 0 for one that is not there. */
        final List<Integer> numbers = new ArrayList<>();

        final List<Long> descriptions = new ArrayList<>();
        final long primitive;

        /** @throws BackendException if oneDNN has nothing for it */
        Choice(Work work) {
            oneThread();
            long attributes = made(NativeCall.call(createAttributes, made.address()));
            try {
                done(NativeCall.call(setScratchpad, attributes, USER_SCRATCHPAD));
                primitive = switch (work) {
                    case Product product -> product(product, attributes);
                    case Softmax softmax -> softmax(softmax, attributes);
                    case Norm norm -> norm(norm, attributes);
                    case Narrowing narrowing -> narrowing(narrowing, attributes);
                };
            } finally {
                done(NativeCall.call(destroyAttributes, attributes));
            }
            operand(ARG_SCRATCHPAD, NativeCall.call(queryDescription, primitive, QUERY_SCRATCHPAD, 0, 0));
        }

        /** @param status of a call that wrote what it made to {@link #made} */
        private long made(long status) {
            done(status);
            return made.get(JAVA_LONG, 0);
        }

        private void operand(int number, long description) {
            numbers.add(number);
            descriptions.add(description);
        }

        private long product(Product product, long attributes) {
            long x = description(product.x);
            long w = description(product.w);
            long out = description(product.out);
            long bias = product.bias ? description(Matrix.dense(F32, 1, product.out.columns)) : 0;
            operand(ARG_SRC, x);
            operand(ARG_WEIGHTS, w);
            operand(ARG_DST, out);
            operand(product.bias ? ARG_BIAS : 0, bias);
            operand(switch (product.last) {
                case NONE, SUM -> 0;
                case ADD, MUL -> ARG_POST_OP * (product.functions.size() + 1) | ARG_SRC_1;
            }, out);
            long postOps = made(NativeCall.call(createPostOps, made.address()));
            try {
                for (Function function : product.functions) {
                    done(NativeCall.call(appendFunction, postOps, function.kind, 0, 0, 0, 0, 0, 0, function.alpha,
                            function.beta));
                }
                switch (product.last) {
                    case NONE -> {}
                    case SUM -> done(NativeCall.call(appendSum, postOps, 0, F32, 0, 0, 0, 0, 0, 1, 0));
                    case ADD -> done(NativeCall.call(appendBinary, postOps, ADD, out, 0));
                    case MUL -> done(NativeCall.call(appendBinary, postOps, MUL, out, 0));
                }
                done(NativeCall.call(setPostOps, attributes, postOps));
            } finally {
                done(NativeCall.call(destroyPostOps, postOps));
            }
            return made(NativeCall.call(describeProduct, made.address(), engine, x, w, bias, out, attributes, 0));
        }

        private long softmax(Softmax softmax, long attributes) {
            long x = description(softmax.x);
            operand(ARG_SRC, x);
            operand(ARG_DST, x);
            return made(NativeCall.call(describeSoftmax, made.address(), engine, FORWARD_INFERENCE, SOFTMAX, x, x, 1,
                    attributes));
        }

        private long norm(Norm norm, long attributes) {
            long x = description(norm.x);
            long vector = description(F32, new long[] {norm.x.columns}, 1);
            operand(ARG_SRC, x);
            operand(ARG_DST, x);
            operand(ARG_SCALE, vector);
            operand(norm.centred ? ARG_SHIFT : 0, vector);
            return made(NativeCall.call(describeNorm, made.address(), engine, FORWARD_INFERENCE, x, x, 0,
                    USE_SCALE | (norm.centred ? USE_SHIFT : ROOT_MEAN_SQUARE), attributes, norm.epsilon, 0));
        }

        private long narrowing(Narrowing narrowing, long attributes) {
            long x = description(Matrix.dense(F32, 1, narrowing.count));
            long out = description(Matrix.dense(BF16, 1, narrowing.count));
            operand(ARG_SRC, x);
            operand(ARG_DST, out);
            return made(NativeCall.call(describeReorder, made.address(), x, engine, out, engine, attributes, 0, 0));
        }

        private long description(Matrix matrix) {
            return description(matrix.type, new long[] {matrix.rows, matrix.columns}, matrix.rowStride,
                    matrix.columnStride);
        }

        private long description(int type, long[] dimensions, long... strides) {
            long description = made(NativeCall.call(describe, made.address(), dimensions.length,
                    arena.allocateFrom(JAVA_LONG, dimensions).address(), type,
                    arena.allocateFrom(JAVA_LONG, strides).address(), 0, 0, 0));
            own.add(description);
            return description;
        }

        String implementation() {
            done(NativeCall.call(query, primitive, QUERY_IMPLEMENTATION, 0, made.address()));
            return MemorySegment.ofAddress(made.get(JAVA_LONG, 0)).reinterpret(Long.MAX_VALUE).getString(0);
        }

        @Override
        public void close() {
            done(NativeCall.call(destroyPrimitiveDescription, primitive));
            for (long description : own) {
                done(NativeCall.call(destroyDescription, description));
            }
            arena.close();
        }
    }

    /** Compiled work, with the arguments of each thread that may run it. */
    final class Primitive implements AutoCloseable {
        private final Arena arena = Arena.ofShared();
        private final long primitive;

        /** Of each thread, the memory objects of the operands, then of the scratchpad; 0 for one that is not there. */
        private final long[][] memories;

        /** Where these lie now. */
        private final long[][] places;

        private final long[] arguments;
        private final int count;
        private final long scratchpadBytes;

        private Primitive(Choice choice, int threads) {
            int operands = choice.numbers.size();
            scratchpadBytes = NativeCall.call(descriptionBytes, choice.descriptions.getLast());
            MemorySegment made = arena.allocate(JAVA_LONG);
            done(NativeCall.call(createPrimitive, made.address(), choice.primitive));
            primitive = made.get(JAVA_LONG, 0);
            memories = new long[threads][operands];
            places = new long[threads][operands];
            arguments = new long[threads];
            int present = 0;
            for (int thread = 0; thread < threads; thread++) {
                MemorySegment own = arena.allocate(ARGUMENT_BYTES * operands, ARGUMENT_BYTES);
                arguments[thread] = own.address();
                present = 0;
                for (int i = 0; i < operands; i++) {
                    if (choice.numbers.get(i) == 0) {
                        continue;
                    }
                    done(NativeCall.call(createMemory, made.address(), choice.descriptions.get(i), engine, 0));
                    memories[thread][i] = made.get(JAVA_LONG, 0);
                    own.set(JAVA_INT, ARGUMENT_BYTES * present, choice.numbers.get(i));
                    own.set(JAVA_LONG, ARGUMENT_BYTES * present + Long.BYTES, memories[thread][i]);
                    present++;
                }
            }
            count = present;
        }

        long scratchpadBytes() {
            return scratchpadBytes;
        }

        /**
         * Computes, on the calling thread.
         *
         * @param thread whose arguments are used: nobody else may use them now
         * @param scratchpad address of {@link #scratchpadBytes} that nobody else uses now
         * @param operands addresses of those of the {@link Work}, in its order; any for one that is not there
         * @throws BackendException if oneDNN fails
         */
        void run(int thread, long scratchpad, long... operands) {
            oneThread();
            int last = memories[thread].length - 1;
            for (int i = 0; i < last; i++) {
                place(thread, i, operands[i]);
            }
            place(thread, last, scratchpad);
            done(NativeCall.call(execute, primitive, stream, count, arguments[thread]));
        }

        private void place(int thread, int i, long address) {
            if (memories[thread][i] != 0 && places[thread][i] != address) {
                done(NativeCall.call(setHandle, memories[thread][i], address));
                places[thread][i] = address;
            }
        }

        @Override
        public void close() {
            for (long[] own : memories) {
                for (long memory : own) {
                    if (memory != 0) {
                        done(NativeCall.call(destroyMemory, memory));
                    }
                }
            }
            done(NativeCall.call(destroyPrimitive, primitive));
            arena.close();
        }
    }

    /** oneDNN would start threads of its own otherwise. */
    private void oneThread() {
        NativeCall.call(setThreads, 1);
    }

    /**
     * The kernel that oneDNN would take, as it calls it: {@code brg_matmul:avx512_core_bf16}.
     *
     * @throws BackendException if it has none
     */
    String implementation(Work work) {
        try (Choice choice = new Choice(work)) {
            return choice.implementation();
        }
    }

    /**
     * Compiles work.
     *
     * @param threads that may run it
     * @throws BackendException if oneDNN has nothing for it
     */
    Primitive primitive(Work work, int threads) {
        try (Choice choice = new Choice(work)) {
            return new Primitive(choice, threads);
        }
    }
}
