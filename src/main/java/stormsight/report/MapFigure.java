package stormsight.report;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import stormsight.image.RgbImage;

/**
 * Pictures of maps over images, as PNG. Over an image a map covers the more of it, the larger its numbers are. All
 * methods throw a {@link FigureException} if the file cannot be written or no font is found.
 *
 * @param style how maps are coloured
 * @param caption below every picture, such as model, prompt and answer; may be empty
 */
public record MapFigure(MapStyle style, String caption) {
    /** Smaller images are drawn larger, so that text beside them can be read. */
    private static final int SMALLEST_OVERLAY = 500;
    private static final int LARGEST_OVERLAY = 8192;
    private static final int SMALLEST_PANEL = 360;
    private static final int LARGEST_PANEL = 900;
    private static final int GRID_CELL = 300;
    private static final int SMALLEST_GRID_CELL = 80;
    /** Maps beside each other at most in a row of a comparison; more go on below. */
    private static final int MOST_ACROSS = 6;
    /** Pixels of all pictures of a grid together. */
    private static final double GRID_PIXELS = 40e6;
    /** Size of the text, in pixels, where pictures have about the width of a cell or panel. */
    private static final double EM = 15;

    /** What the colours of the maps of a grid span. */
    public enum Scale {
        /** Each map from its smallest to its largest value: shows where, also in weak maps. */
        OWN("Each map has its own colour scale."),
        /** All maps from the smallest to the largest value of all: shows how much. */
        COMMON("All maps share one colour scale.");

        private final String note;

        Scale(String note) {
            this.note = note;
        }
    }

    /** A map of a grid and the image that it belongs to. */
    public record Cell(RgbImage image, HeatMap map) {}

    /**
     * A row of a comparison: an image, and maps over it.
     *
     * @param title above the image
     */
    public record Row(String title, RgbImage image, List<HeatMap> maps) {
        public Row {
            maps = List.copyOf(maps);
        }
    }

    /** Three panels: the image, the map, the map over the image. */
    public void panels(Path png, RgbImage image, HeatMap map) {
        double scale =
                boxScale(image, Math.clamp(Math.max(image.width(), image.height()), SMALLEST_PANEL, LARGEST_PANEL));
        int width = scaled(image.width(), scale);
        int height = scaled(image.height(), scale);
        Range range = Range.of(List.of(map));
        List<Sheet.Panel> panels = List.of(
                Sheet.Panel.of("Original image", image),
                Sheet.Panel.of(image, map, range),
                Sheet.Panel.over(map.title() + " over the image", image, map, range));
        write(png, "", "", panels, panels.size(), width, height, em(width), false);
    }

    /**
     * The map over the image, every pixel of which is one of the picture. Images below 500 pixels of width are drawn
     * two, three ... times as large, those beyond 8192 pixels smaller.
     */
    public void overlay(Path png, RgbImage image, HeatMap map) {
        int longest = Math.max(image.width(), image.height());
        double scale = longest > LARGEST_OVERLAY
                ? (double) LARGEST_OVERLAY / longest
                : Math.clamp(
                        (SMALLEST_OVERLAY - 1) / image.width() + 1,
                        1,
                        Math.max(1, 3 * SMALLEST_OVERLAY / image.height()));
        int width = scaled(image.width(), scale);
        int height = scaled(image.height(), scale);
        List<Sheet.Panel> panel = List.of(Sheet.Panel.over(map.title(), image, map, Range.of(List.of(map))));
        write(png, "", "", panel, 1, width, height, em(width), false);
    }

    /** A grid of maps of one image, each on a colour scale of its own. */
    public void grid(Path png, String title, RgbImage image, List<HeatMap> maps, int columns, boolean over) {
        grid(png, title, maps.stream().map(map -> new Cell(image, map)).toList(), columns, over, Scale.OWN);
    }

    /**
     * A grid of maps, in rows from left to right, each with its title and colour bar; alone, with axes that count
     * patches, or over its image. The figure says which scale its colours have.
     *
     * @param columns cells a row
     * @throws IllegalArgumentException if there are no cells or no columns
     */
    public void grid(Path png, String title, List<Cell> cells, int columns, boolean over, Scale scale) {
        if (cells.isEmpty() || columns < 1) {
            throw new IllegalArgumentException("a grid of " + cells.size() + " maps in " + columns + " columns");
        }
        int cell = Math.clamp((int) Math.sqrt(GRID_PIXELS / cells.size()), SMALLEST_GRID_CELL, GRID_CELL);
        Range common = Range.of(cells.stream().map(Cell::map).toList());
        int width = 0;
        int height = 0;
        List<Sheet.Panel> panels = new ArrayList<>();
        for (Cell one : cells) {
            RgbImage image = one.image();
            width = Math.max(width, scaled(image.width(), boxScale(image, cell)));
            height = Math.max(height, scaled(image.height(), boxScale(image, cell)));
            Range range = scale == Scale.COMMON ? common : Range.of(List.of(one.map()));
            panels.add(
                    over
                            ? Sheet.Panel.over(one.map().title(), image, one.map(), range)
                            : Sheet.Panel.of(image, one.map(), range));
        }
        String note = cells.size() == 1 ? "" : scale.note;
        write(png, title, note, panels, columns, width, height, Math.min(EM, cell / 12.0), !over);
    }

    /**
     * Rows of maps to compare, each beginning with its image; a row may have fewer maps than others. Of more than six
     * maps the seventh and those behind it stand below the first. The figure says which scale its colours have.
     *
     * @throws IllegalArgumentException if there are no maps
     */
    public void rows(Path png, String title, List<Row> rows, Scale scale) {
        int across = Math.min(MOST_ACROSS, rows.stream().mapToInt(row -> row.maps().size()).max().orElse(0));
        if (across < 1) {
            throw new IllegalArgumentException("no maps to compare");
        }
        int lines = rows.stream().mapToInt(row -> Math.max(1, (row.maps().size() + across - 1) / across)).sum();
        int cell = Math.clamp((int) Math.sqrt(GRID_PIXELS / ((1 + across) * lines)), SMALLEST_GRID_CELL, GRID_CELL);
        Range common = Range.of(rows.stream().flatMap(row -> row.maps().stream()).toList());
        int width = 0;
        int height = 0;
        List<Sheet.Panel> panels = new ArrayList<>();
        for (Row row : rows) {
            RgbImage image = row.image();
            width = Math.max(width, scaled(image.width(), boxScale(image, cell)));
            height = Math.max(height, scaled(image.height(), boxScale(image, cell)));
            panels.add(Sheet.Panel.of(row.title(), image));
            for (int i = 0; i < row.maps().size(); i++) {
                if (i > 0 && i % across == 0) {
                    panels.add(Sheet.Panel.blank());
                }
                HeatMap map = row.maps().get(i);
                panels.add(Sheet.Panel.over(
                        map.title(), image, map, scale == Scale.COMMON ? common : Range.of(List.of(map))));
            }
            while (panels.size() % (1 + across) != 0) {
                panels.add(Sheet.Panel.blank());
            }
        }
        write(png, title, scale.note, panels, 1 + across, width, height, Math.min(EM, cell / 12.0), false);
    }

    private void write(
            Path png,
            String heading,
            String note,
            List<Sheet.Panel> panels,
            int columns,
            int width,
            int height,
            double em,
            boolean patchAxes) {
        new Sheet(new Sheet.Words(heading, note, caption), panels, columns, width, height, em, patchAxes, style)
                .write(png);
    }

    private static double boxScale(RgbImage image, int box) {
        return (double) box / Math.max(image.width(), image.height());
    }

    private static int scaled(int side, double scale) {
        return Math.max(1, (int) Math.round(side * scale));
    }

    /** Text grows with the picture, more slowly. */
    private static double em(int width) {
        return Math.max(EM, EM * Math.pow(width / 500.0, 0.8));
    }
}
