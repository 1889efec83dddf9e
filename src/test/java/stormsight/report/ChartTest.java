package stormsight.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.Color;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ChartTest {
    private static final double[] LAYERS = {0, 1, 2, 3};
    private static final Curve PLAIN = new Curve("Question \u219b Last", LAYERS, new double[] {0, -5, -20, -10});
    private static final Curve BANDED = new Curve(
            "Image <to> \"Last\" & more",
            LAYERS,
            new double[] {-10, -40, -60, -30},
            Optional.of(new double[] {-15, -50, -70, -35}),
            Optional.of(new double[] {-5, -30, -50, -25}));

    @TempDir
    private Path directory;

    private String svg(List<Curve> curves, CurveFigure.Axes axes) throws Exception {
        Path file = directory.resolve("a.SVG");
        CurveFigure.write(file, "Knockout", "Layer", "Change (%)", curves, axes);
        DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
        factory.setFeature("http://apache.org/xml/features/nonvalidating/load-external-dtd", false);
        // Well-formed, whatever names hold.
        factory.newDocumentBuilder().parse(file.toFile());
        return Files.readString(file);
    }

    @Test
    void anSvgSaysWhatItShows() throws Exception {
        String svg = svg(List.of(PLAIN, BANDED), CurveFigure.Axes.LINEAR);
        assertTrue(svg.contains("<title>Knockout</title>"), svg);
        assertTrue(
                svg.contains(
                        "<desc>Change (%) over Layer: Question \u219b Last; Image &lt;to&gt; \"Last\" &amp; "
                                + "more</desc>"),
                svg);
    }

    /** The band of one curve and the line of each are there, in the colours of the legend. */
    @Test
    void anSvgHoldsBandsAndLines() throws Exception {
        String svg = svg(List.of(PLAIN, BANDED), CurveFigure.Axes.LINEAR);
        assertEquals(1, bands(svg).size());
        assertEquals(color(ChartFile.COLORS[1]), bands(svg).getFirst());
        assertEquals(0, bands(svg(List.of(PLAIN), CurveFigure.Axes.LINEAR)).size());
        for (int i = 0; i < 2; i++) {
            assertTrue(svg.contains("stroke:" + color(ChartFile.COLORS[i])), "line " + i);
        }
    }

    /** Fills of the translucent shapes. */
    private static List<String> bands(String svg) {
        Matcher matcher = Pattern.compile(
                        "fill:(rgb\\([\\d,]*\\));[^\"]*opacity:0\\.18|opacity:0\\.18[^\"]*;fill:(rgb\\([\\d,]*\\))")
                .matcher(svg);
        return matcher.results().map(match -> match.group(1) == null ? match.group(2) : match.group(1)).toList();
    }

    private static String color(Color color) {
        return "rgb(" + color.getRed() + "," + color.getGreen() + "," + color.getBlue() + ")";
    }

    @Test
    void aPngShowsLineAndBand() throws IOException {
        Path file = directory.resolve("a.png");
        CurveFigure.write(file, "Knockout", "Layer", "Change (%)", List.of(BANDED));
        BufferedImage picture = ImageIO.read(file.toFile());
        assertEquals(ChartFile.WIDTH, picture.getWidth());
        Color line = ChartFile.COLORS[0];
        int lines = 0;
        int bands = 0;
        for (int y = 0; y < picture.getHeight(); y++) {
            for (int x = 0; x < picture.getWidth(); x++) {
                Color pixel = new Color(picture.getRGB(x, y));
                if (pixel.equals(line)) {
                    lines++;
                } else if (pixel.getRed() < 225 && pixel.getBlue() > pixel.getRed() + 25 && pixel.getBlue() > 220) {
                    bands++;
                }
            }
        }
        assertTrue(lines > 500, lines + " pixels of the line");
        // A band of 10 to 20 of about 70 units, 3 of 3 layers wide.
        assertTrue(bands > 40_000, bands + " pixels of the band");
    }

    /** The upper one has gaps; curves that only cross have none. */
    @Test
    void aCurveBelowAnotherIsSeen() throws Exception {
        double[] x = {0, 1, 2, 3};
        Curve lower = new Curve("lower", x, new double[] {-99.7, -99.7, -99.7, 0});
        Curve upper = new Curve("upper", x, new double[] {-99.6, -99.7, -99.8, 0});
        Curve crossing = new Curve("crossing", x, new double[] {0, -99.7, 0, 0.1});
        assertFalse(svg(List.of(lower, crossing), CurveFigure.Axes.LINEAR).contains("stroke-dasharray:8"));
        assertTrue(svg(List.of(lower, crossing, upper), CurveFigure.Axes.LINEAR).contains("stroke-dasharray:8"));
        Path file = directory.resolve("two.png");
        CurveFigure.write(file, "", "", "", List.of(lower, upper));
        BufferedImage picture = ImageIO.read(file.toFile());
        for (int curve = 0; curve < 2; curve++) {
            int rgb = ChartFile.COLORS[curve].getRGB();
            long pixels = IntStream.range(0, picture.getWidth() * picture.getHeight() * 4 / 5)
                    .filter(i -> picture.getRGB(i % picture.getWidth(), i / picture.getWidth()) == rgb)
                    .count();
            assertTrue(pixels > 100, curve + ": " + pixels);
        }
    }

    @Test
    void logarithmicAxesTakePositiveNumbersOnly() throws Exception {
        Curve positive = new Curve("a", new double[] {1, 10, 100}, new double[] {1e-6, Double.NaN, 1});
        svg(List.of(positive), CurveFigure.Axes.LOG_X_Y);
        IllegalArgumentException e =
                assertThrows(IllegalArgumentException.class, () -> svg(List.of(PLAIN), CurveFigure.Axes.LOG_X));
        assertEquals("curve \"Question \u219b Last\": x = 0.0 on a logarithmic axis", e.getMessage());
        assertThrows(IllegalArgumentException.class, () -> svg(List.of(PLAIN), CurveFigure.Axes.LOG_Y));
    }

    @Test
    void refusesOtherEndingsAndKeepsTheOldFile() throws IOException {
        Path file = directory.resolve("a.pdf");
        Files.writeString(file, "old");
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                () -> CurveFigure.write(file, "", "", "", List.of(PLAIN)));
        assertEquals(file + ": a chart is written as .svg or .png, not as .pdf", e.getMessage());
        assertThrows(
                IllegalArgumentException.class,
                () -> BarFigure.write(file, "", "", List.of("a"), Map.of("b", new double[1]), Map.of()));
        assertThrows(
                IllegalArgumentException.class,
                () -> CurveFigure.write(directory.resolve("svg"), "", "", "", List.of(PLAIN)));
        assertEquals("old", Files.readString(file));
    }

    @Test
    void refusesCurvesThatAreNone() {
        Path file = directory.resolve("a.svg");
        assertThrows(IllegalArgumentException.class, () -> CurveFigure.write(file, "", "", "", List.of()));
        assertThrows(IllegalArgumentException.class, () -> CurveFigure.write(file, "", "", "", List.of(PLAIN, PLAIN)));
        assertThrows(IllegalArgumentException.class, () -> new Curve("a", new double[2], new double[3]));
        assertThrows(IllegalArgumentException.class, () -> new Curve("a", new double[] {Double.NaN}, new double[1]));
        assertThrows(IllegalArgumentException.class,
                () -> new Curve("a", new double[1], new double[1], Optional.of(new double[1]), Optional.empty()));
        assertThrows(
                IllegalArgumentException.class,
                () -> new Curve(
                        "a", new double[1], new double[1], Optional.of(new double[1]), Optional.of(new double[2])));
    }

    @Test
    void barsAreAsHighAsTheirNumbers() throws IOException {
        Path file = directory.resolve("a.png");
        Map<String, double[]> series = new LinkedHashMap<>();
        series.put("first", new double[] {10, 20});
        series.put("second", new double[] {40, Double.NaN});
        BarFigure.write(file, "Speed", "tok/s", List.of("encode", "decode"), series, Map.of());
        BufferedImage picture = ImageIO.read(file.toFile());
        // The legend below the plot has the colours too.
        int first = bars(picture, ChartFile.COLORS[0]);
        int second = bars(picture, ChartFile.COLORS[1]);
        // 10 + 20 against 40, and the middle of each bar is hidden by its number.
        assertEquals(30.0 / 40, (double) first / second, 0.05);
        assertThrows(IllegalArgumentException.class,
                () -> BarFigure.write(file, "", "", List.of("encode", "decode"), Map.of("a", new double[3]), Map.of()));
    }

    /** A line up and down from the end of the bar that has a deviation, as long as that is on the axis. */
    @Test
    void barsHaveTheirDeviations() throws IOException {
        Path file = directory.resolve("a.png");
        List<String> groups = List.of("encode");
        Map<String, double[]> series = Map.of("first", new double[] {100});
        BarFigure.write(file, "Speed", "ms", groups, series, Map.of());
        int without = longestUpright(ImageIO.read(file.toFile()));
        BarFigure.write(file, "Speed", "ms", groups, series, Map.of("first", new double[] {25}));
        BufferedImage picture = ImageIO.read(file.toFile());
        int bar = bars(picture, ChartFile.COLORS[0]);
        assertTrue(bar > 0);
        assertTrue(
                longestUpright(picture) > without + 50,
                longestUpright(picture) + " pixels, " + without + " without a deviation");
        assertThrows(IllegalArgumentException.class,
                () -> BarFigure.write(file, "", "", groups, series, Map.of("first", new double[2])));
    }

    /** The longest upright line in ink, right of the axis. */
    private static int longestUpright(BufferedImage picture) {
        int longest = 0;
        for (int x = 120; x < picture.getWidth(); x++) {
            int run = 0;
            for (int y = 0; y < picture.getHeight() - 80; y++) {
                Color pixel = new Color(picture.getRGB(x, y));
                run = pixel.getRed() + pixel.getGreen() + pixel.getBlue() < 0x60 * 3 ? run + 1 : 0;
                longest = Math.max(longest, run);
            }
        }
        return longest;
    }

    private static int bars(BufferedImage picture, Color color) {
        int count = 0;
        for (int y = 0; y < picture.getHeight() - 80; y++) {
            for (int x = 0; x < picture.getWidth(); x++) {
                if (picture.getRGB(x, y) == color.getRGB()) {
                    count++;
                }
            }
        }
        return count;
    }

    /** Where points are crowded, a name farther away belongs to the one that a line leads to. */
    @Test
    void namesThatFindNoPlaceBesideTheirPointsHaveLines() throws IOException {
        Path file = directory.resolve("crowded.svg");
        RooflineFigure.write(file, "", 20, 200, Map.of("a", List.of(new RooflineFigure.Point("alone", 1, 1))));
        assertFalse(Files.readString(file).contains("stroke-width:0.8"));
        List<RooflineFigure.Point> points = IntStream.range(0, 20)
                .mapToObj(i -> new RooflineFigure.Point("a long name of " + i, 1 + i % 4 * 0.2, 1 + i / 4 * 0.2))
                .toList();
        RooflineFigure.write(file, "", 20, 200, Map.of("a", points));
        assertTrue(Files.readString(file).contains("stroke-width:0.8"));
    }

    @Test
    void aRoofHasThePointsOfEveryGroupBelowIt() throws Exception {
        Map<String, List<RooflineFigure.Point>> points = new LinkedHashMap<>();
        points.put(
                "prefill",
                List.of(new RooflineFigure.Point("fc1", 100, 150), new RooflineFigure.Point("softmax", 0.5, 9)));
        points.put("decode", List.of(new RooflineFigure.Point("fc1", 1, 18)));
        Path file = directory.resolve("roof.svg");
        RooflineFigure.write(file, "Roofline", 20, 200, points);
        String svg = Files.readString(file);
        assertTrue(
                svg.contains(
                        "<desc>GFLOP/s over operations per byte: ceiling: 20.0 GB/s, 200.0 GFLOP/s; prefill; "
                                + "decode</desc>"),
                svg);
        assertTrue(svg.contains(color(ChartFile.COLORS[0])) && svg.contains(color(ChartFile.COLORS[1])), svg);
        // Names are outlines: each is a path more.
        Path nameless = directory.resolve("nameless.svg");
        RooflineFigure.write(
                nameless, "Roofline", 20, 200, Map.of("prefill", List.of(new RooflineFigure.Point("", 100, 150))));
        Path named = directory.resolve("named.svg");
        RooflineFigure.write(
                named, "Roofline", 20, 200, Map.of("prefill", List.of(new RooflineFigure.Point("fc1", 100, 150))));
        assertEquals(1, paths(named) - paths(nameless));
        assertThrows(IllegalArgumentException.class, () -> RooflineFigure.write(file, "Roofline", 20, 200, Map.of()));
        assertThrows(IllegalArgumentException.class, () -> RooflineFigure.write(file, "Roofline", 0, 200, points));
        assertThrows(
                IllegalArgumentException.class,
                () -> RooflineFigure.write(directory.resolve("roof.gif"), "Roofline", 20, 200, points));
        assertThrows(IllegalArgumentException.class, () -> new RooflineFigure.Point("", 0, 1));
    }

    private static int paths(Path svg) throws IOException {
        return Files.readString(svg).split("<path").length - 1;
    }
}
