package stormsight.probe;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import stormsight.model.Prompt;
import stormsight.model.Span;

/**
 * The cells that maps of a prompt's image are made of: those of the image's finest part. Where the image has several
 * parts, as a base view and tiles, each cell of the others is spread over the cells that it covers on the image. Where
 * rows are queries over the image, each is spread over all cells, as it read them.
 */
final class MapGrid {
    private final Optional<Span.Image> finest;
    private final Span.Grid cells;
    private final List<Share> shares = new ArrayList<>();

    /**
     * What a place of the prompt and a cell have in common.
     *
     * @param ofPlace part of the place's area that lies in the cell; all parts of a place sum to 1
     * @param ofCell part of the cell's area that the place covers
     */
    private record Share(int place, int cell, double ofPlace, double ofCell) {}

    private MapGrid(Span.Image finest) {
        this.finest = finest.grid().isPresent() ? Optional.of(finest) : Optional.empty();
        Span.Grid grid = finest.grid().or(finest::queried).orElseThrow();
        cells = new Span.Grid(grid.rows(), grid.columns(), grid.columns(), grid.area());
    }

    /**
     * Of the first image that has parts on the image, or of queries: of these, without what they read.
     *
     * @throws IllegalArgumentException if there is none
     */
    static MapGrid of(Prompt prompt) {
        Optional<Span.Image> queries = queries(prompt);
        if (queries.isPresent()) {
            return new MapGrid(queries.get());
        }
        List<Span.Image> all = prompt.images().stream().filter(span -> span.grid().isPresent()).toList();
        if (all.isEmpty()) {
            throw new IllegalArgumentException("the prompt has no image that could be mapped");
        }
        List<Span.Image> parts = all.stream().filter(part -> part.image() == all.getFirst().image()).toList();
        MapGrid grid = new MapGrid(parts.stream()
                .max(Comparator.comparingInt(part -> part.grid().orElseThrow().cells()))
                .orElseThrow());
        parts.forEach(grid::add);
        return grid;
    }

    /**
     * Of queries over the prompt's image, as {@link #of} if there are none.
     *
     * @param read what each query gives to each cell, [queries, cells]; what it gives to all of them counts as 1
     */
    static MapGrid of(Prompt prompt, float[] read) {
        Optional<Span.Image> queries = queries(prompt);
        MapGrid grid = of(prompt);
        for (int query = 0; queries.isPresent() && query < queries.get().count(); query++) {
            int from = query * grid.cells.cells();
            double all = IntStream.range(from, from + grid.cells.cells()).mapToDouble(i -> read[i]).sum();
            for (int cell = 0; cell < grid.cells.cells(); cell++) {
                double part = read[from + cell] / all;
                grid.shares.add(new Share(queries.get().from() + query, cell, part, part));
            }
        }
        return grid;
    }

    private static Optional<Span.Image> queries(Prompt prompt) {
        return prompt.images().stream().filter(image -> image.queried().isPresent()).findFirst();
    }

    private void add(Span.Image part) {
        Span.Grid from = part.grid().orElseThrow();
        if (finest.isPresent() && part == finest.get()) {
            IntStream.range(0, cells.cells()).forEach(cell -> shares.add(new Share(part.place(cell), cell, 1, 1)));
            return;
        }
        double[][] across = overlaps(
                from.area().x(), from.area().width(), from.columns(),
                cells.area().x(), cells.area().width(), cells.columns());
        double[][] down = overlaps(
                from.area().y(), from.area().height(), from.rows(),
                cells.area().y(), cells.area().height(), cells.rows());
        double fromSize = size(from);
        double size = size(cells);
        for (int cell = 0; cell < from.cells(); cell++) {
            double[] wide = across[cell % from.columns()];
            double[] high = down[cell / from.columns()];
            for (int row = 0; row < high.length; row++) {
                for (int column = 0; column < wide.length; column++) {
                    double common = wide[column] * high[row];
                    if (common > 0) {
                        shares.add(new Share(
                                part.place(cell), row * wide.length + column, common / fromSize, common / size));
                    }
                }
            }
        }
    }

    /** Of a cell, in square pixels of the image. */
    private static double size(Span.Grid grid) {
        return grid.area().width() / grid.columns() * (grid.area().height() / grid.rows());
    }

    /**
     * How long the common parts of the steps of two rulers are, [count, ontoCount]. The outermost steps of the second
     * reach as far as the first does, so that nothing is lost where it is shorter by a fraction of a step.
     */
    private static double[][] overlaps(
            double start, double length, int count, double ontoStart, double ontoLength, int ontoCount) {
        double[][] overlaps = new double[count][ontoCount];
        for (int i = 0; i < count; i++) {
            double from = start + length / count * i;
            double to = start + length / count * (i + 1);
            for (int j = 0; j < ontoCount; j++) {
                double left = j == 0 ? from : ontoStart + ontoLength / ontoCount * j;
                double right = j == ontoCount - 1 ? to : ontoStart + ontoLength / ontoCount * (j + 1);
                overlaps[i][j] = Math.max(0, Math.min(to, right) - Math.max(from, left));
            }
        }
        return overlaps;
    }

    /** Rows, columns and area of the cells. */
    Span.Grid cells() {
        return cells;
    }

    /** Places of the finest part, in order of the cells; empty if places are queries. */
    List<Integer> finestPlaces() {
        return finest.map(part -> IntStream.range(0, cells.cells()).mapToObj(part::place).toList())
                .orElse(List.of());
    }

    /** Values of places. */
    @FunctionalInterface
    interface Places {
        float at(int place);
    }

    /** Puts into each cell what its places hold, each spread over all of its cells: the sum stays what it is. */
    void sum(Places values, float[] out, int from) {
        double[] sums = new double[cells.cells()];
        shares.forEach(share -> sums[share.cell()] += values.at(share.place()) * share.ofPlace());
        for (int cell = 0; cell < sums.length; cell++) {
            out[from + cell] = (float) sums[cell];
        }
    }

    /** Puts into each cell the mean of what its places hold, weighed by the part of the cell that they cover. */
    void mean(Places values, float[] out, int from) {
        double[] sums = new double[cells.cells()];
        double[] covered = new double[sums.length];
        for (Share share : shares) {
            sums[share.cell()] += values.at(share.place()) * share.ofCell();
            covered[share.cell()] += share.ofCell();
        }
        for (int cell = 0; cell < sums.length; cell++) {
            out[from + cell] = (float) (sums[cell] / covered[cell]);
        }
    }
}
