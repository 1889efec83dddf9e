package stormsight.report;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.geom.Line2D;
import java.awt.geom.Rectangle2D;
import java.util.Collection;

/**
 * The bar that says which number a colour stands for.
 *
 * @param over whether the colours lie over an image: they then fade on the bar, too
 * @param em size of the text beside it in pixels is a little less
 */
record ColorBar(MapStyle style, boolean over, double em) {
    private static final int PAPER = 0xffffff;

    private Font font() {
        return Fonts.plain(0.85 * em);
    }

    /** The width of the widest of bars, the gap between picture and bar included. */
    double room(Collection<Range> ranges) {
        double room = 0;
        for (Range range : ranges) {
            Range.Ticks ticks = range.ticks();
            for (Range.Tick tick : ticks.ticks()) {
                room = Math.max(room, 2.2 * em + Fonts.width(font(), tick.label()));
            }
            room = Math.max(room, 0.7 * em + Fonts.width(font(), ticks.factor()));
        }
        return room;
    }

    /** Draws a bar beside a picture that ends at x; a factor that all its numbers share stands above it. */
    void draw(Graphics2D g, Range range, double pictureEnd, double y, int height) {
        double x = pictureEnd + 0.7 * em;
        double width = 0.8 * em;
        for (int i = 0; i < height; i++) {
            double position = 1 - (i + 0.5) / height;
            g.setColor(new Color(over ? style.over(PAPER, position) : style.colors().rgb(position)));
            g.fill(new Rectangle2D.Double(x, y + i, width, 1));
        }
        float thin = (float) Math.max(1, em / 16);
        g.setStroke(new BasicStroke(thin));
        if (over) {
            g.setColor(Drawing.FAINT);
            g.draw(new Rectangle2D.Double(x + thin / 2, y + thin / 2, width - thin, height - thin));
        }
        g.setColor(Drawing.INK);
        Range.Ticks ticks = range.ticks();
        double free = Double.POSITIVE_INFINITY;
        for (Range.Tick tick : ticks.ticks()) {
            double at = y + height * (1 - range.position(tick.value()));
            // On a low bar some numbers would lie on others.
            if (free - at >= em) {
                g.draw(new Line2D.Double(x + width, at, x + width + 0.3 * em, at));
                Drawing.text(g, font(), tick.label(), x + width + 0.5 * em, at + 0.3 * em);
                free = at;
            }
        }
        if (!ticks.factor().isEmpty()) {
            Drawing.text(g, font(), ticks.factor(), x, y - 0.5 * em);
        }
    }
}
