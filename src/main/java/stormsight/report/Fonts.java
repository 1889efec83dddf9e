package stormsight.report;

import java.awt.Font;
import java.awt.font.FontRenderContext;

/** The fonts of all figures. AWT is used through here first. */
final class Fonts {
    static {
        // Figures need no display, and a server has none.
        System.setProperty("java.awt.headless", "true");
    }

    /** How text is measured, as it is drawn: smooth, at fractions of pixels. */
    static final FontRenderContext MEASURE = new FontRenderContext(null, true, true);

    private Fonts() {}

    static Font plain(double size) {
        return font(Font.PLAIN, size);
    }

    static Font bold(double size) {
        return font(Font.BOLD, size);
    }

    /** @throws FigureException where Java finds no font at all */
    private static Font font(int style, double size) {
        try {
            Font font = new Font(Font.SANS_SERIF, style, 1).deriveFont((float) size);
            font.getStringBounds("0", MEASURE);
            return font;
        } catch (RuntimeException | LinkageError | InternalError e) {
            // Java throws one of these where fontconfig, FreeType or every font is missing, and others the second time.
            throw new FigureException("no fonts found: install fontconfig and a font such as DejaVu", e);
        }
    }

    static double width(Font font, String text) {
        return font.getStringBounds(text, MEASURE).getWidth();
    }
}
