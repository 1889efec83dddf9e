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

/**
 * Which tokens may read which, as PNG: a row for each token that reads, a column for each that is read. Rows of an
 * image and padding lie so close that they stay blocks, since what they see differs little; words have cells of their
 * own.
 *
 * @param caption below the picture, may be empty
 */
public record VisibilityFigure(String caption) {
    private static final double EM = Frame.EM;
    private static final double GAP = Frame.GAP;
    /** Pixels of a word's cell, and of all words together. */
    private static final int CELL = 24;
    private static final int WORDS = 720;
    /** Pixels of all rows of images, and of all padding. */
    private static final int BLOCKS = 260;
    /** Cells below this many pixels have no lines between them. */
    private static final int LINED = 6;
    private static final double LONGEST_NAME = 11 * EM;
    private static final int HIDDEN = 0xeceff1;

    /** What a token is. */
    public enum Kind {
        /** A row of an image. */
        IMAGE("reads the image", 0x4c8fc4),
        /** A token that was asked. */
        PROMPT("reads the prompt", 0xe6a234),
        /** What fills a text up to the length that a model takes. */
        PADDING("reads padding", 0xb9a88f),
        /** A token that was answered. */
        ANSWER("reads the answer", 0x2f9e77);

        /** Whether tokens lie so close that they stay one block, where there are many. */
        private boolean isBlock() {
            return this == IMAGE || this == PADDING;
        }

        private final String legend;
        private final int color;

        Kind(String legend, int color) {
            this.legend = legend;
            this.color = color;
        }
    }

    /** A token and what stands beside its row and its column. */
    public record Token(Kind kind, String name) {}

    /** Neighbouring tokens of a kind, and their pixels from {@code start} on. */
    private record Run(Kind kind, int from, int to, int start, int end) {}

    /** @param at pixel of its middle */
    private record Name(String text, double at) {}

    /**
     * Draws who reads whom.
     *
     * @param seen [tokens, tokens], true where the token of the row sees that of the column
     * @throws IllegalArgumentException if that is not as many, or there are no tokens
     * @throws FigureException if the file cannot be written or no font is found
     */
    public void write(Path png, String title, List<Token> tokens, boolean[] seen) {
        int count = tokens.size();
        if (count == 0 || seen.length != count * count) {
            throw new IllegalArgumentException(seen.length + " edges of " + count + " tokens");
        }
        int[] edges = edges(tokens);
        List<Run> runs = runs(tokens, edges);
        int side = edges[count];
        Font small = Fonts.plain(0.8 * EM);
        List<Name> names = names(tokens, runs, edges);
        double widest = names.stream().mapToDouble(name -> Fonts.width(small, name.text())).max().orElse(0);
        int left = (int) Math.round(GAP + 2.2 * EM + widest);
        double below = 0.8 * EM + widest * Math.sin(Drawing.SLANT) + EM;
        Frame frame = new Frame(title, caption, left + Math.max(side, 320) + 2 * GAP, side + below + 3.4 * EM);
        Graphics2D g = frame.begin();
        int top = frame.top();
        g.drawImage(cells(tokens, seen, edges), left, top, null);
        lines(g, runs, edges, left, top);
        g.setColor(Drawing.INK);
        for (Name name : names) {
            double room = Fonts.width(small, name.text());
            Drawing.text(g, small, name.text(), left - 0.5 * EM - room, top + name.at() + 0.3 * EM);
            Drawing.slanted(g, small, name.text(), left + name.at() + 0.25 * EM, top + side + 0.9 * EM);
        }
        Drawing.upwards(g, small, "who reads", GAP + 0.6 * EM, top + side / 2.0);
        Drawing.centred(g, small, "who is read", left + side / 2.0, top + side + below);
        legend(g, tokens, left, top + side + below + 1.6 * EM);
        frame.end(g, png);
    }

    /** Where each token begins, and the end. */
    private static int[] edges(List<Token> tokens) {
        long blocks = tokens.stream().filter(token -> token.kind().isBlock()).count();
        long words = tokens.size() - blocks;
        double cell = Math.clamp((double) WORDS / Math.max(1, words), 1, CELL);
        double row = Math.min(CELL, BLOCKS / (double) Math.max(1, blocks));
        int[] edges = new int[tokens.size() + 1];
        double at = 0;
        for (int i = 0; i < tokens.size(); i++) {
            at += tokens.get(i).kind().isBlock() ? row : cell;
            edges[i + 1] = (int) Math.round(at);
        }
        return edges;
    }

    private static List<Run> runs(List<Token> tokens, int[] edges) {
        List<Run> runs = new ArrayList<>();
        int from = 0;
        for (int i = 1; i <= tokens.size(); i++) {
            if (i == tokens.size() || tokens.get(i).kind() != tokens.get(from).kind()) {
                runs.add(new Run(tokens.get(from).kind(), from, i, edges[from], edges[i]));
                from = i;
            }
        }
        return runs;
    }

    /** What stands beside tokens that have room for it. A block of an image has one name in its middle. */
    private static List<Name> names(List<Token> tokens, List<Run> runs, int[] edges) {
        Font small = Fonts.plain(0.8 * EM);
        List<Name> names = new ArrayList<>();
        for (Run run : runs) {
            int length = run.to() - run.from();
            double cell = (double) (run.end() - run.start()) / length;
            if (run.kind().isBlock() && cell < EM) {
                String text = run.kind() == Kind.IMAGE ? "image, " + length + " rows" : "padding, " + length;
                names.add(new Name(text, (run.start() + run.end()) / 2.0));
                continue;
            }
            int step = (int) Math.ceil(0.9 * EM / cell);
            for (int i = run.from(); i < run.to(); i += step) {
                String text = Drawing.cutMiddle(Drawing.printable(tokens.get(i).name()), small, LONGEST_NAME);
                names.add(new Name(text, (edges[i] + edges[i + 1]) / 2.0));
            }
        }
        return names;
    }

    private static BufferedImage cells(List<Token> tokens, boolean[] seen, int[] edges) {
        int side = Math.max(1, edges[tokens.size()]);
        int[] owner = new int[side];
        for (int token = 0; token < tokens.size(); token++) {
            for (int i = edges[token]; i < edges[token + 1]; i++) {
                owner[i] = token;
            }
        }
        BufferedImage cells = new BufferedImage(side, side, BufferedImage.TYPE_INT_RGB);
        for (int y = 0; y < side; y++) {
            for (int x = 0; x < side; x++) {
                boolean visible = seen[owner[y] * tokens.size() + owner[x]];
                cells.setRGB(x, y, visible ? tokens.get(owner[x]).kind().color : HIDDEN);
            }
        }
        return cells;
    }

    private static void lines(Graphics2D g, List<Run> runs, int[] edges, int left, int top) {
        int side = edges[edges.length - 1];
        g.setStroke(new BasicStroke(1));
        for (int i = 1; i < edges.length - 1; i++) {
            boolean roomy = edges[i] - edges[i - 1] >= LINED && edges[i + 1] - edges[i] >= LINED;
            if (roomy) {
                g.setColor(Color.WHITE);
                g.draw(new Line2D.Double(left + edges[i], top, left + edges[i], top + side));
                g.draw(new Line2D.Double(left, top + edges[i], left + side, top + edges[i]));
            }
        }
        g.setColor(Drawing.INK);
        for (Run run : runs) {
            g.draw(new Line2D.Double(left + run.start(), top, left + run.start(), top + side));
            g.draw(new Line2D.Double(left, top + run.start(), left + side, top + run.start()));
        }
        g.draw(new Rectangle2D.Double(left, top, side, side));
    }

    private static void legend(Graphics2D g, List<Token> tokens, double x, double baseline) {
        Font small = Fonts.plain(0.8 * EM);
        double at = x;
        for (Kind kind : Kind.values()) {
            if (tokens.stream().anyMatch(token -> token.kind() == kind)) {
                at = entry(g, small, kind.color, kind.legend, at, baseline);
            }
        }
        entry(g, small, HIDDEN, "cannot see it", at, baseline);
    }

    private static double entry(Graphics2D g, Font font, int color, String text, double x, double baseline) {
        g.setColor(new Color(color));
        Rectangle2D box = new Rectangle2D.Double(x, baseline - 0.75 * EM, 0.85 * EM, 0.85 * EM);
        g.fill(box);
        g.setColor(Drawing.FAINT);
        g.draw(box);
        g.setColor(Drawing.INK);
        Drawing.text(g, font, text, x + 1.2 * EM, baseline);
        return x + 2.2 * EM + Fonts.width(font, text);
    }
}
