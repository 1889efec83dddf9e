package stormsight.tornado;

import java.util.List;
import java.util.Map;
import stormsight.backend.Backend;
import stormsight.backend.DeviceInfo;
import stormsight.backend.Executor;
import stormsight.backend.RunListener;
import stormsight.checkpoint.HostTensor;
import stormsight.program.Program;
import stormsight.program.Tensor;

/** A device that runs programs as task graphs. */
final class TornadoVm implements Backend {
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
        return GraphExecutor.prepare(device, weights, programs, listener);
    }

    @Override
    public void close() {}
}
