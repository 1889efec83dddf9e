package stormsight.cli;

import java.io.PrintWriter;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;
import stormsight.backend.BackendProvider;
import stormsight.backend.Backends;
import stormsight.backend.DeviceInfo;
import stormsight.report.Bytes;

/** Lists backends and their devices. */
@Command(
        name = "devices",
        description = "Lists the backends and their devices. A star marks what --backend auto takes.")
final class Devices implements Runnable {
    @Spec
    private CommandSpec spec;

    @Mixin
    private JsonMixin json;

    @Override
    public void run() {
        PrintWriter out = spec.commandLine().getOut();
        String automatic = Backends.provider(Backends.AUTO).name();
        if (json.isWanted()) {
            JsonMixin.print(
                    out,
                    Map.of(
                            "backends",
                            Backends.providers().stream()
                                    .map(provider -> json(provider, automatic))
                                    .toList()));
            return;
        }
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
            provider.notes().forEach(note -> out.println("    " + note));
        }
    }

    private static Map<String, Object> json(BackendProvider provider, String automatic) {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("backend", provider.name());
        object.put("default", provider.name().equals(automatic));
        Optional<String> unavailable = provider.unavailable();
        unavailable.ifPresent(why -> object.put("unavailable", why));
        object.put("notes", unavailable.isPresent() ? List.of() : provider.notes());
        object.put("devices", unavailable.isPresent() ? List.of() : provider.devices());
        return object;
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
        line.append(", ")
                .append(Bytes.text(device.memoryBytes()))
                .append(" of memory, ")
                .append(device.computeUnits())
                .append(device.computeUnits() == 1 ? " compute unit" : " compute units");
        if (device.localMemoryBytes() > 0) {
            line.append(", ").append(Bytes.text(device.localMemoryBytes())).append(" of local memory");
        }
        if (device.maxAllocationBytes() > 0) {
            line.append(", buffers of up to ").append(Bytes.text(device.maxAllocationBytes()));
        }
        if (device.maxWorkGroupSize() > 0) {
            line.append(", work groups of up to ").append(device.maxWorkGroupSize());
        }
        if (!device.nativeTypes().isEmpty()) {
            line.append(", computes in ")
                    .append(device.nativeTypes().stream()
                            .map(Enum::name)
                            .sorted()
                            .collect(Collectors.joining(" ")));
        }
        return line.toString();
    }
}
