package stormsight.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MatrixFigureTest {
    private static final MatrixFigure FIGURE = new MatrixFigure(ColorMap.VIRIDIS, "");
    private static final int LOW = ColorMap.VIRIDIS.rgb(0);
    private static final int HIGH = ColorMap.VIRIDIS.rgb(1);

    @TempDir
    private Path directory;

    private static List<String> counted(int count) {
        return IntStream.range(0, count).mapToObj(String::valueOf).toList();
    }

    private BufferedImage draw(List<Matrix> matrices, int across) throws IOException {
        Path png = directory.resolve("matrices.png");
        FIGURE.write(png, "a heading", matrices, across);
        return ImageIO.read(png.toFile());
    }

    /** How often a colour stands in a row of pixels without a break, at most. */
    private static int longestRun(BufferedImage figure, int rgb) {
        int longest = 0;
        for (int y = 0; y < figure.getHeight(); y++) {
            int run = 0;
            for (int x = 0; x < figure.getWidth(); x++) {
                run = (figure.getRGB(x, y) & 0xffffff) == rgb ? run + 1 : 0;
                longest = Math.max(longest, run);
            }
        }
        return longest;
    }

    /**
     * Two numbers side by side are two colours with none between them; of a large matrix, some numbers share a pixel.
     */
    @Test
    void cellsHaveSharpEdges() throws IOException {
        float[] wide = new float[2048];
        Arrays.fill(wide, 1024, 2048, 1);
        BufferedImage figure = draw(List.of(new Matrix("wide", "", List.of("a"), "", counted(2048), wide)), 1);
        assertEquals(256, longestRun(figure, LOW));
        assertEquals(256, longestRun(figure, HIGH));
        int y = figure.getHeight() / 2;
        int edge = IntStream.range(1, figure.getWidth())
                .filter(x -> (figure.getRGB(x - 1, y) & 0xffffff) == LOW && (figure.getRGB(x, y) & 0xffffff) == HIGH)
                .findFirst()
                .orElseThrow();
        assertTrue(edge > 256);
    }

    /** Numbers are printed where cells have room for them, in a colour that shows on the cell's. */
    @Test
    void numbersArePrintedWhereTheyFit() {
        List<String> names = List.of("cat", "dog");
        assertTrue(ink(new Matrix("", "", names, "", names, new float[4])) > 20);
        assertEquals(0, ink(new Matrix("", "", counted(200), "", counted(200), new float[40_000])));
    }

    /** Pixels inside the cells of the left half, where the colour bar is not, that have not the colour of a cell. */
    private static int ink(Matrix matrix) {
        BufferedImage figure = FIGURE.draw("", List.of(matrix), 1);
        int found = 0;
        for (int y = 0; y < figure.getHeight(); y++) {
            for (int x = 2; x < figure.getWidth() / 2; x++) {
                boolean between =
                        (figure.getRGB(x - 2, y) & 0xffffff) == LOW && (figure.getRGB(x + 2, y) & 0xffffff) == LOW;
                found += between && (figure.getRGB(x, y) & 0xffffff) != LOW ? 1 : 0;
            }
        }
        return found;
    }

    @Test
    void namesOfAnyLengthLeaveThePictureWhole() {
        String endless = "a name that goes on and on ".repeat(20);
        List<String> names = List.of(endless, "\n", " ", "");
        Matrix matrix = new Matrix(endless, endless, names, endless, names, new float[16]);
        BufferedImage figure = FIGURE.draw(endless, List.of(matrix, matrix), 2);
        assertTrue(
                figure.getWidth() < 1500 && figure.getHeight() < 1000, figure.getWidth() + " x " + figure.getHeight());
        // Nothing is cut off: the outermost pixels are white.
        for (int y = 0; y < figure.getHeight(); y++) {
            assertEquals(0xffffff, figure.getRGB(0, y) & 0xffffff, "left edge, row " + y);
            assertEquals(0xffffff, figure.getRGB(figure.getWidth() - 1, y) & 0xffffff, "right edge, row " + y);
        }
        for (int x = 0; x < figure.getWidth(); x++) {
            assertEquals(0xffffff, figure.getRGB(x, 0) & 0xffffff);
            assertEquals(0xffffff, figure.getRGB(x, figure.getHeight() - 1) & 0xffffff);
        }
    }

    @Test
    void longNamesKeepBothEnds() {
        String cut = Drawing.cutMiddle("photos/holiday/picture_0017.jpg", Fonts.plain(15), 150);
        assertTrue(cut.startsWith("photos") && cut.contains("...") && cut.endsWith("17.jpg"), cut);
        assertTrue(Fonts.width(Fonts.plain(15), cut) <= 150, cut);
        assertEquals("short", Drawing.cutMiddle("short", Fonts.plain(15), 150));
    }

    @Test
    void refusesMatricesThatAreNone() {
        List<String> one = List.of("a");
        assertThrows(IllegalArgumentException.class, () -> new Matrix("", "", List.of(), "", one, new float[0]));
        assertThrows(IllegalArgumentException.class, () -> new Matrix("", "", one, "", one, new float[2]));
        assertThrows(IllegalArgumentException.class, () -> new Matrix("", "", one, "", one, new float[] {Float.NaN}));
        assertThrows(IllegalArgumentException.class, () -> FIGURE.write(directory.resolve("a.png"), "", List.of(), 1));
    }
}
