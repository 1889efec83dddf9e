package stormsight.report;

import java.nio.file.Path;
import java.util.List;
import stormsight.image.RgbImage;

/** Many images on one sheet, each with a caption, as PNG: what a search found, or what a folder holds. */
public final class ContactSheet {
    private static final int CELL = 240;
    private static final int SMALLEST_CELL = 80;
    /** Pixels of all images together. */
    private static final double PIXELS = 40e6;
    private static final double EM = 14;

    private ContactSheet() {}

    /**
     * An image of the sheet.
     *
     * @param caption above it, up to three lines
     */
    public record Item(RgbImage image, String caption) {}

    /**
     * Draws the images in their order, in rows from left to right. Each is drawn as large as its cell lets it, its
     * sides in proportion.
     *
     * @param heading above all of them, may be empty
     * @param columns images a row at most
     * @throws IllegalArgumentException if there are no images or no columns
     * @throws FigureException if the file cannot be written or no font is found
     */
    public static void write(Path png, String heading, List<Item> items, int columns) {
        if (items.isEmpty() || columns < 1) {
            throw new IllegalArgumentException("a sheet of " + items.size() + " images in " + columns + " columns");
        }
        int cell = Math.clamp((int) Math.sqrt(PIXELS / items.size()), SMALLEST_CELL, CELL);
        List<Sheet.Panel> panels = items.stream().map(item -> Sheet.Panel.of(item.caption(), item.image())).toList();
        int highest = items.stream().mapToInt(item -> height(item.image(), cell)).max().orElseThrow();
        new Sheet(
                        new Sheet.Words(heading, "", ""),
                        panels,
                        columns,
                        cell,
                        highest,
                        Math.min(EM, cell / 12.0),
                        false,
                        MapStyle.DEFAULT)
                .write(png);
    }

    private static int height(RgbImage image, int cell) {
        return Math.max(1, (int) Math.round(image.height() * (double) cell / Math.max(image.width(), image.height())));
    }
}
