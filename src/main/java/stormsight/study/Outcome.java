package stormsight.study;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import stormsight.backend.DeviceInfo;
import stormsight.report.ReportData.Fact;
import stormsight.report.ReportData;

/**
 * What became of the examples of an experiment.
 *
 * @param many whether they are of a data set, even one of a single example
 * @param asked what was asked, for people
 * @param settings what the results depend on
 * @param model as users call it
 * @param results in the order of the examples
 */
public record Outcome<R extends ExampleResult>(
        boolean many,
        List<Fact> asked,
        Map<String, String> settings,
        String model,
        DeviceInfo device,
        List<R> results) {
    public Outcome {
        asked = List.copyOf(asked);
        results = List.copyOf(results);
    }

    /** Results that count. */
    public List<R> kept() {
        return results.stream().filter(result -> result.dropped().isEmpty()).toList();
    }

    private Map<String, Integer> dropped() {
        return count(results.stream().flatMap(result -> result.dropped().stream()).toList());
    }

    /** {@code kept 5 of 8: 1 image cannot be read, 2 wrong answers}. */
    public String summary() {
        List<String> parts = new ArrayList<>();
        dropped().forEach((reason, count) -> parts.add(ExampleResult.Reason.counted(count, reason)));
        return "kept " + kept().size() + " of " + results.size()
                + (parts.isEmpty() ? "" : ": " + String.join(", ", parts));
    }

    /** How often each reason occurs. */
    static Map<String, Integer> count(List<String> reasons) {
        Map<String, Integer> counts = new TreeMap<>();
        reasons.forEach(reason -> counts.merge(reason, 1, Integer::sum));
        return counts;
    }

    /** A line for each example that failed, with what went wrong. */
    public List<String> failures() {
        return results.stream()
                .filter(result -> result.detail().isPresent())
                .map(result -> "line " + result.line() + ": " + result.dropped().orElse("") + ": "
                        + result.detail().get())
                .toList();
    }

    /** What was asked and what came of it. */
    List<Fact> facts() {
        List<Fact> facts = new ArrayList<>(asked);
        facts.add(
                many
                        ? new Fact("Examples", summary())
                        : new Fact("Answer", results.getFirst().prediction().orElse("")));
        return facts;
    }

    /** What became of every example of a data set. */
    List<ReportData.Table> tables() {
        return !many
                ? List.of()
                : List.of(new ReportData.Table(
                        "Examples",
                        List.of("Line", "Image", "Question", "The model's answer", "Kept"),
                        results.stream()
                                .map(result -> List.of(
                                        String.valueOf(result.line()),
                                        result.image(),
                                        result.question(),
                                        result.prediction().orElse(""),
                                        result.dropped().orElse("yes")))
                                .toList()));
    }

    Map<String, Object> counts() {
        Map<String, Object> counts = new LinkedHashMap<>();
        counts.put("all", results.size());
        counts.put("kept", kept().size());
        counts.put("dropped", dropped());
        return counts;
    }
}
