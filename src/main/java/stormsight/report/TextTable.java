package stormsight.report;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** A table in columns of equal width, for people and for Markdown: numbers end below each other. */
public final class TextTable {
    private final List<Boolean> right;
    private final List<List<String>> rows = new ArrayList<>();

    /** @param header names of the columns; one that begins with {@code >} is of numbers, which are set flush right */
    public TextTable(String... header) {
        this(List.of(header));
    }

    /** As {@link #TextTable(String...)}. */
    public TextTable(List<String> header) {
        right = header.stream().map(name -> name.startsWith(">")).toList();
        rows.add(header.stream().map(name -> name.startsWith(">") ? name.substring(1) : name).toList());
    }

    /** @throws IllegalArgumentException if there are not as many cells as columns */
    public void row(Object... cells) {
        row(Arrays.stream(cells).map(String::valueOf).toList());
    }

    /** As {@link #row(Object...)}. */
    public void row(List<String> cells) {
        if (cells.size() != right.size()) {
            throw new IllegalArgumentException(cells.size() + " cells for " + right.size() + " columns");
        }
        rows.add(cells);
    }

    /** Without lines between the columns; every row ends with a newline and no spaces. */
    public String plain() {
        return text(rows, "", "  ", "");
    }

    /** As GitHub's Markdown has it. A pipe in a cell is escaped. */
    public String markdown() {
        List<List<String>> escaped = rows.stream()
                .map(row -> row.stream().map(cell -> cell.replace("|", "\\|")).toList())
                .toList();
        List<Integer> widths = widths(escaped);
        StringBuilder line = new StringBuilder("|");
        for (int column = 0; column < right.size(); column++) {
            line.append(
                    right.get(column)
                            ? "-".repeat(widths.get(column) + 1) + ":|"
                            : "-".repeat(widths.get(column) + 2) + "|");
        }
        String all = text(escaped, "| ", " | ", " |");
        int header = all.indexOf('\n') + 1;
        return all.substring(0, header) + line + "\n" + all.substring(header);
    }

    /** A number with that many digits behind the point, and no minus in front of a zero. */
    public static String fixed(double value, int digits) {
        String text = String.format(Locale.ROOT, "%." + digits + "f", value);
        return text.matches("-0[.0]*") ? text.substring(1) : text;
    }

    private static int width(String cell) {
        return cell.codePointCount(0, cell.length());
    }

    private static List<Integer> widths(List<List<String>> rows) {
        List<Integer> widths = new ArrayList<>();
        for (int column = 0; column < rows.getFirst().size(); column++) {
            int at = column;
            widths.add(rows.stream().mapToInt(row -> width(row.get(at))).max().orElse(0));
        }
        return widths;
    }

    private String text(List<List<String>> rows, String begin, String between, String end) {
        List<Integer> widths = widths(rows);
        StringBuilder text = new StringBuilder();
        for (List<String> row : rows) {
            List<String> cells = new ArrayList<>();
            for (int column = 0; column < row.size(); column++) {
                String space = " ".repeat(widths.get(column) - width(row.get(column)));
                cells.add(right.get(column) ? space + row.get(column) : row.get(column) + space);
            }
            text.append((begin + String.join(between, cells) + end).stripTrailing()).append('\n');
        }
        return text.toString();
    }
}
