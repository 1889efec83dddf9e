package stormsight.probe;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import stormsight.image.Box;
import stormsight.model.Prompt;
import stormsight.model.Span;

class MapGridTest {
    private static Prompt prompt(Span... spans) {
        return new Prompt(IntStream.range(0, 40).map(place -> -1 - place).toArray(), List.of(spans), 0);
    }

    private static Span.Image part(String name, int from, Span.Grid grid) {
        return new Span.Image(name, 0, from, grid.rows() * grid.stride(), Optional.of(grid));
    }

    private static float[] sum(MapGrid grid) {
        float[] out = new float[grid.cells().cells()];
        grid.sum(place -> place, out, 0);
        return out;
    }

    private static float[] mean(MapGrid grid) {
        float[] out = new float[grid.cells().cells()];
        grid.mean(place -> place, out, 0);
        return out;
    }

    /** Behind each row of cells stands a place that is none. */
    @Test
    void onePartIsItsOwnGrid() {
        MapGrid grid = MapGrid.of(prompt(part("image", 3, new Span.Grid(2, 3, 4, new Box(0, 0, 30, 20)))));
        assertEquals(List.of(3, 4, 5, 7, 8, 9), grid.finestPlaces());
        assertArrayEquals(new float[] {3, 4, 5, 7, 8, 9}, sum(grid));
        assertArrayEquals(new float[] {3, 4, 5, 7, 8, 9}, mean(grid));
    }

    /**
     * A base view of 2 x 2 on an image of 40 x 20, tiles of 2 x 4: a cell of the base is above two of the tiles'.
     */
    @Test
    void aBaseViewIsSpreadOverTheTiles() {
        MapGrid grid = MapGrid.of(prompt(
                part("base", 1, new Span.Grid(2, 2, 2, new Box(0, 0, 40, 20))),
                part("tiles", 10, new Span.Grid(2, 4, 5, new Box(0, 0, 40, 20)))));
        assertEquals(new Span.Grid(2, 4, 4, new Box(0, 0, 40, 20)), grid.cells());
        assertArrayEquals(new float[] {10.5f, 11.5f, 13, 14, 16.5f, 17.5f, 19, 20}, sum(grid));
        assertArrayEquals(new float[] {5.5f, 6, 7, 7.5f, 9, 9.5f, 10.5f, 11}, mean(grid));
    }

    /** Tiles that begin 4 pixels before the image and end 2 pixels too soon. */
    @Test
    void nothingIsLostAtTheEdges() {
        MapGrid grid = MapGrid.of(prompt(
                part("base", 1, new Span.Grid(1, 3, 3, new Box(0, 0, 30, 10))),
                part("tiles", 10, new Span.Grid(1, 4, 4, new Box(-4, 0, 32, 10)))));
        // Cells end at 4, 12, 20 and, for the last, at 30.
        assertArrayEquals(
                new float[] {10 + .4f, 11 + .6f + .4f, 12 + 1.6f, 13 + 3}, sum(grid), 1e-5f);
        assertArrayEquals(
                new float[] {(10 + .5f) / 1.5f, (11 + .75f + .5f) / 2, (12 + 2) / 2f, (13 + 3 * 1.25f) / 2.25f},
                mean(grid),
                1e-5f);
    }

    @Test
    void theFirstImageCounts() {
        Span.Image first = part("image", 3, new Span.Grid(1, 2, 2, new Box(0, 0, 2, 1)));
        Span.Image second = part("image", 9, new Span.Grid(3, 3, 3, new Box(0, 0, 9, 9))).ofImage(1);
        assertEquals(List.of(3, 4), MapGrid.of(prompt(first, second)).finestPlaces());
        assertEquals(
                "the prompt has no image that could be mapped",
                assertThrows(IllegalArgumentException.class, () -> MapGrid.of(prompt())).getMessage());
    }
}
