package stormsight.report;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.geom.Line2D;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.nio.file.Path;
import java.util.List;
import stormsight.image.RgbImage;

/**
 * How an image is cut into patches, as PNG. All methods throw a {@link FigureException} if the file cannot be written
 * or no font is found.
 *
 * @param caption below the picture, may be empty
 */
public record PatchFigure(String caption) {
    private static final double EM = Frame.EM;
    private static final double GAP = Frame.GAP;
    private static final int SIDE = 760;
    private static final int ACROSS = 900;
    /** Patches that are drawn smaller than this have no room for a number. */
    private static final int NUMBERED = 20;
    private static final int LARGEST_NUMBER = 13;
    private static final Color GRID = new Color(255, 255, 255, 210);
    private static final Color UNDER_GRID = new Color(0, 0, 0, 120);

    /**
     * The image with lines between its patches and their numbers, counted row by row; where patches are too small for
     * that, the first number of rows stands beside them.
     *
     * @param image what the patches cover, no more
     */
    public void grid(Path png, String title, RgbImage image, int rows, int columns) {
        requirePatches(image, rows, columns);
        int cell = Math.max(1, SIDE / Math.max(rows, columns));
        int width = cell * columns;
        int height = cell * rows;
        boolean inside = cell >= NUMBERED;
        Font small = Fonts.plain(Math.clamp(0.36 * cell, 8, LARGEST_NUMBER));
        double left = GAP + (inside ? 0 : Fonts.width(Fonts.plain(0.7 * EM), String.valueOf(rows * columns)) + EM);
        Frame frame = new Frame(title, caption, left + width + GAP, height);
        Graphics2D g = frame.begin();
        int x = (int) Math.round(left);
        int y = frame.top();
        g.drawImage(Picture.of(image, width, height), x, y, null);
        lines(g, x, y, rows, columns, cell);
        int step = inside ? 1 : (int) Math.ceil(EM / cell);
        for (int patch = 0; patch < rows * columns; patch++) {
            int row = patch / columns;
            int column = patch % columns;
            if (inside) {
                outlined(g, small, String.valueOf(patch), x + (column + 0.5) * cell, y + (row + 0.5) * cell);
            } else if (column == 0 && row % step == 0) {
                Font beside = Fonts.plain(0.7 * EM);
                String number = String.valueOf(patch);
                g.setColor(Drawing.FAINT);
                Drawing.text(
                        g, beside, number, x - 0.5 * EM - Fonts.width(beside, number), y + (row + 0.5) * cell + 4);
            }
        }
        frame.end(g, png);
    }

    private static void lines(Graphics2D g, int x, int y, int rows, int columns, int cell) {
        for (boolean under : new boolean[] {true, false}) {
            g.setColor(under ? UNDER_GRID : GRID);
            g.setStroke(new BasicStroke(under ? 3 : 1));
            for (int row = 0; row <= rows; row++) {
                g.draw(new Line2D.Double(x, y + row * cell, x + columns * cell, y + row * cell));
            }
            for (int column = 0; column <= columns; column++) {
                g.draw(new Line2D.Double(x + column * cell, y, x + column * cell, y + rows * cell));
            }
        }
    }

    /** White with a dark edge, to be read on any patch. */
    private static void outlined(Graphics2D g, Font font, String text, double x, double middle) {
        double baseline = middle + 0.36 * font.getSize2D();
        g.setColor(new Color(0, 0, 0, 170));
        for (int dx = -1; dx <= 1; dx++) {
            for (int dy = -1; dy <= 1; dy++) {
                Drawing.centred(g, font, text, x + dx, baseline + dy);
            }
        }
        g.setColor(Color.WHITE);
        Drawing.centred(g, font, text, x, baseline);
    }

    /**
     * The patches one behind the other, as the tower reads them, with their numbers where there is room.
     *
     * @param first names of rows before the first patch, such as that of a class token
     */
    public void order(Path png, String title, RgbImage image, int rows, int columns, List<String> first) {
        requirePatches(image, rows, columns);
        int count = first.size() + rows * columns;
        int side = count <= 300 ? 36 : count <= 1100 ? 26 : 14;
        boolean numbered = side >= NUMBERED;
        Font small = Fonts.plain(Math.clamp(0.34 * side, 8, 11));
        double gap = numbered ? 5 : 2;
        double high = side + gap + (numbered ? 1.2 * small.getSize2D() : 0);
        int across = Math.max(1, Math.min(count, (int) (ACROSS / (side + gap))));
        int down = (count + across - 1) / across;
        Frame frame = new Frame(title, caption, 2 * GAP + across * (side + gap), down * high);
        Graphics2D g = frame.begin();
        BufferedImage all = Picture.of(image, side * columns, side * rows);
        for (int i = 0; i < count; i++) {
            int x = (int) Math.round(GAP + i % across * (side + gap));
            int y = (int) Math.round(frame.top() + i / across * high);
            int patch = i - first.size();
            if (patch < 0) {
                g.setColor(Drawing.FAINT);
                g.draw(new Rectangle2D.Double(x + 0.5, y + 0.5, side - 1, side - 1));
            } else {
                g.drawImage(
                        all.getSubimage(patch % columns * side, patch / columns * side, side, side), x, y, null);
            }
            if (numbered) {
                g.setColor(Drawing.FAINT);
                Drawing.centred(
                        g,
                        small,
                        patch < 0 ? first.get(i) : String.valueOf(patch),
                        x + side / 2.0,
                        y + side + small.getSize2D());
            }
        }
        frame.end(g, png);
    }

    private static void requirePatches(RgbImage image, int rows, int columns) {
        if (rows < 1 || columns < 1 || image.width() < columns || image.height() < rows) {
            throw new IllegalArgumentException(rows + " x " + columns + " patches of an image of " + image.width()
                    + " x " + image.height());
        }
    }
}
