package stormsight.tornado;

import static org.junit.jupiter.api.Assumptions.abort;

import java.util.List;
import java.util.Optional;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.DeviceInfo;

/** The devices that tests run on. */
final class Devices {
    private Devices() {}

    /** All devices; without one the test is skipped with the reason. */
    static List<DeviceInfo> all() {
        TornadoProvider provider = new TornadoProvider();
        provider.unavailable().ifPresent(why -> abort("no device: " + why));
        return provider.devices();
    }

    static Backend open(DeviceInfo device) {
        return new TornadoProvider().open(new BackendOptions(0, Optional.of(device.id())));
    }
}
