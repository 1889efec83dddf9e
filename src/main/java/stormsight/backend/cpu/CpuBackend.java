package stormsight.backend.cpu;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.util.List;
import java.util.Map;
import java.util.Set;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.BackendOptions;
import stormsight.backend.Ceilings;
import stormsight.backend.DeviceInfo;
import stormsight.backend.Executor;
import stormsight.backend.RunListener;
import stormsight.checkpoint.HostTensor;
import stormsight.program.Program;
import stormsight.program.Tensor;

/** This machine's processor. */
final class CpuBackend implements Backend {
    private static final String DEVICE_ID = "0";

    private final DeviceInfo device;
    private final Path path;
    private final Workers workers;

    private CpuBackend(DeviceInfo device, Path path) {
        this.device = device;
        this.path = path;
        workers = new Workers(device.computeUnits());
    }

    /** @throws BackendException if the options name a device that is not there */
    static CpuBackend open(String name, BackendOptions options, Path path) {
        options.device().filter(id -> !id.equals(DEVICE_ID)).ifPresent(id -> {
            throw new BackendException("backend '" + name + "' has no device " + id + ", only " + DEVICE_ID);
        });
        int threads = options.threads() == 0 ? Runtime.getRuntime().availableProcessors() : options.threads();
        return new CpuBackend(device(name, path.description(), threads), path);
    }

    static DeviceInfo device(String backend, String runtime, int threads) {
        return new DeviceInfo(DEVICE_ID, backend, System.getProperty("os.arch"), "", runtime,
                "Java " + Runtime.version(), DeviceInfo.Kind.CPU, memoryBytes(), 0, 0, 0, threads, Set.of());
    }

    /** Memory of the machine, or of the container that limits it. */
    private static long memoryBytes() {
        return ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class).getTotalMemorySize();
    }

    @Override
    public DeviceInfo device() {
        return device;
    }

    @Override
    public Executor prepare(Map<Tensor, HostTensor> weights, List<Program> programs, RunListener listener) {
        return CpuExecutor.prepare(weights, programs, listener, path, workers, device.memoryBytes());
    }

    @Override
    public Ceilings ceilings(int repetitions) {
        return Peaks.measure(workers, path.peaks(), repetitions, device.memoryBytes());
    }

    @Override
    public void close() {
        workers.close();
    }
}
