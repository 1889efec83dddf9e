package stormsight.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SplittableRandom;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.Executor;
import stormsight.backend.PlannedLaunch;
import stormsight.backend.Precision;
import stormsight.backend.RunListener;
import stormsight.backend.RunProfile;
import stormsight.checkpoint.HostTensor;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Step;
import stormsight.program.Tensor;

/** Products through oneDNN against the reference in double precision. */
class NativeProductsTest {
    /** F32 sums of up to 16384 products of BF16 numbers, which are exact, then a function. Of the largest result. */
    private static final double EXACT = 2e-5;

    /** x has 8 bits left: errors of up to 2^-9 of each term, of which most cancel out. Of the largest result. */
    private static final double ROUNDED = 4e-3;

    /** Weights times their scales have 8 bits left as well. */
    private static final double BOTH_ROUNDED = 1.5 * ROUNDED;

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    @BeforeAll
    static void needsTheLibrary() {
        assumeTrue(NativeKernels.unavailable().isEmpty(), () -> NativeKernels.unavailable().orElse(""));
    }

    private static Backend always(int threads) {
        return CpuBackend.open("cpu", new BackendOptions(threads, Optional.empty()), Path.VECTORS, 0);
    }

    /** Says what became of a library whose loading was begun on another thread. */
    static final class Begun {
        private Begun() {}

        public static void main(String[] arguments) {
            NativeKernels.begin();
            System.out.println(NativeKernels.unavailable().orElse("loaded"));
            System.out.println(NativeKernels.unavailable().orElse("loaded"));
        }
    }

    /** In a process of its own: the library is loaded once. */
    @ParameterizedTest
    @CsvSource({
        "rwx------, loaded",
        "rwxrwxrwx, oneDNN cannot be used: it cannot be laid into"
    })
    void whatLoadingEndedWithIsToldWhereverItRan(String permissions, String expected, @TempDir java.nio.file.Path cache)
            throws Exception {
        Files.setPosixFilePermissions(cache, PosixFilePermissions.fromString(permissions));
        ProcessBuilder builder = new ProcessBuilder(
                java.nio.file.Path.of(System.getProperty("java.home"), "bin", "java").toString(), "--add-modules",
                "jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", "-cp",
                System.getProperty("java.class.path"), Begun.class.getName());
        builder.environment().put("XDG_CACHE_HOME", cache.toString());
        Process process = builder.redirectError(ProcessBuilder.Redirect.DISCARD).start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        List<String> lines = said.lines().toList();
        assertEquals(0, process.waitFor());
        assertEquals(2, lines.size());
        assertTrue(lines.getFirst().startsWith(expected), lines.getFirst());
        assertEquals(lines.getFirst(), lines.getLast());
    }

    /** One product with its data. */
    private static final class Case implements AutoCloseable {
        final Arena arena = Arena.ofShared();
        final SplittableRandom random = new SplittableRandom(7);
        final DType dtype;
        final boolean rounded;
        final Map<Tensor, HostTensor> weights = new HashMap<>();
        final Tensor x;
        final Tensor out;
        final Tensor residual;
        final Program program;
        final MemorySegment values;
        final MemorySegment added;

        /**
         * A product over capacity rows.
         *
         * @param residual none, other: a tensor of its own, out: the result's
         * @param rounded whether x holds numbers that BF16 has
         */
        Case(int capacity, int depth, int width, boolean gated, boolean bias, Op.Activation activation,
                String residual, boolean rounded) {
            this(DType.BF16, capacity, depth, width, gated, bias, activation, residual, rounded);
        }

        /** The same of weights of a type; those in blocks have values that BF16 has if x has. */
        Case(DType dtype, int capacity, int depth, int width, boolean gated, boolean bias, Op.Activation activation,
                String residual, boolean rounded) {
            this.dtype = dtype;
            this.rounded = rounded;
            x = new Tensor("x", DType.F32, Shape.of(capacity, depth), Tensor.Kind.INPUT, 1);
            Tensor sum = new Tensor("residual", DType.F32, Shape.of(capacity, width), Tensor.Kind.INPUT, 1);
            Tensor result = new Tensor("out", DType.F32, Shape.of(capacity, width), Tensor.Kind.OUTPUT, 1);
            out = result;
            this.residual = sum;
            Tensor w = weight("w", depth, width);
            List<Op> ops = new ArrayList<>();
            if (gated) {
                ops.add(new Op.GatedMatMul(x, w, weight("up", depth, width), activation, result));
            } else {
                if (residual.equals("out")) {
                    ops.add(new Op.Copy(sum, result));
                }
                ops.add(new Op.MatMul(
                        x,
                        w,
                        bias ? Optional.of(vector(width)) : Optional.empty(),
                        activation,
                        switch (residual) {
                            case "out" -> Optional.of(result);
                            case "other" -> Optional.of(sum);
                            default -> Optional.empty();
                        },
                        result));
            }
            program = new Program("product", List.of(Segment.once("product", ops)));
            values = floats((long) capacity * depth, 1);
            added = floats((long) capacity * width, 1);
            if (rounded) {
                for (long i = 0; i < (long) capacity * depth; i++) {
                    values.setAtIndex(FLOAT, i, Float.intBitsToFloat(
                            Narrow.bf16(Float.floatToRawIntBits(values.getAtIndex(FLOAT, i))) << Short.SIZE));
                }
            }
        }

        private MemorySegment floats(long count, double scale) {
            MemorySegment segment = arena.allocate(4 * count, 64);
            for (long i = 0; i < count; i++) {
                segment.setAtIndex(FLOAT, i, (float) random.nextDouble(-scale, scale));
            }
            return segment;
        }

        /** Large enough that activations are used on both sides of their bend. */
        private Tensor weight(String name, int depth, int width) {
            Tensor tensor = new Tensor(name, dtype, Shape.of(width, depth), Tensor.Kind.WEIGHT, 1);
            if (dtype.isBlocked()) {
                weights.put(tensor, new HostTensor(dtype, tensor.shape(), List.of(blocks(tensor.shape()))));
                return tensor;
            }
            double scale = 3 / Math.sqrt(depth);
            if (dtype == DType.F32) {
                weights.put(tensor, new HostTensor(dtype, tensor.shape(),
                        List.of(floats((long) depth * width, scale))));
                return tensor;
            }
            // Two bytes further than aligned, as in a file.
            MemorySegment segment = arena.allocate(2L * depth * width + 2, 64).asSlice(2);
            for (long i = 0; i < (long) depth * width; i++) {
                segment.set(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * i,
                        Narrow.bf16(Float.floatToRawIntBits((float) random.nextDouble(-scale, scale))));
            }
            weights.put(tensor, new HostTensor(DType.BF16, tensor.shape(), List.of(segment)));
            return tensor;
        }

        /** Levels of any size; scales are powers of two where results are to be exact. */
        private MemorySegment blocks(Shape shape) {
            MemorySegment segment = arena.allocate(dtype.bytes(shape), 64);
            long scales = dtype.scalesOffset(shape);
            for (long i = 0; i < scales; i++) {
                segment.set(ValueLayout.JAVA_BYTE, i, (byte) random.nextInt(256));
            }
            double unit = (dtype == DType.Q8 ? 0x1p-6 : 0x1p-2) / Math.sqrt(shape.columns());
            for (long i = 0; i < shape.rows() * dtype.scalesPerRow(shape); i++) {
                float scale = (float) (unit * random.nextDouble(1, 2));
                int bits = Float.floatToRawIntBits(scale) & (rounded ? 0xFF800000 : 0xFFFF0000);
                if (dtype.scaleType() == DType.BF16) {
                    segment.set(ValueLayout.JAVA_SHORT_UNALIGNED, scales + 2 * i, (short) (bits >>> 16));
                } else {
                    segment.set(ValueLayout.JAVA_INT_UNALIGNED, scales + 4 * i, bits);
                }
            }
            return segment;
        }

        private Tensor vector(int width) {
            Tensor tensor = new Tensor("bias", DType.F32, Shape.of(width), Tensor.Kind.WEIGHT, 1);
            weights.put(tensor, new HostTensor(DType.F32, tensor.shape(), List.of(floats(width, 1))));
            return tensor;
        }

        Executor prepare(Backend backend) {
            Executor executor = backend.prepare(weights, List.of(program), RunListener.NONE);
            executor.write(x, values);
            if (program.tensors().contains(residual)) {
                executor.write(residual, added);
            }
            return executor;
        }

        float[] run(Executor executor, int rows) {
            executor.run(program, new Step(0, rows, 0));
            return read(executor, rows);
        }

        float[] read(Executor executor, int rows) {
            float[] result = new float[rows * out.columns()];
            executor.read(out, MemorySegment.ofArray(result));
            return result;
        }

        float[] run(Backend backend, int rows) {
            try (Executor executor = prepare(backend)) {
                return run(executor, rows);
            }
        }

        @Override
        public void close() {
            arena.close();
        }
    }

    private static void assertClose(float[] expected, float[] actual, double tolerance) {
        double largest = 0;
        for (float value : expected) {
            largest = Math.max(largest, Math.abs(value));
        }
        for (int i = 0; i < expected.length; i++) {
            assertTrue(Math.abs((double) expected[i] - actual[i]) <= tolerance * largest,
                    "element " + i + " is " + actual[i] + ", expected " + expected[i] + ", largest " + largest);
        }
    }

    /**
     * The end of a prompt's last layer, for its last row alone, is as exact as Java's: a residual, biases, functions
     * and a gate, weights whose last piece is not full.
     */
    @ParameterizedTest
    @EnumSource(Op.Activation.class)
    void theLastRowAloneIsExact(Op.Activation activation) {
        int capacity = 20;
        int depth = 300;
        int hidden = 1000;
        try (Case product = new Case(capacity, depth, 64, false, false, Op.Activation.NONE, "none", false);
                Backend scalar = Backends.open("scalar", BackendOptions.DEFAULT); Backend cpu = always(2)) {
            Tensor last = new Tensor("last", DType.F32, Shape.of(1, depth), Tensor.Kind.OUTPUT, 1);
            Tensor wide = new Tensor("wide", DType.F32, Shape.of(1, hidden), Tensor.Kind.OUTPUT, 1);
            Tensor gated = new Tensor("gated", DType.F32, Shape.of(1, hidden), Tensor.Kind.OUTPUT, 1);
            Tensor sum = new Tensor("sum", DType.F32, Shape.of(1, hidden), Tensor.Kind.OUTPUT, 1);
            Segment end = Segment.once("end", List.of(
                    new Op.LastRow(product.x, last),
                    new Op.MatMul(last, product.weight("up", depth, hidden), Optional.of(product.vector(hidden)),
                            activation, Optional.empty(), wide),
                    new Op.GatedMatMul(last, product.weight("gate", depth, hidden),
                            product.weight("times", depth, hidden), activation, gated),
                    new Op.MatMul(last, product.weight("more", depth, hidden), Optional.empty(), activation,
                            Optional.of(gated), sum),
                    new Op.MatMul(gated, product.weight("down", hidden, depth), Optional.empty(), Op.Activation.NONE,
                            Optional.of(last), last)));
            Program program = new Program("prefill", List.of(product.program.segments().getFirst(), end));
            try (Executor reference = scalar.prepare(product.weights, List.of(program), RunListener.NONE);
                    Executor natives = cpu.prepare(product.weights, List.of(program), RunListener.NONE)) {
                for (Executor each : List.of(reference, natives)) {
                    each.write(product.x, product.values);
                    each.run(program, new Step(0, capacity, 0));
                }
                for (Tensor tensor : List.of(wide, gated, sum, last)) {
                    assertClose(read(reference, tensor), read(natives, tensor), EXACT);
                }
                List<RunProfile.Entry> entries = natives.profile(program, new Step(0, capacity, 0)).entries();
                for (RunProfile.Entry entry : entries.subList(2, entries.size())) {
                    assertTrue(entry.kernel().contains("oneDNN brg_matmul:"), entry::kernel);
                    assertFalse(entry.bf16());
                }
            }
        }
    }

    private static void check(Case product, int rows, double tolerance) {
        try (product; Backend scalar = Backends.open("scalar", BackendOptions.DEFAULT); Backend cpu = always(2)) {
            float[] expected = product.run(scalar, rows);
            try (Executor executor = product.prepare(cpu)) {
                RunProfile profile = executor.profile(product.program, new Step(0, rows, 0));
                RunProfile.Entry entry = profile.entries().getLast();
                assertTrue(entry.kernel().contains("oneDNN brg_matmul"), entry::kernel);
                assertEquals(product.dtype != DType.F32, entry.bf16());
                assertEquals(product.dtype != DType.F32, executor.roundsActivations());
                assertClose(expected, product.read(executor, rows), tolerance);
            }
        }
    }

    /** Depths and widths of PaliGemma 3B, one of both small where both are large; odd numbers of rows. */
    @ParameterizedTest
    @CsvSource({
        "17, 2048, 256", "33, 2048, 2048", "18, 128, 16384", "19, 16384, 64", "37, 1152, 1152", "21, 1152, 4304",
        "20, 4304, 1152", "268, 588, 128", "300, 65, 67", "17, 64, 64", "1031, 96, 100", "61, 2048, 200"
    })
    void shapesOfModels(int rows, int depth, int width) {
        check(new Case(rows, depth, width, false, false, Op.Activation.NONE, "none", true), rows, EXACT);
        check(new Case(rows, depth, width, false, false, Op.Activation.NONE, "none", false), rows, ROUNDED);
    }

    @ParameterizedTest
    @EnumSource(Op.Activation.class)
    void activations(Op.Activation activation) {
        for (boolean rounded : new boolean[] {true, false}) {
            double tolerance = rounded ? EXACT : ROUNDED;
            check(new Case(29, 327, 133, false, true, activation, "none", rounded), 29, tolerance);
            check(new Case(40, 256, 300, true, false, activation, "none", rounded), 40, tolerance);
            check(new Case(31, 300, 129, false, true, activation, "other", rounded), 31, tolerance);
            check(new Case(31, 300, 129, false, true, activation, "out", rounded), 31, tolerance);
        }
    }

    /** Nothing is rounded; a row's results are the same however many there are. */
    @ParameterizedTest
    @CsvSource({"2048, 300", "16384, 70", "1152, 4304", "4304, 128", "65, 67", "96, 4200"})
    void weightsOf32Bits(int depth, int width) {
        check(new Case(DType.F32, 23, depth, width, false, true, Op.Activation.GELU_ERF, "out", false), 23, EXACT);
        check(new Case(DType.F32, 23, depth, width, true, false, Op.Activation.GELU_TANH, "none", false), 23, EXACT);
        check(new Case(DType.F32, 40, depth, width, false, false, Op.Activation.NONE, "other", false), 37, EXACT);
        try (Case product = new Case(DType.F32, 300, depth, width, false, true, Op.Activation.NONE, "none", false);
                Backend cpu = always(2); Executor executor = product.prepare(cpu)) {
            float[] all = product.run(executor, 300);
            for (int rows : new int[] {17, 64, 150, 268}) {
                assertArrayEquals(Arrays.copyOf(all, rows * width), product.run(executor, rows));
            }
        }
    }

    /** Weights in blocks become BF16, of which those here are some: a last block that is not full, a last piece. */
    @ParameterizedTest
    @CsvSource({"Q8, 2048, 300", "Q8, 4304, 130", "Q8, 65, 4200", "Q4, 2048, 300", "Q4, 96, 4200"})
    void weightsInBlocks(DType dtype, int depth, int width) {
        check(new Case(dtype, 23, depth, width, false, true, Op.Activation.NONE, "out", true), 23, EXACT);
        check(new Case(dtype, 23, depth, width, true, false, Op.Activation.GELU_TANH, "none", true), 23, EXACT);
        check(new Case(dtype, 23, depth, width, false, false, Op.Activation.NONE, "none", false), 23, BOTH_ROUNDED);
    }

    @ParameterizedTest
    @CsvSource({"none", "other", "out"})
    void residualsOfManyTerms(String residual) {
        check(new Case(23, 16384, 130, false, false, Op.Activation.NONE, residual, true), 23, EXACT);
        check(new Case(23, 4304, 130, false, true, Op.Activation.NONE, residual, true), 23, EXACT);
    }

    @Test
    void gatedProductsOfTheModel() {
        check(new Case(27, 2048, 320, true, false, Op.Activation.GELU_TANH, "none", true), 27, EXACT);
        check(new Case(27, 128, 8200, true, false, Op.Activation.GELU_TANH, "none", true), 27, EXACT);
    }

    /** Rows beyond those of the step keep what they had; more lengths than are kept compiled, and again. */
    @Test
    void anyNumberOfRowsUpToTheCapacity() {
        try (Case product = new Case(64, 200, 150, true, false, Op.Activation.SILU, "none", true);
                Backend scalar = Backends.open("scalar", BackendOptions.DEFAULT); Backend cpu = always(2)) {
            float[] all = product.run(scalar, 64);
            try (Executor executor = product.prepare(cpu)) {
                for (int round = 0; round < 2; round++) {
                    for (int rows = 1; rows <= 64; rows += 3) {
                        float[] expected = Arrays.copyOf(all, rows * 150);
                        assertClose(expected, product.run(executor, rows), EXACT);
                    }
                }
                float[] before = product.run(executor, 64);
                product.run(executor, 40);
                float[] after = product.read(executor, 64);
                assertArrayEquals(Arrays.copyOfRange(before, 40 * 150, 64 * 150),
                        Arrays.copyOfRange(after, 40 * 150, 64 * 150));
            }
        }
    }

    /** Up to 16 rows are Java's, bit for bit, and so is everything with strict math or in a small model. */
    @Test
    void fewRowsAndSmallModelsAndStrictMathAreJava() {
        BackendOptions two = new BackendOptions(2, Optional.empty());
        try (Case product = new Case(40, 200, 150, false, true, Op.Activation.GELU_ERF, "other", false);
                Backend cpu = always(2);
                Backend small = Backends.open("cpu", two);
                Backend strict = Backends.open("cpu", two.withPrecision(Precision.STRICT))) {
            float[] inJava = product.run(strict, 40);
            assertArrayEquals(inJava, product.run(small, 40));
            for (int rows : new int[] {1, 2, 16}) {
                assertArrayEquals(product.run(strict, rows), product.run(cpu, rows));
            }
            float[] bf16 = product.run(cpu, 40);
            assertClose(inJava, bf16, ROUNDED);
            assertFalse(Arrays.equals(inJava, bf16));
            try (Executor executor = product.prepare(small); Executor rounding = product.prepare(cpu)) {
                assertFalse(executor.roundsActivations());
                assertTrue(rounding.roundsActivations());
            }
        }
    }

    /** Pieces of work do not depend on the number of threads, so neither do the results. */
    @Test
    void threadsDoNotMatter() {
        try (Case product = new Case(50, 333, 777, true, false, Op.Activation.GELU_TANH, "none", false);
                Backend one = always(1); Backend three = always(3)) {
            assertArrayEquals(product.run(one, 50), product.run(three, 50));
        }
    }

    /** What is not a number stays none, in its row alone. */
    @Test
    void infinityAndNaN() {
        try (Case product = new Case(20, 128, 64, false, false, Op.Activation.NONE, "none", true);
                Backend cpu = always(2)) {
            product.values.setAtIndex(FLOAT, 3 * 128 + 5, Float.NaN);
            product.values.setAtIndex(FLOAT, 7 * 128 + 9, Float.POSITIVE_INFINITY);
            float[] out = product.run(cpu, 20);
            for (int i = 0; i < out.length; i++) {
                int row = i / 64;
                assertEquals(row != 3 && row != 7, Float.isFinite(out[i]), "row " + row);
            }
        }
    }

    /**
     * Logits and norm of the last of many rows are as exact as Java's; those of few rows are Java's, as are those of a
     * program that has no products of many rows.
     */
    @Test
    void logitsOfManyRowsAreExact() {
        int capacity = 40;
        int depth = 2048;
        int width = (1 << 13) + 37;
        try (Case product = new Case(capacity, depth, 64, false, false, Op.Activation.NONE, "none", false);
                Backend scalar = Backends.open("scalar", BackendOptions.DEFAULT); Backend cpu = always(2);
                Backend strict = Backends.open("cpu", BackendOptions.STRICT)) {
            Tensor last = Tensor.activation("last", 1, depth);
            Tensor logits = new Tensor("logits", DType.F32, Shape.of(1, width), Tensor.Kind.OUTPUT, 1);
            Tensor normed = new Tensor("normed", DType.F32, Shape.of(1, depth), Tensor.Kind.OUTPUT, 1);
            List<Op> head = List.of(
                    new Op.LastRow(product.x, last),
                    new Op.RmsNorm(last, product.vector(depth), 1e-6f, Optional.empty(), normed),
                    new Op.MatMul(last, product.weight("head", depth, width), Optional.empty(), Op.Activation.NONE,
                            Optional.empty(), logits));
            Program prefill = new Program("prefill",
                    List.of(product.program.segments().getFirst(), Segment.once("head", head)));
            Program alone = new Program("alone", List.of(Segment.once("head", head)));
            List<Program> programs = List.of(prefill, alone);
            try (Executor reference = scalar.prepare(product.weights, programs, RunListener.NONE);
                    Executor java = strict.prepare(product.weights, programs, RunListener.NONE);
                    Executor natives = cpu.prepare(product.weights, programs, RunListener.NONE)) {
                for (Executor each : List.of(reference, java, natives)) {
                    each.write(product.x, product.values);
                }
                for (int rows : new int[] {17, capacity}) {
                    float[] expected = logits(reference, prefill, rows, logits);
                    assertClose(expected, logits(natives, prefill, rows, logits), EXACT);
                    assertClose(read(reference, normed), read(natives, normed), EXACT);
                }
                List<RunProfile.Entry> entries = natives.profile(prefill, new Step(0, capacity, 0)).entries();
                assertTrue(entries.getLast().kernel().contains("oneDNN brg_matmul"), entries.getLast()::kernel);
                assertFalse(entries.getLast().bf16());
                assertTrue(entries.get(2).kernel().startsWith("oneDNN "), entries.get(2)::kernel);
                float[] inJava = logits(java, prefill, 16, logits);
                assertArrayEquals(inJava, logits(natives, prefill, 16, logits));
                assertArrayEquals(read(java, normed), read(natives, normed));
                assertArrayEquals(logits(java, alone, 40, logits), logits(natives, alone, 40, logits));
                for (float odd : new float[] {Float.NaN, Float.NEGATIVE_INFINITY}) {
                    product.values.setAtIndex(FLOAT, (capacity - 1L) * depth + 5, odd);
                    natives.write(product.x, product.values);
                    for (float logit : logits(natives, prefill, capacity, logits)) {
                        assertFalse(Float.isFinite(logit));
                    }
                }
                product.values.setAtIndex(FLOAT, (capacity - 1L) * depth + 5, 0x1.fffffep120f);
                for (Executor each : List.of(reference, natives)) {
                    each.write(product.x, product.values);
                }
                assertClose(logits(reference, prefill, capacity, logits),
                        logits(natives, prefill, capacity, logits), EXACT);
            }
            PlannedLaunch launch = cpu.plan(programs).stream()
                    .filter(each -> each.program().equals("prefill")).toList().getLast();
            assertTrue(launch.kernel().startsWith("oneDNN brg_matmul:"), launch::kernel);
            assertTrue(launch.geometry().contains("exact"), launch::geometry);
            assertEquals("MatMul", cpu.plan(programs).getLast().kernel());
        }
    }

    private static float[] logits(Executor executor, Program program, int rows, Tensor logits) {
        executor.run(program, new Step(0, rows, 0));
        return read(executor, logits);
    }

    private static float[] read(Executor executor, Tensor row) {
        float[] result = new float[row.columns()];
        executor.read(row, MemorySegment.ofArray(result));
        return result;
    }

    @ParameterizedTest
    @CsvSource({"BF16, '; x rounded to bf16'", "F32, '; in 32 bits'", "Q8, '; weights and x rounded to bf16'"})
    void plansNameTheKernelAndTheRounding(DType dtype, String rounding) {
        try (Case product = new Case(dtype, 40, 200, 150, false, true, Op.Activation.NONE, "none", false);
                Backend cpu = always(1); Backend strict = Backends.open("cpu", BackendOptions.STRICT)) {
            PlannedLaunch launch = cpu.plan(List.of(product.program)).getFirst();
            assertTrue(launch.kernel().startsWith("oneDNN brg_matmul:"), launch::kernel);
            assertTrue(launch.geometry().contains(rounding), launch::geometry);
            assertEquals("MatMul", strict.plan(List.of(product.program)).getFirst().kernel());
        }
    }

    /** To the nearest number that has 8 bits, and of two the one whose last bit is 0. */
    @Test
    void narrowingRoundsToNearestEven() {
        SplittableRandom random = new SplittableRandom(3);
        for (int i = 0; i < 1_000_000; i++) {
            float value = Float.intBitsToFloat(random.nextInt());
            if (!Float.isFinite(value)) {
                continue;
            }
            int cut = Float.floatToRawIntBits(value) & 0xFFFF0000;
            double low = Float.intBitsToFloat(cut);
            float next = Float.intBitsToFloat(cut + 0x10000);
            // The largest finite numbers round to infinity as if there were one more number.
            double high = Float.isInfinite(next) ? Math.copySign(0x1p128, low) : next;
            boolean up = Math.abs(value - low) > Math.abs(high - value)
                    || Math.abs(value - low) == Math.abs(high - value) && (cut >>> 16 & 1) == 1;
            assertEquals((short) ((up ? cut + 0x10000 : cut) >>> 16), Narrow.bf16(Float.floatToRawIntBits(value)),
                    () -> "of " + value);
        }
        assertEquals((short) 0x7F80, Narrow.bf16(Float.floatToRawIntBits(Float.POSITIVE_INFINITY)));
        for (int bits : new int[] {0x7F800001, 0xFF80FFFF, 0x7FC00000, 0x7FFFFFFF}) {
            assertTrue(Float.isNaN(Float.intBitsToFloat(Narrow.bf16(bits) << 16)));
        }
    }
}
