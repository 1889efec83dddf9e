package stormsight.backend.cpu;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;
import stormsight.backend.BackendException;
import stormsight.program.Op;

/**
 * The part of oneDNN's C interface that products need. Each call works on the thread that makes it, and on no other.
 *
 * @see <a href="https://uxlfoundation.github.io/oneDNN/v3.11/">oneDNN 3.11</a>
 */
final class OneDnn {
    /** dnnl_data_type_t. */
    /** Type of x and of weights. */
    static final int BF16 = 2;

    private static final int F32 = 3;

    /** Bits of dnnl_cpu_isa_avx512_core_bf16, which those of AMX contain. */
    private static final int ISA_BF16 = 0xe7;

    /** dnnl_engine_kind_t, dnnl_stream_flags_t, dnnl_scratchpad_mode_t. */
    private static final int CPU = 1;

    private static final int IN_ORDER = 1;
    private static final int USER_SCRATCHPAD = 1;

    /** dnnl_query_t. */
    private static final int QUERY_IMPLEMENTATION = 8;

    private static final int QUERY_SCRATCHPAD = 136;

    /** dnnl_alg_kind_t. */
    private static final int RELU = 0x20;

    private static final int GELU_TANH = 0x2b;
    private static final int SWISH = 0x2c;
    private static final int GELU_ERF = 0x31;
    private static final int ADD = 0x1fff0;
    private static final int MUL = 0x1fff1;

    /** What a program hands to a primitive: DNNL_ARG_SRC and so on. */
    private static final int ARG_SRC = 1;

    private static final int ARG_DST = 17;
    private static final int ARG_WEIGHTS = 33;
    private static final int ARG_BIAS = 41;
    private static final int ARG_SCRATCHPAD = 80;
    private static final int ARG_POST_OP = 32768;
    private static final int ARG_SRC_1 = 2;

    /** An argument's number, and a pointer to its memory object. */
    private static final long ARGUMENT_BYTES = 16;

    private static final float QUICK_GELU = 1.702f;

    private final MethodHandle setThreads;
    private final MethodHandle isa;
    private final MethodHandle describe;
    private final MethodHandle destroyDescription;
    private final MethodHandle descriptionBytes;
    private final MethodHandle createAttributes;
    private final MethodHandle destroyAttributes;
    private final MethodHandle setScratchpad;
    private final MethodHandle setPostOps;
    private final MethodHandle createPostOps;
    private final MethodHandle destroyPostOps;
    private final MethodHandle appendFunction;
    private final MethodHandle appendSum;
    private final MethodHandle appendBinary;
    private final MethodHandle describeProduct;
    private final MethodHandle destroyProductDescription;
    private final MethodHandle query;
    private final MethodHandle queryDescription;
    private final MethodHandle createPrimitive;
    private final MethodHandle destroyPrimitive;
    private final MethodHandle execute;
    private final MethodHandle createMemory;
    private final MethodHandle destroyMemory;
    private final MethodHandle setHandle;
    private final MemorySegment engine;
    private final MemorySegment stream;

    /**
     * Takes the library's functions.
     *
     * @throws BackendException if it has none of them, or cannot start
     */
    OneDnn(SymbolLookup threads, SymbolLookup library) {
        Binder openMp = new Binder(threads);
        setThreads = openMp.find("omp_set_num_threads", FunctionDescriptor.ofVoid(JAVA_INT));
        Binder of = new Binder(library);
        isa = of.status("dnnl_get_effective_cpu_isa");
        describe = of.status("dnnl_memory_desc_create_with_strides", ADDRESS, JAVA_INT, ADDRESS, JAVA_INT, ADDRESS);
        destroyDescription = of.status("dnnl_memory_desc_destroy", ADDRESS);
        descriptionBytes = of.find("dnnl_memory_desc_get_size", FunctionDescriptor.of(JAVA_LONG, ADDRESS));
        createAttributes = of.status("dnnl_primitive_attr_create", ADDRESS);
        destroyAttributes = of.status("dnnl_primitive_attr_destroy", ADDRESS);
        setScratchpad = of.status("dnnl_primitive_attr_set_scratchpad_mode", ADDRESS, JAVA_INT);
        setPostOps = of.status("dnnl_primitive_attr_set_post_ops", ADDRESS, ADDRESS);
        createPostOps = of.status("dnnl_post_ops_create", ADDRESS);
        destroyPostOps = of.status("dnnl_post_ops_destroy", ADDRESS);
        appendFunction = of.status("dnnl_post_ops_append_eltwise", ADDRESS, JAVA_INT, JAVA_FLOAT, JAVA_FLOAT);
        appendSum = of.status("dnnl_post_ops_append_sum", ADDRESS, JAVA_FLOAT, JAVA_INT, JAVA_INT);
        appendBinary = of.status("dnnl_post_ops_append_binary", ADDRESS, JAVA_INT, ADDRESS);
        describeProduct = of.status("dnnl_matmul_primitive_desc_create", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS,
                ADDRESS, ADDRESS);
        destroyProductDescription = of.status("dnnl_primitive_desc_destroy", ADDRESS);
        query = of.status("dnnl_primitive_desc_query", ADDRESS, JAVA_INT, JAVA_INT, ADDRESS);
        queryDescription = of.find("dnnl_primitive_desc_query_md",
                FunctionDescriptor.of(ADDRESS, ADDRESS, JAVA_INT, JAVA_INT));
        createPrimitive = of.status("dnnl_primitive_create", ADDRESS, ADDRESS);
        destroyPrimitive = of.status("dnnl_primitive_destroy", ADDRESS);
        execute = of.status("dnnl_primitive_execute", ADDRESS, ADDRESS, JAVA_INT, ADDRESS);
        createMemory = of.status("dnnl_memory_create", ADDRESS, ADDRESS, ADDRESS, ADDRESS);
        destroyMemory = of.status("dnnl_memory_destroy", ADDRESS);
        setHandle = of.status("dnnl_memory_set_data_handle", ADDRESS, ADDRESS);
        MethodHandle createEngine = of.status("dnnl_engine_create", ADDRESS, JAVA_INT, JAVA_LONG);
        MethodHandle createStream = of.status("dnnl_stream_create", ADDRESS, ADDRESS, JAVA_INT);
        try (Arena arena = Arena.ofConfined()) {
            engine = made(arena, to -> (int) createEngine.invokeExact(to, CPU, 0L));
            stream = made(arena, to -> (int) createStream.invokeExact(to, engine, IN_ORDER));
        }
    }

    /** Looks functions up. */
    private record Binder(SymbolLookup library) {
        MethodHandle find(String name, FunctionDescriptor type) {
            return Linker.nativeLinker().downcallHandle(
                    library.find(name).orElseThrow(() -> new BackendException("oneDNN has no " + name)), type);
        }

        /** A function that returns a status. */
        MethodHandle status(String name, MemoryLayout... arguments) {
            return find(name, FunctionDescriptor.of(JAVA_INT, arguments));
        }
    }

    /** A call into the library. */
    private interface Call<T> {
        T run() throws Throwable;
    }

    /** A call that writes what it made to an address, and returns a status. */
    private interface Making {
        int run(MemorySegment to) throws Throwable;
    }

    private static <T> T got(Call<T> call) {
        try {
            return call.run();
        } catch (Throwable e) {
            // Handles throw nothing that the functions behind them do not, and those are in C.
            throw new IllegalStateException("oneDNN was called wrongly", e);
        }
    }

    /** @param call returns a status, 0 where all is well */
    private static void done(Call<Integer> call) {
        int status = got(call);
        if (status != 0) {
            throw new BackendException("oneDNN refuses a product, status " + status);
        }
    }

    private static MemorySegment made(Arena arena, Making making) {
        MemorySegment to = arena.allocate(ADDRESS);
        done(() -> making.run(to));
        return to.get(ADDRESS, 0);
    }

    /** Whether this processor has units for bf16: those of AVX-512, or AMX. */
    boolean hasBf16() {
        return (got(() -> (int) isa.invokeExact()) & ISA_BF16) == ISA_BF16;
    }

    /** What becomes of the sums of a product once bias and activation are done. */
    enum Last {
        NONE,
        /** They are added to what stands in the result. */
        SUM,
        /** Another matrix, laid out as the result, is added. */
        ADD,
        /** They are multiplied with another matrix, laid out as the result. */
        MUL
    }

    /**
     * {@code out = last(activation(x . transpose(w) + bias))}, x [rows, depth] and w [width, depth] in BF16, dense;
     * bias and out F32.
     *
     * @param stride elements from a row of out to the next one
     */
    record Shape(int rows, int depth, int width, int stride, boolean bias, Op.Activation activation, Last last) {
        Shape withRows(int count) {
            return new Shape(count, depth, width, stride, bias, activation, last);
        }
    }

    /** What a shape needs while oneDNN chooses a kernel for it; closed when that is done. */
    private final class Choice implements AutoCloseable {
        final Arena arena = Arena.ofConfined();
        final List<MemorySegment> descriptions = new ArrayList<>();
        final MemorySegment x;
        final MemorySegment w;
        final MemorySegment out;
        final MemorySegment bias;
        final MemorySegment product;
        /** Functions before the last operation. */
        private int functions;

        /** @throws BackendException if oneDNN has no kernel for it */
        Choice(Shape shape) {
            oneThread();
            x = description(BF16, shape.rows, shape.depth, shape.depth, 1);
            w = description(BF16, shape.depth, shape.width, 1, shape.depth);
            out = description(F32, shape.rows, shape.width, shape.stride, 1);
            bias = shape.bias ? description(F32, 1, shape.width, shape.width, 1) : MemorySegment.NULL;
            MemorySegment attributes = made(arena, to -> (int) createAttributes.invokeExact(to));
            MemorySegment postOps = made(arena, to -> (int) createPostOps.invokeExact(to));
            try {
                activation(postOps, shape.activation);
                last(postOps, shape.last);
                done(() -> (int) setScratchpad.invokeExact(attributes, USER_SCRATCHPAD));
                done(() -> (int) setPostOps.invokeExact(attributes, postOps));
                product = made(arena,
                        to -> (int) describeProduct.invokeExact(to, engine, x, w, bias, out, attributes));
            } finally {
                done(() -> (int) destroyPostOps.invokeExact(postOps));
                done(() -> (int) destroyAttributes.invokeExact(attributes));
            }
        }

        private MemorySegment description(int type, long rows, long columns, long rowStride, long columnStride) {
            MemorySegment dimensions = arena.allocateFrom(JAVA_LONG, rows, columns);
            MemorySegment strides = arena.allocateFrom(JAVA_LONG, rowStride, columnStride);
            MemorySegment description = made(arena,
                    to -> (int) describe.invokeExact(to, 2, dimensions, type, strides));
            descriptions.add(description);
            return description;
        }

        private void activation(MemorySegment postOps, Op.Activation activation) {
            switch (activation) {
                case NONE -> {}
                case GELU_TANH -> function(postOps, GELU_TANH, 0);
                case GELU_ERF -> function(postOps, GELU_ERF, 0);
                case QUICK_GELU -> function(postOps, SWISH, QUICK_GELU);
                case SILU -> function(postOps, SWISH, 1);
                case RELU -> function(postOps, RELU, 0);
            }
        }

        private void function(MemorySegment postOps, int kind, float alpha) {
            done(() -> (int) appendFunction.invokeExact(postOps, kind, alpha, 0f));
            functions++;
        }

        private void last(MemorySegment postOps, Last last) {
            switch (last) {
                case NONE -> {}
                case SUM -> done(() -> (int) appendSum.invokeExact(postOps, 1f, 0, F32));
                case ADD -> done(() -> (int) appendBinary.invokeExact(postOps, ADD, out));
                case MUL -> done(() -> (int) appendBinary.invokeExact(postOps, MUL, out));
            }
        }

        /** Number of the argument that the last operation reads. */
        int otherArgument() {
            return ARG_POST_OP * (functions + 1) | ARG_SRC_1;
        }

        String implementation() {
            MemorySegment text = arena.allocate(ADDRESS);
            done(() -> (int) query.invokeExact(product, QUERY_IMPLEMENTATION, 0, text));
            return text.get(ADDRESS, 0).reinterpret(Long.MAX_VALUE).getString(0);
        }

        MemorySegment scratchpad() {
            return got(() -> (MemorySegment) queryDescription.invokeExact(product, QUERY_SCRATCHPAD, 0));
        }

        @Override
        public void close() {
            done(() -> (int) destroyProductDescription.invokeExact(product));
            descriptions.forEach(each -> done(() -> (int) destroyDescription.invokeExact(each)));
            arena.close();
        }
    }

    /** A compiled product, with the arguments of each thread that may run it. */
    final class Primitive implements AutoCloseable {
        private final Arena arena = Arena.ofShared();
        private final MemorySegment primitive;
        private final MemorySegment[][] memories;
        private final MemorySegment[] arguments;
        private final boolean bias;
        private final boolean other;
        private final long scratchpadBytes;

        private Primitive(Choice choice, Shape shape, int threads) {
            bias = shape.bias;
            other = shape.last == Last.ADD || shape.last == Last.MUL;
            MemorySegment scratchpad = choice.scratchpad();
            scratchpadBytes = got(() -> (long) descriptionBytes.invokeExact(scratchpad));
            primitive = made(arena, to -> (int) createPrimitive.invokeExact(to, choice.product));
            List<Integer> numbers = new ArrayList<>(List.of(ARG_SRC, ARG_WEIGHTS, ARG_DST, ARG_SCRATCHPAD));
            List<MemorySegment> descriptions =
                    new ArrayList<>(List.of(choice.x, choice.w, choice.out, scratchpad));
            if (bias) {
                numbers.add(ARG_BIAS);
                descriptions.add(choice.bias);
            }
            if (other) {
                numbers.add(choice.otherArgument());
                descriptions.add(choice.out);
            }
            memories = new MemorySegment[threads][numbers.size()];
            arguments = new MemorySegment[threads];
            for (int thread = 0; thread < threads; thread++) {
                arguments[thread] = arena.allocate(ARGUMENT_BYTES * numbers.size(), ARGUMENT_BYTES);
                for (int i = 0; i < numbers.size(); i++) {
                    MemorySegment description = descriptions.get(i);
                    memories[thread][i] = made(arena,
                            to -> (int) createMemory.invokeExact(to, description, engine, MemorySegment.NULL));
                    arguments[thread].set(JAVA_INT, ARGUMENT_BYTES * i, numbers.get(i));
                    arguments[thread].set(ADDRESS, ARGUMENT_BYTES * i + Long.BYTES, memories[thread][i]);
                }
            }
        }

        long scratchpadBytes() {
            return scratchpadBytes;
        }

        /**
         * Computes, on the calling thread.
         *
         * @param thread whose arguments are used: nobody else may use them now
         * @param scratchpad address of {@link #scratchpadBytes} that nobody else uses now
         * @param biasAddress of the first column's; unused without one
         * @param otherAddress of what is added or multiplied last; unused without
         * @throws BackendException if oneDNN fails
         */
        void run(int thread, long x, long w, long out, long scratchpad, long biasAddress, long otherAddress) {
            oneThread();
            MemorySegment[] own = memories[thread];
            place(own[0], x);
            place(own[1], w);
            place(own[2], out);
            place(own[3], scratchpad);
            if (bias) {
                place(own[4], biasAddress);
            }
            if (other) {
                place(own[own.length - 1], otherAddress);
            }
            MemorySegment all = arguments[thread];
            int count = own.length;
            done(() -> (int) execute.invokeExact(primitive, stream, count, all));
        }

        private void place(MemorySegment memory, long address) {
            MemorySegment at = MemorySegment.ofAddress(address);
            done(() -> (int) setHandle.invokeExact(memory, at));
        }

        @Override
        public void close() {
            for (MemorySegment[] own : memories) {
                for (MemorySegment memory : own) {
                    done(() -> (int) destroyMemory.invokeExact(memory));
                }
            }
            done(() -> (int) destroyPrimitive.invokeExact(primitive));
            arena.close();
        }
    }

    /** oneDNN would start threads of its own otherwise. */
    private void oneThread() {
        got(() -> {
            setThreads.invokeExact(1);
            return null;
        });
    }

    /**
     * The kernel that oneDNN would take, as it calls it: {@code brg_matmul:avx512_core_bf16}.
     *
     * @throws BackendException if it has none
     */
    String implementation(Shape shape) {
        try (Choice choice = new Choice(shape)) {
            return choice.implementation();
        }
    }

    /**
     * Compiles a product.
     *
     * @param threads that may run it
     * @throws BackendException if oneDNN has no kernel for it
     */
    Primitive primitive(Shape shape, int threads) {
        try (Choice choice = new Choice(shape)) {
            return new Primitive(choice, shape, threads);
        }
    }
}
