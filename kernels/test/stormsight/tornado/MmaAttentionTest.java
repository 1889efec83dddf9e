package stormsight.tornado;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.DeviceInfo;
import stormsight.backend.OpCase;
import stormsight.backend.OpCases;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Step;
import stormsight.program.Tensor;
import stormsight.tornado.kernel.Attention;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.TaskGraph;
import uk.ac.manchester.tornado.api.common.TornadoFunctions;
import uk.ac.manchester.tornado.api.types.arrays.ByteArray;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.LongArray;

/** Attention on tensor cores, whose kernels run as Java on {@link EmulatedGroup}: no device here need have any. */
class MmaAttentionTest {
    /** With one multiprocessor, so that groups take several units. */
    private static final DeviceInfo TENSOR_CORES = new DeviceInfo("9:0", "tornado", "GPU", "Test", "", "",
            DeviceInfo.Kind.GPU, 0, 49_152, 0, 1024, 1, Set.of(DType.BF16, DType.F16));

    @TestFactory
    Stream<DynamicTest> agreesWithScalar() {
        // Graphs need a runtime.
        Devices.all();
        return OpCases.all().stream().filter(opCase -> opCase.name().matches(
                "attention_.*|blockedAttention_(50x2of2|31x2of1x64_at0_prefix10_window7and3|47x2of1).*"))
                .filter(opCase -> attention(opCase.setup().get()).out().rows() > Step.MOST_SEQUENCES)
                .map(opCase -> DynamicTest.dynamicTest(opCase.name(), () -> check(opCase)));
    }

    private static Op.Attention attention(OpCase.Setup setup) {
        return switch (op(setup)) {
            case Op.BlockedAttention blocked -> blocked.attention();
            case Op op -> (Op.Attention) op;
        };
    }

    private static Op op(OpCase.Setup setup) {
        return setup.programs().getFirst().segments().getFirst().ops().getLast();
    }

    private static void check(OpCase opCase) {
        OpCase.Setup setup = opCase.setup().get();
        EmulatedTasks tasks = new EmulatedTasks(setup.inputs(), Lowering.scratch(op(setup), TENSOR_CORES));
        OpCase.Run run = setup.runs().getFirst();
        for (int layer = 0; layer < run.program().segments().getFirst().layers(); layer++) {
            tasks.step.set(run.step(), layer, layer);
            switch (op(setup)) {
                case Op.BlockedAttention blocked -> Attention.lower(blocked, tasks);
                case Op op -> Attention.lower((Op.Attention) op, tasks);
            }
        }
        Map<Tensor, MemorySegment> outputs = new LinkedHashMap<>();
        outputs.put(attention(setup).out(), tasks.floats(attention(setup).out()).getSegment());
        outputs.forEach((tensor, values) -> {
            setup.outputs().removeIf(output -> !output.equals(tensor));
        });
        try (Backend scalar = Backends.open("scalar", BackendOptions.DEFAULT)) {
            OpCases.compare(opCase, setup, outputs, OpCases.run(scalar, setup));
        }
    }

    /** Runs kernels where they would be put into a graph. */
    private static final class EmulatedTasks implements Tasks {
        private final StepBuffer step = new StepBuffer(1);
        private final KernelContext context = new KernelContext();
        private final Map<Tensor, MemorySegment> inputs;
        private final Map<Tensor, FloatArray> floats = new HashMap<>();
        private final FloatArray scratch;
        private final List<LongArray> planes;
        private Geometry geometry;

        EmulatedTasks(Map<Tensor, MemorySegment> inputs, Scratch scratch) {
            this.inputs = inputs;
            this.scratch = new FloatArray(scratch.floats());
            // What no kernel has written is no number.
            this.scratch.init(Float.NaN);
            planes = List.of(new LongArray(scratch.planes()), new LongArray(scratch.morePlanes()));
            planes.forEach(plane -> plane.init(-1));
        }

        @Override
        public void task(String kernel, Geometry geometry, TaskAdder adder) {
            if (!kernel.startsWith("MmaAttention.")) {
                throw new AssertionError(kernel);
            }
            geometry.check(kernel, TENSOR_CORES);
            this.geometry = geometry;
            adder.add(new EmulatedGraph(), kernel);
        }

        private final class EmulatedGraph extends TaskGraph {
            EmulatedGraph() {
                super("emulated");
            }

            @Override
            @SuppressWarnings("unchecked")
            public <T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13, T14> TaskGraph task(String id,
                    TornadoFunctions.Task14<T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13, T14> code, T1 a1,
                    T2 a2, T3 a3, T4 a4, T5 a5, T6 a6, T7 a7, T8 a8, T9 a9, T10 a10, T11 a11, T12 a12, T13 a13,
                    T14 a14) {
                EmulatedGroup.run(geometry, lane ->
                        code.apply((T1) lane, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14));
                return this;
            }

            @Override
            @SuppressWarnings("unchecked")
            public <T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13, T14, T15, T16, T17, T18, T19,
                    T20> TaskGraph task(String id,
                    TornadoFunctions.Task20<T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13, T14, T15, T16,
                            T17, T18, T19, T20> code, T1 a1, T2 a2, T3 a3, T4 a4, T5 a5, T6 a6, T7 a7, T8 a8, T9 a9,
                    T10 a10, T11 a11, T12 a12, T13 a13, T14 a14, T15 a15, T16 a16, T17 a17, T18 a18, T19 a19,
                    T20 a20) {
                EmulatedGroup.run(geometry, lane -> code.apply((T1) lane, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11,
                        a12, a13, a14, a15, a16, a17, a18, a19, a20));
                return this;
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
                MemorySegment values = inputs.get(tensor);
                for (int i = 0; values != null && i < array.getSize(); i++) {
                    array.set(i, values.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i));
                }
                return array;
            });
        }

        @Override
        public IntArray ints(Tensor tensor) {
            return IntArray.fromArray(inputs.get(tensor).toArray(ValueLayout.JAVA_INT_UNALIGNED));
        }

        @Override
        public ByteArray bytes(Tensor tensor) {
            return ByteArray.fromArray(inputs.get(tensor).toArray(ValueLayout.JAVA_BYTE));
        }

        @Override
        public LongArray words(Tensor tensor) {
            throw new UnsupportedOperationException();
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
            return 0;
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
        public LongArray parts() {
            throw new UnsupportedOperationException();
        }

        @Override
        public LongArray planes(int index) {
            return planes.get(index);
        }

        @Override
        public boolean holdsParts(Tensor x) {
            return false;
        }

        @Override
        public void setParts(Tensor x) {}

        @Override
        public DeviceInfo device() {
            return TENSOR_CORES;
        }

        @Override
        public int mostLanes() {
            return TENSOR_CORES.maxWorkGroupSize();
        }

        @Override
        public String language() {
            return "cuda";
        }
    }
}
