package stormsight.cli;

import java.util.Arrays;
import java.util.stream.Collectors;

/** Rows of comma-separated values, as RFC 4180 has them but for the end of a line. */
final class Csv {
    private final StringBuilder text = new StringBuilder();

    Csv(String... header) {
        row((Object[]) header);
    }

    void row(Object... values) {
        text.append(Arrays.stream(values).map(Csv::field).collect(Collectors.joining(","))).append('\n');
    }

    private static String field(Object value) {
        String field = String.valueOf(value);
        boolean plain = field.chars().noneMatch(c -> c == ',' || c == '"' || c == '\n' || c == '\r');
        return plain ? field : '"' + field.replace("\"", "\"\"") + '"';
    }

    @Override
    public String toString() {
        return text.toString();
    }
}
