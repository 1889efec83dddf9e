package stormsight.report;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.geom.Line2D;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import stormsight.image.RgbImage;

/**
 * Panels in rows and columns below a heading, each a picture with a title above it and a colour bar beside it.
 *
 * @param words around the panels
 * @param boxWidth pixels that each picture has room for
 * @param boxHeight likewise
 * @param em size of the text in pixels; all distances follow it
 * @param patchAxes whether pictures have axes that count patches
 */
record Sheet(
        Words words,
        List<Panel> panels,
        int columns,
        int boxWidth,
        int boxHeight,
        double em,
        boolean patchAxes,
        MapStyle style) {
    /** Intervals of the axes at most. */
    private static final int MOST_PATCH_STEPS = 8;
    /** Inside the edge of images, so that white ones end somewhere. */
    private static final Color EDGE = new Color(0, 0, 0, 40);

    /**
     * Text of a sheet; each may be empty.
     *
     * @param heading above all panels
     * @param note a smaller line below the heading
     * @param caption below all panels
     */
    record Words(String heading, String note, String caption) {}

    /**
     * A panel.
     *
     * @param image alone, or below the map
     * @param range what the colours of the map span; an image alone has neither, and a blank panel nothing at all
     */
    record Panel(
            String title,
            int width,
            int height,
            Optional<RgbImage> image,
            Optional<HeatMap> map,
            Optional<Range> range) {
        static Panel of(String title, RgbImage image) {
            return new Panel(
                    title, image.width(), image.height(), Optional.of(image), Optional.empty(), Optional.empty());
        }

        static Panel of(RgbImage shape, HeatMap map, Range range) {
            return new Panel(
                    map.title(), shape.width(), shape.height(), Optional.empty(), Optional.of(map), Optional.of(range));
        }

        static Panel over(String title, RgbImage image, HeatMap map, Range range) {
            return new Panel(
                    title, image.width(), image.height(), Optional.of(image), Optional.of(map), Optional.of(range));
        }

        /** Leaves its place free. */
        static Panel blank() {
            return new Panel("", 1, 1, Optional.empty(), Optional.empty(), Optional.empty());
        }

        private boolean isBlank() {
            return image.isEmpty() && map.isEmpty();
        }

        private BufferedImage picture(MapStyle style, int width, int height) {
            if (map.isEmpty()) {
                return Picture.of(image.orElseThrow(), width, height);
            }
            return image.isEmpty()
                    ? Picture.of(map.get(), range.orElseThrow(), style, width, height)
                    : Picture.over(image.get(), map.get(), range.orElseThrow(), style, width, height);
        }
    }

    /** @throws FigureException if the file cannot be written or there are no fonts */
    void write(Path png) {
        Drawing.write(png, draw());
    }

    BufferedImage draw() {
        Font titleFont = Fonts.bold(em);
        Font headingFont = Fonts.bold(1.25 * em);
        Font small = Fonts.plain(0.85 * em);
        double barRoom = new ColorBar(style, false, em)
                .room(panels.stream().flatMap(panel -> panel.range().stream()).toList());
        double left = patchAxes ? 3.4 * em : 0;
        double below = patchAxes ? 2.9 * em : 0;
        double cellWidth = left + boxWidth + barRoom;
        double gap = 1.4 * em;
        int across = Math.min(columns, panels.size());
        int rows = (panels.size() + columns - 1) / columns;
        int sheetWidth = (int) Math.ceil(across * cellWidth + (across + 1) * gap);

        List<String> headingLines = lines(words.heading, headingFont, sheetWidth - 2 * gap);
        List<String> noteLines = lines(words.note, small, sheetWidth - 2 * gap);
        List<String> captionLines = lines(words.caption, small, sheetWidth - 2 * gap);
        double top = gap + headingLines.size() * 1.25 * em * Drawing.LINE + noteLines.size() * em * Drawing.LINE
                + (headingLines.isEmpty() && noteLines.isEmpty() ? 0 : 0.6 * em);
        List<List<String>> titles = new ArrayList<>();
        for (Panel panel : panels) {
            titles.add(Drawing.wrap(panel.title(), titleFont, boxWidth + barRoom));
        }
        // A factor stands above its colour bar, between title and picture.
        boolean factors = panels.stream()
                .flatMap(panel -> panel.range().stream())
                .anyMatch(range -> !range.ticks().factor().isEmpty());
        double titleGap = factors ? 1.5 * em : 0.6 * em;
        double[] titleRoom = new double[rows];
        int[] pictureRoom = new int[rows];
        for (int i = 0; i < titles.size(); i++) {
            titleRoom[i / columns] =
                    Math.max(titleRoom[i / columns], titles.get(i).size() * em * Drawing.LINE + titleGap - 0.2 * em);
            pictureRoom[i / columns] = Math.max(pictureRoom[i / columns], height(panels.get(i)));
        }
        double height = top + gap;
        for (int row = 0; row < rows; row++) {
            height += titleRoom[row] + pictureRoom[row] + below + gap;
        }
        height += captionLines.size() * em * Drawing.LINE;
        BufferedImage sheet = Drawing.sheet(sheetWidth, height - gap * (captionLines.isEmpty() ? 1 : 0.5));
        Graphics2D g = Drawing.graphics(sheet);
        double y = gap;
        g.setColor(Drawing.INK);
        for (String line : headingLines) {
            Drawing.text(g, headingFont, line, gap, y + 1.25 * em);
            y += 1.25 * em * Drawing.LINE;
        }
        g.setColor(Drawing.FAINT);
        for (String line : noteLines) {
            Drawing.text(g, small, line, gap, y + em);
            y += em * Drawing.LINE;
        }
        y = top;
        for (int row = 0; row < rows; row++) {
            y += titleRoom[row];
            for (int i = row * columns; i < Math.min((row + 1) * columns, panels.size()); i++) {
                panel(g, panels.get(i), titles.get(i), titleGap, gap + (i % columns) * (cellWidth + gap) + left, y);
            }
            y += pictureRoom[row] + below + gap;
        }
        g.setColor(Drawing.FAINT);
        y -= 0.5 * gap;
        for (String line : captionLines) {
            Drawing.text(g, small, line, gap, y + em);
            y += em * Drawing.LINE;
        }
        g.dispose();
        return sheet;
    }

    private double scale(Panel panel) {
        return Math.min((double) boxWidth / panel.width(), (double) boxHeight / panel.height());
    }

    private int height(Panel panel) {
        return Math.max(1, (int) Math.round(scale(panel) * panel.height()));
    }

    /** Draws a panel whose picture has its upper left corner at (x, y). */
    private void panel(Graphics2D g, Panel panel, List<String> title, double titleGap, double x, double y) {
        if (panel.isBlank()) {
            return;
        }
        int width = Math.max(1, (int) Math.round(scale(panel) * panel.width()));
        int height = height(panel);
        // On whole pixels, so that none is smeared.
        int pictureX = (int) Math.round(x);
        int pictureY = (int) Math.round(y);
        g.setColor(Drawing.INK);
        double baseline = pictureY - titleGap;
        for (int i = title.size() - 1; i >= 0; i--) {
            Drawing.text(g, Fonts.bold(em), title.get(i), pictureX, baseline);
            baseline -= em * Drawing.LINE;
        }
        g.drawImage(panel.picture(style, width, height), pictureX, pictureY, null);
        if (panel.image().isPresent()) {
            g.setColor(EDGE);
            g.setStroke(new BasicStroke(1));
            g.draw(new Rectangle2D.Double(pictureX + 0.5, pictureY + 0.5, width - 1.0, height - 1.0));
        }
        if (patchAxes && panel.map().isPresent()) {
            patchAxes(g, panel.map().get(), pictureX, pictureY, width, height);
        }
        if (panel.range().isPresent()) {
            new ColorBar(style, panel.image().isPresent(), em)
                    .draw(g, panel.range().get(), pictureX + width, pictureY, height);
        }
    }

    private void patchAxes(Graphics2D g, HeatMap map, int x, int y, int width, int height) {
        Font small = Fonts.plain(0.85 * em);
        g.setColor(Drawing.INK);
        g.setStroke(new BasicStroke((float) Math.max(1, em / 16)));
        int step = patchStep(map.columns());
        for (int i = 0; i < map.columns(); i += step) {
            double at = x + (i + 0.5) * width / map.columns();
            g.draw(new Line2D.Double(at, y + height, at, y + height + 0.25 * em));
            Drawing.centred(g, small, Integer.toString(i), at, y + height + 1.15 * em);
        }
        Drawing.centred(g, small, "Image patch (x)", x + width / 2.0, y + height + 2.3 * em);
        step = patchStep(map.rows());
        for (int i = 0; i < map.rows(); i += step) {
            double at = y + (i + 0.5) * height / map.rows();
            String label = Integer.toString(i);
            g.draw(new Line2D.Double(x - 0.25 * em, at, x, at));
            Drawing.text(g, small, label, x - 0.45 * em - Fonts.width(small, label), at + 0.3 * em);
        }
        Drawing.upwards(g, small, "Image patch (y)", x - 2.3 * em, y + height / 2.0);
    }

    private static int patchStep(int patches) {
        int step = 1;
        while (patches > step * MOST_PATCH_STEPS) {
            step *= 2;
        }
        return step;
    }

    private static List<String> lines(String text, Font font, double width) {
        return text.isEmpty() ? List.of() : Drawing.wrap(text, font, width);
    }
}
