package stormsight.report;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import stormsight.image.Box;
import stormsight.image.Mask;
import stormsight.image.RgbImage;

/**
 * Boxes and masks drawn on an image, as PNG in the image's own size. A line lies between two white ones, and a label on
 * a plate of its own, so that both show on any background.
 */
public final class RegionFigure {
    private static final double MASK_OPACITY = 0.45;
    private static final double SMALLEST_EM = 11;
    private static final double LARGEST_EM = 48;

    private RegionFigure() {}

    /**
     * Something on an image.
     *
     * @param label may be empty
     * @param box in pixels of the image; what lies outside is cut
     * @param mask of the image's size
     */
    public record Region(String label, Box box, Optional<Mask> mask) {}

    /**
     * Draws regions in their order; regions with equal labels have equal colours.
     *
     * @throws IllegalArgumentException if a mask has another size than the image
     * @throws FigureException if the file cannot be written or no font is found
     */
    public static void write(Path png, RgbImage image, List<Region> regions) {
        Drawing.write(png, draw(image, regions));
    }

    /**
     * Writes a mask as a picture of its own, white on black, in the image's size.
     *
     * @throws FigureException if the file cannot be written
     */
    public static void write(Path png, Mask mask) {
        BufferedImage drawn = new BufferedImage(mask.width(), mask.height(), BufferedImage.TYPE_BYTE_GRAY);
        for (int y = 0; y < mask.height(); y++) {
            for (int x = 0; x < mask.width(); x++) {
                drawn.setRGB(x, y, mask.at(x, y) ? Color.WHITE.getRGB() : Color.BLACK.getRGB());
            }
        }
        Drawing.write(png, drawn);
    }

    static BufferedImage draw(RgbImage image, List<Region> regions) {
        int width = image.width();
        int height = image.height();
        for (Region region : regions) {
            region.mask().ifPresent(mask -> {
                if (mask.width() != width || mask.height() != height) {
                    throw new IllegalArgumentException("a mask of " + mask.width() + " x " + mask.height()
                            + " for an image of " + width + " x " + height);
                }
            });
        }
        BufferedImage drawn = Picture.of(image, width, height);
        List<String> labels = regions.stream().map(Region::label).distinct().toList();
        List<Color> colors = regions.stream().map(region -> color(labels.indexOf(region.label()))).toList();
        double em = Math.clamp(Math.max(width, height) / 42.0, SMALLEST_EM, LARGEST_EM);
        float line = Math.max(2, Math.round(em / 6));
        for (int i = 0; i < regions.size(); i++) {
            Color color = colors.get(i);
            regions.get(i).mask().ifPresent(mask -> fill(drawn, mask, color, line));
        }
        Graphics2D g = Drawing.graphics(drawn);
        for (int i = 0; i < regions.size(); i++) {
            Rectangle2D box = inside(regions.get(i).box(), width, height, line);
            g.setColor(Color.WHITE);
            g.setStroke(new BasicStroke(
                    line + 2 * Math.max(1, Math.round(line * 0.4f)), BasicStroke.CAP_SQUARE, BasicStroke.JOIN_MITER));
            g.draw(box);
            g.setColor(colors.get(i));
            g.setStroke(new BasicStroke(line, BasicStroke.CAP_SQUARE, BasicStroke.JOIN_MITER));
            g.draw(box);
        }
        List<Rectangle2D> taken = new ArrayList<>();
        for (int i = 0; i < regions.size(); i++) {
            if (!regions.get(i).label().isBlank()) {
                Rectangle2D box = inside(regions.get(i).box(), width, height, line);
                taken.add(label(g, regions.get(i).label(), box, colors.get(i), em, line, taken, width, height));
            }
        }
        g.dispose();
        return drawn;
    }

    private static Color color(int place) {
        return ChartFile.COLORS[place % ChartFile.COLORS.length];
    }

    /** The part of a box on the image, on whole pixels and with room for its line. */
    private static Rectangle2D inside(Box box, int width, int height, double line) {
        double left = Math.clamp(Math.rint(box.x()), line, Math.max(line, width - line));
        double top = Math.clamp(Math.rint(box.y()), line, Math.max(line, height - line));
        double right = Math.clamp(Math.rint(box.x() + box.width()), left, Math.max(left, width - line));
        double bottom = Math.clamp(Math.rint(box.y() + box.height()), top, Math.max(top, height - line));
        return new Rectangle2D.Double(left, top, right - left, bottom - top);
    }

    /** Tints what is inside, with an edge in white and in the full colour. */
    private static void fill(BufferedImage drawn, Mask mask, Color color, float line) {
        int reach = Math.max(1, Math.round(line));
        for (int y = 0; y < mask.height(); y++) {
            for (int x = 0; x < mask.width(); x++) {
                boolean in = mask.at(x, y);
                boolean near = false;
                for (int d = 1; d <= reach && !near; d++) {
                    near = mask.at(x - d, y) != in
                            || mask.at(x + d, y) != in
                            || mask.at(x, y - d) != in
                            || mask.at(x, y + d) != in;
                }
                if (in) {
                    drawn.setRGB(x, y, near ? color.getRGB() : tint(drawn.getRGB(x, y), color.getRGB()));
                } else if (near) {
                    drawn.setRGB(x, y, Color.WHITE.getRGB());
                }
            }
        }
    }

    private static int tint(int below, int above) {
        int mixed = 0;
        for (int shift = 16; shift >= 0; shift -= 8) {
            mixed |= (int) Math.round(
                            (1 - MASK_OPACITY) * (below >> shift & 0xff) + MASK_OPACITY * (above >> shift & 0xff))
                    << shift;
        }
        return mixed;
    }

    /**
     * Draws a label where it is on the image and covers the fewest others: above the box, in it or below it, at the
     * left or right.
     */
    private static Rectangle2D label(
            Graphics2D g,
            String label,
            Rectangle2D box,
            Color color,
            double em,
            double line,
            List<Rectangle2D> taken,
            int width,
            int height) {
        Font font = Fonts.bold(em);
        String text = Drawing.cut(Drawing.printable(label).strip(), font, Math.max(em, width - em));
        double across = Fonts.width(font, text) + 0.7 * em;
        double down = 1.35 * em;
        double[] lefts = {box.getX() - line / 2, box.getMaxX() + line / 2 - across};
        double[] tops = {
            box.getY() - line / 2 - down,
            box.getY() + line / 2,
            box.getMaxY() + line / 2,
            box.getMaxY() - line / 2 - down
        };
        Rectangle2D best = null;
        double least = Double.POSITIVE_INFINITY;
        for (double top : tops) {
            for (double left : lefts) {
                double x = Math.clamp(left, 0, Math.max(0, width - across));
                double y = Math.clamp(top, 0, Math.max(0, height - down));
                Rectangle2D plate = new Rectangle2D.Double(x, y, across, down);
                // A place that had to move onto the image counts as a little worse than one that is there already.
                double cost = taken.stream()
                                .mapToDouble(other -> Drawing.common(plate, other))
                                .sum()
                        + 0.1 * em * (Math.abs(x - left) + Math.abs(y - top));
                if (cost < least) {
                    least = cost;
                    best = plate;
                }
            }
        }
        g.setColor(Color.WHITE);
        double rim = Math.max(1, em / 12);
        g.fill(new Rectangle2D.Double(best.getX() - rim, best.getY() - rim, across + 2 * rim, down + 2 * rim));
        g.setColor(color);
        g.fill(best);
        g.setColor(Drawing.inkOn(color.getRGB()));
        Drawing.text(g, font, text, best.getX() + 0.35 * em, best.getY() + em);
        return best;
    }
}
