package stormsight.report;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.awt.Font;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.image.RgbImage;

class MapFigureTest {
    private static final int WHITE = 0xffffff;
    private static final int GRAY = 0x80;
    private static final MapFigure FIGURE = new MapFigure(MapStyle.DEFAULT, "");
    private static final ColorMap COLORS = MapStyle.DEFAULT.colors();

    @TempDir
    private Path directory;

    private static RgbImage gray(int width, int height) {
        byte[] rgb = new byte[3 * width * height];
        Arrays.fill(rgb, (byte) GRAY);
        return new RgbImage(width, height, rgb);
    }

    /** A map with one peak. */
    private static HeatMap peak(String title, int side, int column, int row, float height) {
        float[] values = new float[side * side];
        values[row * side + column] = height;
        return new HeatMap(title, side, side, values);
    }

    private record Box(int x, int y, int width, int height) {}

    /** The painted rectangles, found by runs of at least 40 pixels in a row over 20 rows: text and bars are smaller. */
    private static List<Box> pictures(BufferedImage figure) {
        List<Box> found = new ArrayList<>();
        for (int y = 0; y < figure.getHeight(); y++) {
            int start = -1;
            for (int x = 0; x <= figure.getWidth(); x++) {
                boolean painted = x < figure.getWidth() && (figure.getRGB(x, y) & WHITE) != WHITE;
                if (painted && start < 0) {
                    start = x;
                } else if (!painted && start >= 0) {
                    if (x - start >= 40) {
                        grow(found, new Box(start, y, x - start, 1));
                    }
                    start = -1;
                }
            }
        }
        found.removeIf(box -> box.height() < 20);
        return found;
    }

    private static void grow(List<Box> boxes, Box run) {
        for (int i = 0; i < boxes.size(); i++) {
            Box box = boxes.get(i);
            // A row with a tick of the axis is longer at the left.
            int longer = box.x() - run.x();
            if (longer >= 0
                    && longer < 10
                    && run.width() == box.width() + longer
                    && box.y() + box.height() == run.y()) {
                boxes.set(i, new Box(box.x(), box.y(), box.width(), box.height() + 1));
                return;
            }
        }
        boxes.add(run);
    }

    private static BufferedImage read(Path png) throws IOException {
        return ImageIO.read(png.toFile());
    }

    /** Which of 256 numbers of the colour map a pixel shows, alone or over gray. */
    private static int shown(int rgb, boolean over) {
        int nearest = 0;
        int smallest = Integer.MAX_VALUE;
        for (int i = 0; i < 256; i++) {
            int distance = distance(rgb, over ? overGray(i / 255.0) : COLORS.rgb(i / 255.0));
            if (distance < smallest) {
                smallest = distance;
                nearest = i;
            }
        }
        return nearest;
    }

    private static int distance(int a, int b) {
        return Math.abs((a >> 16 & 0xff) - (b >> 16 & 0xff))
                + Math.abs((a >> 8 & 0xff) - (b >> 8 & 0xff))
                + Math.abs((a & 0xff) - (b & 0xff));
    }

    @Test
    void anOverlayIsHottestWhereTheMapIsLargest() throws IOException {
        Path png = directory.resolve("overlay.png");
        FIGURE.overlay(png, gray(600, 400), peak("one peak", 8, 5, 2, 1));
        BufferedImage figure = read(png);
        List<Box> pictures = pictures(figure);
        assertEquals(1, pictures.size(), pictures.toString());
        Box box = pictures.getFirst();
        // At the image's resolution.
        assertEquals(600, box.width());
        assertEquals(400, box.height());
        int hottest = -1;
        double sumX = 0;
        double sumY = 0;
        int count = 0;
        for (int y = 0; y < box.height(); y++) {
            for (int x = 0; x < box.width(); x++) {
                int heat = shown(figure.getRGB(box.x() + x, box.y() + y), true);
                if (heat > hottest) {
                    hottest = heat;
                    sumX = 0;
                    sumY = 0;
                    count = 0;
                }
                if (heat == hottest) {
                    sumX += x;
                    sumY += y;
                    count++;
                }
            }
        }
        assertEquals((5 + 0.5) / 8 * 600, sumX / count, 2);
        assertEquals((2 + 0.5) / 8 * 400, sumY / count, 2);
    }

    @Test
    void anOverlayCoversTheImageByWeight() throws IOException {
        Path png = directory.resolve("overlay.png");
        FIGURE.overlay(png, gray(600, 600), peak("one peak", 2, 0, 0, 1));
        BufferedImage figure = read(png);
        Box box = pictures(figure).getFirst();
        assertEquals(overGray(1), figure.getRGB(box.x() + 10, box.y() + 10) & WHITE);
        assertEquals(GRAY * 0x010101, figure.getRGB(box.x() + 590, box.y() + 590) & WHITE);
    }

    /** What a colour map's place looks like over gray. */
    private static int overGray(double position) {
        return MapStyle.DEFAULT.over(GRAY * 0x010101, position);
    }

    /** One colour a patch where that is asked for, and a line of text below all. */
    @Test
    void patchesMayKeepTheirColoursApartAndCaptionsStandBelow() throws IOException {
        Path png = directory.resolve("overlay.png");
        HeatMap map = peak("one peak", 2, 0, 0, 1);
        MapFigure patches = new MapFigure(new MapStyle(ColorMap.INFERNO, false), "Model: a  \u00b7  Prompt: b");
        patches.overlay(png, gray(600, 600), map);
        BufferedImage figure = read(png);
        Box box = pictures(figure).getFirst();
        MapStyle inferno = new MapStyle(ColorMap.INFERNO, false);
        assertEquals(inferno.over(GRAY * 0x010101, 1), figure.getRGB(box.x() + 298, box.y() + 298) & WHITE);
        assertEquals(GRAY * 0x010101, figure.getRGB(box.x() + 302, box.y() + 298) & WHITE);
        int below = dark(figure, box.y() + box.height() + 1);
        FIGURE.overlay(png, gray(600, 600), map);
        // The lowest number of the colour bar reaches there, too.
        assertTrue(below > dark(read(png), box.y() + box.height() + 1) + 100, "no caption");
    }

    private static int dark(BufferedImage figure, int fromRow) {
        int dark = 0;
        for (int y = fromRow; y < figure.getHeight(); y++) {
            for (int x = 0; x < figure.getWidth(); x++) {
                dark += (figure.getRGB(x, y) & 0xff) < 0xa0 ? 1 : 0;
            }
        }
        return dark;
    }

    @Test
    void smallImagesAreDrawnLargerAndHugeOnesSmaller() throws IOException {
        Path png = directory.resolve("overlay.png");
        FIGURE.overlay(png, gray(224, 224), peak("small", 16, 3, 3, 1));
        assertEquals(672, pictures(read(png)).getFirst().width());
        FIGURE.overlay(png, gray(16_384, 64), peak("wide", 4, 3, 3, 1));
        assertEquals(8192, pictures(read(png)).getFirst().width());
        FIGURE.overlay(png, gray(10, 3000), peak("narrow", 4, 3, 3, 1));
        assertTrue(read(png).getHeight() < 3400);
    }

    @Test
    void panelsShowImageMapAndBoth() throws IOException {
        Path png = directory.resolve("panels.png");
        FIGURE.panels(png, gray(448, 448), peak("map", 4, 0, 0, 1));
        BufferedImage figure = read(png);
        List<Box> pictures = pictures(figure);
        assertEquals(3, pictures.size(), pictures.toString());
        int[] corners = pictures.stream().mapToInt(box -> figure.getRGB(box.x() + 5, box.y() + 5) & WHITE).toArray();
        assertArrayEquals(new int[] {GRAY * 0x010101, COLORS.rgb(1), overGray(1)}, corners);
        assertTrue(figure.getWidth() > 3 * 448);
    }

    @Test
    void aGridShowsEveryMapInItsPlace() throws IOException {
        List<HeatMap> maps = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            // Each on its own scale, so that the peak is at the hot end however small it is.
            maps.add(peak("word " + i, 4, i % 4, i / 4, (float) Math.pow(10, -i)));
        }
        Path png = directory.resolve("grid.png");
        FIGURE.grid(png, "all words", gray(64, 64), maps, 3, false);
        BufferedImage figure = read(png);
        List<Box> pictures = pictures(figure);
        assertEquals(5, pictures.size(), pictures.toString());
        assertEquals(pictures.get(0).y(), pictures.get(2).y());
        assertTrue(pictures.get(3).y() > pictures.get(0).y() + 300);
        assertEquals(pictures.get(0).x(), pictures.get(3).x());
        for (int i = 0; i < 5; i++) {
            Box box = pictures.get(i);
            assertEquals(300, box.width());
            int x = box.x() + (int) ((i % 4 + 0.5) / 4 * box.width());
            int y = box.y() + (int) ((i / 4 + 0.5) / 4 * box.height());
            assertTrue(shown(figure.getRGB(x, y), false) >= 250, "map " + i);
        }
    }

    @Test
    void aCommonScaleShowsHowMuch() throws IOException {
        RgbImage image = gray(100, 100);
        List<MapFigure.Cell> cells = List.of(
                new MapFigure.Cell(image, peak("strong", 2, 0, 0, 1)),
                new MapFigure.Cell(image, peak("weak", 2, 0, 0, 0.5f)));
        Path png = directory.resolve("grid.png");
        FIGURE.grid(png, "", cells, 2, false, MapFigure.Scale.COMMON);
        assertEquals(List.of(COLORS.rgb(1), COLORS.rgb(0.5)), upperLeft(png));
        FIGURE.grid(png, "", cells, 2, false, MapFigure.Scale.OWN);
        assertEquals(List.of(COLORS.rgb(1), COLORS.rgb(1)), upperLeft(png));
    }

    @Test
    void rowsBeginWithTheirImageAndMayBeShort() throws IOException {
        Path png = directory.resolve("rows.png");
        FIGURE.rows(
                png,
                "compared",
                List.of(
                        new MapFigure.Row("short", gray(64, 64), List.of(peak("a", 4, 0, 0, 1))),
                        new MapFigure.Row("long", gray(64, 64), List.of(peak("a", 4, 0, 0, 1), peak("b", 4, 1, 1, 1)))),
                MapFigure.Scale.OWN);
        BufferedImage figure = read(png);
        List<Box> pictures = pictures(figure);
        assertEquals(5, pictures.size(), pictures.toString());
        assertEquals(pictures.get(0).y(), pictures.get(1).y());
        assertTrue(pictures.get(2).y() > pictures.get(0).y() + 300);
        assertEquals(pictures.get(1).x(), pictures.get(3).x());
        assertThrows(
                IllegalArgumentException.class,
                () -> FIGURE.rows(
                        png, "", List.of(new MapFigure.Row("", gray(64, 64), List.of())), MapFigure.Scale.OWN));
    }

    @Test
    void aLongRowGoesOnBelow() throws IOException {
        Path png = directory.resolve("rows.png");
        List<HeatMap> maps = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            maps.add(peak("word " + i, 4, 0, 0, 1));
        }
        FIGURE.rows(png, "compared", List.of(new MapFigure.Row("eight", gray(64, 64), maps),
                new MapFigure.Row("one", gray(64, 64), maps.subList(0, 1))), MapFigure.Scale.OWN);
        List<Box> pictures = pictures(read(png));
        assertEquals(11, pictures.size(), pictures.toString());
        // Image and six maps, two maps below the first of them, image and map.
        assertEquals(List.of(7, 2, 2), pictures.stream().map(Box::y).distinct()
                .map(y -> (int) pictures.stream().filter(box -> box.y() == y).count()).toList());
        assertEquals(pictures.get(1).x(), pictures.get(7).x());
        assertEquals(pictures.get(0).x(), pictures.get(9).x());
    }

    private static List<Integer> upperLeft(Path png) throws IOException {
        BufferedImage figure = read(png);
        return pictures(figure).stream().map(box -> figure.getRGB(box.x() + 2, box.y() + 2) & WHITE).toList();
    }

    @Test
    void aComparisonTakesImagesOfSeveralShapes() throws IOException {
        Path png = directory.resolve("grid.png");
        FIGURE.grid(
                png,
                "two images",
                List.of(
                        new MapFigure.Cell(gray(100, 200), peak("a", 2, 0, 0, 1)),
                        new MapFigure.Cell(gray(400, 100), peak("b", 2, 0, 0, 1))),
                2,
                true,
                MapFigure.Scale.OWN);
        List<Box> pictures = pictures(read(png));
        assertEquals(List.of(150, 300), pictures.stream().map(Box::width).toList());
        assertEquals(List.of(300, 75), pictures.stream().map(Box::height).toList());
    }

    @Test
    void refusesGridsAndMapsThatAreNone() {
        Path png = directory.resolve("grid.png");
        assertThrows(IllegalArgumentException.class, () -> FIGURE.grid(png, "", gray(9, 9), List.of(), 2, true));
        assertThrows(
                IllegalArgumentException.class,
                () -> FIGURE.grid(png, "", gray(9, 9), List.of(peak("a", 2, 0, 0, 1)), 0, true));
        assertThrows(IllegalArgumentException.class, () -> new HeatMap("a", 2, 3, new float[5]));
        assertThrows(IllegalArgumentException.class, () -> new HeatMap("a", 1, 1, new float[] {Float.NaN}));
    }

    @Test
    void mapsAreBilinearBetweenTheMiddlesOfPatches() {
        HeatMap map = new HeatMap("a", 2, 2, new float[] {0, 1, 2, 4});
        assertEquals(0, map.at(0, 0));
        assertEquals(0, map.at(0.5, 0.5));
        assertEquals(0.5, map.at(1, 0.5));
        assertEquals(1.75, map.at(1, 1));
        assertEquals(4, map.at(2, 2));
    }

    @Test
    void ticksAreRoundNumbersWithinTheRange() {
        Range.Ticks ticks = new Range(0.15, 0.39).ticks();
        assertEquals(
                List.of("0.15", "0.20", "0.25", "0.30", "0.35"),
                ticks.ticks().stream().map(Range.Tick::label).toList());
        assertEquals("", ticks.factor());
        ticks = new Range(0, 0.00031).ticks();
        assertEquals(List.of("0", "1", "2", "3"), ticks.ticks().stream().map(Range.Tick::label).toList());
        assertEquals("1e-4", ticks.factor());
        assertEquals(0.0003, ticks.ticks().getLast().value(), 1e-12);
        assertEquals(List.of("-100", "-80", "-60", "-40", "-20", "0"),
                new Range(-100, 0).ticks().ticks().stream().map(Range.Tick::label).toList());
        assertEquals(1, new Range(2, 2).ticks().ticks().size());
        assertEquals(0, new Range(2, 2).position(2));
    }

    @Test
    void titlesAreBrokenIntoLinesThatFit() {
        Font font = Fonts.bold(15);
        List<String> lines =
                Drawing.wrap("a title of several words that does not fit into a line of that width", font, 200);
        assertTrue(lines.size() > 1);
        assertEquals("a title of several words that does not fit into a line of that width", String.join(" ", lines));
        assertTrue(lines.stream().allMatch(line -> Fonts.width(font, line) <= 200), lines.toString());
        lines = Drawing.wrap("endless".repeat(100), font, 200);
        assertEquals(3, lines.size());
        assertTrue(lines.getLast().endsWith("..."));
        assertTrue(lines.stream().allMatch(line -> Fonts.width(font, line) <= 200), lines.toString());
        assertEquals(List.of("Word: \\n"), Drawing.wrap("Word: \n", font, 200));
        // Never half of a character.
        for (String line : Drawing.wrap("\uD83D\uDE42".repeat(50), font, 100)) {
            assertTrue(
                    line.codePoints().noneMatch(c -> c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE),
                    line);
        }
        assertNotEquals(0, Drawing.wrap("abc", font, 1).size());
    }

    /** A Java runtime in a machine without fonts, as in a small container: one line that says what to install. */
    @Test
    void saysThatFontsAreMissing() throws IOException, InterruptedException {
        Path nothing = directory.resolve("fonts.conf");
        Files.writeString(
                nothing, "<?xml version=\"1.0\"?><!DOCTYPE fontconfig SYSTEM \"fonts.dtd\"><fontconfig></fontconfig>");
        String classes = System.getProperty("java.class.path");
        ProcessBuilder builder = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-cp",
                        classes,
                        "-Duser.home=" + directory,
                        NoFonts.class.getName(),
                        directory.resolve("a.png").toString())
                .redirectErrorStream(true);
        builder.environment().put("FONTCONFIG_FILE", nothing.toString());
        Process process = builder.start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        process.waitFor();
        assumeFalse(said.strip().equals("drawn"), "this Java runtime finds fonts without fontconfig");
        assertEquals("no fonts found: install fontconfig and a font such as DejaVu", said.strip());
        assertTrue(Files.notExists(directory.resolve("a.png")));
    }

    /** Draws a figure in a process of its own. */
    static final class NoFonts {
        public static void main(String[] arguments) {
            try {
                FIGURE.overlay(Path.of(arguments[0]), gray(20, 20), peak("a", 2, 0, 0, 1));
                System.out.println("drawn");
            } catch (FigureException e) {
                System.out.println(e.getMessage());
            }
        }
    }
}
