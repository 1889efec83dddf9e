package stormsight.backend.cpu;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.BackendOptions;
import stormsight.backend.Ceilings;
import stormsight.backend.DeviceInfo;
import stormsight.backend.Executor;
import stormsight.backend.FirstTouch;
import stormsight.backend.PlannedLaunch;
import stormsight.backend.RunListener;
import stormsight.checkpoint.HostTensor;
import stormsight.program.Program;
import stormsight.program.Step;
import stormsight.program.Tensor;

/** This machine's processor. */
final class CpuBackend implements Backend {
    private static final String DEVICE_ID = "0";
    private static final Logger LOG = LoggerFactory.getLogger(CpuBackend.class);

    private final DeviceInfo device;
    private final Path path;
    private final Workers workers;

    /** Bytes of weights from which on kernels may be native; {@link Long#MAX_VALUE} for never. */
    private final long nativeFrom;

    private CpuBackend(DeviceInfo device, Path path, long nativeFrom) {
        this.device = device;
        this.path = path;
        this.nativeFrom = nativeFrom;
        workers = new Workers(device.computeUnits());
    }

    /** @throws BackendException if the options name a device that is not there */
    static CpuBackend open(String name, BackendOptions options, Path path) {
        boolean exact = options.strictMath() || path == Path.SCALAR;
        return open(name, options, path, exact ? Long.MAX_VALUE : Settings.nativeFrom());
    }

    /** @param nativeFrom bytes of weights from which on kernels are native where they can be */
    static CpuBackend open(String name, BackendOptions options, Path path, long nativeFrom) {
        options.device().filter(id -> !id.equals(DEVICE_ID)).ifPresent(id -> {
            throw new BackendException("backend '" + name + "' has no device " + id + ", only " + DEVICE_ID);
        });
        int threads = options.threads() == 0 ? Runtime.getRuntime().availableProcessors() : options.threads();
        return new CpuBackend(device(name, path.description(), threads), path, nativeFrom);
    }

    static DeviceInfo device(String backend, String runtime, int threads) {
        return new DeviceInfo(DEVICE_ID, backend, Settings.architecture(), "", runtime,
                "Java " + Runtime.version(), DeviceInfo.Kind.CPU, DeviceInfo.hostMemoryBytes(), 0, 0, 0,
                threads, Set.of());
    }

    @Override
    public DeviceInfo device() {
        return device;
    }

    @Override
    public void expect(List<Program> programs) {
        if (NativeKernels.wanted(programs, nativeFrom)) {
            NativeKernels.begin();
        }
    }

    @Override
    public Executor prepare(Map<Tensor, HostTensor> weights, List<Program> programs, RunListener listener) {
        FirstTouch.begin(weights.values());
        boolean wanted = NativeKernels.wanted(programs, nativeFrom);
        Optional<String> without = wanted ? NativeKernels.unavailable() : Optional.empty();
        without.ifPresent(why -> LOG.info("{}: {}; products are computed in Java", device.backend(), why));
        if (!wanted || without.isPresent()) {
            return CpuExecutor.prepare(weights, programs, listener, path, workers, null, device.memoryBytes());
        }
        NativeKernels natives = NativeKernels.open(workers.count());
        try {
            boolean rounds = programs.stream().anyMatch(natives::rounds);
            LOG.info("{}: products of {} weights with more than {} rows by oneDNN, in {}", device.backend(),
                    rounds ? "bf16, q8 and q4" : "f32", Step.MOST_SEQUENCES,
                    rounds ? "bf16 (--strict-math: all in 32 bits)" : "32 bits");
            return CpuExecutor.prepare(weights, programs, listener, path, workers, natives, device.memoryBytes());
        } catch (RuntimeException | Error e) {
            natives.close();
            throw e;
        }
    }

    @Override
    public List<PlannedLaunch> plan(List<Program> programs) {
        List<PlannedLaunch> launches = Backend.super.plan(programs);
        if (!NativeKernels.wanted(programs, nativeFrom)) {
            return launches;
        }
        Optional<String> without = NativeKernels.unavailable();
        if (without.isPresent()) {
            LOG.info("{}: {}; products are computed in Java", device.backend(), without.get());
            return launches;
        }
        try (NativeKernels natives = NativeKernels.open(workers.count())) {
            Set<String> many = programs.stream().filter(natives::multiplies).map(Program::name)
                    .collect(Collectors.toSet());
            return launches.stream().map(launch -> launch.op()
                            .flatMap(op -> natives.implementation(op).or(() -> many.contains(launch.program())
                                    ? natives.exact(op) : Optional.empty()))
                            .map(kernel -> new PlannedLaunch(launch.program(), launch.segment(), launch.times(),
                                    launch.op(), "oneDNN " + kernel,
                                    "from " + (Step.MOST_SEQUENCES + 1) + " rows on; "
                                            + NativeKernels.rounding(launch.op().orElseThrow())))
                            .orElse(launch))
                    .toList();
        }
    }

    @Override
    public Ceilings ceilings(int repetitions) {
        Ceilings ceilings = Peaks.measure(workers, path.peaks(), repetitions, device.memoryBytes());
        if (nativeFrom == Long.MAX_VALUE || NativeKernels.unavailable().isPresent()) {
            return ceilings;
        }
        try (NativeKernels natives = NativeKernels.open(workers.count())) {
            return new Ceilings(ceilings.read(), ceilings.copy(), ceilings.fma(),
                    Optional.of(natives.peak(workers, repetitions)));
        }
    }

    @Override
    public boolean takesBlocks() {
        return true;
    }

    @Override
    public boolean keepsSequencesApart() {
        return true;
    }

    @Override
    public void close() {
        workers.close();
    }
}
