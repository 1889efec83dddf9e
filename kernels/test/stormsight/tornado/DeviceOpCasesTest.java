package stormsight.tornado;

import java.lang.foreign.MemorySegment;
import java.lang.reflect.Constructor;
import java.lang.reflect.RecordComponent;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.DeviceInfo;
import stormsight.backend.Executor;
import stormsight.backend.OpCase;
import stormsight.backend.OpCases;
import stormsight.backend.RunListener;
import stormsight.checkpoint.HostTensor;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Tensor;

/**
 * Every operation, shape and type on every device, against the scalar reference. Many cases are prepared together,
 * because an executor's own graphs take longer to compile than the operations of a case.
 */
class DeviceOpCasesTest {
    private static final int TOGETHER = 24;

    @TestFactory
    Stream<DynamicContainer> agreesWithScalar() {
        return containers(OpCases.all(), Devices.all(), Devices::open);
    }

    /** The cases on devices. */
    static Stream<DynamicContainer> containers(List<OpCase> cases, List<DeviceInfo> devices,
            Function<DeviceInfo, Backend> open) {
        return devices.stream().map(device -> DynamicContainer.dynamicContainer(device.id() + " " + device.name(),
                Stream.iterate(0, first -> first < cases.size(), first -> first + TOGETHER)
                        .flatMap(first -> tests(() -> open.apply(device),
                        cases.subList(first, Math.min(first + TOGETHER, cases.size()))))));
    }

    private static Stream<DynamicTest> tests(Supplier<Backend> device, List<OpCase> cases) {
        Batch batch = new Batch(device, cases);
        return cases.stream().map(opCase -> DynamicTest.dynamicTest(opCase.name(), () -> batch.check(opCase)));
    }

    /** Cases under names of their own, run when the first of them is asked for. */
    private static final class Batch {
        private final Supplier<Backend> device;
        private final List<OpCase> cases;
        private final Map<OpCase, OpCase.Setup> setups = new LinkedHashMap<>();
        private final Map<OpCase, Map<Tensor, MemorySegment>> results = new HashMap<>();
        private RuntimeException failure;

        Batch(Supplier<Backend> device, List<OpCase> cases) {
            this.device = device;
            this.cases = cases;
        }

        void check(OpCase opCase) {
            if (setups.isEmpty()) {
                try {
                    run();
                } catch (RuntimeException e) {
                    failure = e;
                }
            }
            if (failure != null) {
                throw failure;
            }
            OpCase.Setup setup = setups.remove(opCase);
            try (Backend scalar = Backends.open("scalar", BackendOptions.DEFAULT)) {
                OpCases.compare(opCase, setup, results.remove(opCase), OpCases.run(scalar, setup));
            }
        }

        private void run() {
            Map<Tensor, HostTensor> weights = new HashMap<>();
            List<Program> programs = new ArrayList<>();
            for (int i = 0; i < cases.size(); i++) {
                OpCase.Setup setup = renamed(cases.get(i), i);
                setups.put(cases.get(i), setup);
                weights.putAll(setup.weights());
                programs.addAll(setup.programs());
            }
            try (Backend backend = device.get(); Executor executor = backend.prepare(weights, programs,
                    RunListener.NONE)) {
                setups.values().forEach(setup -> setup.inputs().forEach(executor::write));
                setups.forEach((opCase, setup) -> {
                    setup.runs().forEach(run -> executor.run(run.program(), run.step()));
                    Map<Tensor, MemorySegment> outputs = new LinkedHashMap<>();
                    for (Tensor output : setup.outputs()) {
                        MemorySegment to = MemorySegment.ofArray(new byte[Math.toIntExact(output.bytes())]);
                        executor.read(output, to);
                        outputs.put(output, to);
                    }
                    results.put(opCase, outputs);
                });
            }
        }
    }

    private static OpCase.Setup renamed(OpCase opCase, int index) {
        OpCase.Setup setup = opCase.setup().get();
        Map<Tensor, HostTensor> weights = new LinkedHashMap<>();
        setup.weights().forEach((tensor, value) -> weights.put(renamed(tensor, index), value));
        Map<Tensor, MemorySegment> inputs = new LinkedHashMap<>();
        setup.inputs().forEach((tensor, value) -> inputs.put(renamed(tensor, index), value));
        Map<Program, Program> programs = new LinkedHashMap<>();
        for (Program program : setup.programs()) {
            programs.put(program, new Program(opCase.name() + " " + programs.size(), program.segments().stream()
                    .map(segment -> segment.with(segment.ops().stream().map(op ->
                    (Op) renamed((Record) op, index)).toList())).toList()));
        }
        return new OpCase.Setup(weights, inputs,
                setup.runs().stream().map(run -> new OpCase.Run(programs.get(run.program()), run.step())).toList(),
                setup.outputs().stream().map(tensor -> renamed(tensor, index)).toList());
    }

    private static Tensor renamed(Tensor tensor, int index) {
        return tensor.as(index + "." + tensor.name(), tensor.kind(), tensor.layers());
    }

    /** The same operation over renamed tensors; its other components as they are. */
    private static Record renamed(Record op, int index) {
        RecordComponent[] components = op.getClass().getRecordComponents();
        Class<?>[] types = new Class<?>[components.length];
        Object[] values = new Object[components.length];
        try {
            for (int i = 0; i < components.length; i++) {
                types[i] = components[i].getType();
                values[i] = switch (components[i].getAccessor().invoke(op)) {
                    case Tensor tensor -> renamed(tensor, index);
                    case Optional<?> optional -> optional.map(value -> value instanceof Tensor tensor
                            ? renamed(tensor, index) : value);
                    case Op nested -> renamed((Record) nested, index);
                    case Object other -> other;
                };
            }
            Constructor<?> constructor = op.getClass().getDeclaredConstructor(types);
            return (Record) constructor.newInstance(values);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(op.toString(), e);
        }
    }
}
