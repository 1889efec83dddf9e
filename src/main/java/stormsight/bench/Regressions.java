package stormsight.bench;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import stormsight.report.TextTable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Rows beside those of a result file. A row is slower if Welch's interval of the ratio of times lies above 1 and the
 * ratio itself is above what is tolerated: between two runs of the same program, more changes than the noise within
 * each.
 *
 * @param found rows that are in both
 * @param incomparable why others were not compared, a line each
 */
public record Regressions(List<Found> found, List<String> incomparable) {
    /**
     * Fields in which two rows must be the same. The version, the commit, the JDK and the driver are what may differ,
     * and the model's name.
     */
    private static final List<String> SAME = List.of(
            "kind",
            "name",
            "cold",
            "cpu",
            "cores",
            "backend",
            "device",
            "runtime",
            "family",
            "parameters",
            "dtype",
            "threads",
            "image");
    /** Fields that decide between several such rows. */
    private static final List<String> CLOSE = List.of("device_id", "model");

    /**
     * A row of both.
     *
     * @param then mean of the file, in milliseconds
     * @param now mean of what was measured, in milliseconds
     * @param ratio above 1 where it is faster now; empty where a single sample leaves the noise unknown, or where a
     *     sample is 0
     */
    public record Found(String name, double then, double now, Optional<Statistics.Ratio> ratio, boolean slower) {
        public String verdict() {
            return ratio.map(known -> known.verdict() + (slower ? ", a REGRESSION" : ""))
                    .orElse("one sample or no time: the noise is not known");
        }
    }

    /** @param tolerated share by which a row may be slower, such as 0.05 */
    public static Regressions of(List<Row> rows, List<JsonNode> recorded, double tolerated) {
        List<Found> found = new ArrayList<>();
        List<String> incomparable = new ArrayList<>();
        for (Row row : rows) {
            JsonNode now = JsonMapper.shared().valueToTree(row.fields());
            Optional<JsonNode> same = recorded.stream().filter(then -> differences(then, now, SAME).isEmpty())
                    .min(Comparator.comparingInt(then -> differences(then, now, CLOSE).size()));
            if (same.isPresent()) {
                found.add(compare(row, same.get(), tolerated));
            } else {
                incomparable.add(row.name() + " on " + row.setting().backend() + ": " + recorded.stream()
                        .filter(then -> then.path("name").equals(now.get("name")))
                        .map(then -> String.join(", ", differences(then, now, SAME)))
                        .findFirst().orElse("no such row in the file"));
            }
        }
        return new Regressions(found, incomparable);
    }

    private static List<String> differences(JsonNode then, JsonNode now, List<String> fields) {
        return fields.stream()
                .filter(field ->
                        !then.path(field).asString("").equals(now.path(field).asString("")))
                .map(field -> field + " is " + now.path(field).asString("") + ", in the file "
                        + then.path(field).asString("missing"))
                .toList();
    }

    private static Found compare(Row row, JsonNode recorded, double tolerated) {
        List<Double> then = recorded.get("samples").valueStream().map(JsonNode::asDouble).toList();
        // What took no time at all has no ratio: a device's compilers may have had nothing to do.
        boolean enough = then.size() > 1
                && row.samples().size() > 1
                && !then.contains(0.0)
                && !row.samples().contains(0.0);
        Optional<Statistics.Ratio> ratio =
                enough ? Optional.of(Statistics.unpaired(then, row.samples())) : Optional.empty();
        boolean slower = ratio.filter(known -> known.high() < 1 && 1 / known.ratio() > 1 + tolerated).isPresent();
        return new Found(row.name(), Statistics.mean(then), row.mean(), ratio, slower);
    }

    public boolean any() {
        return found.stream().anyMatch(Found::slower);
    }

    /** A table, and a line for each row that was not compared. */
    public String markdown() {
        StringBuilder text = new StringBuilder();
        if (!found.isEmpty()) {
            TextTable table = new TextTable("row", ">then ms", ">now ms", "verdict");
            found.forEach(row -> table.row(
                    row.name(),
                    String.format(Locale.ROOT, "%.3f", row.then()),
                    String.format(Locale.ROOT, "%.3f", row.now()),
                    row.verdict()));
            text.append(table.markdown());
        }
        incomparable.forEach(line -> text.append("not compared: ").append(line).append('\n'));
        return text.toString();
    }
}
