package stormsight.tornado;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.DeviceInfo;
import stormsight.backend.OpCase;
import stormsight.backend.OpCases;
import stormsight.checkpoint.HostTensor;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Step;
import stormsight.program.Tensor;
import stormsight.tornado.kernel.Attention;
import stormsight.tornado.kernel.MatMul;
import stormsight.tornado.kernel.MmaProjections;
import stormsight.tornado.kernel.Norm;
import stormsight.tornado.kernel.Result;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.types.arrays.ByteArray;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.LongArray;

/** Kernels for tensor cores, run as Java on {@link EmulatedGroup}: no device here need have any. */
class TensorCoresTest {
    /** With one multiprocessor, so that groups take several units. */
    private static final DeviceInfo TENSOR_CORES = gpu(1);
    /** bfloat16 has 8 bits, so that a rounded activation is off by up to 0.2%, and so are sums of many. */
    private static final double ROUNDED = 1e-2;

    /** Rows beyond a block, several units of a group, all masks, and more keys than are taken at a time. */
    @TestFactory
    Stream<DynamicTest> agreesWithScalar() {
        return cases("attention_.*|blockedAttention_(50x2of2|31x2of1x64_at0_prefix10_window7and3).*"
                + "|matMul_(64x64x256_BF16|40x64x520_F16|272x288x80_BF16).*").map(opCase ->
                DynamicTest.dynamicTest(opCase.name(), () -> check(opCase, false)));
    }

    /** Less precise than otherwise, but no less than it may be. */
    @TestFactory
    Stream<DynamicTest> roundsActivations() {
        return cases("attention_(50x2of2x72|19x8of1x256).*|blockedAttention_50x2of2x72.*|matMul_64x64x256_BF16.*")
                .map(opCase -> DynamicTest.dynamicTest(opCase.name(), () -> {
                    check(new OpCase(opCase.name(), ROUNDED, "bfloat16", opCase.setup()), true);
                    assertThrows(AssertionError.class, () -> check(opCase, true));
                }));
    }

    /**
     * What makes an activation splits it, unless what reads it needs floats. With many multiprocessors columns are
     * divided, and sums are finished by a kernel of their own.
     */
    @ParameterizedTest
    @ValueSource(ints = {1, 100})
    void splitsWhereItIsMade(int multiprocessors) {
        OpCase opCase = cases("layer_.*").findFirst().orElseThrow();
        List<String> kernels = check(opCase, gpu(multiprocessors), false);
        assertEquals(multiprocessors > 1, kernels.contains("MmaMatMul.sum"), kernels.toString());
        assertEquals(3, Collections.frequency(kernels, "MmaNorm.splitNorm"));
        assertEquals(0, Collections.frequency(kernels, "MmaMatMul.split"), kernels.toString());
        check(new OpCase(opCase.name(), 3 * ROUNDED, "bfloat16", opCase.setup()), gpu(multiprocessors), true);
    }

    /**
     * Queries, keys and values are one product, and one more kernel rotates and stores them, and splits keys and values
     * if attention is right behind.
     */
    @TestFactory
    Stream<DynamicTest> joinsProjections() {
        return cases("manyProjections_.*").map(opCase -> DynamicTest.dynamicTest(opCase.name(), () -> {
            List<String> kernels = check(opCase, gpu(100), false);
            int layers = 2 * opCase.setup().get().runs().size();
            assertEquals(layers, Collections.frequency(kernels, "MmaProjections.finish"), kernels.toString());
            assertEquals(layers, kernels.stream().filter(name -> name.startsWith("MmaMatMul.product")).count());
            assertEquals(0, Collections.frequency(kernels, "MmaAttention.split"), kernels.toString());
            List<String> apart = check(opCase, gpu(100), false, true);
            assertEquals(layers, Collections.frequency(apart, "MmaAttention.split"), apart.toString());
            check(new OpCase(opCase.name(), 5 * ROUNDED, "bfloat16", opCase.setup()), gpu(100), true);
        }));
    }

    private static DeviceInfo gpu(int multiprocessors) {
        return new DeviceInfo("9:0", "tornado", "GPU", "Test", "", "", DeviceInfo.Kind.GPU, 0, 49_152, 0, 1024,
                multiprocessors, Set.of(DType.BF16, DType.F16));
    }

    private static Stream<OpCase> cases(String names) {
        // Graphs need a runtime.
        Devices.all();
        return OpCases.all().stream().filter(opCase -> opCase.name().matches(names)
                && out(op(opCase.setup().get())).rows() > Step.MOST_SEQUENCES);
    }

    /** The operation that a case is about, before which others may be. */
    private static Op op(OpCase.Setup setup) {
        return setup.programs().getFirst().segments().getFirst().ops().getLast();
    }

    private static Tensor out(Op op) {
        return switch (op) {
            case Op.BlockedAttention blocked -> blocked.attention().out();
            case Op.Attention attention -> attention.out();
            case Op.MatMul product -> product.out();
            default -> throw new IllegalArgumentException(op.toString());
        };
    }

    private static void check(OpCase opCase, boolean rounded) {
        check(opCase, TENSOR_CORES, rounded);
    }

    private static List<String> check(OpCase opCase, DeviceInfo device, boolean rounded) {
        return check(opCase, device, rounded, false);
    }

    /**
     * Runs the first program of a case on tensor cores, and tells which kernels it took.
     *
     * @param apart whether the last operation is lowered as if it were not right behind the others
     */
    private static List<String> check(OpCase opCase, DeviceInfo device, boolean rounded, boolean apart) {
        OpCase.Setup setup = opCase.setup().get();
        EmulatedTasks tasks = new EmulatedTasks(setup, device, rounded);
        List<OpCase.Run> runs = setup.runs().stream().filter(run ->
                run.program().equals(setup.programs().getFirst())).toList();
        for (OpCase.Run run : runs) {
            Segment segment = run.program().segments().getFirst();
            for (int layer = 0; layer < segment.layers(); layer++) {
                tasks.step.set(run.step(), layer, layer);
                int all = segment.ops().size();
                int done = 0;
                while (done < all) {
                    int end = apart && done < all - 1 ? all - 1 : all;
                    done += tasks.lower(segment.ops().subList(done, end), run.program());
                }
            }
        }
        Map<Tensor, MemorySegment> outputs = new HashMap<>();
        runs.getLast().program().segments().getFirst().ops().stream().filter(op -> !(op instanceof Op.Copy))
                .flatMap(op -> op.writes().stream()).filter(setup.outputs()::contains).forEach(tensor ->
                outputs.put(tensor, tasks.floats(tensor).getSegment()));
        OpCase.Setup compared = new OpCase.Setup(setup.weights(), setup.inputs(), setup.runs(),
                List.copyOf(outputs.keySet()));
        try (Backend scalar = Backends.open("scalar", BackendOptions.DEFAULT)) {
            OpCases.compare(opCase, compared, outputs, OpCases.run(scalar, compared));
        }
        return tasks.kernels;
    }

    /** Runs kernels where they would be put into a graph. */
    private static final class EmulatedTasks implements Tasks {
        private final StepBuffer step = new StepBuffer(1);
        private final KernelContext context = new KernelContext();
        private final OpCase.Setup setup;
        private final Map<Tensor, FloatArray> floats = new HashMap<>();
        private final FloatArray scratch;
        private final List<LongArray> parts;
        private final List<LongArray> planes;
        private final Tensor[] split = new Tensor[2];
        private List<Tensor> inPlanes = List.of();
        private final List<String> kernels = new ArrayList<>();
        private final DeviceInfo device;
        private final boolean rounded;
        private Result result;

        EmulatedTasks(OpCase.Setup setup, DeviceInfo device, boolean rounded) {
            this.setup = setup;
            this.device = device;
            this.rounded = rounded;
            Scratch scratch = Lowering.scratch(setup.programs().getFirst(), device);
            this.scratch = new FloatArray(Math.max(scratch.floats(), 1));
            // What no kernel has written is no number.
            this.scratch.init(Float.NaN);
            parts = List.of(unwritten(scratch.parts()), unwritten(scratch.moreParts()));
            planes = List.of(unwritten(scratch.planes()), unwritten(scratch.morePlanes()));
        }

        /** Lowers the first operations of a list, and tells how many. */
        int lower(List<Op> ops, Program program) {
            Optional<MmaProjections> projections = MmaProjections.of(ops, program, device);
            if (projections.isPresent()) {
                projections.get().lower(this);
                return projections.get().ops().size();
            }
            lower(ops.getFirst(), Result.of(ops, program, device));
            return 1;
        }

        private void lower(Op op, Result left) {
            result = left;
            op.writes().forEach(written -> Arrays.setAll(split, i -> written.equals(split[i]) ? null : split[i]));
            switch (op) {
                case Op.BlockedAttention blocked -> Attention.lower(blocked, this);
                case Op.Attention attention -> Attention.lower(attention, this);
                case Op.MatMul product -> MatMul.lower(product, Optional.empty(), this);
                case Op.GatedMatMul product -> MatMul.lower(product, Optional.empty(), this);
                case Op.LayerNorm norm -> Norm.lower(norm, this);
                case Op.RmsNorm norm -> Norm.lower(norm, this);
                // By hand, as it is no kernel for tensor cores.
                case Op.Copy copy -> MemorySegment.copy(floats(copy.x()).getSegment(), 0,
                        floats(copy.out()).getSegment(), 0, copy.out().shape().elements() * Float.BYTES);
                default -> throw new IllegalArgumentException(op.toString());
            }
            inPlanes = List.of();
        }

        private static LongArray unwritten(int longs) {
            LongArray array = new LongArray(Math.max(longs, 1));
            array.init(-1);
            return array;
        }

        /** All layers of a weight, or an input, or null. */
        private MemorySegment values(Tensor tensor) {
            HostTensor weight = setup.weights().get(tensor);
            if (weight == null) {
                return setup.inputs().get(tensor);
            }
            MemorySegment all = MemorySegment.ofArray(new byte[Math.toIntExact(tensor.bytes())]);
            long layerBytes = tensor.bytes() / tensor.layers();
            for (int i = 0; i < tensor.layers(); i++) {
                MemorySegment.copy(weight.layers().get(i), 0, all, i * layerBytes, layerBytes);
            }
            return all;
        }

        @Override
        public void task(String kernel, Geometry geometry, TaskFactory factory) {
            if (!kernel.startsWith("Mma")) {
                throw new AssertionError(kernel);
            }
            geometry.check(kernel, device);
            kernels.add(kernel);
            Object[] parameters = factory.create(kernel).getTaskParameters();
            EmulatedGroup.run(geometry, lane -> call(parameters, lane));
        }

        /** @param parameters the kernel, its context, for which a lane is put in, and the rest */
        private static void call(Object[] parameters, KernelContext lane) {
            Object[] arguments = Arrays.copyOfRange(parameters, 1, parameters.length);
            arguments[0] = lane;
            Method kernel = Stream.of(parameters[0].getClass().getInterfaces()).flatMap(type ->
                    Stream.of(type.getMethods())).filter(method -> method.getName().equals("apply")).findFirst()
                    .orElseThrow();
            try {
                kernel.invoke(parameters[0], arguments);
            } catch (InvocationTargetException e) {
                throw new IllegalStateException(e.getCause());
            } catch (IllegalAccessException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        public KernelContext context() {
            return context;
        }

        @Override
        public IntArray step() {
            return step.ints();
        }

        @Override
        public FloatArray sampling() {
            return step.floats();
        }

        @Override
        public FloatArray floats(Tensor tensor) {
            return floats.computeIfAbsent(tensor, _ -> {
                FloatArray array = new FloatArray(Math.toIntExact(tensor.shape().elements() * tensor.layers()));
                array.init(0);
                MemorySegment values = values(tensor);
                for (int i = 0; values != null && i < array.getSize(); i++) {
                    array.set(i, values.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i));
                }
                return array;
            });
        }

        @Override
        public IntArray ints(Tensor tensor) {
            return IntArray.fromArray(values(tensor).toArray(ValueLayout.JAVA_INT_UNALIGNED));
        }

        @Override
        public ByteArray bytes(Tensor tensor) {
            return ByteArray.fromArray(values(tensor).toArray(ValueLayout.JAVA_BYTE));
        }

        @Override
        public LongArray words(Tensor tensor) {
            LongArray words = new LongArray(Math.toIntExact((tensor.bytes() + 7) / 8));
            MemorySegment.copy(values(tensor), 0, words.getSegment(), 0, tensor.bytes());
            return words;
        }

        @Override
        public FloatArray scales(Tensor tensor) {
            throw new UnsupportedOperationException();
        }

        @Override
        public FloatArray none() {
            return new FloatArray(1);
        }

        @Override
        public IntArray noInts() {
            return new IntArray(1);
        }

        @Override
        public LongArray noLongs() {
            return new LongArray(1);
        }

        @Override
        public ByteArray noBytes() {
            return new ByteArray(1);
        }

        @Override
        public IntArray constants(List<Integer> numbers) {
            return IntArray.fromArray(numbers.stream().mapToInt(Integer::intValue).toArray());
        }

        @Override
        public int stride(Tensor tensor) {
            return tensor.layers() == 1 ? 0 : Math.toIntExact(tensor.shape().elements());
        }

        @Override
        public int slotStride(Tensor tensor) {
            return tensor.slots() == 1 ? 0 : Math.multiplyExact(tensor.slotRows(), tensor.columns());
        }

        @Override
        public int scaleStride(Tensor tensor) {
            return 0;
        }

        @Override
        public FloatArray bf16Table() {
            throw new UnsupportedOperationException();
        }

        @Override
        public FloatArray f16Table() {
            throw new UnsupportedOperationException();
        }

        @Override
        public FloatArray scratch() {
            return scratch;
        }

        @Override
        public LongArray parts(int index) {
            return parts.get(index);
        }

        @Override
        public LongArray planes(int index) {
            return planes.get(index);
        }

        @Override
        public OptionalInt partsOf(Tensor x) {
            return IntStream.range(0, split.length).filter(i -> x.equals(split[i])).findFirst();
        }

        @Override
        public void setParts(Tensor x, int index) {
            split[index] = x;
        }

        @Override
        public boolean areSplit(Tensor keys, Tensor values) {
            return inPlanes.equals(List.of(keys, values));
        }

        @Override
        public void setSplit(Tensor keys, Tensor values) {
            inPlanes = List.of(keys, values);
        }

        @Override
        public Result result() {
            return result;
        }

        @Override
        public DeviceInfo device() {
            return device;
        }

        @Override
        public boolean roundsActivations() {
            return rounded;
        }

        @Override
        public int mostLanes() {
            return device.maxWorkGroupSize();
        }

        @Override
        public String language() {
            return "cuda";
        }
    }
}
