package stormsight.bench;

import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.stream.Collectors;
import stormsight.report.Csv;
import stormsight.report.TextTable;
import stormsight.checkpoint.JsonRecord;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Results as text, and back; bench/results/schema.json describes the JSON. */
public final class ResultFile {
    /** Of this layout. */
    private static final String FORMAT = "stormsight-results-1";

    /** How results are written. */
    public enum Format {
        MD,
        CSV,
        JSON,
        JSONL;

        /** As users write it, and as the endings of files do. */
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    private ResultFile() {}

    /** The rows as text that ends with a newline. */
    public static String text(List<Row> rows, Format format) {
        return switch (format) {
            case MD -> markdown(rows);
            case CSV -> csv(rows);
            case JSON -> json(rows, Map.of());
            case JSONL ->
                rows.stream()
                        .map(row -> JsonMapper.shared().writeValueAsString(row.fields()) + "\n")
                        .collect(Collectors.joining());
        };
    }

    /** @param more fields beside the rows */
    static String json(List<Row> rows, Map<String, Object> more) {
        return file(rows.stream().map(Row::fields).toList(), more);
    }

    /** Operations as JSON text that ends with a newline. @param note what a reader should know */
    public static String ops(List<OpRow> rows, String note) {
        return file(rows.stream().map(OpRow::fields).toList(), Map.of("note", note));
    }

    private static String file(List<Map<String, Object>> rows, Map<String, Object> more) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("format", FORMAT);
        file.put("created", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
        file.put("rows", rows);
        file.putAll(more);
        return JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(file) + "\n";
    }

    private static String csv(List<Row> rows) {
        Set<String> columns = new LinkedHashSet<>();
        rows.forEach(row -> columns.addAll(row.fields().keySet()));
        Csv csv = new Csv(columns.toArray(String[]::new));
        for (Row row : rows) {
            Map<String, Object> fields = row.fields();
            csv.row(columns.stream().map(fields::get).toArray());
        }
        return csv.toString();
    }

    /** A table for each setting, under what all of its rows share. */
    private static String markdown(List<Row> rows) {
        StringBuilder text = new StringBuilder();
        rows.stream().map(Row::setting).distinct().forEach(setting -> {
            List<Row> own =
                    rows.stream().filter(row -> row.setting().equals(setting)).toList();
            if (!text.isEmpty()) {
                text.append('\n');
            }
            heading(text, own.getFirst());
            Set<String> units = own.stream()
                    .filter(row -> !row.rates().isEmpty())
                    .map(Row::rateUnit)
                    .collect(Collectors.toSet());
            // Of several units, each rate says its own.
            String rate = units.size() > 1 ? ">rate" : ">" + units.stream().findFirst().orElse("tok/s");
            TextTable table = new TextTable(
                    "model", "dtype", "backend", ">threads", "row", ">ms", rate, ">samples", "checked against");
            for (Row row : own) {
                List<Double> rates = row.rates();
                table.row(
                        setting.model(),
                        setting.dtype(),
                        setting.backend(),
                        setting.threads().map(String::valueOf).orElse(""),
                        row.name(),
                        plusMinus(row.mean(), row.deviation()),
                        rates.isEmpty()
                                ? ""
                                : plusMinus(Statistics.mean(rates), Statistics.deviation(rates))
                                        + (units.size() > 1 ? " " + row.rateUnit() : ""),
                        row.samples().size(),
                        row.checkedAgainst());
            }
            text.append(table.markdown());
        });
        return text.toString();
    }

    private static void heading(StringBuilder text, Row row) {
        text.append(machine(row.machine())).append('\n').append(setting(row.setting())).append("\n\n");
    }

    /** What all rows of one run share, in one line. */
    static String machine(Machine machine) {
        return "stormsight " + machine.version()
                + machine.commit().map(commit -> ", commit " + commit).orElse("") + ", JDK " + machine.jdk() + "; "
                + machine.os() + "; " + machine.cpu() + ", " + machine.cores()
                + (machine.cores() == 1 ? " core" : " cores");
    }

    /** Device and model in one line. */
    static String setting(Setting setting) {
        return setting.backend() + " " + setting.deviceId() + ": " + setting.device() + ", " + setting.runtime()
                + ", driver " + setting.driver()
                + setting.threads()
                        .map(count -> ", " + count + (count == 1 ? " thread" : " threads"))
                        .orElse("") + "; " + setting.model() + ": "
                + setting.family()
                + String.format(
                        Locale.ROOT, ", %.1f million parameters in %s", setting.parameters() / 1e6, setting.dtype())
                + "; image: " + setting.image();
    }

    private static String plusMinus(double mean, OptionalDouble deviation) {
        int digits = mean < 10 ? 3 : mean < 1000 ? 2 : 1;
        String format = "%." + digits + "f";
        return String.format(Locale.ROOT, format, mean)
                + (deviation.isPresent() ? " ± " + String.format(Locale.ROOT, format, deviation.getAsDouble()) : "");
    }

    /**
     * Reads the rows of a JSON file.
     *
     * @throws IllegalArgumentException naming the file and the field, if it cannot be read or is no result file
     */
    public static List<JsonNode> read(Path file) {
        JsonRecord content;
        try {
            content = JsonRecord.read(file);
        } catch (NoSuchFileException e) {
            throw new IllegalArgumentException(file + ": no such file", e);
        } catch (IOException e) {
            throw new IllegalArgumentException(file + ": cannot be read: " + e.getMessage(), e);
        }
        if (!content.node().path("format").asString("").equals(FORMAT)) {
            throw content.invalid("no result file (format " + FORMAT + " expected, as --format json writes it)");
        }
        List<JsonNode> rows = new ArrayList<>();
        for (JsonRecord row : content.get("rows").elements()) {
            row.get("name").text();
            JsonRecord samples = row.get("samples");
            if (samples.elements().isEmpty()) {
                throw samples.invalid("no samples");
            }
            for (JsonRecord sample : samples.elements()) {
                if (sample.number() < 0) {
                    throw sample.invalid("a time below 0");
                }
            }
            rows.add(row.node());
        }
        return rows;
    }
}
