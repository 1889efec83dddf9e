package stormsight.backend;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import stormsight.checkpoint.HostTensor;
import stormsight.checkpoint.Blocks;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Sampling;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * The cases that every backend must pass: each operation, each weight type, and shapes of 1, primes, tiles more or less
 * one, and the widths of real models. The expected values are those of the backend "scalar".
 */
public final class OpCases {
    private static final List<DType> WEIGHT_TYPES =
            Arrays.stream(DType.values()).filter(DType::isWeight).toList();

    /** Sums of up to 16384 products in F32, of terms about as large as the result. */
    private static final double SUM = 2e-5;

    private static final String SUM_REASON =
            "F32 sums of up to 16384 products; tensor cores cut sums, of inputs with 17 bits";

    /** An exponential function or a reciprocal root of a few units in the last place, then short sums. */
    private static final double FUNCTION = 5e-6;

    private static final String FUNCTION_REASON = "F32 functions right to a few units in the last place";

    private final List<OpCase> cases = new ArrayList<>();

    private OpCases() {}

    /** All cases, in the same order each time; their data are made when they are asked for. */
    public static List<OpCase> all() {
        OpCases all = new OpCases();
        all.embed();
        all.positions();
        all.matMul();
        all.gatedMatMul();
        all.activations();
        all.norms();
        all.rope();
        all.moves();
        all.sequences();
        all.softCap();
        all.projections();
        all.manyProjections();
        all.attention();
        all.layer();
        all.probes();
        all.rowMax();
        all.sample();
        return all.cases;
    }

    /**
     * @throws AssertionError naming case, tensor and element if a backend's results differ from the reference's by more
     * than the tolerance
     */
    public static void check(Backend backend, OpCase opCase) {
        try (Backend scalar = Backends.open("scalar", BackendOptions.DEFAULT)) {
            OpCase.Setup setup = opCase.setup().get();
            compare(opCase, setup, run(backend, setup), run(scalar, setup));
        }
    }

    /** Outputs of a case, all layers of a stack one after the other. */
    public static Map<Tensor, MemorySegment> run(Backend backend, OpCase.Setup setup) {
        Map<Tensor, MemorySegment> outputs = new LinkedHashMap<>();
        try (Executor executor = backend.prepare(setup.weights(), setup.programs(), RunListener.NONE)) {
            setup.inputs().forEach(executor::write);
            for (OpCase.Run run : setup.runs()) {
                executor.run(run.program(), run.step());
            }
            for (Tensor output : setup.outputs()) {
                MemorySegment to = MemorySegment.ofArray(new byte[Math.toIntExact(output.bytes())]);
                executor.read(output, to);
                outputs.put(output, to);
            }
        }
        return outputs;
    }

    /** @throws AssertionError at the first element that differs by more than the tolerance */
    public static void compare(OpCase opCase, OpCase.Setup setup, Map<Tensor, MemorySegment> actual,
            Map<Tensor, MemorySegment> expected) {
        for (Tensor output : setup.outputs()) {
            MemorySegment a = actual.get(output);
            MemorySegment e = expected.get(output);
            int count = Math.toIntExact(e.byteSize() / 4);
            double largest = 0;
            for (int i = 0; output.dtype() == DType.F32 && i < count; i++) {
                float value = Math.abs(e.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i));
                largest = Float.isFinite(value) ? Math.max(largest, value) : largest;
            }
            for (int i = 0; i < count; i++) {
                boolean equal;
                if (output.dtype() == DType.I32) {
                    equal = a.getAtIndex(ValueLayout.JAVA_INT_UNALIGNED, i)
                            == e.getAtIndex(ValueLayout.JAVA_INT_UNALIGNED, i);
                } else {
                    float x = a.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i);
                    float y = e.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i);
                    equal = Float.compare(x, y) == 0 || Math.abs((double) x - y) <= opCase.tolerance() * (1 + largest);
                }
                if (!equal) {
                    throw new AssertionError(opCase.name() + ": " + output + " element " + i + " is "
                            + text(output, a, i) + ", expected " + text(output, e, i) + ", tolerance "
                            + opCase.tolerance() + " of 1 + " + largest);
                }
            }
        }
    }

    private static String text(Tensor tensor, MemorySegment data, int i) {
        return tensor.dtype() == DType.I32 ? String.valueOf(data.getAtIndex(ValueLayout.JAVA_INT_UNALIGNED, i))
                : String.valueOf(data.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i));
    }

    /** Collects the tensors of one case. Values are random, seeded by the name of the case. */
    static final class Data {
        /** Bytes of a cache line. */
        private static final long LINE = 64;

        final Arena arena = Arena.ofAuto();
        final SplittableRandom random;
        final Map<Tensor, HostTensor> weights = new LinkedHashMap<>();
        final Map<Tensor, MemorySegment> inputs = new LinkedHashMap<>();
        final List<OpCase.Run> runs = new ArrayList<>();
        final List<Tensor> outputs = new ArrayList<>();

        Data(String name) {
            random = new SplittableRandom(name.hashCode());
        }

        /** Uniform in [-1, 1). */
        float value() {
            return (float) random.nextDouble(-1, 1);
        }

        /** An F32 input of random values, all of size about scale. */
        Tensor input(String name, double scale, int... shape) {
            Tensor tensor = new Tensor(name, DType.F32, Shape.of(shape), Tensor.Kind.INPUT, 1);
            MemorySegment data = arena.allocate(Math.max(tensor.bytes(), 4));
            for (long i = 0; i < tensor.shape().elements(); i++) {
                data.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i, (float) (value() * scale));
            }
            inputs.put(tensor, data);
            return tensor;
        }

        Tensor ids(String name, int... values) {
            Tensor tensor = new Tensor(name, DType.I32, Shape.of(values.length), Tensor.Kind.INPUT, 1);
            inputs.put(tensor, MemorySegment.ofArray(values));
            return tensor;
        }

        /** The one place of a gather. */
        Tensor place(String name, int value) {
            Tensor tensor = new Tensor(name, DType.I32, Shape.of(1, 1), Tensor.Kind.INPUT, 1);
            inputs.put(tensor, MemorySegment.ofArray(new int[] {value}));
            return tensor;
        }

        Tensor output(String name, int layers, int... shape) {
            Tensor tensor = new Tensor(name, DType.F32, Shape.of(shape), Tensor.Kind.OUTPUT, layers);
            outputs.add(tensor);
            return tensor;
        }

        Tensor cache(String name, int... shape) {
            return new Tensor(name, DType.F32, Shape.of(shape), Tensor.Kind.CACHE, 1);
        }

        /** A weight of random values about scale in size, at an address that is not aligned. */
        Tensor weight(String name, DType dtype, double scale, int... dimensions) {
            Shape shape = Shape.of(dimensions);
            Tensor tensor = Tensor.weight(name, dtype, shape);
            long elements = shape.elements();
            DType stored = dtype.isBlocked() ? DType.F32 : dtype;
            // As in a file, where tensors begin anywhere.
            long start = (2 + 26L * weights.size()) % LINE;
            MemorySegment data = arena.allocate(stored.bytes(shape) + start, LINE).asSlice(start);
            for (long i = 0; i < elements; i++) {
                float value = (float) (value() * scale);
                switch (stored) {
                    case F32 -> data.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i, value);
                    // Every 31st value is subnormal.
                    case F16 -> data.setAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i,
                            Float.floatToFloat16(i % 31 == 0 ? value * 0x1p-15f : value));
                    case BF16 ->
                        data.setAtIndex(
                                ValueLayout.JAVA_SHORT_UNALIGNED, i, (short) (Float.floatToRawIntBits(value) >> 16));
                    default -> throw new IllegalStateException("weights of type " + stored);
                }
            }
            HostTensor value = HostTensor.of(stored, shape, data);
            weights.put(tensor, dtype.isBlocked() ? Blocks.quantize(value, dtype, arena) : value);
            return tensor;
        }

        /** Such weights of several layers. */
        Tensor stack(String name, DType dtype, double scale, int layers, int... dimensions) {
            List<MemorySegment> values = new ArrayList<>();
            for (int i = 0; i < layers; i++) {
                values.add(weights.remove(weight(name, dtype, scale, dimensions)).layers().getFirst());
            }
            Tensor tensor = Tensor.weight(name, dtype, Shape.of(dimensions)).as(name, Tensor.Kind.WEIGHT, layers);
            weights.put(tensor, new HostTensor(dtype, tensor.shape(), values));
            return tensor;
        }

        void run(Step step, Op... ops) {
            run(1, step, ops);
        }

        void run(int layers, Step step, Op... ops) {
            runs.add(
                    new OpCase.Run(new Program("case", List.of(new Segment("layers", 0, layers, List.of(ops)))), step));
        }

        OpCase.Setup setup() {
            return new OpCase.Setup(weights, inputs, runs, outputs);
        }
    }

    /** Fills in the data of a case. */
    private interface Author {
        void write(Data data);
    }

    private void add(String name, double tolerance, String reason, Author author) {
        cases.add(new OpCase(name, tolerance, reason, () -> {
            Data data = new Data(name);
            author.write(data);
            return data.setup();
        }));
    }

    private void embed() {
        for (DType dtype : WEIGHT_TYPES) {
            for (int columns : new int[] {1, 7, 33, 1152}) {
                if (dtype.forRows(columns) != dtype) {
                    continue;
                }
                add("embed_5x" + columns + "_" + dtype, 1e-6, "one product", data -> {
                    Tensor ids = data.ids("ids", 0, -3, 10, -1, 4, 4, -2);
                    Op embed = new Op.Embed(
                            ids,
                            data.weight("table", dtype, 1, 11, columns),
                            3.5f,
                            Optional.of(data.input("features", 1, 3, columns)),
                            Optional.empty(),
                            data.output("out", 1, 7, columns));
                    data.run(new Step(0, 5, 0), embed);
                });
            }
        }
        add(
                "embed_withoutImages",
                1e-6,
                "one product",
                data -> data.run(
                        new Step(3, 2, 0),
                        new Op.Embed(
                                data.ids("ids", 1, 0),
                                data.weight("table", DType.BF16, 1, 2, 64),
                                1,
                                Optional.empty(),
                                Optional.empty(),
                                data.output("out", 1, 2, 64))));
    }

    /** Embeddings with positions, at the beginning and in the middle. */
    private void positions() {
        for (int position : new int[] {0, 6}) {
            add(
                    "embed_positionsAt" + position,
                    1e-6,
                    "one product and a sum",
                    data -> data.run(
                            new Step(position, 3, 0),
                            new Op.Embed(
                                    data.ids("ids", 4, -2, 0, 1),
                                    data.weight("table", DType.F16, 1, 5, 33),
                                    2,
                                    Optional.of(data.input("features", 1, 2, 33)),
                                    Optional.of(data.weight("positions", DType.F32, 1, 9, 33)),
                                    data.output("out", 1, 4, 33))));
        }
    }

    /** Rows, depth and width of products. */
    private static final int[][] PRODUCTS = {
        {1, 1, 1},
        {1, 7, 13},
        {1, 31, 8},
        {1, 32, 9},
        {1, 33, 65},
        {1, 1152, 72},
        {1, 2048, 33},
        {1, 4304, 24},
        {1, 16384, 16},
        {1, 64, 4101},
        {2, 97, 10},
        {3, 2048, 17},
        {4, 63, 64},
        {5, 1, 3},
        {5, 64, 1},
        {7, 15, 23},
        {8, 2048, 70},
        {15, 65, 47},
        {16, 1152, 72},
        {17, 257, 129},
        {31, 31, 31},
        {33, 4304, 40},
        {47, 256, 8},
        {48, 255, 7},
        {49, 130, 67},
        {6, 16384, 8},
        {6, 320, 4100},
        {97, 272, 65},
        {272, 288, 80},
        {491, 72, 20}
    };

    private void matMul() {
        int variant = 0;
        for (int[] shape : PRODUCTS) {
            for (DType dtype : WEIGHT_TYPES) {
                // Each shape meets all combinations over the types and its neighbours.
                int options = variant++ * 3 % 8;
                if (dtype.forRows(shape[1]) != dtype) {
                    continue;
                }
                matMul(
                        shape[0],
                        shape[0],
                        shape[1],
                        shape[2],
                        dtype,
                        (options & 1) != 0,
                        (options & 2) != 0 ? ACTIVATIONS[variant % ACTIVATIONS.length] : Op.Activation.NONE,
                        (options & 4) != 0,
                        shape[0] == 1 && variant % 2 == 0);
            }
        }
        matMul(9, 5, 64, 40, DType.BF16, true, Op.Activation.GELU_TANH, true, false);
        matMul(60, 49, 64, 40, DType.Q8, true, Op.Activation.QUICK_GELU, true, false);
        matMul(3, 1, 64, 40, DType.F16, false, Op.Activation.NONE, true, false);
        matMul(60, 49, 96, 67, DType.Q4, true, Op.Activation.RELU, true, false);
        matMul(130, 17, 320, 129, DType.Q4, false, Op.Activation.NONE, true, false);
        matMul(16, 11, 320, 2100, DType.BF16, true, Op.Activation.NONE, true, false);
        matMul(13, 12, 352, 8200, DType.Q8, false, Op.Activation.NONE, false, false);
        // Several blocks of rows and of outputs, some of them whole, some without rows, more of them than a GPU works
        // on at a time.
        matMul(64, 64, 64, 256, DType.BF16, true, Op.Activation.NONE, true, false);
        matMul(65, 65, 64, 264, DType.Q8, false, Op.Activation.GELU_ERF, true, false);
        matMul(130, 40, 64, 520, DType.F16, true, Op.Activation.RELU, false, false);
        matMul(129, 129, 16, 22536, DType.BF16, false, Op.Activation.NONE, false, false);
        // Many columns, which are divided.
        matMul(130, 129, 2112, 264, DType.BF16, true, Op.Activation.SILU, true, false);
    }

    private void matMul(
            int capacity,
            int rows,
            int depth,
            int width,
            DType dtype,
            boolean bias,
            Op.Activation activation,
            boolean residual,
            boolean normed) {
        String name = "matMul_" + rows + "x" + depth + "x" + width + "_" + dtype + (bias ? "_bias" : "")
                + suffix(activation) + (residual ? "_residual" : "") + (normed ? "_normed" : "")
                + (capacity > rows ? "_of" + capacity : "");
        add(name, SUM, SUM_REASON, data -> {
            Tensor x = data.input("x", 1, capacity, depth);
            Tensor out = data.output("out", 1, capacity, width);
            Tensor w = data.weight("w", dtype, 3 / Math.sqrt(depth), width, depth);
            List<Op> ops = new ArrayList<>();
            if (residual) {
                ops.add(new Op.Copy(data.input("before", 1, capacity, width), out));
            }
            if (normed) {
                x = addNorm(data, x, ops);
            }
            ops.add(new Op.MatMul(x, w, bias ? Optional.of(data.weight("bias", DType.F32, 1, width)) : Optional.empty(),
                    activation, residual ? Optional.of(out) : Optional.empty(), out));
            data.run(new Step(0, rows, rows), ops.toArray(Op[]::new));
        });
    }

    /** Adds a norm of one row before a product, which backends may compute within it, and returns its result. */
    private static Tensor addNorm(Data data, Tensor x, List<Op> ops) {
        Tensor normed = Tensor.activation("normed", 1, x.columns());
        ops.add(new Op.RmsNorm(x, data.weight("norm", DType.F32, 1, x.columns()), 1e-6f, Optional.empty(), normed));
        return normed;
    }

    private static String suffix(Op.Activation activation) {
        return activation == Op.Activation.NONE ? "" : "_" + activation;
    }

    private static final Op.Activation[] ACTIVATIONS = Op.Activation.values();

    /** Sums of one product, so that what is seen is the function: from -8 to 8. */
    private void activations() {
        for (Op.Activation activation : ACTIVATIONS) {
            for (int rows : new int[] {1, 17}) {
                add(
                        "matMul_activation_" + rows + suffix(activation),
                        FUNCTION,
                        FUNCTION_REASON,
                        data -> data.run(
                                new Step(0, rows, 0),
                                new Op.MatMul(
                                        data.input("x", 1, rows, 1),
                                        data.weight("w", DType.F32, 8, 40, 1),
                                        Optional.empty(),
                                        activation,
                                        Optional.empty(),
                                        data.output("out", 1, rows, 40))));
                add(
                        "gatedMatMul_activation_" + rows + suffix(activation),
                        FUNCTION,
                        FUNCTION_REASON,
                        data -> data.run(
                                new Step(0, rows, 0),
                                new Op.GatedMatMul(
                                        data.input("x", 1, rows, 1),
                                        data.weight("gate", DType.F32, 8, 40, 1),
                                        data.weight("up", DType.F32, 1, 40, 1),
                                        activation,
                                        data.output("out", 1, rows, 40))));
            }
        }
    }

    private void gatedMatMul() {
        int[][] shapes = {
            {1, 1, 1},
            {1, 33, 13},
            {1, 2048, 136},
            {1, 64, 4101},
            {2, 96, 67},
            {3, 2048, 129},
            {5, 31, 8},
            {8, 304, 8197},
            {16, 1152, 40},
            {17, 300, 65},
            {48, 2304, 16},
            {481, 64, 9},
            {65, 64, 136},
            {130, 2112, 264}
        };
        for (int[] shape : shapes) {
            for (DType dtype : WEIGHT_TYPES) {
                if (dtype.forRows(shape[1]) != dtype) {
                    continue;
                }
                boolean normed = shape[0] == 1 && shape[2] % 8 == 0 || shape[2] == 13;
                add(
                        "gatedMatMul_" + shape[0] + "x" + shape[1] + "x" + shape[2] + "_" + dtype
                                + (normed ? "_normed" : ""),
                        SUM,
                        SUM_REASON,
                        data -> {
                            double scale = 3 / Math.sqrt(shape[1]);
                            List<Op> ops = new ArrayList<>();
                            Tensor x = data.input("x", 1, shape[0], shape[1]);
                            ops.add(new Op.GatedMatMul(
                                    normed ? addNorm(data, x, ops) : x,
                                    data.weight("gate", dtype, scale, shape[2], shape[1]),
                                    data.weight("up", dtype, scale, shape[2], shape[1]),
                                    shape[0] % 2 == 0 ? Op.Activation.SILU : Op.Activation.GELU_TANH,
                                    data.output("out", 1, shape[0], shape[2])));
                            data.run(new Step(0, shape[0], 0), ops.toArray(Op[]::new));
                        });
            }
        }
        // Two products in a row read the same x, then one of them changes it.
        add("matMul_sameInput", SUM, SUM_REASON, data -> {
            Tensor x = data.input("x", 1, 6, 64);
            Tensor a = data.output("a", 1, 6, 64);
            Tensor b = data.output("b", 1, 6, 64);
            Tensor c = data.output("c", 1, 6, 64);
            Tensor w = data.weight("w", DType.BF16, 0.2, 64, 64);
            data.run(
                    new Step(0, 6, 0),
                    product(x, w, a),
                    product(x, w, b),
                    product(a, w, b),
                    product(b, w, a),
                    product(a, w, c));
        });
        // The result of a norm is read by more than the product behind it, or that product changes what it is of.
        add("matMul_normStays", SUM, SUM_REASON, data -> {
            Tensor w = data.weight("w", DType.BF16, 0.2, 64, 64);
            List<Op> ops = new ArrayList<>();
            Tensor normed = addNorm(data, data.input("x", 1, 1, 64), ops);
            Tensor changed = data.output("changed", 1, 1, 64);
            ops.add(product(normed, w, changed));
            ops.add(new Op.Copy(normed, data.output("kept", 1, 1, 64)));
            Op.RmsNorm norm = (Op.RmsNorm) ops.getFirst();
            ops.add(new Op.RmsNorm(changed, norm.w(), norm.epsilon(), Optional.empty(), normed));
            ops.add(product(normed, w, changed));
            data.run(new Step(0, 1, 0), ops.toArray(Op[]::new));
        });
    }

    private static Op product(Tensor x, Tensor w, Tensor out) {
        return new Op.MatMul(x, w, Optional.empty(), Op.Activation.NONE, Optional.empty(), out);
    }

    private void norms() {
        for (int rows : new int[] {1, 37}) {
            for (int columns : new int[] {1, 7, 16, 17, 1152, 2048, 2305}) {
                add(
                        "layerNorm_" + rows + "x" + columns,
                        FUNCTION,
                        FUNCTION_REASON,
                        data -> data.run(
                                new Step(0, rows, 0),
                                new Op.LayerNorm(
                                        data.input("x", 5, rows, columns),
                                        data.weight("w", DType.F32, 1, columns),
                                        data.weight("bias", DType.F32, 1, columns),
                                        1e-6f,
                                        data.output("out", 1, rows, columns))));
                add(
                        "rmsNorm_" + rows + "x" + columns,
                        FUNCTION,
                        FUNCTION_REASON,
                        data -> data.run(
                                new Step(0, rows, 0),
                                new Op.RmsNorm(
                                        data.input("x", 5, rows, columns),
                                        data.weight("w", DType.F32, 1, columns),
                                        1e-6f,
                                        Optional.empty(),
                                        data.output("out", 1, rows, columns))));
                add("rmsNorm_" + rows + "x" + columns + "_residual", FUNCTION, FUNCTION_REASON, data -> {
                    Tensor out = data.output("out", 1, rows + 1, columns);
                    data.run(
                            new Step(7, rows, 0),
                            new Op.Copy(data.input("before", 1, rows + 1, columns), out),
                            new Op.RmsNorm(
                                    data.input("x", 0.01, rows + 1, columns),
                                    data.weight("w", DType.F32, 1, columns),
                                    1e-6f,
                                    Optional.of(out),
                                    out));
                });
            }
        }
        add("layerNorm_inPlace", FUNCTION, FUNCTION_REASON, data -> {
            Tensor out = data.output("out", 1, 35, 72);
            data.run(new Step(0, 35, 0), new Op.Copy(data.input("before", 1, 35, 72), out), new Op.LayerNorm(out,
                    data.weight("w", DType.F32, 1, 72), data.weight("bias", DType.F32, 1, 72), 1e-6f, out));
        });
    }

    private void rope() {
        int[][] shapes = {{1, 1, 2, 0}, {1, 3, 6, 5}, {1, 8, 256, 30}, {9, 2, 64, 0}, {17, 3, 72, 11}, {5, 1, 128, 40}};
        for (int[] shape : shapes) {
            add(
                    "rope_" + shape[0] + "x" + shape[1] + "x" + shape[2] + "_at" + shape[3],
                    1e-6,
                    "two products and a sum",
                    data -> {
                        Tensor out = data.output("out", 1, shape[0] + 1, shape[1] * shape[2]);
                        Tensor table = data.weight("table", DType.F32, 1, 64, shape[2]);
                        data.run(
                                new Step(shape[3], shape[0], 0),
                                new Op.Copy(data.input("x", 1, shape[0] + 1, shape[1] * shape[2]), out),
                                new Op.Rope(out, table, shape[1]));
                    });
        }
    }

    private void moves() {
        add("store", 0, "a copy", data -> {
            Tensor cache = data.cache("cache", 11, 5);
            Tensor x = data.input("x", 1, 4, 5);
            data.run(new Step(6, 3, 0), new Op.Store(x, cache));
            data.run(new Step(2, 1, 0), new Op.Store(x, cache));
            data.run(new Step(0, 11, 0), new Op.Copy(cache, data.output("out", 1, 11, 5)));
        });
        add("copy", 0, "a copy", data -> data.run(new Step(2, 3, 0),
                new Op.Copy(data.input("x", 1, 5, 7), data.output("out", 1, 4, 7))));
        // Rows, places and columns; then x as rows of twice as many columns.
        for (int[] shape :
                new int[][] {{1, 1, 1, 1}, {5, 9, 7, 1}, {16, 9, 128, 1}, {37, 3, 20, 4}, {1024, 1, 16, 4}}) {
            int rows = shape[0];
            int places = shape[1];
            int columns = shape[2];
            add("gather_" + rows + "x" + places + "x" + columns + "of" + shape[3], 0, "a copy", data -> {
                int there = (rows + 6) / shape[3] * shape[3] + shape[3];
                Tensor index = new Tensor("index", DType.I32, Shape.of(rows, places), Tensor.Kind.INPUT, 1);
                data.inputs.put(
                        index,
                        MemorySegment.ofArray(data.random
                                .ints((long) rows * places, -1, there)
                                .toArray()));
                data.run(
                        new Step(3, Math.max(1, rows - 1), 0),
                        new Op.Gather(
                                data.input("x", 1, there / shape[3], shape[3] * columns),
                                index,
                                data.output("out", 1, rows, places * columns)));
            });
        }
        add("lastRow", 0, "a copy", data -> data.run(new Step(2, 3, 0),
                new Op.LastRow(data.input("x", 1, 5, 7), data.output("out", 1, 1, 7))));
        for (int[] shape : new int[][] {{1, 1, 1}, {5, 3, 7}, {9, 9, 65}, {257, 256, 768}}) {
            add(
                    "meanRows_" + shape[1] + "of" + shape[0] + "x" + shape[2],
                    FUNCTION,
                    FUNCTION_REASON,
                    data -> data.run(
                            new Step(4, shape[1], 0),
                            new Op.MeanRows(
                                    data.input("x", 1, shape[0], shape[2]), data.output("out", 1, 1, shape[2]))));
        }
        // The first row alone, which is where a class token stands.
        add(
                "layerNorm_ofTheFirstRow",
                FUNCTION,
                FUNCTION_REASON,
                data -> data.run(
                        new Step(2, 3, 0),
                        new Op.Copy(data.input("x", 5, 5, 72), data.output("all", 1, 5, 72)),
                        new Op.LayerNorm(
                                data.input("x", 5, 5, 72),
                                data.weight("w", DType.F32, 1, 72),
                                data.weight("bias", DType.F32, 1, 72),
                                1e-6f,
                                data.output("out", 1, 1, 72))));
        // Features of several views, each stored behind the one before, then read by a prompt with text between them.
        add("store_views", 1e-6, "a copy", data -> {
            Tensor features = data.cache("features", 9, 5);
            for (int view = 0; view < 3; view++) {
                data.run(new Step(3 * view, 3, 3), new Op.Store(data.input("view" + view, 1, 3, 5), features));
            }
            data.run(
                    new Step(0, 6, 6),
                    new Op.Embed(
                            data.ids("ids", -9, 1, -1, -4, 0, -6),
                            data.weight("table", DType.F32, 1, 2, 5),
                            1,
                            Optional.of(features),
                            Optional.empty(),
                            data.output("out", 1, 6, 5)));
        });
        add("lastRow_ofOne", 0, "a copy", data -> data.run(new Step(9, 1, 0),
                new Op.LastRow(data.input("x", 1, 1, 2048), data.output("out", 1, 1, 2048))));
    }

    /** What a decode step does before attention: backends may do all of it at once. */
    private void projections() {
        // Query heads, key heads, their size, columns of x, which is normalised where there are more than a few.
        for (int[] shape : new int[][] {{1, 1, 4, 4}, {2, 1, 8, 12}, {6, 2, 72, 148}, {8, 1, 256, 2048}}) {
            for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.F16}) {
                Op.Heads heads = new Op.Heads(shape[0], shape[1], shape[2]);
                add("projections_" + shape[0] + "of" + shape[1] + "x" + shape[2] + "x" + shape[3] + "_" + dtype.label(),
                        SUM, SUM_REASON, data -> projections(data, heads, shape[3], dtype));
            }
        }
    }

    private static void projections(Data data, Op.Heads heads, int columns, DType dtype) {
        List<Op> norm = new ArrayList<>();
        Tensor given = data.input("x", 1, 1, columns);
        Tensor x = columns > 4 ? addNorm(data, given, norm) : given;
        Tensor q = Tensor.activation("q", 1, heads.queryColumns());
        Tensor k = Tensor.activation("k", 1, heads.keyValueColumns());
        Tensor v = Tensor.activation("v", 1, heads.keyValueColumns());
        Tensor keys = data.cache("keys", 5, heads.keyValueColumns());
        Tensor values = data.cache("values", 5, heads.keyValueColumns());
        Tensor table = data.weight("table", DType.F32, 1, 5, heads.headDim());
        double scale = 1 / Math.sqrt(columns);
        Op.MatMul[] products = new Op.MatMul[3];
        List<Tensor> outs = List.of(q, k, v);
        for (int i = 0; i < products.length; i++) {
            products[i] = new Op.MatMul(x, data.weight("w" + i, dtype, scale, outs.get(i).columns(), columns),
                    Optional.empty(), Op.Activation.NONE, Optional.empty(), outs.get(i));
        }
        for (int token : new int[] {0, 3}) {
            List<Op> ops = new ArrayList<>(norm);
            ops.addAll(List.of(products));
            ops.addAll(List.of(new Op.Rope(q, table, heads.queryHeads()), new Op.Rope(k, table, heads.keyValueHeads()),
                    new Op.Store(k, keys), new Op.Store(v, values),
                    new Op.Copy(q, data.output("query" + token, 1, 1, heads.queryColumns()))));
            data.run(new Step(token, 1, 0), ops.toArray(Op[]::new));
        }
        for (int token : new int[] {0, 3}) {
            // Rows 0 and 3 were written; one that was not is no one's.
            data.run(new Step(0, 1, 0), new Op.Gather(keys, data.place("key" + token, token),
                    data.output("keyOut" + token, 1, 1, heads.keyValueColumns())),
                    new Op.Gather(values, data.place("value" + token, token),
                    data.output("valueOut" + token, 1, 1, heads.keyValueColumns())));
        }
    }

    /**
     * Queries, keys and values of many rows and layers: with biases and no cache, as in vision towers, or rotated and
     * stored, as in decoders; heads that share keys, rows of weights that are no multiple of a tile's, a slot of a
     * cache.
     */
    private void manyProjections() {
        for (DType dtype : new DType[] {DType.BF16, DType.F16}) {
            Op.Heads grouped = new Op.Heads(4, 2, 64);
            add("manyProjections_50x4of2x64x144_" + dtype.label(), 3 * SUM, CHAINED_REASON, data ->
                    manyProjections(data, 50, grouped, 144, dtype, 0));
            add("manyProjections_70x2of2x72x288_bias_" + dtype.label(), 3 * SUM, CHAINED_REASON, data ->
                    manyProjections(data, 70, new Op.Heads(2, 2, 72), 288, dtype, 2));
            add("manyProjections_33x3of1x128x80_" + dtype.label(), 3 * SUM, CHAINED_REASON, data ->
                    manyProjections(data, 33, new Op.Heads(3, 1, 128), 80, dtype, 0));
        }
    }

    private static final String CHAINED_REASON = "attention of three sums; " + SUM_REASON;

    /** @param biased how many biases are a stack, 0 without biases; without, there are a rotation and caches */
    private static void manyProjections(Data data, int rows, Op.Heads heads, int columns, DType dtype, int biased) {
        int layers = 2;
        int capacity = rows + 10;
        Tensor x = data.input("x", 1, capacity, columns);
        Tensor q = Tensor.activation("q", capacity, heads.queryColumns());
        Tensor k = Tensor.activation("k", capacity, heads.keyValueColumns());
        Tensor v = Tensor.activation("v", capacity, heads.keyValueColumns());
        List<Op> ops = new ArrayList<>();
        for (Tensor out : List.of(q, k, v)) {
            ops.add(new Op.MatMul(x,
                    data.stack(out.name() + "Weight", dtype, 1 / Math.sqrt(columns), layers, out.columns(), columns),
                    biased == 0 ? Optional.empty()
                            : Optional.of(data.stack(out.name() + "Bias", DType.F32, 1, biased, out.columns())),
                    Op.Activation.NONE, Optional.empty(), out));
        }
        Tensor keys = k;
        Tensor values = v;
        if (biased == 0) {
            Tensor table = data.weight("table", DType.F32, 1, capacity, heads.headDim());
            keys = data.cache("keys", 2, capacity, heads.keyValueColumns()).as("keys", Tensor.Kind.CACHE, layers);
            values = data.cache("values", 2, capacity, heads.keyValueColumns()).as("values", Tensor.Kind.CACHE, layers);
            ops.addAll(List.of(new Op.Rope(q, table, heads.queryHeads()), new Op.Rope(k, table, heads.keyValueHeads()),
                    new Op.Store(k, keys), new Op.Store(v, values)));
        }
        ops.add(new Op.Attention(q, keys, values, heads, 1, 0, Op.Windows.NONE, Op.Keys.TOKENS,
                data.output("out", layers, capacity, heads.queryColumns())));
        int slot = biased == 0 ? 1 : 0;
        int first = biased == 0 ? rows / 2 : rows;
        for (int from = 0; from < rows; from += first) {
            int count = Math.min(first, rows - from);
            data.run(layers, new Step(List.of(new Step.Sequence(slot, from, count, from + count, 0, Sampling.GREEDY))),
                    ops.toArray(Op[]::new));
        }
    }

    /** Several sequences in slots of a cache: prompts one by one, then a token of each in one run, not in order. */
    private void sequences() {
        int[][] shapes = {{2, 1, 1, 8, 0}, {3, 2, 2, 64, 0}, {5, 8, 1, 256, 50}, {16, 4, 2, 72, 0}, {2, 2, 1, 300, 0}};
        for (int[] shape : shapes) {
            int slots = shape[0];
            Op.Heads heads = new Op.Heads(shape[1], shape[2], shape[3]);
            String name = "sequences_" + slots + "x" + shape[1] + "of" + shape[2] + "x" + shape[3];
            add(name, FUNCTION, FUNCTION_REASON, data -> sequences(data, slots, heads, shape[4]));
        }
        add("sample_sequences", FUNCTION, FUNCTION_REASON, data -> {
            Tensor token = new Tensor("token", DType.I32, Shape.of(4), Tensor.Kind.OUTPUT, 1);
            data.outputs.add(token);
            Tensor parts = new Tensor("parts", DType.U8, Shape.of(5000), Tensor.Kind.INPUT, 1);
            data.inputs.put(parts, MemorySegment.ofArray(new byte[5000]));
            Op sample = new Op.Sample(
                    data.input("logits", 12, 4, 5000), parts, token, data.output("logProbability", 1, 4));
            data.run(
                    new Step(List.of(
                            new Step.Sequence(3, 9, 1, 0, 0.4f, new Sampling(0.7f, 5, 1)),
                            new Step.Sequence(0, 2, 1, 0, 0.9f, Sampling.GREEDY),
                            new Step.Sequence(2, 70, 1, 0, 0.7f, new Sampling(1.8f, 40, 0.5f)))),
                    sample);
        });
    }

    private static void sequences(Data data, int slots, Op.Heads heads, int cap) {
        int tokens = 90;
        Tensor keys = data.cache("keys", slots, tokens, heads.keyValueColumns());
        Tensor values = data.cache("values", slots, tokens, heads.keyValueColumns());
        List<Step.Sequence> next = new ArrayList<>();
        for (int slot = 0; slot < slots; slot++) {
            int length = 1 + slot * 5;
            Step prompt = new Step(List.of(new Step.Sequence(slot, 0, length, slot, 0, Sampling.GREEDY)));
            data.run(
                    prompt,
                    new Op.Store(data.input("keys" + slot, 2, 76, heads.keyValueColumns()), keys),
                    new Op.Store(data.input("values" + slot, 1, 76, heads.keyValueColumns()), values),
                    attend(data, "prompt" + slot, 76, heads, cap, keys, values));
            if (slot != 1 || slots < 3) {
                next.addFirst(new Step.Sequence(slot, length, 1, slot, 0, Sampling.GREEDY));
            }
        }
        Tensor key = data.output("key", 1, slots, heads.keyValueColumns());
        data.run(
                new Step(next),
                new Op.Embed(
                        data.ids("ids", IntStream.range(0, slots).toArray()),
                        data.weight("table", DType.F32, 1, slots, heads.keyValueColumns()),
                        1,
                        Optional.empty(),
                        Optional.of(data.weight("positions", DType.F32, 1, tokens, heads.keyValueColumns())),
                        key),
                new Op.Rope(key, data.weight("angles", DType.F32, 1, tokens, heads.headDim()), heads.keyValueHeads()),
                new Op.Store(key, keys),
                new Op.Store(data.input("value", 1, slots, heads.keyValueColumns()), values),
                attend(data, "next", slots, heads, cap, keys, values));
    }

    private static Op attend(
            Data data, String name, int rows, Op.Heads heads, int cap, Tensor keys, Tensor values) {
        return new Op.Attention(
                data.input(name + "Queries", 1, rows, heads.queryColumns()),
                keys,
                values,
                heads,
                0.5f,
                cap,
                cap == 0 ? Op.Windows.NONE : new Op.Windows(List.of(9)),
                Op.Keys.TOKENS,
                data.output(name + "Out", 1, rows, heads.queryColumns()));
    }

    /**
     * Operations that hand their results on, so that what makes one may leave it as the next one likes it; one of them
     * is read by others, too.
     */
    private void layer() {
        add("layer_50x512", 5e-5, "five sums of F32, one after the other; " + SUM_REASON, data -> {
            int rows = 60;
            Op.Heads heads = new Op.Heads(2, 1, 64);
            Tensor x = data.input("x", 1, rows, 512);
            Tensor normed = Tensor.activation("normed", rows, 512);
            Tensor query = Tensor.activation("query", rows, 128);
            Tensor attended = Tensor.activation("attended", rows, 128);
            Tensor between = data.output("between", 1, rows, 512);
            Tensor again = Tensor.activation("again", rows, 512);
            Tensor gated = Tensor.activation("gated", rows, 96);
            Tensor down = Tensor.activation("down", rows, 512);
            Tensor last = Tensor.activation("last", rows, 512);
            Tensor wide = Tensor.activation("wide", rows, 96);
            data.run(
                    new Step(0, 50, 50),
                    new Op.LayerNorm(x, data.weight("norm", DType.F32, 1, 512),
                            data.weight("normBias", DType.F32, 1, 512), 1e-6f, normed),
                    chained(data, normed, "q", Op.Activation.NONE, Optional.empty(), query),
                    new Op.Attention(query, data.input("keys", 1, rows, 64), data.input("values", 1, rows, 64), heads,
                            0.125f, 0, Op.Windows.NONE, Op.Keys.TOKENS, attended),
                    chained(data, attended, "o", Op.Activation.NONE, Optional.of(x), between),
                    new Op.RmsNorm(between, data.weight("norm2", DType.F32, 1, 512), 1e-6f, Optional.empty(), again),
                    new Op.GatedMatMul(again, data.weight("gate", DType.BF16, 0.1, 96, 512),
                            data.weight("up", DType.BF16, 0.1, 96, 512), Op.Activation.GELU_TANH, gated),
                    chained(data, gated, "downProjection", Op.Activation.NONE, Optional.empty(), down),
                    new Op.LayerNorm(down, data.weight("norm3", DType.F32, 1, 512),
                            data.weight("norm3Bias", DType.F32, 1, 512), 1e-6f, last),
                    chained(data, last, "fc1", Op.Activation.GELU_TANH, Optional.empty(), wide),
                    chained(data, wide, "fc2", Op.Activation.NONE, Optional.of(last),
                            data.output("out", 1, rows, 512)));
        });
    }

    private static Op chained(Data data, Tensor x, String name, Op.Activation activation, Optional<Tensor> residual,
            Tensor out) {
        return new Op.MatMul(x, data.weight(name, DType.BF16, 3 / Math.sqrt(x.columns()), out.columns(), x.columns()),
                Optional.of(data.weight(name + "Bias", DType.F32, 1, out.columns())), activation, residual, out);
    }

    private void softCap() {
        int[][] shapes = {{1, 1}, {3, 17}, {1, 8193}};
        for (int[] shape : shapes) {
            for (double scale : new double[] {0.01, 50, 1000}) {
                add("softCap_" + shape[0] + "x" + shape[1] + "_" + scale, FUNCTION, FUNCTION_REASON, data -> {
                    Tensor out = data.output("out", 1, shape);
                    data.run(
                            new Step(0, shape[0], 0),
                            new Op.Copy(data.input("x", scale, shape), out),
                            new Op.SoftCap(out, 30));
                });
            }
        }
    }

    /**
     * What a case of attention is made of.
     *
     * @param window of layer 0, 0 for none
     * @param next window of layer 1
     * @param fixed 0, or how many keys there are whatever the step
     * @param pooled whether there is one query, while keys are those of all rows
     */
    private record Attend(
            int heads,
            int keyValueHeads,
            int dim,
            int rows,
            int position,
            int prefix,
            float softCap,
            int window,
            int next,
            int fixed,
            boolean pooled) {
        Attend(
                int heads,
                int keyValueHeads,
                int dim,
                int rows,
                int position,
                int prefix,
                float softCap,
                int window,
                int next) {
            this(heads, keyValueHeads, dim, rows, position, prefix, softCap, window, next, 0, false);
        }

        int keys() {
            return fixed > 0 ? fixed : position + rows;
        }

        /** Rows of q and of out. */
        int capacity() {
            return pooled ? 1 : rows + 1;
        }

        /** Rows that are handled. */
        int queries() {
            return pooled ? 1 : rows;
        }

        String name() {
            return rows + "x" + heads + "of" + keyValueHeads + "x" + dim + "_at" + position + "_prefix" + prefix
                    + (softCap != 0 ? "_cap" : "") + (window + next != 0 ? "_window" + window + "and" + next : "")
                    + (fixed > 0 ? "_to" + fixed : "") + (pooled ? "_pooled" : "");
        }

        Step step() {
            return new Step(position, rows, prefix);
        }

        /** An operation on all rows of a step, as there is one in a program whose attention has fewer. */
        Op all(Data data) {
            return new Op.Copy(data.input("rows", 1, rows + 1, 1), data.output("all", 1, rows + 1, 1));
        }

        Op.Attention op(Data data, int layers) {
            int tokens = Math.max(position + rows, fixed) + 3;
            return new Op.Attention(
                    data.input("q", 2, capacity(), heads * dim),
                    data.input("k", 2, tokens, keyValueHeads * dim),
                    data.input("v", 1, tokens, keyValueHeads * dim),
                    new Op.Heads(heads, keyValueHeads, dim),
                    (float) (1 / Math.sqrt(dim)),
                    softCap,
                    new Op.Windows(List.of(window, next)),
                    fixed == 0 ? Op.Keys.TOKENS : Op.Keys.first(fixed),
                    data.output("out", layers, capacity(), heads * dim));
        }
    }

    private static final Attend[] ATTENDS = {
        new Attend(1, 1, 1, 1, 0, 0, 0, 0, 0),
        new Attend(2, 2, 72, 50, 0, 50, 0, 0, 0),
        new Attend(3, 3, 64, 49, 0, 49, 0, 0, 0),
        new Attend(8, 1, 256, 19, 0, 19, 0, 0, 0),
        new Attend(2, 1, 256, 131, 0, 70, 0, 0, 0),
        new Attend(8, 4, 256, 13, 0, 13, 50, 0, 0),
        new Attend(8, 1, 256, 1, 100, 60, 0, 0, 0),
        new Attend(8, 4, 256, 1, 677, 60, 50, 0, 0),
        // Where a device's items have several keys each, and where it begins to divide them into chunks.
        new Attend(4, 2, 64, 1, 253, 200, 0, 0, 0),
        new Attend(4, 2, 64, 1, 254, 20, 0, 240, 0),
        new Attend(4, 1, 72, 1, 509, 60, 50, 0, 0),
        new Attend(4, 1, 72, 1, 510, 60, 50, 0, 0),
        new Attend(4, 2, 128, 48, 0, 0, 0, 0, 0),
        // Far more keys than kernels take at a time.
        new Attend(2, 1, 128, 47, 1043, 0, 0, 0, 0),
        new Attend(6, 2, 5, 17, 4, 9, 20, 0, 0),
        new Attend(2, 2, 64, 31, 0, 10, 0, 7, 7),
        new Attend(2, 1, 64, 31, 0, 10, 0, 7, 0),
        new Attend(2, 1, 64, 31, 0, 10, 0, 7, 3),
        new Attend(4, 2, 72, 1, 90, 20, 30, 0, 16),
        new Attend(4, 2, 72, 1, 590, 20, 30, 16, 0),
        new Attend(2, 2, 8, 20, 6, 26, 0, 3, 3),
        new Attend(1, 1, 16, 300, 0, 0, 0, 64, 64),
        // Where an extent differs from position + rows: a tower at a position past its tokens, text that looks at an
        // image, one query for all rows.
        new Attend(2, 2, 64, 17, 34, 17, 0, 0, 0, 17, false),
        new Attend(3, 3, 16, 5, 0, 0, 0, 0, 0, 49, false),
        new Attend(3, 3, 16, 9, 2, 4, 30, 0, 0, 3, false),
        new Attend(2, 1, 64, 1, 40, 40, 0, 0, 0, 70, false),
        new Attend(4, 4, 18, 50, 0, 50, 0, 0, 0, 0, true),
        new Attend(4, 4, 18, 50, 0, 0, 0, 0, 0, 50, true),
        // Padding of a prompt is left out: rows are those of the tokens before it, seen both ways or backwards only.
        new Attend(12, 12, 64, 23, 0, 23, 0, 0, 0),
        new Attend(12, 12, 64, 23, 0, 0, 0, 0, 0),
    };

    private void attention() {
        for (Attend attend : ATTENDS) {
            int layers = attend.window + attend.next == 0 ? 1 : 2;
            add("attention_" + attend.name(), SUM, SUM_REASON,
                    data -> data.run(layers, attend.step(), attend.all(data), attend.op(data, layers)));
        }
    }

    private void probes() {
        for (Attend attend : ATTENDS) {
            int tokens = Math.max(attend.position + attend.rows, attend.keys());
            add("attentionWeights_" + attend.name(), SUM, SUM_REASON, data -> {
                Op.Attention attention = attend.op(data, 1);
                Op.Part part = new Op.Part(List.of(0), IntStream.range(0, attend.heads).boxed().toList(), 0, 0);
                data.run(attend.step(), attend.all(data), attention,
                        new Op.AttentionWeights(attention, part, false, Op.Kept.EACH,
                                data.output("weights", 1, attend.heads, attend.capacity(), tokens + 2)));
            });
            add("attentionParts_" + attend.name(), SUM, SUM_REASON, data -> parts(data, attend));
            add("blockedAttention_" + attend.name(), SUM, SUM_REASON, data -> {
                Op.Attention attention = attend.op(data, 3);
                int known = Math.max(1, tokens - 2);
                byte[] blocked = new byte[known * known];
                for (int i = 0; i < blocked.length; i++) {
                    // One row in seven sees nothing.
                    blocked[i] = (byte) (i / known % 7 == 3 || data.random.nextInt(3) == 0 ? 1 : 0);
                }
                Tensor mask = new Tensor("blocked", DType.U8, Shape.of(known, known), Tensor.Kind.INPUT, 1);
                data.inputs.put(mask, MemorySegment.ofArray(blocked));
                // All heads of the first layer, none of the second, every other of the third.
                int[] flags = new int[3 * attend.heads];
                for (int h = 0; h < attend.heads; h++) {
                    flags[h] = 1;
                    flags[2 * attend.heads + h] = h % 2;
                }
                Tensor heads = new Tensor("flags", DType.I32, Shape.of(3, attend.heads), Tensor.Kind.INPUT, 1);
                data.inputs.put(heads, MemorySegment.ofArray(flags));
                data.run(3, attend.step(), attend.all(data), new Op.BlockedAttention(attention, mask, heads));
            });
        }
    }

    /**
     * Some layers, heads, rows and keys, averaged and summed or not: layers 1 and 2 of three, every other head, from
     * the last third on.
     */
    private static void parts(Data data, Attend attend) {
        Op.Attention attention = attend.op(data, 3);
        int tokens = attend.keys();
        List<Integer> layers = List.of(1, 2);
        List<Integer> heads = IntStream.range(0, attend.heads)
                .filter(h -> h % 2 == (attend.heads - 1) % 2)
                .boxed()
                .toList();
        Op.Part part = new Op.Part(layers, heads, attend.queries() * 2 / 3, tokens * 2 / 3);
        int rows = attend.queries() - part.firstRow() + 2;
        int keys = tokens - part.firstKey() + 2;
        int planes = layers.size() * heads.size();
        Tensor plane = new Tensor("plane", DType.F32, Shape.of(1, attend.queries(), tokens), Tensor.Kind.OUTPUT, 1);
        data.outputs.add(plane);
        // Twice, with something else in between: a sum over layers starts anew with every run.
        Op[] ops = {
            attend.all(data),
            attention,
            new Op.AttentionWeights(attention, part, false, Op.Kept.EACH, data.output("each", 1, planes, rows, keys)),
            new Op.AttentionWeights(
                    attention, part, true, Op.Kept.EACH, data.output("mean", 1, layers.size(), rows, keys)),
            new Op.AttentionWeights(
                    attention, part, false, Op.Kept.SUM, data.output("sum", 1, heads.size(), rows, keys)),
            new Op.AttentionWeights(attention, part, true, Op.Kept.SUM, data.output("meanSum", 1, 1, rows, keys)),
            new Op.AttentionPeak(attention, part, keys, data.output("peak", 1, planes, rows)),
            new Op.AttentionPeak(attention, part, 1, data.output("peakOfOne", 1, planes, Math.max(1, rows - 3))),
            new Op.AttentionWeights(attention, new Op.Part(layers, heads, 0, 0), true, Op.Kept.LAST, plane),
            new Op.RowMax(plane, layers, data.output("max", 1, layers.size(), attend.queries()))
        };
        data.run(3, attend.step(), ops);
        data.run(3, attend.step(), ops);
    }

    private void rowMax() {
        for (int[] size : new int[][] {
            {1, 1, 1}, {2, 3, 2}, {7, 1, 7}, {15, 17, 15}, {16, 16, 16}, {17, 257, 11}, {65, 31, 64}, {3, 4097, 3}
        }) {
            add(
                    "rowMax_" + size[2] + "of" + size[0] + "x" + size[1],
                    0,
                    "a comparison",
                    data -> data.run(
                            2,
                            new Step(0, size[2], 0),
                            new Op.RowMax(
                                    data.input("x", 1, size[0], size[1]),
                                    List.of(1),
                                    data.output("one", 1, 1, size[0])),
                            new Op.RowMax(
                                    data.input("y", 1, 1, size[0], size[1]),
                                    List.of(0, 1),
                                    data.output("both", 1, 2, size[0]))));
        }
    }

    private void sample() {
        Sampling[] samplings = {
            Sampling.GREEDY,
            new Sampling(1, 0, 1),
            new Sampling(0.7f, 5, 1),
            new Sampling(1, 0, 0.9f),
            new Sampling(1.8f, 40, 0.5f),
            new Sampling(0.25f, 1, 0.1f)
        };
        int[][] sizes = {{1, 1}, {37, 37}, {8192, 8191}, {8200, 8193}, {257216, 257152}};
        for (int[] size : sizes) {
            for (int i = 0; i < samplings.length; i++) {
                Sampling sampling = samplings[i];
                for (boolean ties : new boolean[] {false, true}) {
                    if (size[0] > 10000 && i != 0 && i != 4) {
                        continue;
                    }
                    add(
                            "sample_" + size[0] + "_T" + sampling.temperature() + "_k" + sampling.topK() + "_p"
                                    + sampling.topP() + (ties ? "_ties" : ""),
                            FUNCTION,
                            FUNCTION_REASON,
                            data -> {
                                float coin = (float) data.random.nextDouble();
                                sample(
                                        data,
                                        size,
                                        new Step(0, 2, 0, Math.min(coin, 0.999f), sampling),
                                        ties,
                                        logits -> {});
                            });
                }
            }
        }
        for (Sampling sampling : List.of(Sampling.GREEDY, new Sampling(1, 3, 0.9f))) {
            String name = sampling.greedy() ? "_greedy" : "_drawn";
            add(
                    "sample_nan" + name,
                    0,
                    "no number",
                    data -> sample(
                            data,
                            new int[] {9000, 8999},
                            new Step(0, 2, 0, 0.5f, sampling),
                            false,
                            row -> row[8998] = Float.NaN));
            add(
                    "sample_nanInPadding" + name,
                    FUNCTION,
                    FUNCTION_REASON,
                    data -> sample(
                            data,
                            new int[] {9000, 8999},
                            new Step(0, 2, 0, 0.5f, sampling),
                            false,
                            row -> row[8999] = Float.NaN));
            add(
                    "sample_nanCounted" + name,
                    0,
                    "no number",
                    data -> sample(
                            data,
                            new int[] {9000, 8999},
                            new Step(0, 2, 0, 0.5f, sampling),
                            false,
                            row -> row[3] = Float.NaN));
            add(
                    "sample_largestCounted" + name,
                    FUNCTION,
                    FUNCTION_REASON,
                    data -> sample(
                            data, new int[] {50, 40}, new Step(0, 2, 0, 0.5f, sampling), true, row -> row[10] = 20));
            add("sample_minusInfinity" + name, FUNCTION, FUNCTION_REASON,
                    data -> sample(data, new int[] {50, 40}, new Step(0, 2, 0, 0.5f, sampling), false, row -> {
                        for (int i = 0; i < 50; i++) {
                            row[i] = i % 3 == 1 ? row[i] : Float.NEGATIVE_INFINITY;
                        }
                    }));
            add(
                    "sample_largestInPadding" + name,
                    FUNCTION,
                    FUNCTION_REASON,
                    data -> sample(
                            data, new int[] {50, 40}, new Step(0, 2, 0, 0.5f, sampling), true, row -> row[40] = 100));
            add("sample_minusZero" + name, FUNCTION, FUNCTION_REASON,
                    data -> sample(data, new int[] {4, 4}, new Step(0, 2, 0, 0.1f, sampling), false, row -> {
                        row[0] = -5;
                        row[1] = -0f;
                        row[2] = 0;
                        row[3] = -0f;
                    }));
        }
    }

    private interface Row {
        void change(float[] logits);
    }

    /**
     * Two rows of logits, of which the last counts. Ids from size[1] on are padding; where there are any, every seventh
     * is counted alone.
     */
    private static void sample(Data data, int[] size, Step step, boolean ties, Row change) {
        Tensor logits = new Tensor("logits", DType.F32, Shape.of(2, size[0]), Tensor.Kind.INPUT, 1);
        float[] row = new float[size[0]];
        for (int i = 0; i < row.length; i++) {
            row[i] = ties ? data.random.nextInt(8) : data.value() * 12;
        }
        change.change(row);
        MemorySegment values = data.arena.allocate(logits.bytes());
        MemorySegment.copy(row, 0, values, ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * row.length, row.length);
        data.inputs.put(logits, values);
        Tensor token = new Tensor("token", DType.I32, Shape.of(1), Tensor.Kind.OUTPUT, 1);
        data.outputs.add(token);
        Tensor parts = new Tensor("parts", DType.U8, Shape.of(size[0]), Tensor.Kind.INPUT, 1);
        byte[] each = new byte[size[0]];
        for (int i = 0; i < each.length; i++) {
            each[i] = i >= size[1]
                    ? Op.Sample.PADDING
                    : size[1] < size[0] && i % 7 == 3 ? Op.Sample.COUNTED : Op.Sample.DRAWN;
        }
        data.inputs.put(parts, MemorySegment.ofArray(each));
        data.run(step, new Op.Sample(logits, parts, token, data.output("logProbability", 1, 1)));
    }
}
