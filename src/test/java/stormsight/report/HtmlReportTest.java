package stormsight.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.image.RgbImage;
import stormsight.report.AttentionData.Direction;
import stormsight.report.AttentionData.Kind;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Reports in a real browser: what a reader does with keys and pointer, and whether the page then shows the numbers that
 * it was given.
 */
class HtmlReportTest {
    /** The page shows four digits. */
    private static final double SHOWN = 5e-4;

    private static final int COLUMNS = 4;
    private static final int ROWS = 3;
    private static final int PATCHES = COLUMNS * ROWS;
    private static final List<String> LAYERS = List.of("2", "5");
    private static final List<String> HEADS = List.of("0", "1", "7");
    private static final List<String> WORDS = List.of("<bos>", "is", " star", "\n", "yes");
    private static final int PROMPTED = 4;
    private static final Curve BANDED = new Curve(
            "Image to last",
            new double[] {0, 1, 2},
            new double[] {-10.5, -42, Double.NaN},
            Optional.of(new double[] {-12, -50, Double.NaN}),
            Optional.of(new double[] {-9, -33.25, Double.NaN}));
    private static final Curve PLAIN = new Curve("Question to last", new double[] {0, 1, 2}, new double[] {1, 2, 4});

    @TempDir
    private static Path directory;

    private static Browser browser;

    @BeforeAll
    static void start() throws IOException {
        browser = Browser.start(Files.createDirectory(directory.resolve("profile")));
    }

    @AfterAll
    static void stop() {
        if (browser != null) {
            browser.close();
        }
    }

    /** No page of these tests may have an error, and none may load anything. */
    @AfterEach
    void nothingWentWrong() {
        assertEquals(List.of(), browser.console());
        List<String> elsewhere = browser.requests().stream()
                .filter(address -> !address.startsWith("file:") && !address.startsWith("data:"))
                .toList();
        assertEquals(List.of(), elsewhere);
    }

    private static float[] random(int seed, int maps, int patches) {
        Random random = new Random(seed);
        float[] values = new float[maps * patches];
        for (int i = 0; i < values.length; i++) {
            values[i] = random.nextFloat();
        }
        return values;
    }

    private static RgbImage image() {
        byte[] rgb = new byte[3 * 64 * 48];
        Arrays.fill(rgb, (byte) 0x80);
        return new RgbImage(64, 48, rgb);
    }

    private static final Direction VISION = new Direction(
            Kind.IMAGE,
            "Vision layers",
            "largest key",
            LAYERS,
            HEADS,
            List.of(),
            0,
            random(1, 2, PATCHES),
            Optional.of(random(2, 6, PATCHES)),
            Optional.of(random(3, 1, PATCHES)));
    private static final Direction TO_IMAGE = new Direction(
            Kind.IMAGE,
            "Word to image",
            "what a word gives",
            LAYERS,
            HEADS,
            WORDS,
            PROMPTED,
            random(4, 10, PATCHES),
            Optional.of(random(5, 30, PATCHES)),
            Optional.of(random(6, 5, PATCHES)));
    private static final Direction TO_WORD = new Direction(
            Kind.IMAGE,
            "Image to word",
            "what a word gets",
            LAYERS,
            List.of(),
            WORDS.subList(0, PROMPTED),
            PROMPTED,
            random(7, 8, PATCHES),
            Optional.empty(),
            Optional.empty());

    private static AttentionData attention(String title, Direction... directions) {
        return new AttentionData(title, image(), COLUMNS, ROWS, List.of(directions));
    }

    private static ReportData report(List<AttentionData> attention) {
        return new ReportData(
                "A report",
                List.of(
                        new ReportData.Fact("Prompt", "is the star red?"),
                        new ReportData.Fact("Command", "run me", true)),
                Optional.empty(),
                attention,
                List.of(new ReportData.CurveSet(
                        "Knockout", "of two examples", "Layer", "Change (%)", List.of(BANDED, PLAIN))),
                List.of(new ReportData.Table(
                        "Shared words", List.of("Word", "Change"), List.of(List.of("star", "0.25")))));
    }

    private static Path write(ReportData report) {
        Path file = directory.resolve("report.html");
        HtmlReport.write(file, report, MapStyle.DEFAULT);
        browser.open(file);
        return file;
    }

    private static float[] map(float[] maps, int index) {
        return Arrays.copyOfRange(maps, index * PATCHES, (index + 1) * PATCHES);
    }

    /** The page says what it shows and from which to which number, and where the largest is. */
    private static void shows(String what, float[] map) {
        String said = browser.text("#shown");
        Matcher matcher = Pattern.compile("(.*): from (\\S+) to (\\S+), largest at patch x (\\d+), y (\\d+)")
                .matcher(said);
        assertTrue(matcher.matches(), said);
        assertEquals(what, matcher.group(1));
        int largest = 0;
        float smallest = Float.MAX_VALUE;
        for (int i = 0; i < map.length; i++) {
            largest = map[i] > map[largest] ? i : largest;
            smallest = Math.min(smallest, map[i]);
        }
        assertEquals(smallest, Double.parseDouble(matcher.group(2)), SHOWN * smallest);
        assertEquals(map[largest], Double.parseDouble(matcher.group(3)), SHOWN * map[largest]);
        assertEquals(largest % COLUMNS, Integer.parseInt(matcher.group(4)));
        assertEquals(largest / COLUMNS, Integer.parseInt(matcher.group(5)));
    }

    @Test
    void keysMoveEverySliderAndTheMapFollows() {
        write(report(List.of(attention("one", TO_IMAGE, VISION, TO_WORD))));
        float[] values = TO_IMAGE.values().orElseThrow();
        float[] sum = TO_IMAGE.sum().orElseThrow();
        // At first the sum of all layers, and the answer's first word.
        shows("Word to image, sum of all layers, mean of all heads, word \u201cyes\u201d", map(sum, 4));
        assertTrue(browser.run("return document.getElementById('head').disabled").asBoolean());
        browser.type("#layer", Browser.LEFT);
        assertEquals("5", browser.text("#layer-shown"));
        shows("Word to image, layer 5, mean of all heads, word \u201cyes\u201d", map(TO_IMAGE.mean(), 5 + 4));
        browser.type("#head", Browser.RIGHT + Browser.RIGHT + Browser.RIGHT);
        assertEquals("7", browser.text("#head-shown"));
        shows("Word to image, layer 5, head 7, word \u201cyes\u201d", map(values, (3 + 2) * 5 + 4));
        browser.type("#word", Browser.LEFT);
        shows("Word to image, layer 5, head 7, word \u201c\u21b5\u201d", map(values, (3 + 2) * 5 + 3));
        browser.type("#layer", Browser.LEFT);
        shows("Word to image, layer 2, head 7, word \u201c\u21b5\u201d", map(values, 2 * 5 + 3));
        browser.click("#chips button:nth-child(3)");
        shows("Word to image, layer 2, head 7, word \u201c star\u201d", map(values, 2 * 5 + 2));
        assertEquals("2", browser.run("return document.getElementById('word').value").asString());
        assertEquals(1, browser.run("return document.querySelectorAll('#chips [aria-pressed=true]').length").asInt());
        browser.type("#opacity", Browser.LEFT);
        assertEquals("0.95", browser.run("return document.getElementById('map').style.opacity").asString());
    }

    @Test
    void directionsAreChosenByArrowKeys() {
        write(report(List.of(attention("one", VISION, TO_IMAGE, TO_WORD))));
        shows("Vision layers, sum of all layers, mean of all heads", VISION.sum().orElseThrow());
        assertFalse(browser.run("return document.getElementById('words').checkVisibility()").asBoolean());
        browser.type("#layer", Browser.LEFT);
        browser.type("#head", Browser.RIGHT);
        shows("Vision layers, layer 5, head 0", map(VISION.values().orElseThrow(), 3));
        browser.type("#directions label:nth-child(1) input", Browser.RIGHT);
        shows("Word to image, layer 5, head 0, word \u201cyes\u201d", map(TO_IMAGE.values().orElseThrow(), 3 * 5 + 4));
        browser.type("#directions label:nth-child(2) input", Browser.RIGHT);
        // No generated words, no heads, no sum.
        shows("Image to word, layer 5, mean of all heads, word \u201c\u21b5\u201d", map(TO_WORD.mean(), 4 + 3));
        assertFalse(browser.run("return document.getElementById('head').checkVisibility()").asBoolean());
        browser.type("#layer", Browser.RIGHT);
        assertEquals("5", browser.text("#layer-shown"));
        assertEquals("what a word gets", browser.text("#meaning"));
    }

    @Test
    void pointerAndKeysReadAPatch() {
        write(report(List.of(attention("one", TO_IMAGE))));
        float[] map = map(TO_IMAGE.sum().orElseThrow(), 4);
        browser.point("#stage", (2 + 0.5) / COLUMNS, (1 + 0.5) / ROWS);
        reads(2, 1, map);
        browser.type("#stage", Browser.RIGHT + Browser.DOWN);
        reads(3, 2, map);
        // The border holds.
        browser.type("#stage", Browser.RIGHT + Browser.DOWN + Browser.UP);
        reads(3, 1, map);
        browser.type("#word", Browser.LEFT);
        reads(3, 1, map(TO_IMAGE.sum().orElseThrow(), 3));
        browser.click("#map-numbers summary");
        assertEquals(ROWS, browser.run("return document.querySelectorAll('#map-numbers tbody tr').length").asInt());
        double cell = Double.parseDouble(browser.text("#map-numbers tbody tr:nth-child(2) td:nth-child(5)"));
        assertEquals(map(TO_IMAGE.sum().orElseThrow(), 3)[COLUMNS + 3], cell, SHOWN);
    }

    private static void reads(int x, int y, float[] map) {
        String said = browser.text("#value");
        assertTrue(said.startsWith("Patch x " + x + ", y " + y + ": "), said);
        assertEquals(
                map[y * COLUMNS + x],
                Double.parseDouble(said.substring(said.indexOf(": ") + 2)),
                SHOWN * map[y * COLUMNS + x]);
    }

    @Test
    void theCanvasHasTheColoursOfTheNumbers() {
        write(report(List.of(attention("one", TO_IMAGE))));
        browser.click("#smooth");
        browser.click("#faded");
        float[] map = map(TO_IMAGE.sum().orElseThrow(), 4);
        colored(map, new Range(min(map), max(map)));
        browser.click("#common");
        float[] all = TO_IMAGE.sum().orElseThrow();
        colored(map, new Range(min(all), max(all)));
        // Between the middles of two patches lies the number between theirs.
        browser.click("#smooth");
        double middle = (map[0] + map[1]) / 2.0;
        int expected = ColorMap.VIRIDIS.rgb(new Range(min(all), max(all)).position(middle));
        int x = 64 / COLUMNS;
        // A pixel right of the edge, eight pixels from the middle of each patch.
        int pixel = pixel(x, 64 / COLUMNS / 2 - 1);
        assertEquals(red(expected), red(pixel), 40);
        assertEquals(expected & 0xff, pixel & 0xff, 40);
        // The image below is as it was.
        JsonNode below = browser.run(
                "return Array.from(document.getElementById('picture').getContext('2d').getImageData(9, 9, 1, 1).data)");
        assertEquals("[128,128,128,255]", below.toString());
    }

    private static void colored(float[] map, Range range) {
        for (int i = 0; i < PATCHES; i++) {
            int pixel = pixel((int) ((i % COLUMNS + 0.5) * 64 / COLUMNS), (int) ((i / COLUMNS + 0.5) * 48 / ROWS));
            int expected = ColorMap.VIRIDIS.rgb(range.position(map[i]));
            // Rounding may take the colour beside it.
            assertEquals(red(expected), red(pixel), 5, "patch " + i);
            assertEquals(expected >> 8 & 0xff, pixel >> 8 & 0xff, 5, "patch " + i);
            assertEquals(expected & 0xff, pixel & 0xff, 5, "patch " + i);
        }
    }

    private static int red(int rgb) {
        return rgb >> 16 & 0xff;
    }

    /** Read through a copy: Chromium warns of canvases that are read often. */
    private static int pixel(int x, int y) {
        JsonNode data = browser.run("const one = document.createElement('canvas').getContext('2d');"
                + "one.drawImage(document.getElementById('map'), arguments[0], arguments[1], 1, 1, 0, 0, 1, 1);"
                + "return Array.from(one.getImageData(0, 0, 1, 1).data)", x, y);
        return data.get(0).asInt() << 16 | data.get(1).asInt() << 8 | data.get(2).asInt();
    }

    private static float min(float[] values) {
        return new HeatMap("", values.length, 1, values).min();
    }

    private static float max(float[] values) {
        return new HeatMap("", values.length, 1, values).max();
    }

    /** Weights are transparent where they are small, and opaque where they are large. */
    @Test
    void theMapFadesWhereWeightsAreSmall() {
        float[] map = new float[PATCHES];
        map[5] = 1;
        write(report(List.of(attention(
                "one",
                new Direction(
                        Kind.IMAGE,
                        "a",
                        "",
                        List.of("0"),
                        List.of(),
                        List.of(),
                        0,
                        map,
                        Optional.empty(),
                        Optional.empty())))));
        browser.click("#smooth");
        assertEquals(0, alpha(0));
        assertEquals(255 * MapStyle.opacity(1), alpha(5), 1);
        browser.click("#faded");
        assertEquals(255, alpha(0));
        browser.click("#faded");
        browser.type("#colors", "inferno");
        // Mixed with nothing: what a canvas keeps of a colour under an opacity of 0.8 is within two steps of it.
        assertEquals(0xfc, red(pixel((int) (1.5 * 64 / COLUMNS), (int) (1.5 * 48 / ROWS))), 2);
    }

    private static int alpha(int patch) {
        return browser.run("const one = document.createElement('canvas').getContext('2d');"
                + "one.drawImage(document.getElementById('map'), arguments[0], arguments[1], 1, 1, 0, 0, 1, 1);"
                + "return one.getImageData(0, 0, 1, 1).data[3]", (int) ((patch % COLUMNS + 0.5) * 64 / COLUMNS),
                (int) ((patch / COLUMNS + 0.5) * 48 / ROWS)).asInt();
    }

    private static final Direction PATCH = new Direction(
            Kind.PATCHES,
            "Patch to patch",
            "what a patch gives",
            LAYERS,
            HEADS,
            List.of(),
            0,
            random(20, 2 * PATCHES, PATCHES),
            Optional.of(random(21, 6 * PATCHES, PATCHES)),
            Optional.of(random(22, PATCHES, PATCHES)));

    /** A click on a patch, or Enter on it, shows what it attends to, in every layer and head. */
    @Test
    void aClickOnAPatchShowsWhatItAttendsTo() {
        write(report(List.of(attention("one", PATCH))));
        float[] sum = PATCH.sum().orElseThrow();
        // At first a patch in the middle.
        showsBytes("Patch to patch, sum of all layers, mean of all heads, patch x 2, y 1", map(sum, COLUMNS + 2));
        browser.press("#stage", (3 + 0.5) / COLUMNS, (2 + 0.5) / ROWS);
        showsBytes("Patch to patch, sum of all layers, mean of all heads, patch x 3, y 2", map(sum, 2 * COLUMNS + 3));
        // Pointing alone reads and does not choose.
        browser.point("#stage", 0.5 / COLUMNS, 0.5 / ROWS);
        String said = browser.text("#value");
        assertEquals(
                sum[(2 * COLUMNS + 3) * PATCHES], Double.parseDouble(said.substring(said.indexOf(": ") + 2)), BYTE);
        browser.type("#stage", Browser.RIGHT + Browser.SPACE);
        showsBytes("Patch to patch, sum of all layers, mean of all heads, patch x 1, y 0", map(sum, 1));
        browser.type("#layer", Browser.LEFT);
        browser.type("#head", Browser.RIGHT + Browser.RIGHT);
        showsBytes(
                "Patch to patch, layer 5, head 1, patch x 1, y 0",
                map(PATCH.values().orElseThrow(), (3 + 1) * PATCHES + 1));
        assertFalse(browser.run("return document.getElementById('words').checkVisibility()").asBoolean());
    }

    /** Numbers from 0 to 1 in 255 steps, shown in four digits. */
    private static final double BYTE = 0.5 / 255 + SHOWN;

    private static void showsBytes(String what, float[] map) {
        Matcher matcher = Pattern.compile("(.*): from (\\S+) to (\\S+), largest at patch x (\\d+), y (\\d+)")
                .matcher(browser.text("#shown"));
        assertTrue(matcher.matches(), browser.text("#shown"));
        assertEquals(what, matcher.group(1));
        assertEquals(min(map), Double.parseDouble(matcher.group(2)), SHOWN);
        assertEquals(max(map), Double.parseDouble(matcher.group(3)), SHOWN);
    }

    private static final Direction WORD = new Direction(
            Kind.WORDS,
            "Word to word",
            "what a word gives to a word",
            LAYERS,
            HEADS,
            WORDS,
            PROMPTED,
            random(23, 2 * 5, 5),
            Optional.of(random(24, 6 * 5, 5)),
            Optional.of(random(25, 5, 5)));

    @Test
    void wordsReadWords() {
        write(report(List.of(attention("one", WORD, TO_IMAGE))));
        assertFalse(browser.run("return document.getElementById('stage').checkVisibility()").asBoolean());
        assertTrue(browser.text("#shown")
                .startsWith("Word to word, sum of all layers, mean of all heads, word \u201cyes\u201d: from "));
        browser.type("#layer", Browser.LEFT);
        browser.type("#head", Browser.RIGHT);
        // From cell to cell: at first the chosen word reads the first one.
        browser.type("#sheet", Browser.LEFT + Browser.UP + Browser.RIGHT);
        String said = browser.text("#value");
        assertTrue(said.startsWith("\u201c\u21b5\u201d reads of \u201cis\u201d: "), said);
        float[] values = WORD.values().orElseThrow();
        assertEquals(
                values[(3 * 5 + 3) * 5 + 1], Double.parseDouble(said.substring(said.lastIndexOf(": ") + 2)), SHOWN);
        assertEquals("3", browser.run("return document.getElementById('word').value").asString());
        // Each chip says how much of it the chosen word reads.
        String title = browser.run("return document.querySelector('#chips button:nth-child(3)').title").asString();
        assertEquals(values[(3 * 5 + 3) * 5 + 2], Double.parseDouble(title.substring(title.indexOf(": ") + 2)), SHOWN);
        browser.click("#map-numbers summary");
        double cell = Double.parseDouble(browser.text("#map-numbers tbody tr:nth-child(5) td:nth-child(4)"));
        assertEquals(values[(3 * 5 + 4) * 5 + 2], cell, SHOWN);
        // Back to the image with the same word.
        browser.type("#directions label:nth-child(1) input", Browser.RIGHT);
        shows(
                "Word to image, layer 5, head 0, word \u201c\u21b5\u201d",
                map(TO_IMAGE.values().orElseThrow(), 3 * 5 + 3));
        assertTrue(browser.run("return document.getElementById('stage').checkVisibility()").asBoolean());
    }

    /** Every layer and head at once: a press or the arrow keys choose one. */
    @Test
    void theGridShowsAndChoosesLayersAndHeads() {
        write(report(List.of(attention("one", TO_IMAGE))));
        browser.click("#grid summary");
        browser.type("#grid-map", Browser.UP + Browser.RIGHT + Browser.RIGHT);
        shows(
                "Word to image, layer 5, head 1, word \u201cyes\u201d",
                map(TO_IMAGE.values().orElseThrow(), (3 + 1) * 5 + 4));
        browser.type("#grid-map", Browser.UP);
        shows("Word to image, layer 2, head 1, word \u201cyes\u201d", map(TO_IMAGE.values().orElseThrow(), 5 + 4));
        JsonNode layout = browser.run(
                "const g = document.getElementById('grid-map'), l = g.layout, b = g.getBoundingClientRect();"
                        + "return [(l.room.left + 3 * (l.thumb + 6) + 5) / b.width, (l.room.top + l.height + 6 + 5) / "
                        + "b.height]");
        browser.press("#grid-map", layout.get(0).asDouble(), layout.get(1).asDouble());
        float[] map = map(TO_IMAGE.values().orElseThrow(), (3 + 2) * 5 + 4);
        shows("Word to image, layer 5, head 7, word \u201cyes\u201d", map);
        // The small map has the colours of the large one.
        for (int patch : new int[] {0, 7}) {
            JsonNode rgb = browser.run(
                    "const g = document.getElementById('grid-map'), l = g.layout, s = g.width / "
                            + "parseFloat(g.style.width);const one = document.createElement('canvas').getContext('2d');"
                            + "one.drawImage(g, s * (l.room.left + 3 * (l.thumb + 6) + l.thumb * arguments[0]),"
                            + "s * (l.room.top + l.height + 6 + l.height * arguments[1]), 1, 1, 0, 0, 1, 1);"
                            + "return Array.from(one.getImageData(0, 0, 1, 1).data)",
                    (patch % COLUMNS + 0.5) / COLUMNS,
                    (patch / COLUMNS + 0.5) / ROWS);
            int expected = ColorMap.VIRIDIS.rgb(new Range(min(map), max(map)).position(map[patch]));
            assertEquals(red(expected), rgb.get(0).asInt(), 5, "patch " + patch);
            assertEquals(expected & 0xff, rgb.get(2).asInt(), 5, "patch " + patch);
        }
    }

    /** On a phone, upright or on its side, the map is in sight when a slider below it is. */
    @Test
    void theMapStaysInSightOnAPhone() {
        for (int[] size : new int[][] {{390, 844}, {844, 390}}) {
            browser.devTools("Emulation.setDeviceMetricsOverride",
                    Map.of("width", size[0], "height", size[1], "deviceScaleFactor", 2, "mobile", true));
            try {
                write(report(List.of(attention("one", TO_IMAGE, VISION))));
                for (String slider : List.of("layer", "word", "opacity")) {
                    // Upright at the lower edge, as far from the map as it gets; on its side, map and sliders are side
                    // by side.
                    browser.run(
                            "const b = document.getElementById(arguments[0]).getBoundingClientRect();"
                                    + "window.scrollTo(0, window.scrollY + b.bottom - (innerHeight > innerWidth ? "
                                    + "innerHeight - 10 : innerHeight / 2))",
                            slider);
                    JsonNode seen = browser.run("const m = document.getElementById('map').getBoundingClientRect(),"
                            + "s = document.getElementById(arguments[0]).getBoundingClientRect();"
                            + "return [m.top, m.bottom, s.top, s.bottom, innerHeight, m.width]", slider);
                    assertTrue(
                            seen.get(0).asDouble() >= -0.5
                                    && seen.get(1).asDouble() <= seen.get(4).asDouble(),
                            slider + ": " + seen);
                    assertTrue(
                            seen.get(2).asDouble()
                                    >= (size[0] < size[1] ? seen.get(1).asDouble() : 0),
                            slider + " is covered: " + seen);
                    assertTrue(seen.get(5).asDouble() > 150, "a small map: " + seen);
                }
            } finally {
                browser.devTools("Emulation.clearDeviceMetricsOverride", Map.of());
            }
        }
    }

    @Test
    void curvesHaveBandsAReadingAndATable() {
        write(report(List.of()));
        assertEquals(1, browser.run("return document.querySelectorAll('#curves0 polygon').length").asInt());
        assertEquals(2, browser.run("return document.querySelectorAll('#curves0 path.curve').length").asInt());
        // Two points of the one curve, three of the other.
        assertEquals(5, browser.run("return document.querySelectorAll('#curves0 circle').length").asInt());
        browser.type("#curves0 svg.chart", Browser.RIGHT + Browser.RIGHT);
        assertEquals("Layer 1: Image to last -42 [-50, -33.25]; Question to last 2", browser.text("#curves0 output"));
        browser.point("#curves0 svg.chart", 0.98, 0.5);
        assertEquals(
                "Layer 2: Image to last \u2013 [\u2013, \u2013]; Question to last 4", browser.text("#curves0 output"));
        browser.click("#curves0 .series li:first-child button");
        assertEquals(0, browser.run("return document.querySelectorAll('#curves0 polygon').length").asInt());
        assertEquals("Layer 2: Question to last 4", browser.text("#curves0 output"));
        assertFalse(browser.run("return document.querySelector('#curves0 table').checkVisibility()").asBoolean());
        browser.type("#curves0 summary", Browser.SPACE);
        assertTrue(browser.run("return document.querySelector('#curves0 table').checkVisibility()").asBoolean());
        JsonNode cells = browser.run("return Array.from(document.querySelectorAll('#curves0 table tr'), "
                + "row => Array.from(row.children, cell => cell.textContent))");
        assertEquals(JsonMapper.shared().readTree("""
                [["Layer", "Image to last", "low", "high", "Question to last"],
                 ["0", "-10.5", "-12", "-9", "1"], ["1", "-42", "-50", "-33.25", "2"], ["2", "\u2013", "\u2013", "\u2013", "4"]]"""), cells);
        assertEquals("star0.25", browser.text(".table tbody tr"));
    }

    @Test
    void theTabKeyReachesEveryControl() {
        write(report(List.of(attention("one", TO_IMAGE, VISION), attention("two", TO_WORD))));
        browser.run("document.activeElement.blur(); window.scrollTo(0, 0)");
        List<String> reached = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            browser.type(Browser.TAB);
            reached.add(
                    browser.run("const e = document.activeElement; return e.id || e.name || e.tagName.toLowerCase()")
                            .asString());
            assertEquals(
                    reached.getLast().equals("body"),
                    browser.run("return document.activeElement === document.body")
                            .asBoolean());
            // Focus is seen.
            assertTrue(
                    browser.run(
                                    "const e = document.activeElement; return e === document.body || "
                                            + "e.matches(':focus-visible')")
                            .asBoolean(),
                    reached.toString());
            if (reached.getLast().equals("download")) {
                break;
            }
        }
        for (String control : List.of(
                "stage",
                "example",
                "direction",
                "layer",
                "word",
                "opacity",
                "smooth",
                "common",
                "button",
                "summary",
                "svg",
                "download")) {
            assertTrue(reached.contains(control), control + " is not among " + reached);
        }
    }

    @Test
    void severalExamplesAreChosenFrom() {
        Direction other = new Direction(
                Kind.IMAGE,
                "Word to image",
                "",
                List.of("0"),
                List.of(),
                List.of("cat", "dog"),
                2,
                random(8, 2, PATCHES),
                Optional.empty(),
                Optional.empty());
        write(report(List.of(attention("star", TO_IMAGE), attention("cat or dog", other))));
        browser.type("#layer", Browser.LEFT);
        browser.type("#example", Browser.DOWN);
        shows("Word to image, layer 0, mean of all heads, word \u201cdog\u201d", map(other.mean(), 1));
        browser.type("#example", Browser.UP);
        shows("Word to image, sum of all layers, mean of all heads, word \u201cyes\u201d",
                map(TO_IMAGE.sum().orElseThrow(), 4));
    }

    @Test
    void allNumbersCanBeDownloaded() {
        write(report(List.of(attention("one", TO_IMAGE, VISION))));
        browser.run("URL.createObjectURL = blob => { window.saved = blob; return '#'; }");
        browser.click("#download");
        JsonNode saved = JsonMapper.shared().readTree(browser.run("return window.saved.text()").asString());
        assertEquals("is the star red?", saved.get("facts").get(0).get("value").asString());
        JsonNode direction = saved.get("attention").get(0).get("directions").get(0);
        // [layers, heads, words, patches], to the last bit.
        float[] values = TO_IMAGE.values().orElseThrow();
        int at = 0;
        for (JsonNode layer : direction.get("values")) {
            for (JsonNode head : layer) {
                for (JsonNode word : head) {
                    for (JsonNode value : word) {
                        assertEquals(values[at++], (float) value.asDouble());
                    }
                }
            }
        }
        assertEquals(values.length, at);
        assertEquals(TO_IMAGE.mean()[PATCHES * 7 + 3], (float) direction.get("mean").get(1).get(2).get(3).asDouble());
        assertEquals(TO_IMAGE.sum().orElseThrow()[PATCHES * 4], (float) direction.get("sum").get(4).get(0).asDouble());
        JsonNode vision = saved.get("attention").get(0).get("directions").get(1);
        assertEquals(VISION.values().orElseThrow()[PATCHES * 5 + 1], (float)
                vision.get("values").get(1).get(2).get(1).asDouble());
        assertEquals(VISION.sum().orElseThrow()[2], (float) vision.get("sum").get(2).asDouble());
        assertTrue(saved.get("curves").get(0).get("curves").get(0).get("y").get(2).isNull());
        assertEquals("0.25", saved.get("tables").get(0).get("rows").get(0).get(1).asString());
    }

    /** Of many numbers, each map has 65536 steps. */
    @Test
    void manyNumbersTakeSixteenBits() throws IOException {
        int side = 64;
        int maps = 256;
        float[] mean = random(9, maps, side * side);
        // Maps of very different sizes keep their digits.
        for (int i = 0; i < mean.length; i++) {
            mean[i] *= (float) Math.pow(10, -(i / (side * side) % 6));
        }
        AttentionData data = new AttentionData(
                "large",
                image(),
                side,
                side,
                List.of(new Direction(
                        Kind.IMAGE,
                        "Word to image",
                        "",
                        List.of("0"),
                        List.of(),
                        Collections.nCopies(maps, "w"),
                        maps,
                        mean,
                        Optional.empty(),
                        Optional.empty())));
        Path file = write(report(List.of(data)));
        assertTrue(Files.size(file) < 3L * mean.length, Files.size(file) + " bytes");
        for (int word : new int[] {0, 5, 255}) {
            browser.run(
                    "const s = document.getElementById('word'); s.value = arguments[0]; s.dispatchEvent(new "
                            + "Event('input'))",
                    word);
            float[] map = Arrays.copyOfRange(mean, word * side * side, (word + 1) * side * side);
            browser.point("#stage", (33 + 0.5) / side, (7 + 0.5) / side);
            String said = browser.text("#value");
            assertTrue(said.startsWith("Patch x 33, y 7: "), said);
            assertEquals(
                    map[7 * side + 33],
                    Double.parseDouble(said.substring(said.indexOf(": ") + 2)),
                    SHOWN * max(map),
                    "word " + word);
        }
    }

    /** What people ask and models answer never becomes a part of the page. */
    @Test
    void textStaysText() throws IOException {
        String hostile =
                "</script><script>document.title = 'broken'</script><!--<script><img src=x "
                        + "onerror=\"document.title='broken'\">&amp;@DATA@ \\ $1 \u2028";
        Direction direction = new Direction(
                Kind.IMAGE,
                hostile,
                hostile,
                List.of(hostile),
                List.of(),
                List.of(hostile),
                1,
                random(10, 1, PATCHES),
                Optional.empty(),
                Optional.empty());
        Path file = write(new ReportData(
                hostile,
                List.of(new ReportData.Fact(hostile, hostile)),
                Optional.of(image()),
                List.of(attention(hostile, direction)),
                List.of(new ReportData.CurveSet(
                        hostile, hostile, hostile, hostile, List.of(new Curve(hostile, new double[1], new double[1])))),
                List.of(new ReportData.Table(hostile, List.of(hostile), List.of(List.of(hostile))))));
        assertEquals(hostile, browser.text("title"));
        assertEquals(hostile, browser.text("#facts dd"));
        assertEquals(hostile, browser.text("#meaning"));
        assertEquals(hostile, browser.text("#curves0 h2"));
        assertEquals(hostile, browser.text(".table td, .table tbody th"));
        assertEquals(hostile, browser.text("#chips button"));
        assertEquals(2, browser.run("return document.scripts.length").asInt());
        assertEquals(1, browser.run("return document.images.length").asInt());
        assertFalse(Files.readString(file).contains("<!--<script>"));
    }

    @Test
    void aPhoneHasOneColumnAndNoOverflow() {
        browser.devTools(
                "Emulation.setDeviceMetricsOverride",
                Map.of("width", 390, "height", 844, "deviceScaleFactor", 2, "mobile", true));
        try {
            List<String> words = new ArrayList<>(List.of("unbreakable".repeat(12)));
            words.addAll(WORDS);
            Direction direction = new Direction(
                    Kind.IMAGE,
                    "Word to image",
                    "",
                    LAYERS,
                    List.of(),
                    words,
                    6,
                    random(11, 12, PATCHES),
                    Optional.empty(),
                    Optional.empty());
            ReportData wide = report(List.of(
                    attention("one", direction, VISION, TO_WORD), attention("a long name ".repeat(20), TO_IMAGE)));
            List<ReportData.Fact> facts = List.of(new ReportData.Fact("Command", "x".repeat(300), true));
            write(new ReportData(
                    "title".repeat(30),
                    facts,
                    Optional.of(image()),
                    wide.attention(),
                    wide.curves(),
                    List.of(new ReportData.Table(
                            "wide",
                            Collections.nCopies(20, "column"),
                            List.of(Collections.nCopies(20, "cell of text"))))));
            browser.run("document.querySelectorAll('details').forEach(one => { one.open = true; })");
            assertEquals(390, browser.run("return document.documentElement.clientWidth").asInt());
            assertEquals(390, browser.run("return document.documentElement.scrollWidth").asInt());
            String beyond =
                    "return Array.from(document.querySelectorAll('body *')).filter(e => !e.closest('.scroll table') "
                            + "&& !e.closest('svg') && e.getBoundingClientRect().right > 390.5).map(e => "
                            + "e.outerHTML.slice(0, 80))";
            assertEquals("[]", browser.run(beyond).toString());
            // Controls below the picture, all large enough for a finger.
            assertTrue(browser.run("return document.getElementById('layer').getBoundingClientRect().top "
                    + "> document.getElementById('stage').getBoundingClientRect().bottom").asBoolean());
            assertEquals(
                    "[]",
                    browser.run(
                                    "return Array.from(document.querySelectorAll('button, select, input[type=range], "
                                            + "summary')).filter(e => e.checkVisibility() && "
                                            + "e.getBoundingClientRect().height < 43.5).map(e => e.outerHTML.slice(0, "
                                            + "80))")
                            .toString());
            assertTrue(browser.run("return document.querySelector('#curves0 svg.chart').getBoundingClientRect().width")
                            .asDouble()
                    > 300);
        } finally {
            browser.devTools("Emulation.clearDeviceMetricsOverride", Map.of());
        }
    }

    @Test
    void theDarkSchemeIsDark() {
        write(report(List.of(attention("one", TO_IMAGE))));
        assertEquals("rgb(255, 255, 255)", background("light"));
        assertEquals("rgb(20, 23, 26)", background("dark"));
        background("light");
    }

    private static String background(String scheme) {
        browser.devTools(
                "Emulation.setEmulatedMedia",
                Map.of("features", List.of(Map.of("name", "prefers-color-scheme", "value", scheme))));
        return browser.run("return getComputedStyle(document.body).backgroundColor").asString();
    }

    @Test
    void refusesWhatDoesNotFitTogether() {
        float[] map = new float[PATCHES];
        assertThrows(IllegalArgumentException.class, () -> attention("no directions"));
        assertThrows(
                IllegalArgumentException.class,
                () -> new Direction(
                        Kind.IMAGE,
                        "a",
                        "",
                        List.of(),
                        List.of(),
                        List.of(),
                        0,
                        map,
                        Optional.empty(),
                        Optional.empty()));
        assertThrows(
                IllegalArgumentException.class,
                () -> new Direction(
                        Kind.IMAGE,
                        "heads without values",
                        "",
                        LAYERS,
                        HEADS,
                        List.of(),
                        0,
                        map,
                        Optional.empty(),
                        Optional.empty()));
        Direction tooShort = new Direction(Kind.IMAGE, "a", "", LAYERS, List.of(), List.of(), 0, map, Optional.empty(),
                Optional.empty());
        IllegalArgumentException e =
                assertThrows(IllegalArgumentException.class, () -> attention("too short", tooShort));
        assertEquals("a: 12 numbers of the mean, expected 24", e.getMessage());
        assertThrows(
                IllegalArgumentException.class,
                () -> new ReportData.Table("a", List.of("b"), List.of(List.of("c", "d"))));
        assertThrows(IllegalArgumentException.class, () -> new ReportData.CurveSet("a", "", "", "", List.of()));
    }
}
