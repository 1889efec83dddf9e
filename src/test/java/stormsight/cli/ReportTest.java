package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.checkpoint.NumpyArray;
import stormsight.checkpoint.NumpyFiles;
import stormsight.cli.MainTest.Run;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Reports of commands hold the numbers that the commands found. How a page shows them is tested in a browser, with the
 * page itself.
 */
class ReportTest {
    private static final String IMAGE = Path.of("examples", "kitchen.png").toString();
    private static final String PROMPT = "answer en what color is the star?";

    @TempDir
    private Path temporary;

    private static Run run(String... arguments) {
        Run run = MainTest.run(arguments);
        assertEquals(0, run.exitCode(), run.err());
        return run;
    }

    private static JsonNode data(Path report) throws IOException {
        String page = Files.readString(report);
        String start = "<script type=\"application/json\" id=\"data\">";
        int from = page.indexOf(start) + start.length();
        return JsonMapper.shared().readTree(page.substring(from, page.indexOf("</script>", from)));
    }

    private static Map<String, String> facts(JsonNode data) {
        Map<String, String> facts = new LinkedHashMap<>();
        data.get("facts").forEach(fact -> facts.put(fact.get("name").asString(), fact.get("value").asString()));
        return facts;
    }

    private static float[] floats(JsonNode numbers) {
        assertEquals("f32", numbers.get("type").asString());
        return floats(numbers.get("data").asString());
    }

    private static float[] floats(String base64) {
        ByteBuffer bytes = ByteBuffer.wrap(Base64.getDecoder().decode(base64)).order(ByteOrder.LITTLE_ENDIAN);
        float[] values = new float[bytes.remaining() / Float.BYTES];
        bytes.asFloatBuffer().get(values);
        return values;
    }

    private static float[] array(Path directory, String name) {
        return NumpyFiles.read(directory.resolve(name + ".npy")).values();
    }

    @Test
    void attendReportsTheMapsThatItWrites() throws IOException {
        Path html = temporary.resolve("report.html");
        Path out = temporary.resolve("out");
        run(
                "attend",
                "-i",
                IMAGE,
                "-p",
                PROMPT,
                "--backend",
                "cpu",
                "--heads",
                "0,2",
                "-n",
                "3",
                "--out",
                out.toString(),
                "--html",
                html.toString());
        JsonNode data = data(html);
        JsonNode maps = JsonMapper.shared().readTree(Files.readString(out.resolve("maps.json")));
        Map<String, String> facts = facts(data);
        assertEquals(
                List.of("Image", "Prompt", "Answer", "Model", "Device", "Command", "Version"),
                List.copyOf(facts.keySet()));
        assertEquals(maps.get("runs").get(0).get("answer").asString(), facts.get("Answer"));
        assertEquals(
                "stormsight attend -i " + IMAGE + " -p '" + PROMPT + "' --backend cpu --heads 0,2 -n 3 --out " + out
                        + " --html " + html,
                facts.get("Command"));
        JsonNode directions = data.get("attention").get(0).get("directions");
        assertEquals(List.of("Word to image", "Image to word", "Vision tower"),
                directions.valueStream().map(direction -> direction.get("name").asString()).toList());

        JsonNode toImage = directions.get(0);
        float[] values = array(out, "word_to_image");
        assertArrayEquals(values, floats(toImage.get("values")));
        assertArrayEquals(array(out, "word_to_image_sum"), floats(toImage.get("sum")));
        int layers = toImage.get("layers").size();
        int size = values.length / layers / 2;
        float[] mean = floats(toImage.get("mean"));
        assertEquals(layers * size, mean.length);
        for (int i = 0; i < mean.length; i++) {
            int first = i / size * 2 * size + i % size;
            assertEquals((values[first] + values[first + size]) / 2, mean[i], 1e-7);
        }
        JsonNode words = maps.get("runs").get(0).get("words");
        assertEquals(words.size(), toImage.get("words").size());
        assertEquals(
                words.valueStream()
                        .filter(word -> !word.get("generated").asBoolean())
                        .count(),
                toImage.get("prompted").asInt());

        assertArrayEquals(array(out, "image_to_word"), floats(directions.get(1).get("values")));
        assertArrayEquals(array(out, "vision_layers"), floats(directions.get(2).get("mean")));
        assertArrayEquals(array(out, "vision_heads"), floats(directions.get(2).get("values")));
        assertArrayEquals(array(out, "vision_sum"), floats(directions.get(2).get("sum")));
        assertEquals("data:image/png;base64,", data.get("images").get(0).get("data").asString().substring(0, 22));
    }

    /**
     * From word to word as the file has it, and from patch to patch what the whole has for rows and columns of the
     * image.
     */
    @Test
    void attendReportsWhatWordsAndPatchesAttendTo() throws IOException {
        Path html = temporary.resolve("report.html");
        Path out = temporary.resolve("out");
        run(
                "attend",
                "-i",
                IMAGE,
                "-p",
                PROMPT,
                "--backend",
                "cpu",
                "--heads",
                "0,2",
                "-n",
                "3",
                "--maps",
                "whole",
                "--colormap",
                "inferno",
                "--out",
                out.toString(),
                "--html",
                html.toString());
        JsonNode data = data(html);
        assertEquals("inferno", data.get("colorMap").asString());
        JsonNode directions = data.get("attention").get(0).get("directions");
        assertEquals(List.of("Word to word", "Patch to patch"),
                directions.valueStream().map(direction -> direction.get("name").asString()).toList());
        assertArrayEquals(array(out, "word_to_word"), floats(directions.get(0).get("values")));

        JsonNode toPatch = directions.get(1);
        int patches = data.get("attention").get(0).get("columns").asInt()
                * data.get("attention").get(0).get("rows").asInt();
        NumpyArray whole = NumpyFiles.read(out.resolve("whole.npy"));
        int tokens = whole.shape()[3];
        byte[] steps = Base64.getDecoder().decode(toPatch.get("values").get("data").asString());
        float[] low = floats(toPatch.get("values").get("low").asString());
        float[] high = floats(toPatch.get("values").get("high").asString());
        assertEquals(whole.shape()[0] * whole.shape()[1] * patches, low.length);
        for (int plane = 0; plane < low.length; plane += 37) {
            int row = (plane / patches * tokens + plane % patches) * tokens;
            for (int patch = 0; patch < patches; patch++) {
                float weight = whole.values()[row + patch];
                double shown =
                        low[plane] + (high[plane] - low[plane]) / 255.0 * (steps[plane * patches + patch] & 0xff);
                assertEquals(
                        weight, shown, (high[plane] - low[plane]) / 255 * 0.51, "plane " + plane + ", patch " + patch);
            }
        }
    }

    @Test
    void aComparisonHasAnExampleForEveryPromptAndItsTable() throws IOException {
        Path html = temporary.resolve("report.html");
        run(
                "attend",
                "-i",
                IMAGE,
                "-p",
                PROMPT,
                "-p",
                "caption en",
                "--backend",
                "cpu",
                "-n",
                "2",
                "--maps",
                "words",
                "--direction",
                "image-to-word",
                "--out",
                temporary.resolve("out").toString(),
                "--html",
                html.toString());
        JsonNode data = data(html);
        assertEquals(List.of("kitchen.png: " + PROMPT, "kitchen.png: caption en"),
                data.get("attention").valueStream().map(example -> example.get("title").asString()).toList());
        // One image for both.
        assertEquals(1, data.get("images").size());
        JsonNode direction = data.get("attention").get(1).get("directions").get(0);
        assertFalse(direction.has("values"));
        assertEquals(0, direction.get("heads").size());
        assertEquals(List.of("Answers", "How much the map of a shared word changes from prompt to prompt"),
                data.get("tables").valueStream().map(table -> table.get("title").asString()).toList());
        assertEquals("<bos>", data.get("tables").get(1).get("rows").get(0).get(0).asString());
    }

    @Test
    void knockoutAndLensReportTheirCurves() throws IOException {
        Path html = temporary.resolve("report.html");
        JsonNode found = JsonMapper.shared()
                .readTree(run(
                                "knockout",
                                "-i",
                                IMAGE,
                                "-p",
                                PROMPT,
                                "--backend",
                                "cpu",
                                "--window",
                                "1",
                                "--preset",
                                "to-last",
                                "-n",
                                "3",
                                "--json",
                                "--html",
                                html.toString())
                        .out());
        JsonNode data = data(html);
        assertEquals(found.get("results").get(0).get("prediction").asString(), facts(data).get("Answer"));
        JsonNode curves = data.get("curves").get(0).get("curves");
        assertEquals(3, curves.size());
        for (int i = 0; i < 3; i++) {
            assertEquals(found.get("curves").get(i).get("mean_percent_change"), curves.get(i).get("y"));
        }
        assertFalse(data.get("image").get("data").asString().isEmpty());

        found = JsonMapper.shared()
                .readTree(run(
                                "lens",
                                "-i",
                                IMAGE,
                                "-p",
                                PROMPT,
                                "--backend",
                                "cpu",
                                "-n",
                                "3",
                                "--json",
                                "--html",
                                html.toString())
                        .out());
        data = data(html);
        assertEquals(2, data.get("curves").size());
        assertEquals(
                found.get("curves").get(0).get("mean_percent"),
                data.get("curves").get(0).get("curves").get(0).get("y"));
    }

    @Test
    void aDataSetsReportHasBandsAndEveryExample() throws IOException {
        String answer = JsonMapper.shared()
                .readTree(run("generate", "-i", IMAGE, "-p", PROMPT, "--backend", "cpu", "-n", "8", "--json")
                        .out())
                .get("answer")
                .asString();
        String image = JsonMapper.shared().writeValueAsString(Path.of(IMAGE).toAbsolutePath().toString());
        StringBuilder lines = new StringBuilder();
        for (String each : List.of(answer, "no such thing", answer)) {
            lines.append("{\"image\": ")
                    .append(image)
                    .append(", \"question\": \"what color is the star?\", \"answer\": ")
                    .append(JsonMapper.shared().writeValueAsString(each))
                    .append("}\n");
        }
        Path set = Files.writeString(temporary.resolve("set.jsonl"), lines.toString());
        Path html = temporary.resolve("report.html");
        run(
                "knockout",
                "--dataset",
                set.toString(),
                "--backend",
                "cpu",
                "--window",
                "1",
                "--flow",
                "last-to-last",
                "-n",
                "8",
                "--out",
                temporary.resolve("out").toString(),
                "--html",
                html.toString());
        JsonNode data = data(html);
        assertEquals("kept 2 of 3: 1 wrong answer", facts(data).get("Examples"));
        JsonNode curve = data.get("curves").get(0).get("curves").get(0);
        assertEquals(curve.get("y").size(), curve.get("low").size());
        assertEquals(List.of("yes", "wrong answer", "yes"),
                data.get("tables").get(0).get("rows").valueStream().map(row -> row.get(4).asString()).toList());
    }

    @Test
    void aReportThatCannotBeWrittenIsRefusedBeforeAnythingIsComputed() throws IOException {
        Path file = Files.createFile(temporary.resolve("file"));
        Path nowhere = file.resolve("report.html");
        for (List<String> command : List.of(
                List.of("attend", "--out", temporary.resolve("out").toString()),
                List.of("knockout"),
                List.of("lens"))) {
            String[] arguments = new String[command.size() + 6];
            command.toArray(arguments);
            System.arraycopy(
                    new String[] {"-i", IMAGE, "-p", PROMPT, "--html", nowhere.toString()},
                    0,
                    arguments,
                    command.size(),
                    6);
            Run run = MainTest.run(arguments);
            assertEquals(1, run.exitCode(), Arrays.toString(arguments));
            assertTrue(
                    run.err()
                            .startsWith("stormsight: --html " + nowhere + " cannot be written: " + file
                                    + " is not a directory"),
                    run.err());
        }
        Run run = MainTest.run(
                "attend",
                "-i",
                IMAGE,
                "-p",
                PROMPT,
                "--maps",
                "quadrants",
                "--out",
                temporary.resolve("out").toString(),
                "--html",
                temporary.resolve("report.html").toString());
        assertEquals(2, run.exitCode());
        assertTrue(run.err().contains("--html shows the maps of vision, words and whole"), run.err());
        assertTrue(Files.notExists(temporary.resolve("out")));
    }
}
