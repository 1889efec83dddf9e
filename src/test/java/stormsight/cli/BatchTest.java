package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.cli.MainTest.Run;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Many prompts about many images, with the embedded model. */
class BatchTest {
    private static final Path HELDOUT = Path.of("models/shapes/heldout").toAbsolutePath();

    @TempDir
    private Path temporary;

    private static Run run(String... arguments) {
        return MainTest.run(Stream.concat(Stream.of("batch", "--backend", "cpu", "-n", "6"), Arrays.stream(arguments))
                .toArray(String[]::new));
    }

    /** Two scenes in turn, a broken file, and a prompt that is too long. */
    private Path dataset() throws IOException {
        Files.copy(HELDOUT.resolve("000.png"), temporary.resolve("a.png"));
        Files.copy(HELDOUT.resolve("001.png"), temporary.resolve("b.png"));
        Files.writeString(temporary.resolve("broken.png"), "no picture");
        String large = "word ".repeat(300);
        return Files.writeString(
                temporary.resolve("set.jsonl"),
                """
                {"image": "a.png", "question": "what color is the circle?", "id": 7, "tags": ["x"]}
                {"image": "b.png", "prompt": "caption en"}
                {"image": "broken.png", "prompt": "caption en"}

                {"image": "a.png", "prompt": "detect circle"}
                {"image": "b.png", "prompt": "answer en %s"}
                {"image": "a.png", "prompt": "answer en how many blue objects are there?"}
                {"image": "b.png", "prompt": "answer en is there a circle?"}
                """
                        .formatted(large));
    }

    /** All but what a clock says. */
    private static List<JsonNode> lines(Path file) throws IOException {
        return Files.readAllLines(file).stream()
                .map(line -> {
                    JsonNode node = JsonMapper.shared().readTree(line);
                    if (node.has("seconds")) {
                        ((tools.jackson.databind.node.ObjectNode) node).remove("seconds");
                    }
                    return node;
                })
                .toList();
    }

    /** As files of other commands; a name that no disk takes is told with its reason, and once. */
    @Test
    void theFolderOfTheOutputIsMade() throws IOException {
        Path file = temporary.resolve("new/folder/out.jsonl");
        Run run = run("-i", "examples/kitchen.png", "-p", "caption en", "--out", file.toString());
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(1, Files.readAllLines(file).size());
        String name = temporary.resolve("x".repeat(300)).toString();
        Run refused = run("-i", "examples/kitchen.png", "-p", "caption en", "--out", name);
        assertEquals(1, refused.exitCode());
        assertTrue(refused.err().contains("stormsight: " + name + ": cannot be written: "), refused.err());
        assertEquals(refused.err().indexOf(name), refused.err().lastIndexOf(name), refused.err());
    }

    @Test
    void everyItemHasALine() throws IOException {
        Path file = temporary.resolve("out.jsonl");
        Run run = run("--dataset", dataset().toString(), "--out", file.toString(), "--parallel", "3");
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.err().contains("5 answers and 2 errors about 3 images"), run.err());
        List<JsonNode> lines = lines(file);
        // Those about one image follow each other.
        assertEquals(
                List.of(0, 3, 5, 1, 4, 6, 2),
                lines.stream().map(line -> line.get("index").asInt()).toList());
        assertEquals("what color is the circle?", lines.get(0).get("input").get("question").asString());
        assertEquals(7, lines.get(0).get("input").get("id").asInt());
        assertTrue(lines.get(6).get("error").asString().contains("broken.png"), lines.get(6).toString());
        assertTrue(lines.get(4).get("error").asString().contains("tokens"), lines.get(4).toString());
        for (JsonNode line : lines) {
            if (!line.has("error")) {
                Run alone = MainTest.run(
                        "generate",
                        "--backend",
                        "cpu",
                        "-n",
                        "6",
                        "--json",
                        "--image",
                        temporary.resolve(line.get("image").asString()).toString(),
                        "--prompt",
                        line.get("prompt").asString());
                JsonNode expected = JsonMapper.shared().readTree(alone.out());
                assertEquals(expected.get("answer"), line.get("answer"));
                assertEquals(expected.get("tokens"), line.get("tokens"));
                assertEquals(expected.get("stop"), line.get("stop"));
            }
        }
    }

    /** Cut anywhere, even within a line, the file ends as one that nothing happened to. */
    @Test
    void resumesWhereverItWasCut() throws IOException {
        Path dataset = dataset();
        Path whole = temporary.resolve("whole.jsonl");
        String[] options = {"--dataset", dataset.toString(), "--temp", "1.5", "--seed", "3", "--out"};
        assertEquals(0, run(with(options, whole.toString())).exitCode());
        byte[] bytes = Files.readAllBytes(whole);
        Path cut = temporary.resolve("cut.jsonl");
        Random random = new Random(5);
        for (int i = 0; i < 5; i++) {
            int length = i == 0 ? 0 : random.nextInt(bytes.length);
            Files.write(cut, Arrays.copyOf(bytes, length));
            Run run = run(with(options, cut.toString(), "--resume", "--parallel", String.valueOf(1 + 3 * i)));
            assertEquals(0, run.exitCode(), run.err());
            assertEquals(lines(whole), lines(cut), "cut at byte " + length);
        }
        Run again = run(with(options, cut.toString(), "--resume"));
        assertTrue(again.err().contains("0 answers and 0 errors about 0 images"), again.err());
        assertTrue(again.err().contains("; 7 were there already: "), again.err());
        assertEquals(lines(whole), lines(cut));
    }

    private static String[] with(String[] options, String... more) {
        return Stream.concat(Arrays.stream(options), Arrays.stream(more)).toArray(String[]::new);
    }

    @Test
    void shardsAreAllOfItTogether() throws IOException {
        Path dataset = dataset();
        Path first = temporary.resolve("1.jsonl");
        Path second = temporary.resolve("2.jsonl");
        assertEquals(0, run("--dataset", dataset.toString(), "-o", first.toString(), "--shard", "1/2").exitCode());
        assertEquals(0, run("--dataset", dataset.toString(), "-o", second.toString(), "--shard", "2/2").exitCode());
        assertEquals(
                List.of(0, 2, 3, 5),
                lines(first).stream().map(line -> line.get("index").asInt()).sorted().toList());
        assertEquals(
                List.of(1, 4, 6),
                lines(second).stream().map(line -> line.get("index").asInt()).sorted().toList());
    }

    @Test
    void imagesAreAskedEachPrompt() throws IOException {
        dataset();
        Path file = temporary.resolve("out.jsonl");
        Run run = run("-i", temporary.resolve("[ab].png").toString(), "-p", "caption en", "-p", "detect ring", "-o",
                file.toString());
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(
                List.of("caption en", "detect ring", "caption en", "detect ring"),
                lines(file).stream().map(line -> line.get("prompt").asString()).toList());
    }

    /** Answers are the same to the last bit, with features of before and without. */
    @Test
    void featuresAreKept() throws IOException {
        Path dataset = dataset();
        Path kept = temporary.resolve("kept");
        Path without = temporary.resolve("without.jsonl");
        assertEquals(0, run("--dataset", dataset.toString(), "-o", without.toString()).exitCode());
        String[] options = {"--dataset", dataset.toString(), "--feature-cache", kept.toString()};
        cached("features of 0 images found in the cache, of 2 added", without, options);
        cached("features of 2 images found in the cache, of 0 added", without, options);
        // The same picture under another name, whose entry is damaged, as the other one is.
        Files.copy(temporary.resolve("a.png"), temporary.resolve("b.png"), StandardCopyOption.REPLACE_EXISTING);
        Path same = temporary.resolve("same.jsonl");
        assertEquals(0, run("--dataset", dataset.toString(), "-o", same.toString()).exitCode());
        try (Stream<Path> files = Files.list(kept)) {
            Files.write(files.sorted().toList().getFirst(), new byte[] {1, 2, 3});
        }
        try (Stream<Path> files = Files.list(kept)) {
            Files.write(files.sorted().toList().getLast(), new byte[] {1, 2, 3});
        }
        cached("features of 1 image found in the cache, of 1 added", same, options);
        // Other weights, another resampling, and too little room.
        Run run = run(with(options, "-o", temporary.resolve("q8.jsonl").toString(), "--weights", "q8"));
        assertTrue(run.err().contains("features of 1 image found in the cache, of 1 added"), run.err());
        run = run(with(options, "-o", temporary.resolve("resized.jsonl").toString(), "--resize", "bilinear"));
        assertTrue(run.err().contains("features of 1 image found in the cache, of 1 added"), run.err());
        run = run(with(options, "-o", temporary.resolve("small.jsonl").toString(), "--resize", "bilinear",
                "--weights", "q8", "--feature-cache-size", "1k"));
        assertTrue(run.err().contains("features of 0 images found in the cache, of 0 added"), run.err());
        refused("--feature-cache-size 4X is not a number of bytes", with(options, "-o", "x", "--feature-cache-size",
                "4X"));
        run = run("--dataset", dataset.toString(), "-o", "x", "--feature-cache", dataset.toString());
        assertEquals(1, run.exitCode(), run.err());
        assertTrue(run.err().contains("is not a directory"), run.err());
    }

    private void cached(String said, Path expected, String... options) throws IOException {
        Path file = temporary.resolve("cached.jsonl");
        Files.deleteIfExists(file);
        Run run = run(with(options, "-o", file.toString()));
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.err().contains(said), run.err());
        assertEquals(lines(expected), lines(file));
    }

    @Test
    void saysWhatIsWrong() throws IOException {
        Path dataset = dataset();
        Path file = temporary.resolve("out.jsonl");
        String[] options = {"--dataset", dataset.toString(), "--out", file.toString()};
        assertEquals(0, run(options).exitCode());
        refused("has answers already; --resume goes on", options);
        refused("an answer of another model or of other options", with(options, "--resume", "--seed", "9", "--top-k",
                "4"));
        refused("where item", with(options, "--resume", "--shard", "2/3"));
        for (String[] other : new String[][] {
            {"--resize", "bilinear"},
            {"--weights", "q8"},
            {"--temp", "1"},
            {"--top-p", "0.5"},
            {"--repeat-penalty", "1.1"},
            {"--stop", "red"},
            {"--raw-prompt"},
            {"--ignore-orientation"},
            {"--loc-divisor", "1023"}
        }) {
            refused("of other options", with(with(options, "--resume"), other));
        }
        // Nothing of so small a model is rounded, with the option or without.
        assertEquals(0, run(with(options, "--resume", "--strict-math")).exitCode());
        String whole = Files.readString(file);
        Files.writeString(file, whole.replace(" exact files=", " rounded files="));
        refused("of other options", with(options, "--resume"));
        // Written before a line told of the files beside the weights.
        Files.writeString(file, whole.replaceAll(" exact files=[0-9a-f]+", ""));
        Run early = run(with(options, "--resume"));
        assertEquals(0, early.exitCode());
        assertTrue(early.err().contains("is of an earlier version and does not say"), early.err());
        Files.writeString(
                file,
                whole.replaceAll("\"run\":\"([0-9a-f]+) exact files=[0-9a-f]+\"", "\"run\":\"$1 exact files=0\""));
        refused("of other options", with(options, "--resume"));
        Files.writeString(file, "nothing of ours\n", StandardCharsets.UTF_8);
        refused("line 1: not JSON", with(options, "--resume"));
        refused("--parallel 17 is not in 1 .. 16", with(options, "--parallel", "17"));
        refused("--shard 3/2 is not a part", with(options, "--shard", "3/2"));
        refused("--image or --dataset is missing", "-o", file.toString());
        refused("--prompt is missing", "-o", file.toString(), "-i", temporary.toString());
        Files.writeString(dataset, "{\"image\": \"a.png\"}");
        refused("line 1: neither \"prompt\" nor \"question\"", with(options, "--resume"));
    }

    /** Another image in the place of one that was answered is not taken for it. */
    @Test
    void anImageThatHasChangedIsNoticed() throws IOException {
        Path image = temporary.resolve("changing.png");
        Files.copy(Path.of("examples", "kitchen.png"), image);
        Path file = temporary.resolve("changing.jsonl");
        String[] options = {"-i", image.toString(), "-p", "caption en", "-o", file.toString(), "--resume"};
        assertEquals(0, run(options).exitCode());
        assertEquals(0, run(with(options, "-p", "answer en what?")).exitCode());
        String before = Files.readString(file);
        Files.copy(Path.of("examples", "sky.png"), image, StandardCopyOption.REPLACE_EXISTING);
        refused("an answer about another image under the name " + image, with(options, "-p", "answer en what?"));
        assertEquals(before, Files.readString(file));
    }

    private static void refused(String said, String... options) {
        Run run = run(options);
        assertEquals(2, run.exitCode(), run.err());
        assertTrue(run.err().contains(said), run.err());
    }
}
