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
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import stormsight.checkpoint.HostTensor;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.OpName;
import stormsight.program.Program;
import stormsight.program.Sampling;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * What the kernel benchmarks time: every operation at the shapes of PaliGemma 3B, at 224 and 448 pixels, and at small
 * ones. The benchmarks themselves are in bench/java; the list is here so that a test sees that no operation is missing.
 *
 * <p>Shapes of PaliGemma 3B: 256 or 1024 image tokens of 1152, 16 heads of 72, an MLP of 4304; a decoder of 2048 with 8
 * query heads and 1 key-value head of 256, an MLP of 16384 and 257216 logits; prompts have 16 tokens besides the
 * image's.
 */
public final class BenchCases {
    private static final int VISION = 1152;
    private static final int VISION_HIDDEN = 4304;
    private static final int PATCH = 588;
    private static final Op.Heads VISION_HEADS = new Op.Heads(16, 16, 72);
    private static final int DECODER = 2048;
    private static final int DECODER_HIDDEN = 16384;
    private static final Op.Heads DECODER_HEADS = new Op.Heads(8, 1, 256);
    private static final Op.Heads SMALL_HEADS = new Op.Heads(4, 2, 32);
    private static final int TABLE = 257216;
    private static final int[] IMAGES = {256, 1024};
    private static final int TEXT = 16;
    /** Tokens that the cache has room for beyond the prompt. */
    private static final int ANSWER = 16;

    private static final DType[] WEIGHT_TYPES = {DType.BF16, DType.Q8, DType.Q4, DType.F16, DType.F32};

    /** F32 sums of up to 16384 products, of terms about as large as the result. */
    private static final double SUM = 2e-5;
    /** F32 functions right to a few units in the last place, then short sums. */
    private static final double FUNCTION = 5e-6;
    /** Two products and a sum. */
    private static final double ROUNDING = 1e-6;
    private static final double COPY = 0;

    /**
     * Of a product, so many rows and columns are compared, first and last ones among them: enough to meet every tile
     * and tail of a kernel.
     */
    private static final int SAMPLED_ROWS = 5;
    private static final int SAMPLED_COLUMNS = 61;
    /**
     * Attention is compared in its last rows: their keys are all keys, and a run that holds them alone is the same one
     * at a later position.
     */
    private static final int SAMPLED_QUERIES = 7;
    /**
     * Bytes of random values that a large weight repeats; a prime number of elements, so that no two rows of a matrix
     * are alike.
     */
    private static final int PATTERN = 1_000_003;

    private final List<BenchCase> cases = new ArrayList<>();

    private BenchCases() {}

    /** All cases, in the same order each time. */
    public static List<BenchCase> all() {
        BenchCases all = new BenchCases();
        for (DType dtype : WEIGHT_TYPES) {
            all.products(dtype);
        }
        all.norms();
        all.positions();
        all.attention();
        all.moves();
        all.sampling();
        return List.copyOf(all.cases);
    }

    private void products(DType dtype) {
        boolean quick = dtype == DType.BF16;
        boolean common = quick || dtype.isBlocked();
        matMul(1, 256, 192, dtype, "", true, quick);
        matMul(17, 256, 192, dtype, "bias, gelu", true, quick);
        gatedMatMul(1, 256, 512, dtype, true, quick);
        gatedMatMul(17, 256, 512, dtype, true, quick);
        embed(17, 256, 1000, dtype, true, quick);
        for (int image : IMAGES) {
            boolean first = quick && image == IMAGES[0];
            int prompt = image + TEXT;
            matMul(image, PATCH, VISION, dtype, "bias, residual", false, false);
            matMul(image, VISION, VISION, dtype, "bias", false, first);
            matMul(image, VISION, VISION_HIDDEN, dtype, "bias, gelu", false, first);
            matMul(image, VISION_HIDDEN, VISION, dtype, "bias, residual", false, first);
            matMul(image, VISION, DECODER, dtype, "bias", false, false);
            matMul(prompt, DECODER, DECODER, dtype, "", false, common && image == IMAGES[0]);
            matMul(prompt, DECODER, DECODER_HEADS.keyValueColumns(), dtype, "", false, false);
            matMul(prompt, DECODER_HIDDEN, DECODER, dtype, "residual", false, first);
            gatedMatMul(prompt, DECODER, DECODER_HIDDEN, dtype, false, first);
            embed(prompt, DECODER, TABLE, dtype, false, first);
        }
        matMul(1, DECODER, DECODER, dtype, "", false, common);
        matMul(1, DECODER, DECODER_HEADS.keyValueColumns(), dtype, "", false, false);
        matMul(1, DECODER_HIDDEN, DECODER, dtype, "residual", false, common);
        matMul(1, DECODER, TABLE, dtype, "", false, quick);
        gatedMatMul(1, DECODER, DECODER_HIDDEN, dtype, false, common);
        embed(1, DECODER, TABLE, dtype, false, false);
    }

    private void norms() {
        norm(false, 17, 256, true, true);
        norm(true, 17, 256, true, true);
        for (int image : IMAGES) {
            norm(true, image, VISION, false, image == IMAGES[0]);
            norm(false, image + TEXT, DECODER, false, image == IMAGES[0]);
        }
        norm(false, 1, DECODER, false, true);
    }

    private void positions() {
        rope(17, 4, 32, 0, true, true);
        for (int image : IMAGES) {
            rope(image + TEXT, DECODER_HEADS.queryHeads(), DECODER_HEADS.headDim(), 0, false, image == IMAGES[0]);
            rope(image + TEXT, DECODER_HEADS.keyValueHeads(), DECODER_HEADS.headDim(), 0, false, false);
            store(image + TEXT, DECODER_HEADS.keyValueColumns(), 0, false, image == IMAGES[0]);
        }
        int prompt = IMAGES[0] + TEXT;
        rope(1, DECODER_HEADS.queryHeads(), DECODER_HEADS.headDim(), prompt, false, true);
        rope(1, DECODER_HEADS.keyValueHeads(), DECODER_HEADS.headDim(), prompt, false, false);
        store(17, 64, 0, true, true);
        store(1, DECODER_HEADS.keyValueColumns(), prompt, false, false);
    }

    private void attention() {
        attend(17, SMALL_HEADS, 0, true, true, true);
        attend(1, SMALL_HEADS, 40, true, false, false);
        for (int image : IMAGES) {
            boolean first = image == IMAGES[0];
            attend(image, VISION_HEADS, 0, false, first, false);
            attend(image + TEXT, DECODER_HEADS, 0, false, first, first);
            attend(1, DECODER_HEADS, image + TEXT, false, first, false);
        }
    }

    private void moves() {
        copy(17, 256, true, true);
        gather(17, 9, 32, true, true);
        gather(256, 9, 64, false, true);
        lastRow(17, 256, true, true);
        meanRows(17, 256, true, true);
        softCap(17, 256, true, true);
        rowMax(17, 256, true, true);
        for (int image : IMAGES) {
            copy(image + TEXT, DECODER, false, image == IMAGES[0]);
            lastRow(image + TEXT, DECODER, false, image == IMAGES[0]);
            meanRows(image, VISION, false, image == IMAGES[0]);
            rowMax(image, image, false, image == IMAGES[0]);
        }
        softCap(1, TABLE, false, true);
    }

    private void sampling() {
        sample(1000, Sampling.GREEDY, true, true);
        sample(TABLE, Sampling.GREEDY, false, true);
        sample(TABLE, new Sampling(0.8f, 40, 0.9f), false, true);
    }

    /** The tensors of a case while it is written; values come with {@link Data}. */
    private static Tensor weight(String name, DType dtype, int... shape) {
        return Tensor.weight(name, dtype, Shape.of(shape));
    }

    private static Tensor input(String name, int... shape) {
        return new Tensor(name, DType.F32, Shape.of(shape), Tensor.Kind.INPUT, 1);
    }

    private static Tensor output(String name, int... shape) {
        return new Tensor(name, DType.F32, Shape.of(shape), Tensor.Kind.OUTPUT, 1);
    }

    private static Program program(String name, Op op) {
        return new Program(name, List.of(Segment.once("all", List.of(op))));
    }

    /** Fills in the data of a case and of its sample. */
    private interface Author {
        BenchCase.Setup write(Data data);
    }

    private void add(
            Op op,
            Step step,
            String fused,
            boolean small,
            boolean quick,
            double tolerance,
            String checked,
            Author author) {
        cases.add(new BenchCase(op, step, fused, small, quick, tolerance, checked,
                () -> author.write(new Data(OpName.of(op, step).toString().hashCode()))));
    }

    /** Values of a case. */
    private static final class Data {
        private final Arena arena = Arena.ofAuto();
        private final SplittableRandom random;
        private final Map<Tensor, HostTensor> weights = new LinkedHashMap<>();
        private final Map<Tensor, MemorySegment> inputs = new LinkedHashMap<>();

        Data(long seed) {
            random = new SplittableRandom(seed);
        }

        /** Random values, uniform in [-scale, scale). */
        MemorySegment floats(Tensor tensor, double scale) {
            MemorySegment data = arena.allocate(Math.max(tensor.bytes(), 4), 64);
            for (long i = 0; i < tensor.shape().elements(); i++) {
                data.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) random.nextDouble(-scale, scale));
            }
            inputs.put(tensor, data);
            return data;
        }

        void ids(Tensor tensor, int[] values) {
            inputs.put(tensor, MemorySegment.ofArray(values));
        }

        /** A weight whose values are about scale in size; a large one repeats a pattern. */
        void weight(Tensor tensor, double scale) {
            DType dtype = tensor.dtype();
            MemorySegment data = arena.allocate(dtype.bytes(tensor.shape()), 64);
            long elements = tensor.shape().elements();
            MemorySegment pattern = arena.allocate((long) PATTERN * (dtype.isBlocked() ? 1 : dtype.elementBytes()), 64);
            for (int i = 0; i < Math.min(PATTERN, elements); i++) {
                float value = (float) random.nextDouble(-scale, scale);
                switch (dtype) {
                    case F32 -> pattern.setAtIndex(ValueLayout.JAVA_FLOAT, i, value);
                    case F16 -> pattern.setAtIndex(ValueLayout.JAVA_SHORT, i, Float.floatToFloat16(value));
                    case BF16 ->
                        pattern.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (Float.floatToRawIntBits(value) >> 16));
                    case I32, U8 -> throw new IllegalStateException("weights of type " + dtype);
                    default -> pattern.setAtIndex(ValueLayout.JAVA_BYTE, i, (byte) random.nextInt(-127, 128));
                }
            }
            long bytes = dtype.elementBytes(elements);
            for (long at = 0; at < bytes; at += pattern.byteSize()) {
                MemorySegment.copy(pattern, 0, data, at, Math.min(pattern.byteSize(), bytes - at));
            }
            if (dtype.isBlocked()) {
                long scales = tensor.shape().rows() * dtype.scalesPerRow(tensor.shape());
                for (long i = 0; i < scales; i++) {
                    float value = (float) (scale / (1 << dtype.bits() - 1) * random.nextDouble(0.5, 1));
                    if (dtype.scaleType() == DType.BF16) {
                        data.set(ValueLayout.JAVA_SHORT_UNALIGNED, dtype.scalesOffset(tensor.shape()) + i * Short.BYTES,
                                (short) (Float.floatToRawIntBits(value) >> 16));
                    } else {
                        data.set(ValueLayout.JAVA_FLOAT_UNALIGNED, dtype.scalesOffset(tensor.shape()) + i * Float.BYTES,
                                value);
                    }
                }
            }
            weights.put(tensor, HostTensor.of(dtype, tensor.shape(), data));
        }

        /** The weight with some of the rows of another one. */
        void rows(Tensor tensor, Tensor whole, int[] rows) {
            MemorySegment from = weights.get(whole).layers().getFirst();
            MemorySegment to = arena.allocate(tensor.dtype().bytes(tensor.shape()), 64);
            long rowBytes = tensor.dtype().elementBytes((long) tensor.columns());
            long scaleBytes = tensor.dtype().scaleBytes(tensor.shape());
            for (int i = 0; i < rows.length; i++) {
                MemorySegment.copy(from, rows[i] * rowBytes, to, i * rowBytes, rowBytes);
                if (scaleBytes > 0) {
                    MemorySegment.copy(from, whole.dtype().scalesOffset(whole.shape()) + rows[i] * scaleBytes, to,
                            tensor.dtype().scalesOffset(tensor.shape()) + i * scaleBytes, scaleBytes);
                }
            }
            weights.put(tensor, HostTensor.of(tensor.dtype(), tensor.shape(), to));
        }

        /** The F32 input with some of the rows and columns of another one, or the F32 weight if that is one. */
        void part(Tensor tensor, Tensor whole, int[] rows, int[] columns) {
            MemorySegment from = whole.kind() == Tensor.Kind.WEIGHT
                    ? weights.get(whole).layers().getFirst()
                    : inputs.get(whole);
            MemorySegment to = arena.allocate(tensor.bytes(), 64);
            for (int i = 0; i < rows.length; i++) {
                for (int j = 0; j < columns.length; j++) {
                    to.setAtIndex(ValueLayout.JAVA_FLOAT, (long) i * columns.length + j,
                            from.getAtIndex(ValueLayout.JAVA_FLOAT, (long) rows[i] * whole.columns() + columns[j]));
                }
            }
            if (tensor.kind() == Tensor.Kind.WEIGHT) {
                weights.put(tensor, HostTensor.of(DType.F32, tensor.shape(), to));
            } else {
                inputs.put(tensor, to);
            }
        }

        OpCase.Setup setup(List<Tensor> outputs, OpCase.Run... runs) {
            List<Tensor> used = Arrays.stream(runs)
                    .flatMap(run -> run.program().tensors().stream())
                    .distinct()
                    .toList();
            Map<Tensor, HostTensor> ownWeights = new LinkedHashMap<>(weights);
            ownWeights.keySet().retainAll(used);
            Map<Tensor, MemorySegment> ownInputs = new LinkedHashMap<>(inputs);
            ownInputs.keySet().retainAll(used);
            return new OpCase.Setup(ownWeights, ownInputs, List.of(runs), outputs);
        }
    }

    /** First, last, and some between. */
    private static int[] spread(int count, int most) {
        int taken = Math.min(count, most);
        return IntStream.range(0, taken)
                .map(i -> taken == 1 ? 0 : (int) ((long) i * (count - 1) / (taken - 1)))
                .toArray();
    }

    private static int[] all(int count) {
        return IntStream.range(0, count).toArray();
    }

    private void matMul(int rows, int depth, int width, DType dtype, String fused, boolean small, boolean quick) {
        if (dtype.forRows(depth) != dtype) {
            return;
        }
        Tensor x = input("x", rows, depth);
        Tensor w = weight("w", dtype, width, depth);
        Optional<Tensor> bias =
                fused.contains("bias") ? Optional.of(weight("bias", DType.F32, width)) : Optional.empty();
        Optional<Tensor> residual =
                fused.contains("residual") ? Optional.of(input("residual", rows, width)) : Optional.empty();
        Op.Activation activation = fused.contains("gelu") ? Op.Activation.GELU_TANH : Op.Activation.NONE;
        Op.MatMul op = new Op.MatMul(x, w, bias, activation, residual, output("out", rows, width));
        int[] tokens = spread(rows, SAMPLED_ROWS);
        int[] columns = spread(width, SAMPLED_COLUMNS);
        Step step = new Step(0, rows, rows);
        add(op, step, fused, small, quick, SUM, checked(tokens, columns), data -> {
            data.floats(x, 1);
            data.weight(w, 3 / Math.sqrt(depth));
            bias.ifPresent(tensor -> data.weight(tensor, 1));
            residual.ifPresent(tensor -> data.floats(tensor, 1));
            Tensor someX = input("some x", tokens.length, depth);
            data.part(someX, x, tokens, all(depth));
            Tensor someW = weight("some w", dtype, columns.length, depth);
            data.rows(someW, w, columns);
            Optional<Tensor> someBias = bias.map(tensor -> weight("some bias", DType.F32, columns.length));
            someBias.ifPresent(tensor -> data.part(tensor, bias.orElseThrow(), new int[] {0}, columns));
            Optional<Tensor> someResidual =
                    residual.map(tensor -> input("some residual", tokens.length, columns.length));
            someResidual.ifPresent(tensor -> data.part(tensor, residual.orElseThrow(), tokens, columns));
            Op.MatMul some = new Op.MatMul(
                    someX,
                    someW,
                    someBias,
                    activation,
                    someResidual,
                    output("some out", tokens.length, columns.length));
            return sampled(data, op, step, some, new Step(0, tokens.length, tokens.length), tokens, columns);
        });
    }

    private void gatedMatMul(int rows, int depth, int width, DType dtype, boolean small, boolean quick) {
        Tensor x = input("x", rows, depth);
        Tensor gate = weight("gate", dtype, width, depth);
        Tensor up = weight("up", dtype, width, depth);
        Op.GatedMatMul op = new Op.GatedMatMul(x, gate, up, Op.Activation.GELU_TANH, output("out", rows, width));
        int[] tokens = spread(rows, SAMPLED_ROWS);
        int[] columns = spread(width, SAMPLED_COLUMNS);
        Step step = new Step(0, rows, rows);
        add(op, step, "", small, quick, SUM, checked(tokens, columns), data -> {
            data.floats(x, 1);
            data.weight(gate, 3 / Math.sqrt(depth));
            data.weight(up, 3 / Math.sqrt(depth));
            Tensor someX = input("some x", tokens.length, depth);
            data.part(someX, x, tokens, all(depth));
            Tensor someGate = weight("some gate", dtype, columns.length, depth);
            data.rows(someGate, gate, columns);
            Tensor someUp = weight("some up", dtype, columns.length, depth);
            data.rows(someUp, up, columns);
            Op.GatedMatMul some = new Op.GatedMatMul(someX, someGate, someUp, Op.Activation.GELU_TANH,
                    output("some out", tokens.length, columns.length));
            return sampled(data, op, step, some, new Step(0, tokens.length, tokens.length), tokens, columns);
        });
    }

    private static BenchCase.Setup sampled(
            Data data, Op op, Step step, Op some, Step someStep, int[] rows, int[] columns) {
        return new BenchCase.Setup(data.setup(op.writes(), new OpCase.Run(program("timed", op), step)), 0,
                data.setup(some.writes(), new OpCase.Run(program("sample", some), someStep)), rows, columns);
    }

    private static String checked(int[] rows, int[] columns) {
        return rows.length + " x " + columns.length + " values";
    }

    /** Image rows first, as in a prompt; one token alone reads the table. */
    private void embed(int rows, int columns, int table, DType dtype, boolean small, boolean quick) {
        int image = rows == 1 ? 0 : rows - TEXT;
        Tensor ids = new Tensor("ids", DType.I32, Shape.of(rows), Tensor.Kind.INPUT, 1);
        Tensor w = weight("table", dtype, table, columns);
        Optional<Tensor> features = image == 0 ? Optional.empty() : Optional.of(input("features", image, columns));
        Op.Embed op = new Op.Embed(
                ids, w, (float) Math.sqrt(columns), features, Optional.empty(), output("out", rows, columns));
        Step step = new Step(0, rows, rows);
        add(op, step, "", small, quick, ROUNDING, checked(all(rows), all(columns)), data -> {
            int[] values = IntStream.range(0, rows)
                    .map(i -> i < image ? -1 - i : data.random.nextInt(table))
                    .toArray();
            data.ids(ids, values);
            data.weight(w, 1);
            features.ifPresent(tensor -> data.floats(tensor, 1));
            // The sample's table is made of the rows that are read.
            int[] read = IntStream.of(values).filter(id -> id >= 0).toArray();
            Tensor someTable = weight("some table", dtype, read.length, columns);
            data.rows(someTable, w, read);
            Tensor someIds = new Tensor("some ids", DType.I32, Shape.of(rows), Tensor.Kind.INPUT, 1);
            data.ids(
                    someIds,
                    IntStream.range(0, rows)
                            .map(i -> i < image ? -1 - i : i - image)
                            .toArray());
            Op.Embed some = new Op.Embed(
                    someIds, someTable, op.scale(), features, Optional.empty(), output("some out", rows, columns));
            return sampled(data, op, step, some, step, all(rows), all(columns));
        });
    }

    private void norm(boolean layer, int rows, int columns, boolean small, boolean quick) {
        Tensor x = input("x", rows, columns);
        Tensor w = weight("w", DType.F32, columns);
        Tensor bias = weight("bias", DType.F32, columns);
        Tensor out = output("out", rows, columns);
        Op op = layer ? new Op.LayerNorm(x, w, bias, 1e-6f, out) : new Op.RmsNorm(x, w, 1e-6f, Optional.empty(), out);
        whole(op, new Step(0, rows, rows), small, quick, FUNCTION, data -> {
            data.floats(x, 5);
            data.weight(w, 1);
            if (layer) {
                data.weight(bias, 1);
            }
        });
    }

    /** In place: runs that follow each other turn the values further, which changes no sizes. */
    private void rope(int rows, int heads, int headDim, int position, boolean small, boolean quick) {
        Tensor x = input("x", rows, heads * headDim);
        Tensor out = output("out", rows, heads * headDim);
        Tensor table = weight("table", DType.F32, position + rows, headDim);
        inPlace(
                new Op.Copy(x, out),
                new Op.Rope(out, table, heads),
                new Step(position, rows, position + rows),
                small,
                quick,
                ROUNDING,
                data -> {
                    data.floats(x, 1);
                    data.weight(table, 1);
                    MemorySegment angles = data.weights.get(table).layers().getFirst();
                    for (int i = 0; i < position + rows; i++) {
                        for (int c = 0; c < headDim / 2; c++) {
                            double angle = i * Math.pow(10000, -2.0 * c / headDim);
                            angles.setAtIndex(ValueLayout.JAVA_FLOAT, (long) i * headDim + c, (float) Math.cos(angle));
                            angles.setAtIndex(ValueLayout.JAVA_FLOAT, (long) i * headDim + headDim / 2 + c, (float)
                                    Math.sin(angle));
                        }
                    }
                });
    }

    private void softCap(int rows, int columns, boolean small, boolean quick) {
        Tensor x = input("x", rows, columns);
        Tensor out = output("out", rows, columns);
        inPlace(
                new Op.Copy(x, out),
                new Op.SoftCap(out, 30),
                new Step(0, rows, rows),
                small,
                quick,
                FUNCTION,
                data -> data.floats(x, 50));
    }

    private void copy(int rows, int columns, boolean small, boolean quick) {
        Tensor x = input("x", rows, columns);
        whole(
                new Op.Copy(x, output("out", rows, columns)),
                new Step(0, rows, rows),
                small,
                quick,
                COPY,
                data -> data.floats(x, 1));
    }

    /** What a convolution of 3 x 3 reads. */
    private void gather(int rows, int places, int columns, boolean small, boolean quick) {
        Tensor x = input("x", rows, columns);
        Tensor index = new Tensor("index", DType.I32, Shape.of(rows, places), Tensor.Kind.INPUT, 1);
        whole(
                new Op.Gather(x, index, output("out", rows, places * columns)),
                new Step(0, rows, rows),
                small,
                quick,
                COPY,
                data -> {
                    data.floats(x, 1);
                    data.ids(
                            index,
                            IntStream.range(0, rows * places)
                                    .map(i -> data.random.nextInt(rows + 1) - 1)
                                    .toArray());
                });
    }

    private void lastRow(int rows, int columns, boolean small, boolean quick) {
        Tensor x = input("x", rows, columns);
        whole(
                new Op.LastRow(x, output("out", 1, columns)),
                new Step(0, rows, rows),
                small,
                quick,
                COPY,
                data -> data.floats(x, 1));
    }

    private void meanRows(int rows, int columns, boolean small, boolean quick) {
        Tensor x = input("x", rows, columns);
        whole(
                new Op.MeanRows(x, output("out", 1, columns)),
                new Step(0, rows, rows),
                small,
                quick,
                FUNCTION,
                data -> data.floats(x, 1));
    }

    /** The cache cannot be read, so a copy of it follows. */
    private void store(int rows, int columns, int position, boolean small, boolean quick) {
        Tensor x = input("x", rows, columns);
        Tensor cache =
                new Tensor("cache", DType.F32, Shape.of(position + rows + ANSWER, columns), Tensor.Kind.CACHE, 1);
        Tensor out = output("out", position + rows, columns);
        Op.Store op = new Op.Store(x, cache);
        Step step = new Step(position, rows, position + rows);
        add(op, step, "", small, quick, COPY, checked(all(position + rows), all(columns)), data -> {
            data.floats(x, 1);
            OpCase.Setup setup = data.setup(List.of(out), new OpCase.Run(program("timed", op), step),
                    new OpCase.Run(program("after", new Op.Copy(cache, out)), new Step(0, position + rows, 0)));
            return new BenchCase.Setup(setup, 0, setup, all(position + rows), all(columns));
        });
    }

    private void rowMax(int rows, int columns, boolean small, boolean quick) {
        Tensor x = input("x", rows, columns);
        whole(
                new Op.RowMax(x, List.of(0), output("out", 1, rows)),
                new Step(0, rows, rows),
                small,
                quick,
                COPY,
                data -> data.floats(x, 1));
    }

    private void sample(int vocabulary, Sampling sampling, boolean small, boolean quick) {
        Tensor logits = input("logits", 1, vocabulary);
        Tensor parts = new Tensor("parts", DType.U8, Shape.of(vocabulary), Tensor.Kind.INPUT, 1);
        Tensor token = new Tensor("token", DType.I32, Shape.of(1), Tensor.Kind.OUTPUT, 1);
        Op.Sample op = new Op.Sample(logits, parts, token, output("log probability", 1));
        Step step = new Step(0, 1, 0, sampling.greedy() ? 0 : 0.5f, sampling);
        String drawn = sampling.greedy() ? "greedy"
                : "temperature " + sampling.temperature() + ", top-k " + sampling.topK() + ", top-p " + sampling.topP();
        add(op, step, drawn, small, quick, FUNCTION, "token and probability", data -> {
            data.floats(logits, 12);
            data.inputs.put(parts, MemorySegment.ofArray(new byte[vocabulary]));
            OpCase.Setup setup = data.setup(op.writes(), new OpCase.Run(program("timed", op), step));
            return new BenchCase.Setup(setup, 0, setup, all(1), all(1));
        });
    }

    /** @param quickProbes whether the short list has the probes, too */
    private void attend(int rows, Op.Heads heads, int position, boolean small, boolean quick, boolean quickProbes) {
        int tokens = position + rows;
        Tensor q = input("q", rows, heads.queryColumns());
        Tensor k = input("k", tokens, heads.keyValueColumns());
        Tensor v = input("v", tokens, heads.keyValueColumns());
        Op.Attention op = new Op.Attention(
                q,
                k,
                v,
                heads,
                (float) (1 / Math.sqrt(heads.headDim())),
                0,
                Op.Windows.NONE,
                Op.Keys.TOKENS,
                output("out", rows, heads.queryColumns()));
        Step step = new Step(position, rows, tokens);
        int count = Math.min(rows, SAMPLED_QUERIES);
        int[] last = IntStream.range(rows - count, rows).toArray();
        Step someStep = new Step(tokens - count, count, tokens);
        Tensor someQ = input("some q", count, heads.queryColumns());
        Op.Attention some = new Op.Attention(someQ, k, v, heads, op.scale(), 0, Op.Windows.NONE, Op.Keys.TOKENS,
                output("some out", count, heads.queryColumns()));
        String checked = "the last " + checked(last, all(heads.queryColumns()));
        add(op, step, "", small, quick, SUM, checked, data -> {
            attended(data, op, someQ, last);
            return sampled(data, op, step, some, someStep, last, all(heads.queryColumns()));
        });

        Tensor mask = new Tensor("mask", DType.U8, Shape.of(tokens, tokens), Tensor.Kind.INPUT, 1);
        Tensor flags = new Tensor("flags", DType.I32, Shape.of(1, heads.queryHeads()), Tensor.Kind.INPUT, 1);
        add(
                new Op.BlockedAttention(op, mask, flags),
                step,
                "every third edge blocked",
                small,
                quickProbes,
                SUM,
                checked,
                data -> {
                    attended(data, op, someQ, last);
                    byte[] edges = new byte[tokens * tokens];
                    for (int i = 0; i < edges.length; i++) {
                        edges[i] = (byte) (data.random.nextInt(3) == 0 ? 1 : 0);
                    }
                    data.inputs.put(mask, MemorySegment.ofArray(edges));
                    data.ids(
                            flags,
                            IntStream.generate(() -> 1)
                                    .limit(heads.queryHeads())
                                    .toArray());
                    return sampled(
                            data,
                            new Op.BlockedAttention(op, mask, flags),
                            step,
                            new Op.BlockedAttention(some, mask, flags),
                            someStep,
                            last,
                            all(heads.queryColumns()));
                });

        Op.Part part = new Op.Part(List.of(0), IntStream.range(0, heads.queryHeads()).boxed().toList(), 0, 0);
        Op.AttentionWeights weights = new Op.AttentionWeights(
                op, part, false, Op.Kept.EACH, output("weights", heads.queryHeads(), rows, tokens));
        add(
                weights,
                step,
                "",
                small,
                quickProbes,
                SUM,
                "the last " + count + " rows, " + tokens + " keys of each head",
                data -> {
                    attended(data, op, someQ, last);
                    int[] planes = IntStream.range(0, heads.queryHeads())
                            .flatMap(head -> IntStream.of(last).map(row -> head * rows + row))
                            .toArray();
                    Op.AttentionWeights someWeights = new Op.AttentionWeights(
                            some, part, false, Op.Kept.EACH, output("some weights", heads.queryHeads(), count, tokens));
                    return sampled(data, weights, step, someWeights, someStep, planes, all(tokens));
                });

        Op.AttentionPeak peak = new Op.AttentionPeak(op, part, tokens, output("peak", heads.queryHeads(), rows));
        add(peak, step, "", small, quickProbes, SUM, "the last " + count + " rows of each head", data -> {
            attended(data, op, someQ, last);
            Op.AttentionPeak somePeak =
                    new Op.AttentionPeak(some, part, tokens, output("some peak", heads.queryHeads(), count));
            return sampled(data, peak, step, somePeak, someStep, all(heads.queryHeads()), last);
        });
    }

    private static void attended(Data data, Op.Attention op, Tensor someQ, int[] rows) {
        data.floats(op.q(), 2);
        data.floats(op.k(), 2);
        data.floats(op.v(), 1);
        data.part(someQ, op.q(), rows, all(op.q().columns()));
    }

    /** Fills in values. */
    private interface Values {
        void write(Data data);
    }

    /** A case that is small enough to be compared in all its values. */
    private void whole(Op op, Step step, boolean small, boolean quick, double tolerance, Values values) {
        Tensor out = op.writes().getFirst();
        add(op, step, "", small, quick, tolerance, checked(all(out.rows()), all(out.columns())), data -> {
            values.write(data);
            OpCase.Setup setup = data.setup(op.writes(), new OpCase.Run(program("timed", op), step));
            return new BenchCase.Setup(setup, 0, setup, all(out.rows()), all(out.columns()));
        });
    }

    /** A case that changes its values in place. */
    private void inPlace(
            Op.Copy before, Op op, Step step, boolean small, boolean quick, double tolerance, Values values) {
        Tensor out = op.writes().getFirst();
        add(op, step, "", small, quick, tolerance, checked(all(out.rows()), all(out.columns())), data -> {
            values.write(data);
            OpCase.Setup setup = data.setup(op.writes(), new OpCase.Run(program("before", before), step),
                    new OpCase.Run(program("timed", op), step));
            return new BenchCase.Setup(setup, 1, setup, all(out.rows()), all(out.columns()));
        });
    }

    /** The cases of those names. */
    public static Map<String, BenchCase> byName() {
        return all().stream().collect(Collectors.toMap(BenchCase::name, each -> each, (a, b) -> {
            throw new IllegalStateException("two cases " + a.name());
        }, LinkedHashMap::new));
    }
}
