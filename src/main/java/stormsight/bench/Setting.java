package stormsight.bench;

import java.util.Optional;
import java.util.Set;
import stormsight.backend.DeviceInfo;

/**
 * What a row was measured on: device and model, as the process that measures found them.
 *
 * @param model name of its directory
 * @param family such as {@code PaliGemma 1, 224 px}
 * @param parameters elements of all weights
 * @param dtype of the weights as they are held: {@code bf16}
 * @param threads of a CPU backend; empty on a device
 * @param image format and size of the image that is measured with
 */
public record Setting(
        String backend,
        String deviceId,
        String device,
        String runtime,
        String driver,
        String model,
        String family,
        long parameters,
        String dtype,
        Optional<Integer> threads,
        String image) {
    /** Backends whose threads a user chooses. */
    private static final Set<String> THREADED = Set.of("cpu", "scalar");

    /** Behind the runtime of a processor, where products of many rows ran on units for BF16. */
    static final String ONE_DNN = ", oneDNN";
    /** Behind the runtime of a device, where its tensor cores took rounded activations. */
    private static final String ROUNDED = ", activations rounded to bf16";

    /** Threads of a CPU backend; empty on a device. */
    static Optional<Integer> threads(DeviceInfo device) {
        return THREADED.contains(device.backend()) ? Optional.of(device.computeUnits()) : Optional.empty();
    }

    /** What ran the kernels, and whether it rounded activations. */
    static String runtime(DeviceInfo device, boolean rounded) {
        return device.runtime() + (!rounded ? "" : threads(device).isPresent() ? ONE_DNN : ROUNDED);
    }

    static Setting of(Measured measured) {
        DeviceInfo device = measured.backend().device();
        return new Setting(
                device.backend(),
                device.id(),
                device.name(),
                runtime(device, measured.roundsActivations()),
                device.driver(),
                measured.configuration().modelName(),
                measured.family(),
                measured.parameters(),
                measured.dtype().label(),
                threads(device),
                measured.picture().name());
    }
}
