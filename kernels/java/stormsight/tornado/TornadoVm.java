package stormsight.tornado;

import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import stormsight.backend.Backend;
import stormsight.backend.Ceilings;
import stormsight.backend.DeviceInfo;
import stormsight.backend.DeviceMemory;
import stormsight.backend.Executor;
import stormsight.backend.FirstTouch;
import stormsight.backend.KernelSource;
import stormsight.backend.PlannedLaunch;
import stormsight.backend.RunListener;
import stormsight.checkpoint.HostTensor;
import stormsight.program.Program;
import stormsight.program.Tensor;

/** A device that runs programs as task graphs. */
final class TornadoVm implements Backend {
    private static final Logger LOG = LoggerFactory.getLogger(TornadoVm.class);

    private final Runtime.Device device;

    TornadoVm(Runtime.Device device) {
        this.device = device;
    }

    @Override
    public DeviceInfo device() {
        return device.info();
    }

    @Override
    public Executor prepare(Map<Tensor, HostTensor> weights, List<Program> programs, RunListener listener) {
        FirstTouch.begin(weights.values());
        Executor executor = GraphExecutor.prepare(device, weights, programs, listener,
                Settings.capture(device.language()), true, LayeredGraph.MOST_TASKS);
        if (executor.roundsActivations()) {
            LOG.info("{}: activations are rounded to bf16 for tensor cores, as --precision bf16 says",
                    device.info().name());
        }
        return executor;
    }

    @Override
    public Executor prepareToProfile(Map<Tensor, HostTensor> weights, List<Program> programs) {
        return GraphExecutor.prepare(device, weights, programs, RunListener.NONE, false, false,
                LayeredGraph.MOST_TASKS);
    }

    @Override
    public List<PlannedLaunch> plan(List<Program> programs) {
        return lowered(programs, program -> program.tasks().stream().map(Lowering.Task::planned));
    }

    private <T> List<T> lowered(List<Program> programs, Function<Lowering.Lowered, Stream<T>> told) {
        Runtime.Device planned = large(programs);
        try (Residency residency = Residency.unfilled(planned.info(), programs)) {
            Lowering lowering = new Lowering(residency, planned, true, LayeredGraph.MOST_TASKS);
            return programs.stream().map(lowering::lower).flatMap(told).toList();
        }
    }

    /** The device, with as much memory as the programs need. */
    private Runtime.Device large(List<Program> programs) {
        long has = device.info().memoryBytes();
        return has == 0 || memory(programs).total() <= has ? device
                : device.with(device.info().withoutMemoryLimits());
    }

    @Override
    public DeviceMemory memory(List<Program> programs) {
        try (Residency residency = Residency.unfilled(device.info().withoutMemoryLimits(), programs)) {
            return residency.memory();
        }
    }

    @Override
    public List<Integer> graphs(List<Program> programs) {
        return lowered(programs, program -> Stream.of(program.launches()));
    }

    @Override
    public List<KernelSource> sources(List<Program> programs) {
        return Sources.of(large(programs), programs);
    }

    @Override
    public Ceilings ceilings(int repetitions) {
        return Peaks.measure(device, repetitions);
    }

    @Override
    public void close() {}
}
