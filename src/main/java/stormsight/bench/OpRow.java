package stormsight.bench;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import stormsight.backend.Ceilings;
import stormsight.backend.DeviceInfo;
import stormsight.program.OpCost;
import stormsight.program.OpName;

/**
 * One operation that was timed, alone or within a run of a model.
 *
 * @param name unique within a file
 * @param model that it ran in; empty if it ran alone
 * @param samples microseconds
 * @param cost what a sample moved and computed at least
 * @param ceilings of the device, if they were measured
 * @param bf16 whether it ran on units for BF16
 * @param calls how often it ran in a sample
 * @param checkedAgainst what the result was compared with before it was timed
 */
public record OpRow(
        Machine machine,
        DeviceInfo device,
        String name,
        OpName op,
        Optional<Model> model,
        List<Double> samples,
        OpCost cost,
        Optional<Ceilings> ceilings,
        boolean bf16,
        int calls,
        String checkedAgainst) {
    private static final double GIGA = 1e9;
    private static final double MICROS = 1e6;

    /**
     * A model as a row names it.
     *
     * @param family such as {@code PaliGemma 1, 224 px}
     * @param parameters elements of all weights
     */
    public record Model(String name, String family, long parameters) {}

    public OpRow {
        samples = List.copyOf(samples);
    }

    /** Microseconds. */
    public double mean() {
        return Statistics.mean(samples);
    }

    /** Microseconds, as {@link Statistics#deviation}. */
    public OptionalDouble deviation() {
        return Statistics.deviation(samples);
    }

    /** GB/s of the mean. */
    public double bandwidth() {
        return cost.bytes() / mean() * MICROS / GIGA;
    }

    /** GFLOP/s of the mean. */
    public double rate() {
        return cost.operations() / mean() * MICROS / GIGA;
    }

    /** As bench/results/schema.json has a row. */
    Map<String, Object> fields() {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("kind", model.isPresent() ? "roofline" : "kernel");
        fields.put("name", name);
        fields.put("cold", false);
        fields.putAll(machine.fields());
        fields.put("backend", device.backend());
        fields.put("device_id", device.id());
        fields.put("device", device.name());
        fields.put("runtime", device.runtime() + (bf16 ? Setting.ONE_DNN : ""));
        fields.put("driver", device.driver());
        fields.put("model", model.map(Model::name).orElse(null));
        fields.put("family", model.map(Model::family).orElse(null));
        fields.put("parameters", model.map(Model::parameters).orElse(null));
        fields.put("dtype", op.dtype().label());
        fields.put("threads", Setting.threads(device).orElse(null));
        fields.put("shape", op.shape());
        fields.put("unit", "us");
        fields.put("mean", mean());
        fields.put("stddev", deviation().isPresent() ? deviation().getAsDouble() : null);
        fields.put("samples", samples);
        // Without ceilings, the rate of what an operation is known for: products compute, all others move.
        boolean memory = ceilings.map(known -> known.memoryBound(cost, bf16)).orElse(cost.operations() < cost.bytes());
        List<Double> rates = samples.stream()
                .map(sample -> (memory ? cost.bytes() : cost.operations()) / sample * MICROS / GIGA)
                .toList();
        OptionalDouble deviation = Statistics.deviation(rates);
        fields.put("rate_unit", memory ? "GB/s" : "GFLOP/s");
        fields.put("rate_mean", Statistics.mean(rates));
        fields.put("rate_stddev", deviation.isPresent() ? deviation.getAsDouble() : null);
        fields.put("bytes", cost.bytes());
        fields.put("operations", cost.operations());
        ceilings.ifPresent(known -> {
            fields.put("ceiling", (memory ? known.read() : known.compute(bf16)).median() / GIGA);
            fields.put("ceiling_unit", memory ? "GB/s" : "GFLOP/s");
            fields.put("ceiling_share", known.leastSeconds(cost, bf16) * MICROS / mean());
        });
        fields.put("calls", calls);
        fields.put("checked_against", checkedAgainst);
        return fields;
    }
}
