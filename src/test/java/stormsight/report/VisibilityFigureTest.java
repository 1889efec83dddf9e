package stormsight.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.image.RgbImage;

/** Figures of who sees whom, patches and small maps: what stands where. */
class VisibilityFigureTest {
    private static final int IMAGE = 0x4c8fc4;
    private static final int PROMPT = 0xe6a234;
    private static final int HIDDEN = 0xeceff1;

    @TempDir
    private Path directory;

    private static long count(BufferedImage figure, int rgb) {
        return IntStream.range(0, figure.getWidth() * figure.getHeight())
                .filter(i -> (figure.getRGB(i % figure.getWidth(), i / figure.getWidth()) & 0xffffff) == rgb)
                .count();
    }

    private BufferedImage draw(int image, int words, boolean causal) throws IOException {
        List<VisibilityFigure.Token> tokens = new ArrayList<>();
        IntStream.range(0, image)
                .forEach(i -> tokens.add(new VisibilityFigure.Token(VisibilityFigure.Kind.IMAGE, "i" + i)));
        IntStream.range(0, words)
                .forEach(i -> tokens.add(new VisibilityFigure.Token(VisibilityFigure.Kind.PROMPT, "w" + i)));
        boolean[] seen = new boolean[tokens.size() * tokens.size()];
        for (int i = 0; i < seen.length; i++) {
            seen[i] = !causal || i % tokens.size() <= i / tokens.size();
        }
        Path png = directory.resolve("mask.png");
        new VisibilityFigure("a caption").write(png, "a title", tokens, seen);
        return ImageIO.read(png.toFile());
    }

    /** Of 256 rows of an image 260 pixels, of four words 24 each; lines and the legend take little of that. */
    @Test
    void areasAreThoseOfTheEdges() throws IOException {
        BufferedImage whole = draw(256, 4, false);
        assertEquals(356.0 * 260, count(whole, IMAGE), 4000);
        assertEquals(356.0 * 96, count(whole, PROMPT), 4500);
        assertTrue(count(whole, HIDDEN) < 400, count(whole, HIDDEN) + " hidden");
        BufferedImage causal = draw(256, 4, true);
        assertEquals(260.0 * 260 / 2 + 96 * 260, count(causal, IMAGE), 4000);
        assertEquals(24.0 * 24 * 10, count(causal, PROMPT), 1500);
        assertEquals(260.0 * 260 / 2 + 96 * 260 + 24 * 24 * 6, count(causal, HIDDEN), 4000);
    }

    @Test
    void drawsOneTokenAndThousands() throws IOException {
        assertTrue(draw(0, 1, true).getWidth() > 300);
        assertTrue(draw(1, 1, true).getWidth() > 300);
        assertTrue(draw(4096, 300, true).getWidth() < 1500);
    }

    @Test
    void refusesOtherNumbersOfEdges() {
        List<VisibilityFigure.Token> one = List.of(new VisibilityFigure.Token(VisibilityFigure.Kind.PROMPT, "a"));
        VisibilityFigure figure = new VisibilityFigure("");
        Path png = directory.resolve("none.png");
        assertThrows(IllegalArgumentException.class, () -> figure.write(png, "", one, new boolean[2]));
        assertThrows(IllegalArgumentException.class, () -> figure.write(png, "", List.of(), new boolean[0]));
    }

    /** Four patches of one colour each: all of them are found, in both pictures, and the class token in front. */
    @Test
    void patchesKeepTheirColoursAndTheirOrder() throws IOException {
        int[] colors = {0xff0000, 0x00ff00, 0x0000ff, 0xffff00};
        byte[] pixels = new byte[3 * 8 * 8];
        for (int i = 0; i < 64; i++) {
            int color = colors[i / 8 / 4 * 2 + i % 8 / 4];
            pixels[3 * i] = (byte) (color >> 16);
            pixels[3 * i + 1] = (byte) (color >> 8);
            pixels[3 * i + 2] = (byte) color;
        }
        RgbImage image = new RgbImage(8, 8, pixels);
        Path grid = directory.resolve("grid.png");
        new PatchFigure("").grid(grid, "grid", image, 2, 2);
        BufferedImage drawn = ImageIO.read(grid.toFile());
        for (int color : colors) {
            assertTrue(count(drawn, color) > 50_000, Integer.toHexString(color));
        }
        Path order = directory.resolve("order.png");
        new PatchFigure("").order(order, "order", image, 2, 2, List.of("class"));
        BufferedImage row = ImageIO.read(order.toFile());
        int[] middles = Arrays.stream(colors)
                .map(color -> IntStream.range(0, row.getWidth())
                        .filter(x -> IntStream.range(0, row.getHeight())
                                .anyMatch(y -> (row.getRGB(x, y) & 0xffffff) == color))
                        .findFirst()
                        .orElseThrow())
                .toArray();
        assertTrue(middles[0] < middles[1] && middles[1] < middles[2] && middles[2] < middles[3],
                Arrays.toString(middles));
        assertTrue(middles[0] > 36);
        assertThrows(
                IllegalArgumentException.class, () -> new PatchFigure("").grid(grid, "", image, 9, 9));
    }

    @Test
    void tilesStandInTheirPlaces() throws IOException {
        MapStyle style = new MapStyle(ColorMap.VIRIDIS, false);
        List<HeatMap> tiles = List.of(
                new HeatMap("", 1, 1, new float[] {0}),
                new HeatMap("", 1, 1, new float[] {1}),
                new HeatMap("", 1, 1, new float[] {0}),
                new HeatMap("", 1, 1, new float[] {0}));
        TileFigure.Places places = new TileFigure.Places("patch", List.of("0", "1"));
        Path png = directory.resolve("tiles.png");
        new TileFigure(style, "").write(png, "tiles", places, places, tiles);
        BufferedImage drawn = ImageIO.read(png.toFile());
        assertEquals(120 * 120, count(drawn, ColorMap.VIRIDIS.rgb(1)), 200);
        assertEquals(3 * 120 * 120, count(drawn, ColorMap.VIRIDIS.rgb(0)), 200);
        assertThrows(
                IllegalArgumentException.class,
                () -> new TileFigure(style, "").write(png, "", places, places, tiles.subList(0, 3)));
    }
}
