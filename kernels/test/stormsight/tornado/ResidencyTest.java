package stormsight.tornado;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import stormsight.Goldens;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.DeviceInfo;
import stormsight.backend.Executor;
import stormsight.backend.RunListener;
import stormsight.checkpoint.HostTensor;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Passes;
import stormsight.model.Weights;
import stormsight.model.family.Families;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Step;
import stormsight.program.Tensor;

/** What stays on a device stays what it was: over requests, programs, and the arrays of a split stack. */
class ResidencyTest {
    private static final int STEPS = 200;
    /** F32 sums in another order than the CPU's, through all layers. */
    private static final float ROUNDING = 2e-4f;
    /** Of a decode step: the step, its id, the token and its log-probability, each behind the header of an array. */
    private static final long STEP_BYTES = 200;

    @TestFactory
    Stream<DynamicTest> answersRequestAfterRequest() {
        return Devices.all().stream().map(device -> DynamicTest.dynamicTest(device.id(), () -> {
            try (ModelDirectory directory = Families.open(Goldens.folder("paligemma2-window"), Optional.empty());
                    Arena arena = Arena.ofShared();
                    Backend cpu = Backends.open("cpu", BackendOptions.DEFAULT)) {
                ModelDirectory.Bound bound = directory.bind(arena, new Limits(40, STEPS),
                        Options.DEFAULT.withSlidingWindow(true));
                Passes model = bound.passes();
                // So few tasks that graphs end within layers and begin with tasks of others, as those of large models.
                try (GraphExecutor executor = GraphExecutor.prepare(Runtime.device(device.id()), bound.weights(),
                        model.programs(), RunListener.NONE, Settings.capture(Runtime.device(device.id()).language()),
                        true, 7);
                        Executor expected = cpu.prepare(bound.weights(), model.programs(), RunListener.NONE)) {
                    for (int request = 0; request < 3; request++) {
                        answer(model, executor, expected, arena, request, request == 2 ? 3 : STEPS >> request);
                    }
                }
            }
        }));
    }

    private static void answer(Passes model, GraphExecutor executor, Executor expected, Arena arena, int request,
            int steps) {
        Random random = new Random(request);
        MemorySegment patches = arena.allocate(model.encode().input().bytes());
        for (long i = 0; i < patches.byteSize(); i += 4) {
            patches.set(ValueLayout.JAVA_FLOAT, i, random.nextFloat(-1, 1));
        }
        int imageTokens = model.rowsPerView();
        int prompt = imageTokens + 4 + 5 * request;
        int[] ids = new int[prompt];
        for (int i = 0; i < prompt; i++) {
            ids[i] = i < imageTokens ? -1 - i : 100 + random.nextInt(400);
        }
        for (Executor each : List.of(executor, expected)) {
            each.write(model.encode().input(), patches);
            each.run(model.encode().program(), model.encodeStep(0));
            each.write(model.prefill().input(), arena.allocateFrom(ValueLayout.JAVA_INT, ids));
            each.run(model.prefill().program(), new Step(0, prompt, prompt));
        }
        compare(model.prefill().output(), executor, expected, arena, "request " + request + ", prompt");
        for (int i = 0; i < steps; i++) {
            int id = 100 + random.nextInt(400);
            for (Executor each : List.of(executor, expected)) {
                each.write(model.decode().input(), arena.allocateFrom(ValueLayout.JAVA_INT, id));
                each.run(model.decode().program(), new Step(prompt + i, 1, prompt));
            }
            if (i % 25 == 0 || i == steps - 1) {
                compare(model.decode().output(), executor, expected, arena, "request " + request + ", step " + i);
            }
        }
        executor.startProfile();
        executor.write(model.decode().input(), arena.allocateFrom(ValueLayout.JAVA_INT, 100));
        executor.run(model.decode().program(), new Step(prompt, 1, prompt));
        executor.read(model.token(), arena.allocate(4));
        executor.read(model.logProbability(), arena.allocate(4));
        Profile profile = executor.stopProfile();
        long bytes = profile.dataBytes();
        assertTrue(bytes > 0 && bytes <= STEP_BYTES, bytes + " bytes to or from the device in a decode step");
    }

    private static void compare(Tensor tensor, Executor actual, Executor expected, Arena arena, String where) {
        assertArrayEquals(read(tensor, expected, arena), read(tensor, actual, arena), ROUNDING, where);
    }

    private static float[] read(Tensor tensor, Executor executor, Arena arena) {
        MemorySegment data = arena.allocate(tensor.bytes());
        executor.read(tensor, data);
        return data.toArray(ValueLayout.JAVA_FLOAT);
    }

    /** A device that allocates little at once: the five layers of a stack lie in three arrays. */
    @TestFactory
    Stream<DynamicTest> splitsStacks() {
        return Devices.all().stream().map(info -> Runtime.device(info.id())).map(device ->
                DynamicTest.dynamicTest(device.info().id(), () -> {
            int columns = 64;
            Tensor w = new Tensor("w", DType.F32, Shape.of(columns), Tensor.Kind.WEIGHT, 5);
            Tensor x = new Tensor("x", DType.F32, Shape.of(2, columns), Tensor.Kind.INPUT, 1);
            Tensor y = Tensor.activation("y", 2, columns);
            Tensor out = new Tensor("out", DType.F32, Shape.of(2, columns), Tensor.Kind.OUTPUT, 5);
            Program program = new Program("split", List.of(
                    Segment.once("start", List.of(new Op.Copy(x, y))),
                    new Segment("layers", 0, 5, List.of(new Op.RmsNorm(y, w, 1e-6f, Optional.empty(), y),
                    new Op.Copy(y, out)))));
            try (Arena arena = Arena.ofShared(); Backend cpu = Backends.open("scalar", BackendOptions.DEFAULT)) {
                Random random = new Random(1);
                List<MemorySegment> layers = Stream.generate(() -> floats(arena, random, columns)).limit(5).toList();
                Map<Tensor, HostTensor> weights = Map.of(w, new HostTensor(DType.F32, w.shape(), layers));
                MemorySegment input = floats(arena, random, 2 * columns);
                Runtime.Device small = new Runtime.Device(device.tornado(), limited(device.info(), 1100),
                        device.language());
                try (GraphExecutor split = GraphExecutor.prepare(small, weights, List.of(program), RunListener.NONE,
                        Settings.capture(device.language()), true, LayeredGraph.MOST_TASKS);
                        Executor expected = cpu.prepare(weights, List.of(program), RunListener.NONE)) {
                    for (Executor each : List.of(split, expected)) {
                        each.write(x, input);
                        each.run(program, new Step(0, 2, 0));
                    }
                    assertArrayEquals(read(out, expected, arena), read(out, split, arena), 1e-5f);
                }
            }
        }));
    }

    /** Weights are read on a thread of their own; what fails there is thrown by prepare, which frees everything. */
    @TestFactory
    Stream<DynamicTest> throwsWhatFailsWhileWeightsAreRead() {
        return Devices.all().stream().map(info -> Runtime.device(info.id())).map(device ->
                DynamicTest.dynamicTest(device.info().id(), () -> {
            int columns = 64;
            Tensor w = new Tensor("w", DType.F32, Shape.of(columns), Tensor.Kind.WEIGHT, 1);
            Tensor x = new Tensor("x", DType.F32, Shape.of(2, columns), Tensor.Kind.INPUT, 1);
            Tensor out = new Tensor("out", DType.F32, Shape.of(2, columns), Tensor.Kind.OUTPUT, 1);
            Program program = new Program("norm", List.of(Segment.once("all",
                    List.of(new Op.RmsNorm(x, w, 1e-6f, Optional.empty(), out)))));
            MemorySegment closed;
            try (Arena arena = Arena.ofShared()) {
                closed = arena.allocate(w.bytes());
            }
            Map<Tensor, HostTensor> weights = Map.of(w, HostTensor.of(DType.F32, w.shape(), closed));
            IllegalStateException e = assertThrows(IllegalStateException.class,
                    () -> GraphExecutor.prepare(device, weights, List.of(program), RunListener.NONE,
                    Settings.capture(device.language()), true, LayeredGraph.MOST_TASKS));
            assertEquals("Already closed", e.getMessage());
        }));
    }

    private static MemorySegment floats(Arena arena, Random random, int count) {
        MemorySegment data = arena.allocate(4L * count);
        for (int i = 0; i < count; i++) {
            data.setAtIndex(ValueLayout.JAVA_FLOAT, i, random.nextFloat(-1, 1));
        }
        return data;
    }

    private static DeviceInfo limited(DeviceInfo d, long allocation) {
        return new DeviceInfo(d.id(), d.backend(), d.name(), d.vendor(), d.runtime(), d.driver(), d.kind(),
                d.memoryBytes(), d.localMemoryBytes(), allocation, d.maxWorkGroupSize(), d.computeUnits(),
                d.nativeTypes());
    }

    @Test
    void saysHowMuchMemoryIsMissing() {
        Devices.all();
        DeviceInfo device = new DeviceInfo("0:0", "tornado", "Small", "Test", "OpenCL", "", DeviceInfo.Kind.GPU,
                2_000_000_000L, 0, 0, 0, 1, Set.of());
        Tensor out = new Tensor("out", DType.F32, Shape.of(50_000, 20_000), Tensor.Kind.OUTPUT, 1);
        Program program = new Program("large", List.of(Segment.once("all", List.of(
                new Op.Copy(Tensor.activation("x", 50_000, 20_000), out)))));
        BackendException e = assertThrows(BackendException.class, () ->
                Residency.of(device, Map.of(), List.of(program)));
        assertEquals(
                "the model needs 8.00 GB on the device (0.00 GB of weights, 8.00 GB of caches and activations), Small "
                        + "has 2.00 GB",
                e.getMessage());
    }
}
