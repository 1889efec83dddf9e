package stormsight.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.checkpoint.HostTensor;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Sampling;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Step;
import stormsight.program.Tensor;

/** What an executor of the CPU promises beside right numbers. */
class CpuExecutorTest {
    private static final int THREADS = 3;
    private static final int LAYERS = 3;
    private static final int CAPACITY = 128;
    private static final int HIDDEN = 64;
    private static final int VOCABULARY = 9000;

    /** Until the compilers have seen all loops, beside other tests. */
    private static final Duration LONGEST_WAIT = Duration.ofMinutes(2);

    /** A small decoder: every kind of operation of a decode step, over stacked weights and caches. */
    private static Program decoder() {
        Tensor ids = new Tensor("ids", DType.I32, Shape.of(1), Tensor.Kind.INPUT, 1);
        Tensor x = Tensor.activation("x", 1, HIDDEN);
        Tensor normed = Tensor.activation("normed", 1, HIDDEN);
        Tensor q = Tensor.activation("q", 1, HIDDEN);
        Tensor kv = Tensor.activation("kv", 1, HIDDEN / 2);
        Tensor wide = Tensor.activation("wide", 1, 4 * HIDDEN);
        Tensor attended = Tensor.activation("attended", 1, HIDDEN);
        Tensor logits = Tensor.activation("logits", 1, VOCABULARY);
        Tensor keys = new Tensor("keys", DType.F32, Shape.of(CAPACITY, HIDDEN / 2), Tensor.Kind.CACHE, LAYERS);
        Tensor norm = stack("norm", DType.F32, HIDDEN);
        Tensor rope = Tensor.weight("rope", DType.F32, Shape.of(CAPACITY, HIDDEN / 4));
        Tensor table = Tensor.weight("table", DType.BF16, Shape.of(VOCABULARY, HIDDEN));
        Tensor parts = new Tensor("parts", DType.U8, Shape.of(VOCABULARY), Tensor.Kind.INPUT, 1);
        Tensor token = new Tensor("token", DType.I32, Shape.of(1), Tensor.Kind.OUTPUT, 1);
        Tensor logProbability = new Tensor("logProbability", DType.F32, Shape.of(1), Tensor.Kind.OUTPUT, 1);
        List<Op> layer = List.of(new Op.RmsNorm(x, norm, 1e-6f, Optional.empty(), normed),
                product(normed, stack("wq", DType.BF16, HIDDEN, HIDDEN), q),
                product(normed, stack("wk", DType.F16, HIDDEN / 2, HIDDEN), kv), new Op.Rope(q, rope, 4),
                new Op.Rope(kv, rope, 2), new Op.Store(kv, keys), new Op.Attention(q, keys, keys,
                        new Op.Heads(4, 2, HIDDEN / 4), 0.25f, 50, new Op.Windows(List.of(9, 0)),
                        Op.Keys.TOKENS, attended),
                new Op.MatMul(attended, stack("wo", DType.F32, HIDDEN, HIDDEN), Optional.empty(), Op.Activation.NONE,
                Optional.of(x), x), new Op.GatedMatMul(x, stack("gate", DType.BF16, 4 * HIDDEN, HIDDEN),
                        stack("up", DType.BF16, 4 * HIDDEN, HIDDEN), Op.Activation.GELU_TANH, wide),
                new Op.MatMul(wide, stack("down", DType.Q8, HIDDEN, 4 * HIDDEN), Optional.of(norm),
                Op.Activation.GELU_TANH, Optional.of(x), x));
        return new Program("decode", List.of(Segment.once("embed", List.of(new Op.Embed(ids, table, 8, Optional.empty(),
                Optional.empty(), x))), new Segment("layers", 0, LAYERS, layer),
                Segment.once("head", List.of(
                        new Op.LayerNorm(x, Tensor.weight("last", DType.F32, Shape.of(HIDDEN)),
                        Tensor.weight("lastBias", DType.F32, Shape.of(HIDDEN)), 1e-6f, normed),
                        product(normed, table, logits), new Op.SoftCap(logits, 30),
                        new Op.Sample(logits, parts, token, logProbability)))));
    }

    private static Tensor stack(String name, DType dtype, int... shape) {
        return new Tensor(name, dtype, Shape.of(shape), Tensor.Kind.WEIGHT, LAYERS);
    }

    private static Op product(Tensor x, Tensor w, Tensor out) {
        return new Op.MatMul(x, w, Optional.empty(), Op.Activation.NONE, Optional.empty(), out);
    }

    /** Weights of zeros: what is computed does not matter here. */
    private static Map<Tensor, HostTensor> zeros(Program program) {
        Map<Tensor, HostTensor> weights = new HashMap<>();
        for (Tensor tensor : program.tensors()) {
            if (tensor.kind() == Tensor.Kind.WEIGHT) {
                List<MemorySegment> layers = new ArrayList<>();
                for (int i = 0; i < tensor.layers(); i++) {
                    layers.add(Arena.ofAuto().allocate(tensor.dtype().bytes(tensor.shape()), 4));
                }
                weights.put(tensor, new HostTensor(tensor.dtype(), tensor.shape(), layers));
            }
        }
        return weights;
    }

    private static Tensor tensor(Program program, String name) {
        return program.tensors().stream().filter(tensor -> tensor.name().equals(name)).findFirst().orElseThrow();
    }

    private static Backend open(String name) {
        return Backends.open(name, new BackendOptions(THREADS, Optional.empty()));
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "scalar"})
    void aRunAllocatesNothing(String name) throws InterruptedException {
        Program program = decoder();
        try (Backend backend = open(name); Executor executor = backend.prepare(zeros(program), List.of(program),
                RunListener.NONE)) {
            Step[] steps = new Step[50];
            Arrays.setAll(steps, i -> new Step(i, 1, 5, 0.5f, i % 2 == 0 ? Sampling.GREEDY
                    : new Sampling(0.7f, 40, 0.9f)));
            assertAllocatesNothing(executor, program, steps);
        }
    }

    /** A loop over vectors that is too long for the compilers makes objects of them for good. */
    @ParameterizedTest
    @ValueSource(ints = {1, 8, 40})
    void productsAllocateNothing(int rows) throws InterruptedException {
        // 64 columns are less than a vector of Q4; the others end with a block, or part of one, behind whole vectors:
        // the loops for what is left over run, too.
        int[] depths = {HIDDEN, 2048 + 32, 2048 + 8};
        List<Op> ops = new ArrayList<>();
        for (int depth : depths) {
            Tensor x = Tensor.activation("x" + depth, rows, depth);
            for (DType dtype : List.of(DType.BF16, DType.F16, DType.F32, DType.Q8, DType.Q4)) {
                if (dtype.forRows(depth) == dtype) {
                    ops.add(product(x, Tensor.weight("w" + dtype + depth, dtype, Shape.of(HIDDEN, depth)),
                            Tensor.activation("y" + dtype + depth, rows, HIDDEN)));
                }
            }
        }
        Program program = new Program("products", List.of(Segment.once("all", ops)));
        try (Backend backend = open("cpu"); Executor executor = backend.prepare(zeros(program), List.of(program),
                RunListener.NONE)) {
            Step[] steps = new Step[20];
            Arrays.fill(steps, new Step(0, rows, rows));
            assertAllocatesNothing(executor, program, steps);
        }
    }

    /** Runs steps until they allocate nothing: the interpreter boxes vectors, and the compilers need time to come. */
    private static void assertAllocatesNothing(Executor executor, Program program, Step[] steps)
            throws InterruptedException {
        long allocated = Long.MAX_VALUE;
        long end = System.nanoTime() + LONGEST_WAIT.toNanos();
        for (int round = 0; allocated > 0 && System.nanoTime() < end; round++) {
            if (round >= 100) {
                Thread.sleep(10);
            }
            allocated = allocated(executor, program, steps);
        }
        assertEquals(0, allocated, "bytes allocated by all threads in " + steps.length + " steps");
    }

    private static long allocated(Executor executor, Program program, Step[] steps) {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long[] ids = Thread.getAllStackTraces().keySet().stream()
                .filter(thread -> thread == Thread.currentThread() || thread.getName().startsWith("stormsight-cpu-"))
                .mapToLong(Thread::threadId).toArray();
        assertTrue(ids.length >= THREADS, () -> ids.length + " threads found");
        // Asking allocates too, on this thread: what that takes is found out and left out.
        long own = threads.getThreadAllocatedBytes(Thread.currentThread().threadId());
        long before = Arrays.stream(threads.getThreadAllocatedBytes(ids)).sum();
        long asking = threads.getThreadAllocatedBytes(Thread.currentThread().threadId()) - own;
        for (Step step : steps) {
            executor.run(program, step);
        }
        return Math.max(0, Arrays.stream(threads.getThreadAllocatedBytes(ids)).sum() - before - asking);
    }

    /** Each of the 65536 numbers of 16 bits is a weight, which one product with 1 leaves as it is. */
    @ParameterizedTest
    @ValueSource(ints = {1, 17})
    void everyHalfIsRead(int rows) {
        int numbers = 1 << 16;
        // With a second part of a row, which begins anew.
        for (int depth : new int[] {64, 72}) {
            Tensor x = new Tensor("x", DType.F32, Shape.of(rows, depth), Tensor.Kind.INPUT, 1);
            Tensor w = Tensor.weight("w", DType.F16, Shape.of(numbers, depth));
            Tensor y = new Tensor("y", DType.F32, Shape.of(rows, numbers), Tensor.Kind.OUTPUT, 1);
            Program program = new Program("halves", List.of(Segment.once("all", List.of(product(x, w, y)))));
            try (Arena arena = Arena.ofConfined(); Backend backend = open("cpu")) {
                MemorySegment halves = arena.allocate(DType.F16.bytes(w.shape()), 4);
                for (int i = 0; i < numbers; i++) {
                    halves.setAtIndex(ValueLayout.JAVA_SHORT, (long) i * depth + i % depth, (short) i);
                }
                Map<Tensor, HostTensor> weights = Map.of(w, HostTensor.of(DType.F16, w.shape(), halves));
                try (Executor executor = backend.prepare(weights, List.of(program), RunListener.NONE)) {
                    float[] ones = new float[rows * depth];
                    Arrays.fill(ones, 1);
                    executor.write(x, MemorySegment.ofArray(ones));
                    executor.run(program, new Step(0, rows, rows));
                    float[] read = new float[rows * numbers];
                    executor.read(y, MemorySegment.ofArray(read));
                    for (int i = 0; i < read.length; i++) {
                        assertEquals(Float.float16ToFloat((short) i) + 0f, read[i] + 0f, "number " + i % numbers);
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "scalar"})
    void wrongWeightsAreRefused(String name) {
        Program program = decoder();
        Tensor wq = tensor(program, "wq");
        Map<Tensor, HostTensor> weights = zeros(program);
        try (Backend backend = open(name)) {
            weights.remove(wq);
            assertRefused(backend, weights, program, "no value for weight wq BF16[64, 64] x 3");
            MemorySegment data = Arena.ofAuto().allocate(64 * 64 * 4);
            weights.put(wq, new HostTensor(DType.F32, wq.shape(), List.of(data, data, data)));
            assertRefused(backend, weights, program, "weight wq BF16[64, 64] x 3 was given F32[64, 64] x 3");
            weights.put(wq, new HostTensor(DType.BF16, Shape.of(32, 128), List.of(data.asSlice(0, 8192))));
            assertRefused(backend, weights, program, "weight wq BF16[64, 64] x 3 was given BF16[32, 128] x 1");
            MemorySegment heap = MemorySegment.ofArray(new byte[64 * 64 * 2]);
            weights.put(wq, new HostTensor(DType.BF16, wq.shape(), List.of(heap, heap, heap)));
            assertRefused(backend, weights, program, "weight wq BF16[64, 64] x 3 does not lie in native memory");
        }
    }

    private static void assertRefused(Backend backend, Map<Tensor, HostTensor> weights, Program program,
            String message) {
        assertEquals(message, assertThrows(IllegalArgumentException.class,
                () -> backend.prepare(weights, List.of(program), RunListener.NONE).close()).getMessage());
    }

    @Test
    void stepsPastTheEndAreRefused() {
        Program program = decoder();
        try (Backend backend = open("cpu"); Executor executor = backend.prepare(zeros(program), List.of(program),
                RunListener.NONE)) {
            executor.run(program, new Step(CAPACITY - 1, 1, 0));
            assertEquals("decode: position 128 and 1 rows, rope F32[128, 16] has 128",
                    assertThrows(IllegalArgumentException.class, () ->
                    executor.run(program, new Step(CAPACITY, 1, 0))).getMessage());
            assertEquals("decode: 2 rows, x F32[1, 64] has 1",
                    assertThrows(IllegalArgumentException.class, () ->
                    executor.run(program, new Step(0, 2, 0))).getMessage());
            assertThrows(IllegalArgumentException.class, () -> executor.run(new Program("other", List.of()),
                    new Step(0, 1, 0)));
            assertThrows(IllegalArgumentException.class, () -> executor.read(tensor(program, "x"),
                    MemorySegment.ofArray(new byte[4])));
            assertThrows(IllegalArgumentException.class, () -> executor.write(tensor(program, "ids"),
                    MemorySegment.ofArray(new byte[8])));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "scalar"})
    void anIdPastTheTableIsRefused(String name) {
        Program program = decoder();
        try (Backend backend = open(name); Executor executor = backend.prepare(zeros(program), List.of(program),
                RunListener.NONE)) {
            for (int id : new int[] {VOCABULARY, -1}) {
                executor.write(tensor(program, "ids"), MemorySegment.ofArray(new int[] {id}));
                assertThrows(IllegalArgumentException.class, () -> executor.run(program, new Step(0, 1, 0)));
            }
            executor.write(tensor(program, "ids"), MemorySegment.ofArray(new int[] {0}));
            executor.run(program, new Step(0, 1, 0));
        }
    }

    @Test
    void tooLittleMemoryIsSaid() {
        Tensor x = Tensor.activation("x", Integer.MAX_VALUE, 1 << 20);
        Tensor y = Tensor.activation("y", Integer.MAX_VALUE, 1 << 20);
        Program program = new Program("huge", List.of(Segment.once("copy", List.of(new Op.Copy(x, y)))));
        try (Backend backend = open("cpu")) {
            String message = assertThrows(BackendException.class,
                    () -> backend.prepare(Map.of(), List.of(program), RunListener.NONE)).getMessage();
            long needed = 2 * ((4L * Integer.MAX_VALUE << 20) + 63 & -64L);
            assertEquals("activations and caches need " + needed + " bytes, this machine has "
                    + backend.device().memoryBytes(), message);
        }
    }

    @Test
    void unknownDeviceIsRefused() {
        assertThrows(BackendException.class, () -> Backends.open("cpu", new BackendOptions(1, Optional.of("1"))));
    }

    @Test
    void listenersHearOfEachLayer() {
        Program program = decoder();
        List<String> heard = new ArrayList<>();
        try (Backend backend = open("cpu"); Executor executor = backend.prepare(zeros(program), List.of(program),
                (which, done, total) -> heard.add(which.name() + " " + done + " of " + total))) {
            executor.run(program, new Step(0, 1, 0));
        }
        assertEquals(List.of("decode 1 of 5", "decode 2 of 5", "decode 3 of 5", "decode 4 of 5", "decode 5 of 5"),
                heard);
    }
}
