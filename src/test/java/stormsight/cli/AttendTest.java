package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.checkpoint.NumpyArray;
import stormsight.checkpoint.NumpyFiles;
import stormsight.model.ModelDirectory;
import stormsight.model.family.EmbeddedModel;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** What attend writes about the embedded model, whatever that answers. */
class AttendTest {
    private static final String IMAGE = Path.of("examples", "kitchen.png").toString();
    /** A sum of F32 probabilities. */
    private static final double ROUNDING = 1e-4;

    @TempDir
    private Path temporary;

    private record Run(int exitCode, String out, String err) {}

    private static Run run(String... arguments) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        int exitCode = Main.execute(new PrintWriter(out, true), new PrintWriter(err, true), arguments);
        return new Run(exitCode, out.toString(), err.toString());
    }

    private void fails(int exitCode, String said, String... more) {
        List<String> arguments = new ArrayList<>(List.of("attend", "-i", IMAGE, "--backend", "cpu"));
        arguments.addAll(List.of(more));
        Run run = run(arguments.toArray(String[]::new));
        assertEquals(exitCode, run.exitCode(), run.err());
        assertEquals("", run.out());
        assertTrue(run.err().contains(said), run.err());
        assertTrue(run.err().startsWith("stormsight: ") && run.err().lines().count() <= 2, run.err());
    }

    private JsonNode json(Path file) throws IOException {
        return JsonMapper.shared().readTree(Files.readString(file));
    }

    private static int[] ints(JsonNode array) {
        return array.valueStream().mapToInt(JsonNode::asInt).toArray();
    }

    /** Every file that is named exists, every array has the shape and the labels that are named for it. */
    private static void consistent(Path out, JsonNode files) throws IOException {
        assertFalse(files.isEmpty());
        for (JsonNode file : files) {
            Path path = out.resolve(file.get("file").asString());
            if (path.toString().endsWith(".npy")) {
                NumpyArray array = NumpyFiles.read(path);
                assertArrayEquals(ints(file.get("shape")), array.shape(), path.toString());
                int[] labels = file.get("axes").valueStream().mapToInt(axis -> axis.get("labels").size()).toArray();
                assertArrayEquals(array.shape(), labels, path.toString());
                assertTrue(file.get("meaning").asString().length() > 10);
            } else {
                assertTrue(ImageIO.read(path.toFile()).getWidth() >= 224, path.toString());
            }
        }
    }

    @Test
    void writesNumbersAndPictures() throws IOException {
        Path out = temporary.resolve("out");
        Files.createDirectories(out);
        Path mine = Files.writeString(out.resolve("mine.txt"), "not yours");
        Run run = run(
                "attend",
                "-i",
                IMAGE,
                "-p",
                "caption en",
                "--out",
                out.toString(),
                "--backend",
                "cpu",
                "--maps",
                "vision,words,quadrants,whole",
                "--heads",
                "all",
                "--layers",
                "0,2",
                "-n",
                "4",
                "--json");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("not yours", Files.readString(mine));
        JsonNode maps = json(out.resolve("maps.json"));
        assertEquals(maps, JsonMapper.shared().readTree(run.out()));
        assertEquals(EmbeddedModel.NAME, maps.get("model").asString());
        assertArrayEquals(new int[] {0, 2}, ints(maps.get("layers")));
        consistent(out, maps.get("images").get(0).get("files"));
        JsonNode answered = maps.get("runs").get(0);
        consistent(out, answered.get("files"));
        JsonNode words = answered.get("words");
        assertEquals("<bos>", words.get(0).get("text").asString());
        assertEquals("caption", words.get(1).get("text").asString());
        assertEquals("\\n", words.get(3).get("text").asString());
        assertTrue(words.get(4).get("generated").asBoolean());
        assertFalse(words.get(4).has("image_to_word"));

        // Rows of the whole sum to 1; the words' maps and shares are parts of it.
        NumpyArray whole = NumpyFiles.read(out.resolve("whole.npy"));
        int tokens = whole.shape()[3];
        int heads = whole.shape()[1];
        int patches = tokens - 4;
        for (int row = 0; row < whole.values().length / tokens; row++) {
            double sum = 0;
            for (int key = 0; key < tokens; key++) {
                sum += whole.values()[row * tokens + key];
            }
            assertEquals(1, sum, ROUNDING);
        }
        for (int word = 0; word < 4; word++) {
            double onImage = 0;
            for (int plane = 0; plane < 2 * heads; plane++) {
                for (int key = 0; key < patches; key++) {
                    onImage += whole.values()[(plane * tokens + patches + word) * tokens + key] / (2.0 * heads);
                }
            }
            assertEquals(onImage, words.get(word).get("word_to_image").get("share").asDouble(), ROUNDING);
        }
        // The peak in JSON is where the array is largest.
        NumpyArray sums = NumpyFiles.read(out.resolve("word_to_image_sum.npy"));
        for (int word = 0; word < words.size(); word++) {
            int[] peak = ints(words.get(word).get("word_to_image").get("peak_patch"));
            int side = sums.shape()[1];
            float largest = sums.values()[(word * side + peak[0]) * side + peak[1]];
            for (int i = 0; i < patches; i++) {
                assertTrue(sums.values()[word * patches + i] <= largest);
            }
        }
    }

    @Test
    void writesOnlyWhatWasAskedForAtTheResolutionOfTheImage() throws IOException {
        Path out = temporary.resolve("pictures");
        Run run = run(
                "attend",
                "-i",
                IMAGE,
                "-p",
                "caption en",
                "--out",
                out.toString(),
                "--backend",
                "cpu",
                "--maps",
                "words",
                "--direction",
                "word-to-image",
                "-n",
                "2");
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.out().contains("answer") && run.out().contains("maps.json"), run.out());
        assertFalse(Files.exists(out.resolve("vision_sum.npy")));
        assertFalse(Files.exists(out.resolve("image_to_word.png")));
        assertTrue(Files.exists(out.resolve("word_to_image.png")));
        try (Stream<Path> overlays = Files.list(out.resolve("word_to_image"))) {
            for (Path overlay : overlays.toList()) {
                assertTrue(ImageIO.read(overlay.toFile()).getHeight()
                        >= ImageIO.read(Path.of(IMAGE).toFile()).getHeight());
            }
        }
    }

    /** Maps of zeros look as if a word, or the image, read nothing, where it could not. */
    @Test
    void whatACausalMaskHidesHasNoPicture() throws IOException {
        Path out = temporary.resolve("causal");
        String model = temporary.resolve("llava").toString();
        assertEquals(0, run("synthesize", "--like", "tiny-llava", model).exitCode());
        Run run = run("attend", "-m", model, "-i", IMAGE, "--raw-prompt", "-p",
                "is <image> red", "--maps", "words,rollout", "-n", "2", "-o", out.toString(), "--backend", "cpu",
                "--html", out.resolve("page.html").toString());
        assertEquals(0, run.exitCode(), run.err());
        JsonNode words = json(out.resolve("maps.json")).get("runs").get(0).get("words");
        int blind = 0;
        int hidden = 0;
        for (JsonNode word : words) {
            boolean sees = word.get("word_to_image").has("peak_patch");
            assertEquals(sees, word.get("word_to_image").get("share").asDouble() > 0);
            blind += sees ? 0 : 1;
            hidden += word.has("image_to_word") && !word.get("image_to_word").has("peak_patch") ? 1 : 0;
        }
        assertTrue(blind > 0 && hidden > 0, run.out());
        assertTrue(run.out().contains(blind + " words before the image cannot see it, and " + hidden + " words behind "
                + "the image cannot be seen from it: no token of this model sees a later one"), run.out());
        try (Stream<Path> overlays = Files.list(out.resolve("word_to_image"))) {
            assertEquals(words.size() - blind, overlays.count());
        }
        assertTrue(Files.readString(out.resolve("page.html")).contains("before the image cannot see it"));
        // Columns stand below each other, however long a word is.
        List<String> table = run.out().lines().dropWhile(line -> !line.startsWith("word ")).toList();
        for (String line : table.subList(1, 1 + words.size())) {
            assertTrue(line.startsWith("row ", table.getFirst().indexOf("peak at"))
                    || line.startsWith("nowhere", table.getFirst().indexOf("peak at")), line);
        }
    }

    @Test
    void aPromptDoesNotDifferFromItself() throws IOException {
        Path out = temporary.resolve("same");
        Run run = run(
                "attend",
                "-i",
                IMAGE,
                "-i",
                Path.of("examples", "sky.png").toString(),
                "-p",
                "detect star",
                "-p",
                "detect star",
                "-p",
                "detect ring",
                "--out",
                out.toString(),
                "--backend",
                "cpu",
                "--maps",
                "words",
                "-n",
                "1");
        assertEquals(0, run.exitCode(), run.err());
        // A detected place is a long word; columns stand below each other all the same.
        List<String> table = run.out().lines().dropWhile(line -> !line.startsWith("word  ") || !line.contains("share"))
                .takeWhile(line -> !line.isBlank()).toList();
        assertTrue(table.size() > 4, run.out());
        table.forEach(line -> assertEquals(table.getFirst().length(), line.length(), line));
        JsonNode comparison = json(out.resolve("comparison.json"));
        assertTrue(comparison.get("definitions").has("cosine_distance"));
        int same = 0;
        int different = 0;
        for (JsonNode change : comparison.get("changes")) {
            if (ints(change.get("prompts"))[1] == 1) {
                assertEquals(0, change.get("cosine_distance").asDouble());
                assertEquals(0, change.get("total_variation").asDouble());
                same++;
            } else {
                different += change.get("total_variation").asDouble() > 0 ? 1 : 0;
            }
        }
        // bos, detect, star and newline, two directions, two images.
        assertEquals(16, same);
        assertTrue(different > 0);
        List<String> csv = Files.readAllLines(out.resolve("changes.csv"));
        assertEquals(1 + comparison.get("changes").size(), csv.size());
        assertEquals(csv.getFirst().split(",").length, csv.get(1).split(",").length);
        JsonNode maps = json(out.resolve("maps.json"));
        assertEquals(6, maps.get("runs").size());
        for (JsonNode file : maps.get("comparison")) {
            assertTrue(Files.exists(out.resolve(file.asString())), file.asString());
        }
        consistent(out, maps.get("runs").get(5).get("files"));
    }

    @Test
    void theSixPromptsOfTwoObjects() {
        assertEquals(
                List.of(
                        "Is this an image of a cat or a dog?",
                        "Is this an image of a dog or a cat?",
                        "Is this a cat?",
                        "Is this a dog?",
                        "This is a dog.",
                        "This is a cat."),
                Attend.objectPrompts("cat,dog"));
        assertEquals("Is this an image of an apple or a pear?", Attend.objectPrompts(" apple, pear").getFirst());
        assertThrows(UsageException.class, () -> Attend.objectPrompts("cat"));
        assertThrows(UsageException.class, () -> Attend.objectPrompts("cat,,dog"));
    }

    @Test
    void indicesAreListsOfRanges() {
        assertEquals(List.of(0, 3, 4, 5), Indices.parse("--layers", "3-5,0,4"));
        for (String wrong : List.of("", "a", "1-", "-1", "3-1", "1,,2", "99999")) {
            assertThrows(UsageException.class, () -> Indices.parse("--layers", wrong), wrong);
        }
    }

    @Test
    void usageErrorsAreOneLine() throws IOException {
        String out = temporary.resolve("errors").toString();
        int layers;
        int heads;
        try (ModelDirectory directory = EmbeddedModel.open(Optional.empty())) {
            layers = Math.max(directory.describe().decoder().layers(), directory.describe().vision().layers());
            heads = Math.max(
                    directory.describe().decoder().heads().queryHeads(),
                    directory.describe().vision().heads());
        }
        fails(2, "there is no layer " + layers, "-p", "caption en", "--out", out, "--layers", String.valueOf(layers));
        fails(2, "there is no head " + heads, "-p", "caption en", "--out", out, "--heads", String.valueOf(heads));
        fails(2, "--layers 2-1: 2-1 runs backwards", "-p", "caption en", "--out", out, "--layers", "2-1");
        fails(2, "--prompt or --compare-objects is missing", "--out", out);
        fails(2, "--compare-objects cat", "--out", out, "--compare-objects", "cat");
        fails(2, "--max-tokens 0", "-p", "caption en", "--out", out, "-n", "0");
        fails(2, "<image>", "-p", "is <image> or <image>?", "--out", out);
        fails(2, "--out", "-p", "caption en");
        fails(2, "'sounds'", "-p", "caption en", "--out", out, "--maps", "sounds");
        assertFalse(Files.exists(Path.of(out)));
        Path file = Files.writeString(temporary.resolve("file"), "");
        fails(1, "--out " + file + " cannot be written", "-p", "caption en", "--out", file.toString());
        fails(1, file + " is not a directory", "-p", "caption en", "--out", file.resolve("below").toString());
        assertEquals("", Files.readString(file));
    }
}
