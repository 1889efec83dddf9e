package stormsight.report;

import java.util.List;

/**
 * A table of numbers with names for its rows and columns, such as which answer is given how often where another is
 * right.
 *
 * @param title above it, may be empty
 * @param rowAxis what the rows are, may be empty
 * @param rows names
 * @param columnAxis what the columns are, may be empty
 * @param columns names
 * @param values [rows, columns], not copied and not to be changed
 */
public record Matrix(
        String title, String rowAxis, List<String> rows, String columnAxis, List<String> columns, float[] values) {
    /**
     * @throws IllegalArgumentException if there are no rows or columns, the values are not rows x columns, or one is
     * not finite
     */
    public Matrix {
        rows = List.copyOf(rows);
        columns = List.copyOf(columns);
        // Checks sizes and numbers.
        new HeatMap(title, columns.size(), rows.size(), values);
    }

    float at(int row, int column) {
        return values[row * columns.size() + column];
    }

    Range range() {
        return Range.of(List.of(new HeatMap(title, columns.size(), rows.size(), values)));
    }
}
