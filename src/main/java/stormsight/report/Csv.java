package stormsight.report;

import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Rows of comma-separated values as RFC 4180 has them, but each ends with a newline alone.
 *
 * <p>A spreadsheet computes cells that begin like formulas, and what a model answered or a file is called may begin
 * like one. Such cells get a single quote in front, which spreadsheets take as the mark of a text. Numbers stay as they
 * are, negative ones too.
 *
 * @see <a href="https://owasp.org/www-community/attacks/CSV_Injection">CSV injection</a>
 */
public final class Csv {
    private static final Pattern FORMULA = Pattern.compile("[=+\\-@\t\r].*", Pattern.DOTALL);
    private static final Pattern NUMBER = Pattern.compile("[+-]?(?:\\d+\\.?\\d*|\\.\\d+)(?:[eE][+-]?\\d+)?");
    private static final Pattern QUOTED = Pattern.compile("[,\"\n\r]");

    private final StringBuilder text = new StringBuilder();

    /** @param header names of the columns */
    public Csv(String... header) {
        row((Object[]) header);
    }

    /**
     * Adds a row. Numbers are written as Java writes them, the elements of a list with spaces between them, and null as
     * an empty cell.
     */
    public void row(Object... values) {
        text.append(Arrays.stream(values).map(Csv::cell).collect(Collectors.joining(","))).append('\n');
    }

    private static String cell(Object value) {
        String text = text(value);
        return QUOTED.matcher(text).find() ? '"' + text.replace("\"", "\"\"") + '"' : text;
    }

    private static String text(Object value) {
        return switch (value) {
            case null -> "";
            case Number number -> number.toString();
            case List<?> list -> list.stream().map(Csv::text).collect(Collectors.joining(" "));
            default -> {
                String text = value.toString();
                yield FORMULA.matcher(text).matches() && !NUMBER.matcher(text).matches() ? "'" + text : text;
            }
        };
    }

    /** All rows so far, the header first. */
    @Override
    public String toString() {
        return text.toString();
    }
}
