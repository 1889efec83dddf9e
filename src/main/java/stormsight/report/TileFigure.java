package stormsight.report;

import java.awt.Font;
import java.awt.Graphics2D;
import java.nio.file.Path;
import java.util.List;

/**
 * Small maps in rows and columns, which have a place of their own: a map for each place of a grid, such as what each
 * position is alike to. All share one colour scale. As PNG.
 *
 * @param caption below the picture, may be empty
 */
public record TileFigure(MapStyle style, String caption) {
    private static final double EM = Frame.EM;
    private static final double GAP = Frame.GAP;
    private static final int SIDE = 720;
    private static final int LARGEST_TILE = 120;
    private static final int BETWEEN = 4;

    /**
     * Places of the tiles.
     *
     * @param axis what is counted
     * @param names of the places in order
     */
    public record Places(String axis, List<String> names) {
        public Places {
            names = List.copyOf(names);
        }
    }

    /**
     * Draws the maps.
     *
     * @param tiles row by row, as many as places of both kinds
     * @throws IllegalArgumentException if there is another number of tiles, or none
     * @throws FigureException if the file cannot be written or no font is found
     */
    public void write(Path png, String title, Places down, Places across, List<HeatMap> tiles) {
        int columns = across.names().size();
        int rows = down.names().size();
        if (tiles.isEmpty() || tiles.size() != rows * columns) {
            throw new IllegalArgumentException(tiles.size() + " maps for " + rows + " rows of " + columns);
        }
        Font small = Fonts.plain(0.8 * EM);
        int tile = Math.clamp(SIDE / Math.max(rows, columns) - BETWEEN, 8, LARGEST_TILE);
        int height = rows * (tile + BETWEEN) - BETWEEN;
        int width = columns * (tile + BETWEEN) - BETWEEN;
        Range range = Range.of(tiles);
        ColorBar bar = new ColorBar(style, false, EM);
        double names = down.names().stream().mapToDouble(name -> Fonts.width(small, name)).max().orElseThrow();
        int left = (int) Math.round(GAP + 1.5 * EM + names);
        int above = range.ticks().factor().isEmpty() ? 0 : (int) EM;
        Frame frame =
                new Frame(title, caption, left + width + bar.room(List.of(range)) + GAP, above + height + 2.8 * EM);
        Graphics2D g = frame.begin();
        int top = frame.top() + above;
        for (int i = 0; i < tiles.size(); i++) {
            g.drawImage(
                    Picture.of(tiles.get(i), range, style, tile, tile),
                    left + i % columns * (tile + BETWEEN),
                    top + i / columns * (tile + BETWEEN),
                    null);
        }
        g.setColor(Drawing.INK);
        for (int row = 0; row < rows; row++) {
            String name = down.names().get(row);
            Drawing.text(
                    g,
                    small,
                    name,
                    left - 0.4 * EM - Fonts.width(small, name),
                    top + row * (tile + BETWEEN) + tile / 2.0 + 0.3 * EM);
        }
        for (int column = 0; column < columns; column++) {
            Drawing.centred(
                    g,
                    small,
                    across.names().get(column),
                    left + column * (tile + BETWEEN) + tile / 2.0,
                    top + height + 1.1 * EM);
        }
        Drawing.centred(g, small, across.axis(), left + width / 2.0, top + height + 2.4 * EM);
        Drawing.upwards(g, small, down.axis(), GAP + 0.3 * EM, top + height / 2.0);
        bar.draw(g, range, left + width, top, height);
        frame.end(g, png);
    }
}
