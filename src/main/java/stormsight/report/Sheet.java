package stormsight.report;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.geom.AffineTransform;
import java.awt.geom.Line2D;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import javax.imageio.ImageIO;
import stormsight.image.RgbImage;

/**
 * Panels in rows and columns below a heading, each a picture with a title above it and a colour bar beside it.
 *
 * @param heading above all panels, may be empty
 * @param note a smaller line below the heading, may be empty
 * @param boxWidth pixels that each picture has room for
 * @param boxHeight likewise
 * @param em size of the text in pixels; all distances follow it
 * @param patchAxes whether pictures have axes that count patches
 */
record Sheet(String heading, String note, List<Panel> panels, int columns, int boxWidth, int boxHeight, double em, boolean patchAxes) {
    private static final Color INK = new Color(0x202124);
    private static final Color FAINT = new Color(0x5f6368);
    private static final int MOST_TITLE_LINES = 3;
    private static final double LINE = 1.3;
    /** Intervals of the axes at most. */
    private static final int MOST_PATCH_STEPS = 8;

    /**
     * A panel.
     *
     * @param image alone, or below the map
     * @param range what the colours of the map span; an image alone has neither, and a blank panel nothing at all
     */
    record Panel(String title, int width, int height, Optional<RgbImage> image, Optional<HeatMap> map, Optional<Range> range) {
        static Panel of(String title, RgbImage image) {
            return new Panel(title, image.width(), image.height(), Optional.of(image), Optional.empty(), Optional.empty());
        }

        static Panel of(RgbImage shape, HeatMap map, Range range) {
            return new Panel(map.title(), shape.width(), shape.height(), Optional.empty(), Optional.of(map), Optional.of(range));
        }

        static Panel over(String title, RgbImage image, HeatMap map, Range range) {
            return new Panel(title, image.width(), image.height(), Optional.of(image), Optional.of(map), Optional.of(range));
        }

        /** Leaves its place free. */
        static Panel blank() {
            return new Panel("", 1, 1, Optional.empty(), Optional.empty(), Optional.empty());
        }

        private boolean isBlank() {
            return image.isEmpty() && map.isEmpty();
        }

        private BufferedImage picture(int width, int height) {
            if (map.isEmpty()) {
                return Picture.of(image.orElseThrow(), width, height);
            }
            return image.isEmpty()
                    ? Picture.of(map.get(), range.orElseThrow(), width, height)
                    : Picture.over(image.get(), map.get(), range.orElseThrow(), width, height);
        }
    }

    /** @throws FigureException if the file cannot be written or there are no fonts */
    void write(Path png) {
        BufferedImage drawn = draw();
        OutputFile.write(png, out -> {
            if (!ImageIO.write(drawn, "png", out)) {
                throw new FigureException(png, "this Java runtime writes no PNG", null);
            }
        });
    }

    BufferedImage draw() {
        Font titleFont = Fonts.bold(em);
        Font headingFont = Fonts.bold(1.25 * em);
        Font small = Fonts.plain(0.85 * em);
        double barRoom = 0;
        for (Panel panel : panels) {
            if (panel.range().isPresent()) {
                Range.Ticks ticks = panel.range().get().ticks();
                for (Range.Tick tick : ticks.ticks()) {
                    barRoom = Math.max(barRoom, 2.2 * em + Fonts.width(small, tick.label()));
                }
                barRoom = Math.max(barRoom, 0.7 * em + Fonts.width(small, ticks.factor()));
            }
        }
        double left = patchAxes ? 3.4 * em : 0;
        double below = patchAxes ? 2.9 * em : 0;
        double cellWidth = left + boxWidth + barRoom;
        double gap = 1.4 * em;
        int across = Math.min(columns, panels.size());
        int rows = (panels.size() + columns - 1) / columns;
        int sheetWidth = (int) Math.ceil(across * cellWidth + (across + 1) * gap);

        List<String> headingLines = heading.isEmpty() ? List.of() : wrap(heading, headingFont, sheetWidth - 2 * gap);
        List<String> noteLines = note.isEmpty() ? List.of() : wrap(note, small, sheetWidth - 2 * gap);
        double top = gap + headingLines.size() * 1.25 * em * LINE + noteLines.size() * em * LINE
                + (headingLines.isEmpty() && noteLines.isEmpty() ? 0 : 0.6 * em);
        List<List<String>> titles = new ArrayList<>();
        for (Panel panel : panels) {
            titles.add(wrap(panel.title(), titleFont, boxWidth + barRoom));
        }
        // A factor stands above its colour bar, between title and picture.
        boolean factors = panels.stream().flatMap(panel -> panel.range().stream()).anyMatch(range -> !range.ticks().factor().isEmpty());
        double titleGap = factors ? 1.5 * em : 0.6 * em;
        double[] titleRoom = new double[rows];
        int[] pictureRoom = new int[rows];
        for (int i = 0; i < titles.size(); i++) {
            titleRoom[i / columns] = Math.max(titleRoom[i / columns], titles.get(i).size() * em * LINE + titleGap - 0.2 * em);
            pictureRoom[i / columns] = Math.max(pictureRoom[i / columns], height(panels.get(i)));
        }
        double height = top + gap;
        for (int row = 0; row < rows; row++) {
            height += titleRoom[row] + pictureRoom[row] + below + gap;
        }
        BufferedImage sheet = new BufferedImage(sheetWidth, (int) Math.ceil(height - gap), BufferedImage.TYPE_INT_RGB);
        Graphics2D g = sheet.createGraphics();
        g.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
        g.setRenderingHint(RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
        g.setRenderingHint(RenderingHints.KEY_FRACTIONALMETRICS, RenderingHints.VALUE_FRACTIONALMETRICS_ON);
        g.setRenderingHint(RenderingHints.KEY_STROKE_CONTROL, RenderingHints.VALUE_STROKE_PURE);
        g.setColor(Color.WHITE);
        g.fillRect(0, 0, sheet.getWidth(), sheet.getHeight());
        double y = gap;
        g.setColor(INK);
        for (String line : headingLines) {
            text(g, headingFont, line, gap, y + 1.25 * em);
            y += 1.25 * em * LINE;
        }
        g.setColor(FAINT);
        for (String line : noteLines) {
            text(g, small, line, gap, y + em);
            y += em * LINE;
        }
        y = top;
        for (int row = 0; row < rows; row++) {
            y += titleRoom[row];
            for (int i = row * columns; i < Math.min((row + 1) * columns, panels.size()); i++) {
                panel(g, panels.get(i), titles.get(i), titleGap, gap + (i % columns) * (cellWidth + gap) + left, y);
            }
            y += pictureRoom[row] + below + gap;
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
        g.setColor(INK);
        double baseline = pictureY - titleGap;
        for (int i = title.size() - 1; i >= 0; i--) {
            text(g, Fonts.bold(em), title.get(i), pictureX, baseline);
            baseline -= em * LINE;
        }
        g.drawImage(panel.picture(width, height), pictureX, pictureY, null);
        if (patchAxes && panel.map().isPresent()) {
            patchAxes(g, panel.map().get(), pictureX, pictureY, width, height);
        }
        if (panel.range().isPresent()) {
            bar(g, panel.range().get(), pictureX + width + 0.7 * em, pictureY, height);
        }
    }

    private void bar(Graphics2D g, Range range, double x, double y, int height) {
        Font small = Fonts.plain(0.85 * em);
        double width = 0.8 * em;
        for (int i = 0; i < height; i++) {
            g.setColor(new Color(ColorMap.JET.rgb(1 - (i + 0.5) / height)));
            g.fill(new Rectangle2D.Double(x, y + i, width, 1));
        }
        g.setColor(INK);
        g.setStroke(new BasicStroke((float) Math.max(1, em / 16)));
        Range.Ticks ticks = range.ticks();
        double free = Double.POSITIVE_INFINITY;
        for (Range.Tick tick : ticks.ticks()) {
            double at = y + height * (1 - range.position(tick.value()));
            // On a low bar some numbers would lie on others.
            if (free - at >= em) {
                g.draw(new Line2D.Double(x + width, at, x + width + 0.3 * em, at));
                text(g, small, tick.label(), x + width + 0.5 * em, at + 0.3 * em);
                free = at;
            }
        }
        if (!ticks.factor().isEmpty()) {
            text(g, small, ticks.factor(), x, y - 0.5 * em);
        }
    }

    private void patchAxes(Graphics2D g, HeatMap map, int x, int y, int width, int height) {
        Font small = Fonts.plain(0.85 * em);
        g.setColor(INK);
        g.setStroke(new BasicStroke((float) Math.max(1, em / 16)));
        int step = patchStep(map.columns());
        for (int i = 0; i < map.columns(); i += step) {
            double at = x + (i + 0.5) * width / map.columns();
            g.draw(new Line2D.Double(at, y + height, at, y + height + 0.25 * em));
            centred(g, small, Integer.toString(i), at, y + height + 1.15 * em);
        }
        centred(g, small, "Image patch (x)", x + width / 2.0, y + height + 2.3 * em);
        step = patchStep(map.rows());
        for (int i = 0; i < map.rows(); i += step) {
            double at = y + (i + 0.5) * height / map.rows();
            String label = Integer.toString(i);
            g.draw(new Line2D.Double(x - 0.25 * em, at, x, at));
            text(g, small, label, x - 0.45 * em - Fonts.width(small, label), at + 0.3 * em);
        }
        AffineTransform upright = g.getTransform();
        g.translate(x - 2.3 * em, y + height / 2.0);
        g.rotate(-Math.PI / 2);
        centred(g, small, "Image patch (y)", 0, 0);
        g.setTransform(upright);
    }

    private static int patchStep(int patches) {
        int step = 1;
        while (patches > step * MOST_PATCH_STEPS) {
            step *= 2;
        }
        return step;
    }

    private static void text(Graphics2D g, Font font, String text, double x, double baseline) {
        g.setFont(font);
        g.drawString(text, (float) x, (float) baseline);
    }

    private static void centred(Graphics2D g, Font font, String text, double x, double baseline) {
        text(g, font, text, x - Fonts.width(font, text) / 2, baseline);
    }

    /** Lines no wider than that, broken at spaces where possible; what does not fit into three lines ends in three dots. */
    static List<String> wrap(String text, Font font, double width) {
        String rest = printable(text).strip();
        List<String> lines = new ArrayList<>();
        while (!rest.isEmpty() && lines.size() < MOST_TITLE_LINES) {
            int fits = fits(rest, font, width);
            if (fits < rest.length() && lines.size() == MOST_TITLE_LINES - 1) {
                lines.add(cut(rest, font, width));
                return lines;
            }
            int end = fits;
            if (fits < rest.length()) {
                int space = rest.lastIndexOf(' ', fits);
                end = space > 0 ? space : fits;
            }
            lines.add(rest.substring(0, end).strip());
            rest = rest.substring(end).strip();
        }
        return lines.isEmpty() ? List.of("") : lines;
    }

    /** One line no wider than that: what does not fit ends in three dots. */
    static String cut(String text, Font font, double width) {
        if (fits(text, font, width) == text.length()) {
            return text;
        }
        return text.substring(0, fits(text, font, width - Fonts.width(font, "..."))).strip() + "...";
    }

    /** The length of the longest beginning of a text that fits into a width, at least one character of a text that has any. */
    private static int fits(String text, Font font, double width) {
        int low = Math.min(1, text.length());
        int high = text.codePointCount(0, text.length());
        while (low < high) {
            int middle = (low + high + 1) / 2;
            if (Fonts.width(font, text.substring(0, text.offsetByCodePoints(0, middle))) <= width) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        return text.offsetByCodePoints(0, low);
    }

    /** A newline is a token like others: it shows as {@code \n}. */
    private static String printable(String text) {
        return text.replace("\n", "\\n").replace("\t", "\\t").replaceAll("\\p{Cntrl}", "?");
    }
}
