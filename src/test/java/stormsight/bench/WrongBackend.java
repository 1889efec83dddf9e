package stormsight.bench;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.BackendProvider;
import stormsight.backend.Backends;
import stormsight.backend.Ceilings;
import stormsight.backend.DeviceInfo;
import stormsight.backend.Executor;
import stormsight.backend.RunListener;
import stormsight.backend.RunProfile;
import stormsight.checkpoint.HostTensor;
import stormsight.program.DType;
import stormsight.program.Program;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * The cpu backend with an error of 1 in the first number of what a pass over several rows made, or on the device
 * {@code together} in what a step of several sequences made, to see that it is found.
 */
public final class WrongBackend implements BackendProvider {
    static final String NAME = "wrong";

    @Override
    public String name() {
        return NAME;
    }

    @Override
    public int priority() {
        return -1;
    }

    @Override
    public Optional<String> unavailable() {
        return Optional.empty();
    }

    @Override
    public List<DeviceInfo> devices() {
        return List.of();
    }

    @Override
    public Backend open(BackendOptions options) {
        boolean together = options.device().equals(Optional.of("together"));
        Backend cpu = Backends.open("cpu", new BackendOptions(options.threads(), Optional.empty()));
        return new Backend() {
            @Override
            public DeviceInfo device() {
                DeviceInfo device = cpu.device();
                return new DeviceInfo(
                        device.id(),
                        NAME,
                        device.name(),
                        device.vendor(),
                        device.runtime(),
                        device.driver(),
                        device.kind(),
                        device.memoryBytes(),
                        device.localMemoryBytes(),
                        device.maxAllocationBytes(),
                        device.maxWorkGroupSize(),
                        device.computeUnits(),
                        device.nativeTypes());
            }

            @Override
            public Executor prepare(Map<Tensor, HostTensor> weights, List<Program> programs, RunListener listener) {
                return wrong(cpu.prepare(weights, programs, listener), together);
            }

            @Override
            public Ceilings ceilings(int repetitions) {
                return cpu.ceilings(repetitions);
            }

            @Override
            public void close() {
                cpu.close();
            }
        };
    }

    private static Executor wrong(Executor right, boolean together) {
        return new Executor() {
            private boolean severalRows;

            private boolean wrong(Step step) {
                return together ? step.sequences().size() > 1 : step.rows() > 1;
            }

            @Override
            public void run(Program program, Step step) {
                severalRows = wrong(step);
                right.run(program, step);
            }

            @Override
            public RunProfile profile(Program program, Step step) {
                severalRows = wrong(step);
                return right.profile(program, step);
            }

            @Override
            public void write(Tensor input, MemorySegment from) {
                right.write(input, from);
            }

            @Override
            public void read(Tensor output, MemorySegment to) {
                right.read(output, to);
                if (severalRows && output.dtype() == DType.F32) {
                    to.set(ValueLayout.JAVA_FLOAT, 0, to.get(ValueLayout.JAVA_FLOAT, 0) + 1);
                }
            }

            @Override
            public long allocatedBytes() {
                return right.allocatedBytes();
            }

            @Override
            public void close() {
                right.close();
            }
        };
    }
}
