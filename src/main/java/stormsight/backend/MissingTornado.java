package stormsight.backend;

import java.util.List;
import java.util.Optional;

/** Stands for the TornadoVM backend in a build without it. */
final class MissingTornado implements BackendProvider {
    static final String NAME = "tornado";

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
        return Optional.of("built without a TornadoVM SDK; install one (sdk install tornadovm, or a release from"
                + " github.com/beehive-lab/TornadoVM), set TORNADOVM_HOME and build again");
    }

    @Override
    public List<DeviceInfo> devices() {
        return List.of();
    }

    @Override
    public Backend open(BackendOptions options) {
        throw new BackendException("backend '" + NAME + "' is not available: " + unavailable().orElseThrow());
    }
}
