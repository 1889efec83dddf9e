package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.Goldens;
import stormsight.cli.MainTest.Run;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Knockout and lens as a user calls them. */
class KnockoutTest {
    private static final String GOLDEN = Goldens.folder("paligemma-mqa").toString();
    private static final String IMAGE = Goldens.folder("paligemma-mqa").resolve("input.png").toString();
    private static final String QUESTION = "where is the cat sitting?";
    private static final String PROMPT = "answer en " + QUESTION;
    /** F32 values of transformers. */
    private static final double PROBABILITIES = 1e-5;
    private static final double PERCENT = 0.01;

    @TempDir
    private Path temporary;

    private static Run golden(String command, String... more) {
        List<String> arguments = new ArrayList<>(List.of(command, "--model", GOLDEN, "--backend", "cpu"));
        arguments.addAll(Arrays.asList(more));
        return MainTest.run(arguments.toArray(String[]::new));
    }

    private static JsonNode json(Run run) {
        assertEquals(0, run.exitCode(), run.err());
        return JsonMapper.shared().readTree(run.out());
    }

    private static double[] numbers(JsonNode array) {
        return array.valueStream().mapToDouble(JsonNode::asDouble).toArray();
    }

    /** Four lines: a right answer with a box, a wrong one, an image that is missing, a right answer without a box. */
    private Path dataset() throws IOException {
        String answer = golden("generate", "-i", IMAGE, "-p", PROMPT, "-n", "8", "--json").out();
        String right = JsonMapper.shared().readTree(answer).get("answer").asString();
        Files.copy(Path.of(IMAGE), temporary.resolve("cat.png"));
        StringBuilder lines = new StringBuilder();
        for (String[] each : new String[][] {
            {"cat.png", " " + right.toUpperCase(), "[[8, 0, 16, 8]]"},
            {"cat.png", "on the moon", "[]"},
            {"dog.png", right, "[]"},
            {"cat.png", right, "[]"}
        }) {
            lines.append("{\"image\": \"")
                    .append(each[0])
                    .append("\", \"question\": \"")
                    .append(QUESTION)
                    .append("\", \"answer\": ")
                    .append(JsonMapper.shared().writeValueAsString(each[1]))
                    .append(", \"boxes\": ")
                    .append(each[2])
                    .append(each[0].equals("dog.png") ? "" : ", \"category\": \"place\"")
                    .append("}\n");
        }
        return Files.writeString(temporary.resolve("set.jsonl"), lines.toString());
    }

    @Test
    void oneExampleGivesTheRecordedChanges() throws IOException {
        JsonNode expected = JsonMapper.shared()
                .readTree(Files.readString(Path.of(GOLDEN, "expected.json")))
                .get("knockout")
                .get(0);
        JsonNode found = json(golden(
                "knockout",
                "-i",
                IMAGE,
                "-p",
                PROMPT,
                "--window",
                expected.get("k").asString(),
                "--preset",
                "to-last",
                "--edges",
                "image->question,question->image",
                "--json"));
        assertEquals(List.of("question-to-last", "image-to-last", "last-to-last", "image->question,question->image"),
                found.get("curves").valueStream().map(curve -> curve.get("flow").asString()).toList());
        assertEquals(
                expected.get("p_base").asDouble(),
                found.get("results").get(0).get("p_base").asDouble(),
                PROBABILITIES);
        JsonNode flows = found.get("results").get(0).get("flows");
        assertArrayEquals(
                numbers(expected.get("edges").get("image->last").get("p_ko")),
                numbers(flows.get("image-to-last").get("p_ko")),
                PROBABILITIES);
        assertArrayEquals(numbers(expected.get("edges").get("image->question+question->image").get("percent_change")),
                numbers(flows.get("image->question,question->image").get("percent_change")), PERCENT);
    }

    @Test
    void theTableHasALineALayer() {
        Run run = golden(
                "knockout",
                "-i",
                IMAGE,
                "-p",
                PROMPT,
                "--flow",
                "last-to-last",
                "--window",
                "1",
                "--heads",
                "0,2",
                "--whole-answer");
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.out().contains("change in probability of the whole answer"), run.out());
        assertTrue(run.out().lines().anyMatch("layer  last-to-last"::equals), run.out());
        assertEquals(4, run.out().lines().filter(line -> line.matches(" +\\d +-?\\d+\\.\\d\\d")).count(), run.out());
        assertTrue(golden("knockout", "-i", IMAGE, "-p", PROMPT, "--flow", "last-to-last", "--window", "9")
                .err()
                .contains("a window of 9 covers all 4 layers"));
    }

    @Test
    void aDataSetGivesCurvesNumbersAndCounts() throws IOException {
        Path out = temporary.resolve("out");
        Run run = golden(
                "knockout", "--dataset", dataset().toString(), "-n", "8", "--window", "1", "--out", out.toString());
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.out().startsWith("kept 2 of 4: 1 image cannot be read, 1 wrong answer"), run.out());
        assertTrue(
                run.out().contains("object-to-question skipped for 1 question: span 'object': no box or mask"),
                run.out());
        assertEquals(
                1,
                run.err()
                        .lines()
                        .filter(line -> line.matches("line 3: image cannot be read: .*dog\\.png: no such file"))
                        .count(),
                run.err());
        JsonNode found = JsonMapper.shared().readTree(Files.readString(out.resolve("knockout.json")));
        JsonNode curve = found.get("curves").get(0);
        assertEquals(2, curve.get("examples").asInt());
        for (int layer = 0; layer < 4; layer++) {
            double mean = 0;
            for (int line : new int[] {0, 3}) {
                mean += found.get("results")
                                .get(line)
                                .get("flows")
                                .get("question-to-last")
                                .get("percent_change")
                                .get(layer)
                                .asDouble()
                        / 2;
            }
            assertEquals(mean, curve.get("mean_percent_change").get(layer).asDouble(), 1e-9);
        }
        List<String> names;
        try (Stream<Path> files = Files.list(out)) {
            names = files.map(file -> file.getFileName().toString()).sorted().toList();
        }
        assertEquals(
                List.of(
                        "curves.csv",
                        "knockout.csv",
                        "knockout.json",
                        "patches.png",
                        "patches.svg",
                        "prefix.png",
                        "prefix.svg",
                        "question.png",
                        "question.svg",
                        "results.jsonl",
                        "to-last.png",
                        "to-last.svg"),
                names);
        assertTrue(Files.readString(out.resolve("to-last.svg")).contains("<svg"));
        // Eight flows of one example, six of the other, four layers each; what the model says may go over several
        // lines.
        assertEquals(
                (8 + 6) * 4,
                Files.readAllLines(out.resolve("knockout.csv")).stream()
                        .filter(line ->
                                line.matches(".*-to-\\w+,\\d,[\\d.E-]+,[\\d.E-]+|.*,both-ways,\\d,[\\d.E-]+,[\\d.E-]+"))
                        .count());
        assertEquals(1 + 8 * 4, Files.readAllLines(out.resolve("curves.csv")).size());
    }

    /** Stopped in the middle of a line, the experiment goes on and ends as if it had not been stopped. */
    @Test
    void goesOnWhereItWasStopped() throws IOException {
        Path out = temporary.resolve("out");
        String[] command = {
            "--dataset",
            dataset().toString(),
            "-n",
            "8",
            "--window",
            "1",
            "--flow",
            "image-to-last",
            "--out",
            out.toString()
        };
        Run whole = golden("knockout", command);
        Path log = out.resolve("results.jsonl");
        byte[] complete = Files.readAllBytes(log);
        String numbers = Files.readString(out.resolve("knockout.json"));
        Files.write(log, Arrays.copyOf(complete, complete.length * 2 / 3));
        Files.delete(out.resolve("flows.png"));
        assertEquals(whole, golden("knockout", command));
        assertArrayEquals(complete, Files.readAllBytes(log));
        assertEquals(numbers, Files.readString(out.resolve("knockout.json")));
        assertTrue(Files.exists(out.resolve("flows.png")));
        // A part of the examples is there already.
        List<String> fewer = new ArrayList<>(Arrays.asList(command));
        fewer.addAll(List.of("--limit", "1", "--category", "place"));
        assertTrue(golden("knockout", fewer.toArray(String[]::new)).out().startsWith("kept 1 of 1"));
        assertArrayEquals(complete, Files.readAllBytes(log));
        command[5] = "2";
        MainTest.Run other = golden("knockout", command);
        assertEquals(2, other.exitCode());
        assertTrue(
                other.err()
                        .lines()
                        .anyMatch(line ->
                                line.startsWith("stormsight: --out: ") && line.contains("window was 1 and is 2")),
                other.err());
        assertArrayEquals(complete, Files.readAllBytes(log));
    }

    /** An image that could not be read may be there another time; all else is not asked twice. */
    @Test
    void whatCouldNotBeReadIsAskedAgain() throws IOException {
        String set = dataset().toString();
        for (String experiment : new String[] {"knockout", "lens"}) {
            Files.deleteIfExists(temporary.resolve("dog.png"));
            Path out = temporary.resolve(experiment);
            List<String> command = new ArrayList<>(List.of("--dataset", set, "-n", "8", "--out", out.toString()));
            if (experiment.equals("knockout")) {
                command.addAll(List.of("--window", "1", "--flow", "last-to-last"));
            }
            assertTrue(golden(experiment, command.toArray(String[]::new))
                    .out()
                    .startsWith("kept 2 of 4: 1 image cannot be read, 1 wrong answer"));
            byte[] before = Files.readAllBytes(out.resolve("results.jsonl"));
            Files.copy(Path.of(IMAGE), temporary.resolve("dog.png"));
            Run again = golden(experiment, command.toArray(String[]::new));
            assertTrue(again.out().startsWith("kept 3 of 4: 1 wrong answer"), again.toString());
            byte[] after = Files.readAllBytes(out.resolve("results.jsonl"));
            assertArrayEquals(before, Arrays.copyOf(after, before.length));
            assertEquals(1 + 4, Files.readAllLines(out.resolve("results.jsonl")).size());
        }
    }

    /**
     * Which token is left nothing to see depends on the prompt: the study goes on with the flows and examples that can
     * be had.
     */
    @Test
    void aFlowThatBlindsATokenOfOneExampleIsLeftOutOfIt() throws IOException {
        // Its last token still sees itself when the first 39 tokens are taken away, which are all of the other prompt.
        String longer = "is the cat sitting on the mat or is it sitting elsewhere?";
        Files.copy(Path.of(IMAGE), temporary.resolve("cat.png"));
        StringBuilder lines = new StringBuilder();
        for (String question : new String[] {QUESTION, longer}) {
            String answer = json(golden("generate", "-i", IMAGE, "-p", "answer en " + question, "-n", "8", "--json"))
                    .get("answer")
                    .asString();
            lines.append(JsonMapper.shared()
                            .writeValueAsString(Map.of("image", "cat.png", "question", question, "answer", answer)))
                    .append('\n');
        }
        Path set = Files.writeString(temporary.resolve("set.jsonl"), lines);
        Path out = temporary.resolve("out");
        Run run = golden(
                "knockout",
                "--dataset",
                set.toString(),
                "-n",
                "8",
                "--window",
                "1",
                "--edges",
                "0-38->last",
                "--out",
                out.toString());
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.out().startsWith("kept 2 of 2"), run.out());
        assertTrue(
                run.out().contains("0-38->last skipped for 1 question: leaves token 38 ('\\n', last) nothing to see in "
                        + "layer 0"),
                run.out());
        assertEquals(
                1,
                JsonMapper.shared()
                        .readTree(Files.readString(out.resolve("knockout.json")))
                        .get("curves")
                        .get(0)
                        .get("examples")
                        .asInt());
    }

    /** The paper's six flows on LLaVA, with the recorded changes, and how the answer forms. */
    @Test
    void followsInformationThroughLlava() throws IOException {
        Path folder = Goldens.folder("llava-chat-gqa");
        JsonNode expected = JsonMapper.shared().readTree(Files.readString(folder.resolve("expected.json")));
        JsonNode asked = expected.get("prompts").get(0);
        Files.copy(folder.resolve("input_0.png"), temporary.resolve("dog.png"));
        StringBuilder lines = new StringBuilder();
        for (List<List<Integer>> boxes : List.of(List.of(List.of(16, 0, 25, 8)), List.<List<Integer>>of())) {
            lines.append(JsonMapper.shared().writeValueAsString(Map.of(
                            "image", "dog.png",
                            "question", expected.get("knockout_positions").get("question_text").asString(),
                            "answer", asked.get("text_skip_special").asString(),
                            "boxes", boxes)))
                    .append('\n');
        }
        Path set = Files.writeString(temporary.resolve("gqa.jsonl"), lines);
        Path out = temporary.resolve("flow");
        String[] examples = {
            "-m", folder.toString(), "--backend", "cpu", "--dataset", set.toString(), "--template", "{question}", "-n",
            "12", "--json", "--out"
        };
        List<String> command = new ArrayList<>(List.of("knockout", "--preset", "information-flow"));
        command.addAll(Arrays.asList(examples));
        command.add(out.toString());
        Run run = MainTest.run(command.toArray(String[]::new));
        JsonNode found = json(run);
        // A window of 9 would cover the model's 3 layers wherever it stands.
        assertEquals("3", found.get("settings").get("window").asString());
        assertEquals("", run.err());
        assertEquals(
                List.of(
                        "question->last", "image->last", "last->last", "image->question", "object->question",
                        "other->question"),
                found.get("curves").valueStream().map(curve -> curve.get("edges").get(0).asString()).toList());
        assertEquals(
                List.of(2, 2, 2, 2, 1, 1),
                found.get("curves").valueStream().map(curve -> curve.get("examples").asInt()).toList());
        JsonNode flows = found.get("results").get(0).get("flows");
        JsonNode edges = expected.get("knockout").get(0).get("edges");
        Map.of("question-to-last", "question->last", "image-to-last", "image->last", "last-to-last", "last->last",
                "image-to-question", "image->question", "object-to-question", "patches->question")
                .forEach((flow, edge) -> assertArrayEquals(
                        numbers(edges.get(edge).get("p_ko")),
                        numbers(flows.get(flow).get("p_ko")),
                        PROBABILITIES,
                        flow));
        for (String figure : List.of("to-last.svg", "question.svg", "patches.svg")) {
            assertTrue(Files.exists(out.resolve(figure)), figure);
        }

        command = new ArrayList<>(List.of("lens"));
        command.addAll(Arrays.asList(examples));
        command.add(temporary.resolve("lens").toString());
        JsonNode curves = json(MainTest.run(command.toArray(String[]::new))).get("results").get(0).get("curves");
        assertEquals("\u2581toda", curves.get("answer in lower case").get("token").asString());
        assertEquals("\u2581T", curves.get("answer capitalised").get("token").asString());
        double[] forming = numbers(curves.get("answer in lower case").get("probability_normed"));
        assertEquals(4, forming.length);
        assertEquals(expected.get("knockout").get(0).get("p_base").asDouble(), forming[3], PROBABILITIES);
    }

    @Test
    void nothingKeptIsNoError() throws IOException {
        Path set = Files.writeString(
                temporary.resolve("set.jsonl"), "{\"image\": \"x.png\", \"question\": \"a\", \"answer\": \"b\"}\n");
        Run run = golden("knockout", "--dataset", set.toString(), "--out", temporary.resolve("out").toString());
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.out().startsWith("kept 0 of 1: 1 image cannot be read"), run.out());
        assertFalse(Files.exists(temporary.resolve("out/to-last.png")));
    }

    @Test
    void wrongInputGetsOneLine() throws IOException {
        String set = dataset().toString();
        String out = temporary.resolve("out").toString();
        for (String command : new String[] {"knockout", "lens"}) {
            fails(2, "give --dataset, or --image and --prompt", command);
            fails(2, "--dataset needs --out", command, "--dataset", set);
            fails(2, "no such file", command, "--dataset", set + "x", "--out", out);
            fails(2, "--dataset brings its own", command, "--dataset", set, "-i", IMAGE, "-p", PROMPT, "--out", out);
            fails(2, "no question of category 'time'", command, "--dataset", set, "--category", "time", "--out", out);
            fails(
                    2,
                    "--template has no {question}",
                    command,
                    "--dataset",
                    set,
                    "--template",
                    "answer en",
                    "--out",
                    out);
            fails(2, "--limit 0 is not positive", command, "--dataset", set, "--limit", "0", "--out", out);
            fails(2, "--max-tokens 0 is not positive", command, "--dataset", set, "-n", "0", "--out", out);
            fails(4, "dog.png: no such file", command, "-i", temporary.resolve("dog.png").toString(), "-p", PROMPT);
            fails(2, "2 places <image> for 1 image", command, "-i", IMAGE, "-p", "what is <image><image>?");
            fails(2, "does not hold 'the dog'", command, "-i", IMAGE, "-p", PROMPT, "--question", "the dog");
            fails(6, "positions", command, "-i", IMAGE, "-p", "cat ".repeat(9000));
            fails(1, "cannot be written", command, "-i", IMAGE, "-p", PROMPT, "--out", IMAGE);
        }
        knockoutFails("no flow is named 'sideways'", "--flow", "sideways");
        knockoutFails("no preset is named 'sideways'", "--preset", "sideways");
        knockoutFails("'image' is not an edge such as image->last", "--edges", "image");
        knockoutFails("'cat' is no span", "--edges", "cat->last");
        knockoutFails("span '0-99': the last token is 38", "--edges", "0-99->last");
        knockoutFails("object-to-question: span 'object': no box or mask marks", "--flow", "object-to-question");
        knockoutFails("leaves token 38 ('\\n', last) nothing to see in layers 0 to 1", "--edges", "0-38->last");
        knockoutFails("head 3: the heads are 0 to 2", "--heads", "0,3");
        knockoutFails("--window 0 is not positive", "--window", "0");
        knockoutFails("--box: '1,2,3' is not a box", "--box", "1,2,3");
        knockoutFails("lies outside of the image of", "--box", "1000,2,3,4");
    }

    private static void knockoutFails(String said, String... more) {
        List<String> arguments = new ArrayList<>(List.of("-i", IMAGE, "-p", PROMPT));
        arguments.addAll(Arrays.asList(more));
        fails(2, said, "knockout", arguments.toArray(String[]::new));
    }

    private static void fails(int exitCode, String said, String command, String... more) {
        List<String> arguments = new ArrayList<>(List.of(command, "--model", GOLDEN, "--backend", "cpu"));
        arguments.addAll(Arrays.asList(more));
        MainTest.fails(exitCode, said, arguments.toArray(String[]::new));
    }

    @Test
    void boxesAreTheirPatches() {
        RgbImage image = new ImageDecoder().decode(Path.of(IMAGE));
        // A little inside of patches 1 and 2, and of patch 5, which begins the second row.
        double width = image.width() / 5.0;
        double height = image.height() / 5.0;
        String[] boxes = {1.2 * width + "," + 0.2 * height + "," + 1.6 * width + "," + 0.6 * height,
            0.2 * width + "," + 1.2 * height + "," + 0.6 * width + "," + 0.6 * height};
        JsonNode box = json(golden(
                        "knockout",
                        "-i",
                        IMAGE,
                        "-p",
                        PROMPT,
                        "--window",
                        "1",
                        "--json",
                        "--preset",
                        "patches",
                        "--box",
                        boxes[0],
                        "--box",
                        boxes[1]))
                .get("results")
                .get(0)
                .get("flows");
        JsonNode tokens = json(golden(
                        "knockout",
                        "-i",
                        IMAGE,
                        "-p",
                        PROMPT,
                        "--window",
                        "1",
                        "--json",
                        "--edges",
                        "1-2->question,5->question"))
                .get("results")
                .get(0)
                .get("flows");
        assertArrayEquals(
                numbers(tokens.get("1-2->question,5->question").get("p_ko")),
                numbers(box.get("object-to-question").get("p_ko")));
        assertTrue(box.has("other-to-question"));
    }

    @Test
    void lensFollowsTokens() throws IOException {
        Path out = temporary.resolve("lens");
        JsonNode found =
                json(golden("lens", "-i", IMAGE, "-p", PROMPT, "--token", "cat", "--out", out.toString(), "--json"));
        JsonNode curves = found.get("results").get(0).get("curves");
        assertEquals(List.of("answer in lower case", "answer capitalised", "cat"), List.copyOf(curves.propertyNames()));
        for (JsonNode curve : curves) {
            double[] raw = numbers(curve.get("probability"));
            double[] normed = numbers(curve.get("probability_normed"));
            assertEquals(5, raw.length);
            assertEquals(raw[4], normed[4]);
        }
        JsonNode top = found.get("results").get(0).get("top");
        assertEquals(5, top.size());
        for (int depth = 0; depth < 5; depth++) {
            double[] probabilities = top.get(depth)
                    .valueStream()
                    .mapToDouble(each -> each.get("probability").asDouble())
                    .toArray();
            assertEquals(3, probabilities.length);
            assertTrue(probabilities[0] >= probabilities[1] && probabilities[1] >= probabilities[2], top.toString());
            for (JsonNode curve : curves) {
                boolean among = top.get(depth).valueStream().anyMatch(each -> each.get("token")
                        .equals(curve.get("token")));
                assertTrue(
                        among || numbers(curve.get("probability_normed"))[depth] <= probabilities[2], top.toString());
            }
        }
        for (String name : new String[] {
            "lens.png", "lens.svg", "lens-normed.png", "lens-normed.svg", "lens.csv", "curves.csv", "results.jsonl"
        }) {
            assertTrue(Files.size(out.resolve(name)) > 0, name);
        }
        Run table = golden("lens", "-i", IMAGE, "-p", PROMPT);
        assertTrue(table.out().contains("probability in percent, with the final norm"), table.out());
        assertEquals(
                5,
                table.out()
                        .lines()
                        .dropWhile(line -> !line.startsWith("most probable tokens of each layer"))
                        .skip(2)
                        .count(),
                table.out());
        assertFalse(golden("lens", "-i", IMAGE, "-p", PROMPT, "--top", "0").out().contains("most probable"));
        fails(2, "--token", "lens", "-i", IMAGE, "-p", PROMPT, "--token", "");
        fails(2, "--top -1 is not in 0 .. 100", "lens", "-i", IMAGE, "-p", PROMPT, "--top", "-1");
    }

    @Test
    void lensReadsAnyPosition() throws IOException {
        JsonNode last = json(golden("lens", "-i", IMAGE, "-p", PROMPT, "--json"));
        JsonNode named = json(golden("lens", "-i", IMAGE, "-p", PROMPT, "--json", "--position", "-1"));
        JsonNode before = json(golden("lens", "-i", IMAGE, "-p", PROMPT, "--json", "--position=-2"));
        JsonNode patch = json(golden("lens", "-i", IMAGE, "-p", PROMPT, "--json", "--position", "3"));
        JsonNode result = named.get("results").get(0);
        assertEquals(last.get("results").get(0).get("curves"), result.get("curves"));
        assertEquals(last.get("results").get(0).get("top"), result.get("top"));
        assertFalse(last.get("settings").has("position"));
        assertFalse(last.get("results").get(0).has("position"));
        assertEquals("-1", named.get("settings").get("position").asString());
        assertEquals("\n", result.get("position_token").asString());
        assertEquals(
                result.get("position").asInt() - 1,
                before.get("results").get(0).get("position").asInt());
        assertFalse(result.get("curves").equals(before.get("results").get(0).get("curves")));
        assertEquals(3, patch.get("results").get(0).get("position_image_row").asInt());
        assertFalse(patch.get("results").get(0).has("position_token"));

        Run table = golden("lens", "-i", IMAGE, "-p", PROMPT, "--position", "25");
        assertTrue(table.out().contains("read at position 25, '<bos>'\n"), table.out());
        int length = result.get("position").asInt() + 1;
        String range = "this prompt has 0 to " + (length - 1) + ", or -1 to -" + length
                + " from its end: 0 to 24 image, 25 '<bos>', ";
        fails(2, range, "lens", "-i", IMAGE, "-p", PROMPT, "--position", String.valueOf(length));
        fails(2, range, "lens", "-i", IMAGE, "-p", PROMPT, "--position", String.valueOf(-length - 1));
        // A question of a data set is named by its line, and a folder keeps one position.
        Path out = temporary.resolve("positions");
        String[] command = {"--dataset", dataset().toString(), "-n", "8", "--position", "99", "--out", out.toString()};
        assertTrue(golden("lens", command).err().contains("line 1 of the data set: position 99: "));
        golden("lens", "-i", IMAGE, "-p", PROMPT, "--out", out.toString(), "--position", "3");
        Run again = golden("lens", "-i", IMAGE, "-p", PROMPT, "--out", out.toString(), "--position", "3");
        assertTrue(again.out().contains("read at position 3, row 3 of the image\n"), again.out() + again.err());
        fails(2, "position was 3 and is not set", "lens", "-i", IMAGE, "-p", PROMPT, "--out", out.toString());
    }

    @Test
    void lensTakesADataSet() throws IOException {
        Path out = temporary.resolve("lens");
        String[] command = {"--dataset", dataset().toString(), "-n", "8", "--out", out.toString()};
        Run run = golden("lens", command);
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.out().startsWith("kept 2 of 4: 1 image cannot be read, 1 wrong answer"), run.out());
        assertEquals(run, golden("lens", command));
        // The settings and what the model was asked.
        assertEquals(1 + 3, Files.readAllLines(out.resolve("results.jsonl")).size());
    }

    /**
     * The model in the box, on its own data set: whatever it answers, kept and dropped add up and the first flows have
     * their numbers.
     */
    @Test
    void theEmbeddedModelHasItsDataSet() throws IOException {
        Path out = temporary.resolve("out");
        Run run = MainTest.run(
                "knockout",
                "--backend",
                "cpu",
                "--dataset",
                "models/shapes/heldout/knockout.jsonl",
                "--category",
                "color",
                "--limit",
                "4",
                "--preset",
                "to-last",
                "--window",
                "1",
                "--out",
                out.toString(),
                "--json");
        JsonNode found = json(run);
        int layers = JsonMapper.shared()
                .readTree(Files.readString(Path.of("models/shapes/config.json")))
                .get("text_config")
                .get("num_hidden_layers")
                .asInt();
        assertEquals(4, found.get("examples").get("all").asInt());
        int kept = found.get("examples").get("kept").asInt();
        assertEquals(4 - kept, found.get("examples").get("dropped").path("wrong answer").asInt());
        for (JsonNode result : found.get("results")) {
            if (!result.has("dropped")) {
                for (double percent : numbers(result.get("flows").get("image-to-last").get("percent_change"))) {
                    assertTrue(percent >= -100, run.out());
                }
                assertEquals(layers, result.get("flows").get("image-to-last").get("p_ko").size());
            }
        }
    }
}
