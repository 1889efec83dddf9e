package stormsight.tornado;

import java.util.List;
import java.util.Optional;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.BackendOptions;
import stormsight.backend.DeviceInfo;
import stormsight.backend.OptionalProvider;

/** Offers the devices that TornadoVM finds. */
public final class TornadoProvider implements OptionalProvider {
    static final String NAME = "tornado";
    private static final int ABOVE_CPU = 1000;

    @Override
    public String name() {
        return NAME;
    }

    /** Whether this JVM was started with what TornadoVM needs. */
    private static boolean startable() {
        return ModuleLayer.boot().findModule("tornado.runtime").isPresent();
    }

    /** The CPU backend is faster than TornadoVM on a CPU, so only GPUs are taken without being asked for. */
    @Override
    public int priority() {
        return startable() && Runtime.devices().stream().anyMatch(device -> device.info().kind() == DeviceInfo.Kind.GPU)
                ? ABOVE_CPU : -1;
    }

    @Override
    public Optional<String> unavailable() {
        if (!startable()) {
            return Optional.of(Settings.missing().orElse("this JVM was started without a TornadoVM SDK")
                    + "; install one (sdk install tornadovm, or a release from github.com/beehive-lab/TornadoVM), set "
                    + "TORNADOVM_HOME and start through the stormsight launcher");
        }
        Runtime.devices();
        return Optional.ofNullable(Runtime.failure());
    }

    @Override
    public List<DeviceInfo> devices() {
        return unavailable().isPresent() ? List.of() : Runtime.devices().stream().map(Runtime.Device::info).toList();
    }

    @Override
    public Backend open(BackendOptions options) {
        unavailable().ifPresent(why -> {
            throw new BackendException("backend '" + NAME + "' is not available: " + why);
        });
        Runtime.Device device = options.device().map(Runtime::device).orElseGet(() -> Runtime.devices().getFirst());
        return new TornadoVm(device.with(options.precision()));
    }
}
