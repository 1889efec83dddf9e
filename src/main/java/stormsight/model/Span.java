package stormsight.model;

import java.util.List;
import java.util.Optional;
import stormsight.image.Box;
import stormsight.tokenizer.Tokenizer;

/** Neighbouring places of a prompt that belong together. Special tokens of a template lie in no span. */
public sealed interface Span {
    /** First place. */
    int from();

    /** One past the last place. */
    int to();

    /** The same span, so many places later. */
    Span shifted(int places);

    /**
     * Rows of an image's features.
     *
     * @param name what users call this part: {@code image}, or {@code base} and {@code tiles} where an image has
     *     several
     * @param image which of the prompt's images, from 0
     * @param count how many places
     * @param grid how the rows lie on the image; absent if they belong to no place of it
     * @param queried cells of the image that each row was made of, if rows are queries over all of it
     */
    record Image(String name, int image, int from, int count, Optional<Grid> grid, Optional<Grid> queried)
            implements Span {
        /** Rows that are no queries. */
        public Image(String name, int image, int from, int count, Optional<Grid> grid) {
            this(name, image, from, count, grid, Optional.empty());
        }

        public Image {
            if (from < 0
                    || count < 1
                    || grid.isPresent()
                            && grid.get().rows() * grid.get().stride()
                                    > count + grid.get().stride() - grid.get().columns()) {
                throw new IllegalArgumentException(name + ": " + count + " places from " + from + " for " + grid);
            }
        }

        @Override
        public int to() {
            return from + count;
        }

        @Override
        public Image shifted(int places) {
            return new Image(name, image, from + places, count, grid, queried);
        }

        /** The same part of another image. */
        public Image ofImage(int number) {
            return new Image(name, number, from, count, grid, queried);
        }

        /** The place of a cell of the grid, row by row. */
        public int place(int cell) {
            Grid cells = grid.orElseThrow();
            return from + cell / cells.columns() * cells.stride() + cell % cells.columns();
        }
    }

    /**
     * Cells on an image, row by row: the cell in row r and column c stands at {@code from + r * stride + c}.
     *
     * @param stride places from one row to the next: columns, or more where rows end with places of their own
     * @param area what the cells cover, in pixels of the image; may reach beyond its edges
     */
    record Grid(int rows, int columns, int stride, Box area) {
        public Grid {
            if (rows < 1 || columns < 1 || stride < columns) {
                throw new IllegalArgumentException(rows + " rows of " + columns + " cells, " + stride + " apart");
            }
        }

        public int cells() {
            return rows * columns;
        }
    }

    /**
     * Tokens of text.
     *
     * @param text what they spell
     * @param pieces which characters of it each token stands for, in order of the places
     */
    record Text(int from, String text, List<Tokenizer.Piece> pieces) implements Span {
        public Text {
            pieces = List.copyOf(pieces);
        }

        @Override
        public int to() {
            return from + pieces.size();
        }

        @Override
        public Text shifted(int places) {
            return new Text(from + places, text, pieces);
        }
    }
}
