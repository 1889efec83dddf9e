package stormsight.bench;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * One line of a result: what was timed, where, and all of its samples.
 *
 * @param name of the trial, or {@code cold} and what was timed
 * @param trial empty for a cold row
 * @param samples milliseconds
 * @param checkedAgainst what the result was compared with before it was timed
 */
public record Row(
        Machine machine,
        Setting setting,
        String name,
        Optional<Trial> trial,
        List<Double> samples,
        String checkedAgainst) {
    public Row {
        samples = List.copyOf(samples);
    }

    static Row of(Machine machine, Setting setting, Trial trial, List<Double> samples, String checkedAgainst) {
        return new Row(machine, setting, trial.name(), Optional.of(trial), samples, checkedAgainst);
    }

    boolean cold() {
        return trial.isEmpty();
    }

    /** Of the samples, in milliseconds. */
    public double mean() {
        return Statistics.mean(samples);
    }

    OptionalDouble deviation() {
        return Statistics.deviation(samples);
    }

    /** Tokens, images or texts a second of each sample; empty where none are counted. */
    List<Double> rates() {
        int counted = trial.map(Trial::counted).orElse(0);
        return counted == 0 ? List.of() : samples.stream().map(millis -> counted * 1e3 / millis).toList();
    }

    /** What {@link #rates} are in. */
    String rateUnit() {
        return trial.map(Trial::rateUnit).orElse("");
    }

    /** As bench/results/schema.json has a row. */
    Map<String, Object> fields() {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("kind", "bench");
        fields.put("name", name);
        fields.put("cold", cold());
        fields.putAll(machine.fields());
        fields.put("backend", setting.backend());
        fields.put("device_id", setting.deviceId());
        fields.put("device", setting.device());
        fields.put("runtime", setting.runtime());
        fields.put("driver", setting.driver());
        fields.put("model", setting.model());
        fields.put("family", setting.family());
        fields.put("parameters", setting.parameters());
        fields.put("dtype", setting.dtype());
        fields.put("threads", setting.threads().orElse(null));
        trial.filter(timed -> timed.promptTokens() > 0)
                .ifPresent(timed -> fields.put("prompt_tokens", timed.promptTokens()));
        trial.filter(timed -> timed.newTokens() > 0).ifPresent(timed -> {
            fields.put("new_tokens", timed.newTokens());
            fields.put("depth", timed.depth());
        });
        trial.filter(timed -> timed.sequences() > 1).ifPresent(timed -> fields.put("sequences", timed.sequences()));
        fields.put("image", setting.image());
        fields.put("unit", "ms");
        fields.put("mean", mean());
        fields.put("stddev", deviation().isPresent() ? deviation().getAsDouble() : null);
        fields.put("samples", samples);
        List<Double> rates = rates();
        if (!rates.isEmpty()) {
            OptionalDouble deviation = Statistics.deviation(rates);
            fields.put("rate_unit", rateUnit());
            fields.put("rate_mean", Statistics.mean(rates));
            fields.put("rate_stddev", deviation.isPresent() ? deviation.getAsDouble() : null);
        }
        fields.put("checked_against", checkedAgainst);
        return fields;
    }
}
