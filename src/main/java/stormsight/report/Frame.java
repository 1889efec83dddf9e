package stormsight.report;

import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.nio.file.Path;
import java.util.List;

/** A sheet with a title above what is drawn on it and a caption below. */
final class Frame {
    static final double EM = 15;
    static final double GAP = 1.4 * EM;

    private final List<String> title;
    private final List<String> caption;
    private final BufferedImage sheet;
    private final double top;
    private final double bottom;

    /**
     * @param title may be empty
     * @param caption may be empty
     * @param width of the sheet in pixels, margins included
     * @param height of what is drawn
     */
    Frame(String title, String caption, double width, double height) {
        this.title = title.isEmpty() ? List.of() : Drawing.wrap(title, titleFont(), width - 2 * GAP);
        this.caption = caption.isEmpty() ? List.of() : Drawing.wrap(caption, captionFont(), width - 2 * GAP);
        top = Math.ceil(GAP + this.title.size() * 1.25 * EM * Drawing.LINE + (this.title.isEmpty() ? 0 : 0.4 * EM));
        bottom = top + height;
        sheet = Drawing.sheet(
                width,
                bottom + GAP + this.caption.size() * EM * Drawing.LINE + (this.caption.isEmpty() ? 0 : 0.2 * EM));
    }

    private static Font titleFont() {
        return Fonts.bold(1.25 * EM);
    }

    private static Font captionFont() {
        return Fonts.plain(0.85 * EM);
    }

    /** First pixel row of what is drawn. */
    int top() {
        return (int) top;
    }

    /** Draws the title. */
    Graphics2D begin() {
        Graphics2D g = Drawing.graphics(sheet);
        g.setColor(Drawing.INK);
        double baseline = GAP + EM;
        for (String line : title) {
            Drawing.text(g, titleFont(), line, GAP, baseline);
            baseline += 1.25 * EM * Drawing.LINE;
        }
        return g;
    }

    /** Draws the caption and writes the sheet. */
    void end(Graphics2D g, Path png) {
        g.setColor(Drawing.FAINT);
        double baseline = bottom + 0.6 * GAP + EM;
        for (String line : caption) {
            Drawing.text(g, captionFont(), line, GAP, baseline);
            baseline += EM * Drawing.LINE;
        }
        g.dispose();
        Drawing.write(png, sheet);
    }
}
