package stormsight.backend.cpu;

import java.util.List;
import java.util.Optional;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.BackendProvider;
import stormsight.backend.DeviceInfo;

/** The oracle of all other backends: slow, computing in double precision, on any Java. */
public final class ScalarProvider implements BackendProvider {
    @Override
    public String name() {
        return "scalar";
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
        return List.of(CpuBackend.device(name(), Path.SCALAR.description(),
                Runtime.getRuntime().availableProcessors()));
    }

    @Override
    public Backend open(BackendOptions options) {
        return CpuBackend.open(name(), options, Path.SCALAR);
    }
}
