package stormsight.cli;

import java.io.PrintWriter;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;
import stormsight.backend.BackendProvider;
import stormsight.backend.Backends;
import stormsight.backend.DeviceInfo;

/** Lists backends and their devices. */
@Command(name = "devices", description = "Lists backends and devices; * marks what auto takes.")
final class Devices implements Runnable {
    @Spec
    private CommandSpec spec;

    @Override
    public void run() {
        PrintWriter out = spec.commandLine().getOut();
        String automatic = Backends.provider(Backends.AUTO).name();
        for (BackendProvider provider : Backends.providers()) {
            Optional<String> unavailable = provider.unavailable();
            if (unavailable.isPresent()) {
                out.println("  " + provider.name() + ": " + unavailable.get());
                continue;
            }
            List<DeviceInfo> devices = provider.devices();
            for (int i = 0; i < devices.size(); i++) {
                out.println((i == 0 && provider.name().equals(automatic) ? "* " : "  ") + describe(devices.get(i)));
            }
        }
    }

    private static String describe(DeviceInfo device) {
        StringBuilder line = new StringBuilder(device.backend() + " " + device.id() + ": " + device.name());
        if (!device.vendor().isEmpty()) {
            line.append(", ").append(device.vendor());
        }
        line.append(", ").append(device.runtime());
        if (!device.driver().isEmpty()) {
            line.append(", driver ").append(device.driver());
        }
        line.append(", ").append(Memory.text(device.memoryBytes())).append(" memory, ").append(device.computeUnits()).append(" units");
        if (device.localMemoryBytes() > 0) {
            line.append(", ").append(Memory.text(device.localMemoryBytes())).append(" local");
        }
        if (device.maxAllocationBytes() > 0) {
            line.append(", buffers to ").append(Memory.text(device.maxAllocationBytes()));
        }
        if (device.maxWorkGroupSize() > 0) {
            line.append(", groups to ").append(device.maxWorkGroupSize());
        }
        if (!device.nativeTypes().isEmpty()) {
            line.append(", computes in ").append(device.nativeTypes().stream().map(Enum::name).sorted().collect(Collectors.joining(" ")));
        }
        return line.toString();
    }
}
