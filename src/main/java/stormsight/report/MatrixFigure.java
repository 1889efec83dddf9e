package stormsight.report;

import java.awt.BasicStroke;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.geom.Line2D;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.IntUnaryOperator;
import java.util.stream.IntStream;

/**
 * Matrices as cells of colour, as PNG, with names beside rows and columns, and the numbers in the cells where they fit.
 * Each matrix has a colour scale of its own.
 *
 * @param colors from the smallest number to the largest
 * @param caption below the picture, may be empty
 */
public record MatrixFigure(ColorMap colors, String caption) {
    private static final double EM = 15;
    /** Pixels of a side at most where numbers are printed, and where they are not. */
    private static final int PRINTED_SIDE = 1000;
    private static final int SIDE = 512;
    private static final int LARGEST_CELL = 48;
    private static final double LONGEST_NAME = 14 * EM;
    private static final double GAP = 1.4 * EM;
    private static final double TICK = 0.3 * EM;

    /**
     * Draws matrices beside and below each other.
     *
     * @param heading above all of them, may be empty
     * @param across matrices beside each other
     * @throws IllegalArgumentException if there are none
     * @throws FigureException if the file cannot be written or no font is found
     */
    public void write(Path png, String heading, List<Matrix> matrices, int across) {
        if (matrices.isEmpty() || across < 1) {
            throw new IllegalArgumentException(
                    "a figure of " + matrices.size() + " matrices, " + across + " beside each other");
        }
        Drawing.write(png, draw(heading, matrices, across));
    }

    BufferedImage draw(String heading, List<Matrix> matrices, int across) {
        List<Plot> plots = matrices.stream().map(Plot::new).toList();
        int columns = Math.min(across, plots.size());
        int rows = (plots.size() + columns - 1) / columns;
        double[] left = largest(plots, columns, i -> i % columns, plot -> plot.left);
        double[] right = largest(plots, columns, i -> i % columns, plot -> plot.width + plot.right);
        double[] above = largest(plots, rows, i -> i / columns, plot -> plot.above);
        double[] below = largest(plots, rows, i -> i / columns, plot -> plot.height + plot.below);
        double width = GAP + IntStream.range(0, columns).mapToDouble(c -> left[c] + right[c] + GAP).sum();
        Font headingFont = Fonts.bold(1.25 * EM);
        Font small = Fonts.plain(0.85 * EM);
        List<String> headings = heading.isEmpty() ? List.of() : Drawing.wrap(heading, headingFont, width - 2 * GAP);
        List<String> captions = caption.isEmpty() ? List.of() : Drawing.wrap(caption, small, width - 2 * GAP);
        double top = GAP + headings.size() * 1.25 * EM * Drawing.LINE;
        double height = top + IntStream.range(0, rows).mapToDouble(r -> above[r] + below[r] + GAP).sum()
                + captions.size() * EM * Drawing.LINE;
        BufferedImage sheet = Drawing.sheet(width, height);
        Graphics2D g = Drawing.graphics(sheet);
        g.setColor(Drawing.INK);
        double y = GAP;
        for (String line : headings) {
            Drawing.text(g, headingFont, line, GAP, y + EM);
            y += 1.25 * EM * Drawing.LINE;
        }
        y = top;
        for (int row = 0; row < rows; row++) {
            double x = GAP;
            for (int column = 0; column < columns && row * columns + column < plots.size(); column++) {
                // On whole pixels, so that no edge is smeared.
                plots.get(row * columns + column)
                        .draw(g, (int) Math.round(x + left[column]), (int) Math.round(y + above[row]));
                x += left[column] + right[column] + GAP;
            }
            y += above[row] + below[row] + GAP;
        }
        g.setColor(Drawing.FAINT);
        for (String line : captions) {
            Drawing.text(g, small, line, GAP, y);
            y += EM * Drawing.LINE;
        }
        g.dispose();
        return sheet;
    }

    private interface Part {
        double of(Plot plot);
    }

    private static double[] largest(List<Plot> plots, int groups, IntUnaryOperator group, Part part) {
        double[] largest = new double[groups];
        for (int i = 0; i < plots.size(); i++) {
            int to = group.applyAsInt(i);
            largest[to] = Math.max(largest[to], part.of(plots.get(i)));
        }
        return largest;
    }

    /** Where everything about one matrix goes, from the upper left corner of its cells. */
    private final class Plot {
        private final Matrix matrix;
        private final Range range;
        private final Font font = Fonts.plain(EM);
        private final Font small = Fonts.plain(0.85 * EM);
        private final List<String> printed;
        private final int width;
        private final int height;
        private final List<Integer> namedRows;
        private final List<Integer> namedColumns;
        private final boolean turned;
        private final List<String> title;
        private final double left;
        private final double right;
        private final double above;
        private final double below;

        Plot(Matrix matrix) {
            this.matrix = matrix;
            range = matrix.range();
            int rows = matrix.rows().size();
            int columns = matrix.columns().size();
            List<String> numbers = numbers(matrix);
            double widest = numbers.stream().mapToDouble(text -> Fonts.width(font, text)).max().orElseThrow();
            int cellWidth = (int) Math.ceil(Math.max(LARGEST_CELL, widest + 0.9 * EM));
            int cellHeight = (int) Math.ceil(2.2 * EM);
            boolean prints = columns * cellWidth <= PRINTED_SIDE && rows * cellHeight <= PRINTED_SIDE;
            printed = prints ? numbers : List.of();
            width = prints ? columns * cellWidth : side(columns);
            height = prints ? rows * cellHeight : side(rows);
            namedRows = named(matrix.rows(), (double) height / rows, 1.15 * EM);
            double room = (double) width / columns;
            double widestName = matrix.columns().stream()
                    .mapToDouble(name -> Fonts.width(small, shown(name)))
                    .max()
                    .orElseThrow();
            turned = room >= 0.8 * EM && widestName > room - 0.4 * EM && !counted(matrix.columns());
            namedColumns = named(
                    matrix.columns(),
                    room,
                    turned ? 1.15 * EM : widestName + (counted(matrix.columns()) ? EM : 0.4 * EM));
            double rowNames = namedRows.stream()
                    .mapToDouble(row -> Fonts.width(small, shown(matrix.rows().get(row))))
                    .max()
                    .orElse(0);
            double columnNames = namedColumns.stream()
                    .mapToDouble(c -> Fonts.width(small, shown(matrix.columns().get(c))))
                    .max()
                    .orElse(0);
            double axis = matrix.rowAxis().isEmpty() ? 0 : 1.5 * EM;
            double slope = turned ? columnNames * Math.cos(Drawing.SLANT) - room / 2 : 0;
            left = Math.max(TICK + 0.3 * EM + rowNames + axis, slope);
            below = TICK + 0.3 * EM + (turned ? columnNames * Math.sin(Drawing.SLANT) + 0.6 * EM : EM)
                    + (matrix.columnAxis().isEmpty() ? 0 : 1.5 * EM);
            ColorBar bar = new ColorBar(new MapStyle(colors, false), false, EM);
            right = bar.room(List.of(range));
            title = matrix.title().isEmpty() ? List.of() : Drawing.wrap(matrix.title(), Fonts.bold(EM), width + right);
            above = title.size() * EM * Drawing.LINE + (range.ticks().factor().isEmpty() ? 0.5 : 1.6) * EM;
        }

        /** Cells as large as there is room for; of more than pixels, some share one. */
        private static int side(int cells) {
            return cells > SIDE ? SIDE : cells * Math.min(LARGEST_CELL, SIDE / cells);
        }

        private String shown(String name) {
            return Drawing.cutMiddle(Drawing.printable(name).strip(), small, LONGEST_NAME);
        }

        private static boolean counted(List<String> names) {
            return IntStream.range(0, names.size()).allMatch(i -> names.get(i).equals(String.valueOf(i)));
        }

        /** All places whose names have room; of those that only count, round ones; otherwise every second, third, .. */
        private List<Integer> named(List<String> names, double cell, double least) {
            int step = 1;
            for (int factor = 0; step * cell < least; factor++) {
                step = counted(names) ? new int[] {2, 5, 10}[factor % 3] * (int) Math.pow(10, factor / 3) : step + 1;
            }
            int every = step;
            return IntStream.range(0, names.size()).filter(i -> i % every == 0).boxed().toList();
        }

        void draw(Graphics2D g, int x, int y) {
            g.setColor(Drawing.INK);
            double baseline = y - above + EM;
            for (String line : title) {
                Drawing.text(g, Fonts.bold(EM), line, x, baseline);
                baseline += EM * Drawing.LINE;
            }
            g.drawImage(cells(), x, y, null);
            for (int i = 0; i < printed.size(); i++) {
                int row = i / matrix.columns().size();
                int column = i % matrix.columns().size();
                g.setColor(Drawing.inkOn(color(row, column)));
                Drawing.centred(g, font, printed.get(i), x + middle(column, matrix.columns().size(), width),
                        y + middle(row, matrix.rows().size(), height) + 0.36 * EM);
            }
            g.setColor(Drawing.INK);
            g.setStroke(new BasicStroke(1));
            g.draw(new Rectangle2D.Double(x - 0.5, y - 0.5, width + 1, height + 1));
            rowNames(g, x, y);
            columnNames(g, x, y);
            new ColorBar(new MapStyle(colors, false), false, EM).draw(g, range, x + width, y, height);
        }

        private static double middle(int place, int places, int side) {
            return (place + 0.5) * side / places;
        }

        private void rowNames(Graphics2D g, int x, int y) {
            double widest = 0;
            for (int row : namedRows) {
                double at = y + middle(row, matrix.rows().size(), height);
                String name = shown(matrix.rows().get(row));
                g.draw(new Line2D.Double(x - TICK, at, x - 1, at));
                Drawing.text(g, small, name, x - TICK - 0.3 * EM - Fonts.width(small, name), at + 0.3 * EM);
                widest = Math.max(widest, Fonts.width(small, name));
            }
            if (!matrix.rowAxis().isEmpty()) {
                String axis = Drawing.cut(matrix.rowAxis(), small, height + 2 * Math.min(above, below));
                Drawing.upwards(g, small, axis, x - TICK - 0.8 * EM - widest, y + height / 2.0);
            }
        }

        private void columnNames(Graphics2D g, int x, int y) {
            double under = y + height;
            for (int column : namedColumns) {
                double at = x + middle(column, matrix.columns().size(), width);
                String name = shown(matrix.columns().get(column));
                g.draw(new Line2D.Double(at, under + 1, at, under + TICK));
                if (turned) {
                    Drawing.slanted(g, small, name, at + 0.25 * EM, under + TICK + 0.8 * EM);
                } else {
                    Drawing.centred(g, small, name, at, under + TICK + EM);
                }
            }
            if (!matrix.columnAxis().isEmpty()) {
                String axis = Drawing.cut(matrix.columnAxis(), small, width + 2 * Math.min(left, right));
                Drawing.centred(g, small, axis, x + width / 2.0, under + below - 0.3 * EM);
            }
        }

        private int color(int row, int column) {
            return colors.rgb(range.position(matrix.at(row, column)));
        }

        /** Sharp edges between cells; where several cells share a pixel, it shows their mean. */
        private BufferedImage cells() {
            BufferedImage cells = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
            int rows = matrix.rows().size();
            int columns = matrix.columns().size();
            for (int y = 0; y < height; y++) {
                int fromRow = (int) ((long) y * rows / height);
                int toRow = Math.max(fromRow + 1, (int) ((y + 1L) * rows / height));
                for (int x = 0; x < width; x++) {
                    int fromColumn = (int) ((long) x * columns / width);
                    int toColumn = Math.max(fromColumn + 1, (int) ((x + 1L) * columns / width));
                    double sum = 0;
                    for (int row = fromRow; row < toRow; row++) {
                        for (int column = fromColumn; column < toColumn; column++) {
                            sum += matrix.at(row, column);
                        }
                    }
                    cells.setRGB(x, y, colors.rgb(range.position(sum / (toRow - fromRow) / (toColumn - fromColumn))));
                }
            }
            return cells;
        }
    }

    /**
     * All numbers with the same decimals: none where all are whole, otherwise enough for three digits of the largest.
     */
    private static List<String> numbers(Matrix matrix) {
        boolean whole = true;
        double largest = 0;
        for (float value : matrix.values()) {
            whole &= value == Math.rint(value);
            largest = Math.max(largest, Math.abs(value));
        }
        int decimals = whole ? 0 : Math.clamp(2 - (int) Math.floor(Math.log10(largest)), 0, 4);
        List<String> texts = new ArrayList<>();
        for (float value : matrix.values()) {
            String text = String.format(Locale.ROOT, "%." + decimals + "f", value);
            // A small negative number is no -0.00.
            texts.add(text.matches("-0(\\.0*)?") ? text.substring(1) : text);
        }
        return texts;
    }
}
