package stormsight.bench;

import java.util.List;
import java.util.Optional;

/** Rows that nothing measured, for tests of what is made of rows. */
final class Rows {
    private Rows() {}

    static Row row(Trial trial, String backend, List<Double> samples) {
        Machine machine = new Machine("1.0", Optional.empty(), "25", "an OS, 1", "a \"CPU\", quoted", 4);
        Setting setting = new Setting(
                backend,
                "0",
                "a device",
                "a runtime",
                "1",
                "a model",
                "PaliGemma 1, 224 px",
                1000,
                "bf16",
                Optional.of(4),
                "png");
        return Row.of(machine, setting, trial, samples, "scalar: equal");
    }
}
