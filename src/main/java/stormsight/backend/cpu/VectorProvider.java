package stormsight.backend.cpu;

import java.util.List;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.BackendProvider;
import stormsight.backend.DeviceInfo;

/** The processor with the Vector API, or with the scalar loops where that module is not in the Java runtime. */
public final class VectorProvider implements BackendProvider {
    private static final String MODULE = "jdk.incubator.vector";
    private static final Logger LOG = LoggerFactory.getLogger(VectorProvider.class);

    private static boolean module() {
        return ModuleLayer.boot().findModule(MODULE).isPresent();
    }

    private static boolean vectors() {
        return module() && Path.fused();
    }

    private static Path path() {
        return vectors() ? Path.VECTORS : Path.SCALAR;
    }

    @Override
    public String name() {
        return "cpu";
    }

    @Override
    public int priority() {
        return 0;
    }

    @Override
    public Optional<String> unavailable() {
        return Optional.empty();
    }

    @Override
    public List<DeviceInfo> devices() {
        return List.of(CpuBackend.device(name(), path().description(), Runtime.getRuntime().availableProcessors()));
    }

    @Override
    public List<String> notes() {
        return List.of(!vectors() ? "without " + (module() ? "FMA" : MODULE) + ", all is computed in plain loops"
                : NativeKernels.unavailable()
                        .map(why -> why + "; all products are computed in Java")
                        .orElse(NativeKernels.DESCRIPTION));
    }

    @Override
    public void anticipate(BackendOptions options, long weightBytes) {
        if (vectors() && !options.strictMath() && weightBytes >= Settings.nativeFrom()) {
            NativeKernels.begin();
        }
    }

    @Override
    public Backend open(BackendOptions options) {
        Backend backend = CpuBackend.open(name(), options, path());
        DeviceInfo device = backend.device();
        LOG.info("cpu: {}, {} threads{}", device.runtime(), device.computeUnits(),
                vectors() ? "" : " (slow: " + remedy() + ")");
        return backend;
    }

    private static String remedy() {
        return module()
                ? "products and sums are two instructions, as this processor has no FMA, or this Java's flags hide it"
                : "start Java with --add-modules " + MODULE;
    }
}
