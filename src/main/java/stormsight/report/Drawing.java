package stormsight.report;

import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.geom.AffineTransform;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import javax.imageio.ImageIO;
import javax.imageio.stream.ImageOutputStream;
import javax.imageio.stream.MemoryCacheImageOutputStream;

/** What all drawn figures have in common: their ink, their text and the PNG that they become. */
final class Drawing {
    static final Color INK = new Color(0x202124);
    static final Color FAINT = new Color(0x5f6368);
    /** From baseline to baseline, in sizes of the font. */
    static final double LINE = 1.3;
    /** Of names that have no room beside each other, in radians. */
    static final double SLANT = Math.toRadians(45);
    private static final int MOST_LINES = 3;

    private Drawing() {}

    /** A white sheet; fractions of a pixel make it larger. */
    static BufferedImage sheet(double width, double height) {
        BufferedImage sheet =
                new BufferedImage((int) Math.ceil(width), (int) Math.ceil(height), BufferedImage.TYPE_INT_RGB);
        Graphics2D g = sheet.createGraphics();
        g.setColor(Color.WHITE);
        g.fillRect(0, 0, sheet.getWidth(), sheet.getHeight());
        g.dispose();
        return sheet;
    }

    static Graphics2D graphics(BufferedImage sheet) {
        Graphics2D g = sheet.createGraphics();
        g.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
        g.setRenderingHint(RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
        g.setRenderingHint(RenderingHints.KEY_FRACTIONALMETRICS, RenderingHints.VALUE_FRACTIONALMETRICS_ON);
        g.setRenderingHint(RenderingHints.KEY_STROKE_CONTROL, RenderingHints.VALUE_STROKE_PURE);
        return g;
    }

    /** @throws FigureException if the file cannot be written */
    static void write(Path png, BufferedImage drawn) {
        byte[] bytes = png(drawn);
        // Java's encoder would say no more than that it could not write.
        OutputFile.write(png, out -> out.write(bytes));
    }

    static byte[] png(BufferedImage drawn) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (ImageOutputStream out = new MemoryCacheImageOutputStream(bytes)) {
            if (!ImageIO.write(drawn, "png", out)) {
                throw new IllegalStateException("this Java runtime writes no PNG");
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return bytes.toByteArray();
    }

    static void text(Graphics2D g, Font font, String text, double x, double baseline) {
        g.setFont(font);
        g.drawString(text, (float) x, (float) baseline);
    }

    /** Centred at a place, read from below. */
    static void upwards(Graphics2D g, Font font, String text, double x, double y) {
        AffineTransform upright = g.getTransform();
        g.translate(x, y);
        g.rotate(-Math.PI / 2);
        centred(g, font, text, 0, 0);
        g.setTransform(upright);
    }

    /** Rising by {@link #SLANT}, with its end at a place. */
    static void slanted(Graphics2D g, Font font, String text, double x, double y) {
        AffineTransform upright = g.getTransform();
        g.translate(x, y);
        g.rotate(-SLANT);
        text(g, font, text, -Fonts.width(font, text), 0);
        g.setTransform(upright);
    }

    static void centred(Graphics2D g, Font font, String text, double x, double baseline) {
        text(g, font, text, x - Fonts.width(font, text) / 2, baseline);
    }

    /** Black or white, whichever is read more easily on a colour {@code 0xRRGGBB}. */
    static Color inkOn(int rgb) {
        // Relative luminance of WCAG 2; at 0.179 black and white have the same contrast.
        return 0.2126 * linear(rgb >> 16 & 0xff) + 0.7152 * linear(rgb >> 8 & 0xff) + 0.0722 * linear(rgb & 0xff)
                        > 0.179
                ? Color.BLACK
                : Color.WHITE;
    }

    private static double linear(int channel) {
        double c = channel / 255.0;
        return c <= 0.04045 ? c / 12.92 : Math.pow((c + 0.055) / 1.055, 2.4);
    }

    /** Pixels that two rectangles share. */
    static double common(Rectangle2D a, Rectangle2D b) {
        Rectangle2D both = a.createIntersection(b);
        return both.isEmpty() ? 0 : both.getWidth() * both.getHeight();
    }

    /**
     * Lines no wider than that, broken at spaces where possible; what does not fit into three lines ends in three dots.
     */
    static List<String> wrap(String text, Font font, double width) {
        String rest = printable(text).strip();
        List<String> lines = new ArrayList<>();
        while (!rest.isEmpty() && lines.size() < MOST_LINES) {
            int fits = fits(rest, font, width);
            if (fits < rest.length() && lines.size() == MOST_LINES - 1) {
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

    /**
     * One line no wider than that: of what does not fit, beginning and end are left, as file names differ at the end.
     */
    static String cutMiddle(String text, Font font, double width) {
        if (fits(text, font, width) == text.length()) {
            return text;
        }
        double room = width - Fonts.width(font, "...");
        String end = reversed(text);
        end = reversed(end.substring(0, fits(end, font, 0.4 * room)));
        return text.substring(0, fits(text, font, room - Fonts.width(font, end))).strip() + "..." + end.strip();
    }

    private static String reversed(String text) {
        return new StringBuilder(text).reverse().toString();
    }

    /**
     * The length of the longest beginning of a text that fits into a width, at least one character of a text that has
     * any.
     */
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

    /** A newline is a token like others: it shows as {@code \n}, and a token of nothing but spaces as open boxes. */
    static String printable(String text) {
        String shown = text.replace("\n", "\\n").replace("\t", "\\t").replaceAll("\\p{Cntrl}", "?");
        return !shown.isEmpty() && shown.isBlank() ? shown.replaceAll("\\s", "\u2423") : shown;
    }
}
