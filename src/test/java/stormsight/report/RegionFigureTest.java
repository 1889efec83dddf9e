package stormsight.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.Color;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.image.Box;
import stormsight.image.Mask;
import stormsight.image.RgbImage;
import stormsight.report.RegionFigure.Region;

class RegionFigureTest {
    private static final int FIRST = ChartFile.COLORS[0].getRGB() & 0xffffff;

    @TempDir
    private Path directory;

    private static RgbImage plain(int width, int height, int rgb) {
        byte[] samples = new byte[3 * width * height];
        for (int i = 0; i < samples.length; i++) {
            samples[i] = (byte) (rgb >> 16 - 8 * (i % 3));
        }
        return new RgbImage(width, height, samples);
    }

    private static Region region(String label, double x, double y, double width, double height) {
        return new Region(label, new Box(x, y, width, height), Optional.empty());
    }

    private static int count(BufferedImage drawn, int rgb) {
        int count = 0;
        for (int y = 0; y < drawn.getHeight(); y++) {
            for (int x = 0; x < drawn.getWidth(); x++) {
                count += (drawn.getRGB(x, y) & 0xffffff) == rgb ? 1 : 0;
            }
        }
        return count;
    }

    /** The box and its label show on black, on white, on gray and on the very colour of the box. */
    @ParameterizedTest
    @ValueSource(ints = {0x000000, 0xffffff, 0x808080, 0x0072b2})
    void boxAndLabelShowOnAnyBackground(int background) throws IOException {
        Path png = directory.resolve("drawn.png");
        RegionFigure.write(png, plain(300, 200, background), List.of(region("red star", 100, 80, 120, 60)));
        BufferedImage drawn = ImageIO.read(png.toFile());
        assertEquals(300, drawn.getWidth());
        assertEquals(200, drawn.getHeight());
        // The line in its colour, and white beside it.
        assertEquals(FIRST, drawn.getRGB(160, 80) & 0xffffff);
        assertTrue(count(drawn, 0xffffff) > 300, "no white beside the line");
        // The middle of the box is as it was.
        assertEquals(background, drawn.getRGB(160, 110) & 0xffffff);
        // White text on the blue plate above the box.
        int plate = 0;
        int text = 0;
        for (int x = 102; x < 150; x++) {
            for (int y = 66; y < 78; y++) {
                plate += (drawn.getRGB(x, y) & 0xffffff) == FIRST ? 1 : 0;
                text += (drawn.getRGB(x, y) & 0xffffff) == 0xffffff ? 1 : 0;
            }
        }
        assertTrue(plate > 100 && text > 20, plate + " of the plate, " + text + " of the text");
    }

    @Test
    void inkOnAPlateHasContrast() {
        for (Color color : ChartFile.COLORS) {
            double ratio = contrast(color.getRGB(), Drawing.inkOn(color.getRGB()).getRGB());
            assertTrue(ratio >= 4.5, color + ": " + ratio);
        }
    }

    /** The contrast ratio of WCAG 2. */
    private static double contrast(int a, int b) {
        double first = luminance(a);
        double second = luminance(b);
        return (Math.max(first, second) + 0.05) / (Math.min(first, second) + 0.05);
    }

    private static double luminance(int rgb) {
        double[] weights = {0.2126, 0.7152, 0.0722};
        double sum = 0;
        for (int i = 0; i < 3; i++) {
            double c = (rgb >> 16 - 8 * i & 0xff) / 255.0;
            sum += weights[i] * (c <= 0.04045 ? c / 12.92 : Math.pow((c + 0.055) / 1.055, 2.4));
        }
        return sum;
    }

    @Test
    void aMaskTintsWhatIsInside() {
        boolean[] inside = new boolean[100 * 100];
        for (int y = 20; y < 80; y++) {
            Arrays.fill(inside, y * 100 + 20, y * 100 + 80, true);
        }
        BufferedImage drawn = RegionFigure.draw(plain(100, 100, 0x808080),
                List.of(new Region("", new Box(10, 10, 80, 80), Optional.of(new Mask(100, 100, inside)))));
        int tinted = drawn.getRGB(50, 50) & 0xffffff;
        assertEquals(Math.round(0.55 * 0x80 + 0.45 * 0xb2), tinted & 0xff);
        assertEquals(FIRST, drawn.getRGB(20, 50) & 0xffffff);
        assertEquals(0xffffff, drawn.getRGB(19, 50) & 0xffffff);
        assertEquals(0x808080, drawn.getRGB(15, 50) & 0xffffff);
        assertThrows(IllegalArgumentException.class, () -> RegionFigure.draw(plain(10, 10, 0),
                List.of(new Region("", new Box(1, 1, 2, 2), Optional.of(new Mask(100, 100, inside))))));
        assertThrows(IllegalArgumentException.class, () -> new Mask(2, 2, new boolean[5]));
    }

    /** Boxes beyond the image, of a point's size, and in an image of few pixels are drawn as far as there is room. */
    @Test
    void oddBoxesAreDrawn() {
        RegionFigure.draw(plain(3, 2, 0), List.of(region("a long label", -50, -50, 500, 500)));
        BufferedImage drawn = RegionFigure.draw(
                plain(200, 200, 0), List.of(region("", 500, 500, 10, 10), region("", 40, 40, 0.01, 0.01)));
        assertTrue(count(drawn, FIRST) > 0);
        // The frame of a box around everything is on the image.
        BufferedImage framed = RegionFigure.draw(plain(200, 200, 0), List.of(region("", -10, -10, 300, 300)));
        assertTrue(count(framed, FIRST) > 4 * 180);
    }

    @Test
    void labelsDoNotCoverEachOther() {
        BufferedImage one = RegionFigure.draw(plain(400, 400, 0), List.of(region("same place", 100, 100, 200, 200)));
        BufferedImage two = RegionFigure.draw(plain(400, 400, 0),
                List.of(region("same place", 100, 100, 200, 200), region("same place", 100, 100, 200, 200)));
        assertTrue(count(two, FIRST) > count(one, FIRST) + 500);
    }
}
