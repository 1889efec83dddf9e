package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static stormsight.cli.MainTest.fails;
import static stormsight.cli.MainTest.run;

import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.Goldens;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.NumpyArray;
import stormsight.checkpoint.NumpyFiles;
import stormsight.model.family.EmbeddedModel;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Commands that compare and name images: values against transformers', files, and one line for every error. */
class MatchingTest {
    private static final Path DUAL = Goldens.folder("shapes-dual");
    private static final Path HELD_OUT = Path.of("models", "shapes-dual", "heldout");
    private static final double PROBABILITY = 1e-5;
    private static final double STATE = 1e-4;

    @TempDir
    private Path temporary;

    private static JsonNode json(String... arguments) {
        MainTest.Run run = run(arguments);
        assertEquals(0, run.exitCode(), run.err());
        return JsonMapper.shared().readTree(run.out());
    }

    private static List<String> command(String name, String... more) {
        List<String> arguments = new ArrayList<>(List.of(name, "--backend", "cpu"));
        arguments.addAll(List.of(more));
        return arguments;
    }

    private static String[] with(String[] arguments, String... more) {
        return Stream.concat(Arrays.stream(arguments), Arrays.stream(more)).toArray(String[]::new);
    }

    private static String[] withImages(List<String> command) {
        for (int i = 0; i < 4; i++) {
            command.addAll(List.of("-i", DUAL.resolve("input_" + i + ".png").toString()));
        }
        return command.toArray(String[]::new);
    }

    private static float[] recorded(String name) throws IOException {
        try (Checkpoint values = Checkpoint.openFile(DUAL.resolve("expected.safetensors"))) {
            byte[] bytes = values.bytes(name, 0, (int) values.info(name).bytes());
            float[] floats = new float[bytes.length / Float.BYTES];
            ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(floats);
            return floats;
        }
    }

    private static JsonNode expected(String... path) throws IOException {
        JsonNode node = JsonMapper.shared().readTree(Files.readString(DUAL.resolve("expected.json")));
        for (String part : path) {
            node = node.get(part);
        }
        return node;
    }

    private static void assertClose(float[] wanted, JsonNode rows, double tolerance) {
        int place = 0;
        for (JsonNode row : rows) {
            for (JsonNode cell : row) {
                assertEquals(wanted[place++], cell.asDouble(), tolerance);
            }
        }
        assertEquals(wanted.length, place);
    }

    private static List<String> captions() throws IOException {
        return expected("captions", "texts").valueStream().map(JsonNode::asString).toList();
    }

    @Test
    void matchGivesTheRecordedValuesWithoutAModelNamed() throws IOException {
        List<String> command = command("match", "--json", "--figure", temporary.resolve("m.png").toString());
        captions().forEach(text -> command.addAll(List.of("-p", text)));
        JsonNode found = json(withImages(command));
        assertEquals(EmbeddedModel.ENCODER_NAME, found.get("model").asString());
        assertEquals("sigmoid", found.get("objective").asString());
        assertClose(recorded("captions.logits_per_image"), found.get("logits"), STATE);
        assertClose(recorded("captions.probabilities"), found.get("probabilities"), PROBABILITY);
        assertTrue(ImageIO.read(temporary.resolve("m.png").toFile()).getWidth() > 200);

        List<String> loss = command("match", "--loss", "--json");
        captions().forEach(text -> loss.addAll(List.of("-p", text)));
        JsonNode losses = json(withImages(loss));
        double wanted = recorded("captions.loss")[0];
        assertEquals(wanted, losses.get("loss").asDouble(), STATE * wanted);
        double sum = losses.get("loss_per_pair").valueStream().mapToDouble(JsonNode::asDouble).sum();
        assertEquals(losses.get("loss").asDouble(), sum / 4, 1e-12 * sum);
    }

    /** As the file of pairs was named, whatever way leads from it to the images. */
    @Test
    void imagesOfPairsAreNamedWithoutDetours() throws IOException {
        Path pairs = Files.createDirectories(temporary.resolve("way/pairs")).resolve("pairs.jsonl");
        Files.copy(Path.of("examples/kitchen.png"), temporary.resolve("way/kitchen.png"));
        Files.writeString(pairs, "{\"image\": \"../kitchen.png\", \"text\": \"a red star\"}\n");
        Path named = Path.of("").toAbsolutePath().relativize(pairs);
        String kitchen = Path.of("").toAbsolutePath().relativize(temporary.resolve("way/kitchen.png")).toString();
        for (String more : List.of("--loss", "--show=cosine")) {
            MainTest.Run run = run("match", "--backend", "cpu", "--pairs", named.toString(), more);
            assertEquals(0, run.exitCode(), run.err());
            assertTrue(
                    run.out().lines().anyMatch(line -> Arrays.asList(line.split(" +")).contains(kitchen)), run.out());
        }
    }

    @Test
    void matchPrintsATable() throws IOException {
        String text = captions().getLast();
        MainTest.Run run = run(withImages(command("match", "--show", "cosine", "-p", text)));
        assertEquals(0, run.exitCode(), run.err());
        List<String> lines = run.out().lines().toList();
        assertEquals("text 1  " + text, lines.getFirst());
        assertTrue(lines.get(1).startsWith("cosine"), run.out());
        assertEquals(6, lines.size());
        for (int i = 0; i < 4; i++) {
            float[] image = Arrays.copyOfRange(recorded("image_embeds"), 128 * i, 128 * (i + 1));
            float[] caption = Arrays.copyOfRange(recorded("captions.text_embeds"), 128 * 3, 128 * 4);
            double cosine = 0;
            for (int c = 0; c < 128; c++) {
                cosine += (double) image[c] * caption[c];
            }
            String[] words = lines.get(2 + i).split(" +");
            assertEquals(cosine, Double.parseDouble(words[words.length - 1]), 1e-4);
        }
    }

    @Test
    void matchRefuses() {
        String image = DUAL.resolve("input_0.png").toString();
        fails(2, "no text to compare", "match", "-i", image);
        fails(2, "no image to compare", "match", "-p", "a star");
        fails(2, "1 images and 2 texts", "match", "-i", image, "-p", "a", "-p", "b", "--loss");
        fails(2, "does not end in .png", "match", "-i", image, "-p", "a", "--figure", "m.svg");
        fails(4, "nowhere.png", "match", "-i", "nowhere.png", "-p", "a");
        fails(3, "is no model that compares images with texts", "match", "-m", Goldens.folder("vit").toString(),
                "-i", image, "-p", "a");
        fails(3, "is no model that compares images with texts", "match", "-m", "models/shapes", "-i", image, "-p", "a");
    }

    @Test
    void classifyGivesTheRecordedProbabilities() throws IOException {
        JsonNode template = expected("templates").get(0);
        List<String> labels = new ArrayList<>(
                expected("labels").valueStream().map(JsonNode::asString).toList());
        // One of the labels holds a comma, which the option takes for the end of a label.
        List<String> command = command("classify", "--json", "--best", "9", "--template",
                template.get("template").asString(), "--labels",
                String.join(",", labels.get(0), labels.get(1), labels.get(4)));
        JsonNode images = json(withImages(command)).get("images");
        float[] wanted = recorded("t0.probabilities");
        for (int i = 0; i < 4; i++) {
            JsonNode answer = images.get(i);
            assertEquals(3, answer.get("labels").size());
            double last = 1;
            for (int l = 0; l < 3; l++) {
                double probability = answer.get("probabilities").get(l).asDouble();
                int place = labels.indexOf(answer.get("labels").get(l).asString());
                assertEquals(wanted[5 * i + place], probability, PROBABILITY);
                assertTrue(probability <= last);
                last = probability;
            }
        }
    }

    @Test
    void classifyMeasuresFolders() throws IOException {
        Path figure = temporary.resolve("confusion.png");
        JsonNode found = json("classify", "--backend", "cpu", "--folders", HELD_OUT.toString(), "--json", "--figure",
                figure.toString());
        // As the model's card has it, with the words alone.
        assertEquals(46.0 / 48, found.get("accuracy").asDouble(), 1e-12);
        assertEquals(48, found.get("images").size());
        assertEquals("circle", found.get("images").get(0).get("right").asString());
        assertTrue(ImageIO.read(figure.toFile()).getWidth() > 200);
    }

    @Test
    void classifyTakesTheLabelsOfAVit() throws IOException {
        Path vit = Goldens.folder("vit");
        JsonNode expected = JsonMapper.shared().readTree(Files.readString(vit.resolve("expected.json")));
        JsonNode config = JsonMapper.shared().readTree(Files.readString(vit.resolve("config.json")));
        JsonNode found = json("classify", "--backend", "cpu", "-m", vit.toString(), "--json", "--best", "1", "-i",
                vit.resolve("input_0.png").toString());
        assertEquals(
                config.get("id2label").get(expected.get("top1").get(0).asString()).asString(),
                found.get("images").get(0).get("labels").get(0).asString());
        fails(2, "has labels of its own", "classify", "-m", vit.toString(), "-i",
                vit.resolve("input_0.png").toString(), "--labels", "a,b");
    }

    @Test
    void classifyRefuses() {
        String image = DUAL.resolve("input_0.png").toString();
        fails(2, "--labels is missing", "classify", "-i", image);
        fails(2, "--image or --folders is missing", "classify", "--labels", "a");
        fails(2, "exclude each other", "classify", "-i", image, "--folders", HELD_OUT.toString());
        fails(2, "has no {}", "classify", "-i", image, "--labels", "a", "--template", "x");
        fails(2, "is empty", "classify", "-i", image, "--labels", "a,,b");
        fails(2, "no folders with images", "classify", "--folders", temporary.toString());
    }

    @Test
    void embedWritesTheRecordedRows() throws IOException {
        Path file = temporary.resolve("e.npy");
        List<String> command = command("embed", "-o", file.toString());
        captions().forEach(text -> command.addAll(List.of("-p", text)));
        MainTest.Run run = run(withImages(command));
        assertEquals(0, run.exitCode(), run.err());
        NumpyArray found = NumpyFiles.read(file);
        assertArrayEquals(new int[] {8, 128}, found.shape());
        assertArrayEquals(recorded("image_embeds"), Arrays.copyOf(found.values(), 4 * 128), (float) STATE);
        assertArrayEquals(
                recorded("captions.text_embeds"), Arrays.copyOfRange(found.values(), 4 * 128, 8 * 128), (float) STATE);
        List<String> raw = command("embed", "--raw", "-o", file.toString());
        assertEquals(0, run(withImages(raw)).exitCode());
        float[] pooled = recorded("vision.pooled");
        float largest = 0;
        for (float value : pooled) {
            largest = Math.max(largest, Math.abs(value));
        }
        assertArrayEquals(pooled, NumpyFiles.read(file).values(), (float) STATE * largest);
    }

    private static List<String> found(JsonNode query) {
        return query.get("found").valueStream()
                .map(each -> Path.of(each.get("image").asString()).getFileName().toString()).toList();
    }

    @Test
    void searchKeepsAnIndexCurrent() throws IOException {
        Path photos = Files.createDirectories(temporary.resolve("photos"));
        for (String name : List.of("red", "blue", "green")) {
            Files.copy(HELD_OUT.resolve("star").resolve(name + ".png"), photos.resolve(name + ".png"));
        }
        Files.writeString(photos.resolve("broken.png"), "no image");
        String index = temporary.resolve("index").toString();
        Path sheet = temporary.resolve("sheet.png");
        String[] fill = {"search", "--backend", "cpu", "-i", photos.toString(), "--index", index, "-p", "a red star",
            "--similar-to", photos.resolve("blue.png").toString(), "--best", "2", "--figure", sheet.toString(),
            "--json"};
        JsonNode first = json(fill);
        assertEquals(3, first.get("embedded").asInt());
        assertEquals(1, first.get("skipped").size());
        assertEquals("red.png", found(first.get("queries").get(0)).getFirst());
        assertEquals(2, found(first.get("queries").get(0)).size());
        assertEquals("blue.png", found(first.get("queries").get(1)).getFirst());
        double self = first.get("queries").get(1).get("found").get(0).get("cosine").asDouble();
        assertEquals(1, self, 1e-5);
        assertTrue(ImageIO.read(sheet.toFile()).getWidth() > 200);

        JsonNode match = json("match", "--backend", "cpu", "-i", photos.resolve("red.png").toString(), "-p",
                "a red star", "--json");
        assertEquals(match.get("cosines").get(0).get(0).asDouble(),
                first.get("queries").get(0).get("found").get(0).get("cosine").asDouble(), 1e-5);

        assertEquals(0, json(fill).get("embedded").asInt());
        Files.copy(HELD_OUT.resolve("star").resolve("white.png"), photos.resolve("red.png"),
                StandardCopyOption.REPLACE_EXISTING);
        Files.delete(photos.resolve("green.png"));
        JsonNode later = json(fill);
        assertEquals(1, later.get("embedded").asInt());
        assertEquals(1, later.get("gone").asInt());
        assertEquals(2, later.get("images").asInt());

        JsonNode alone = json("search", "--backend", "cpu", "--index", index, "-p", "a blue star", "--json");
        assertEquals("blue.png", found(alone.get("queries").get(0)).getFirst());
        fails(2, "embeddings of another model", "search", "-m", Goldens.folder("zeroshot-siglip").toString(),
                "--index", index, "-p", "a");
        String[] query = {"search", "--backend", "cpu", "--index", index, "-p", "a"};
        fails(2, "BILINEAR_BIG_VISION", with(query, "--resize", "bilinear"));
        // Nothing of so small a model is rounded, with the option or without.
        MainTest.Run strict = run(with(query, "--strict-math"));
        assertEquals(0, strict.exitCode(), strict.err());
        assertFalse(strict.err().contains("warning"), strict.err());
        assertEquals(0, run(with(query, "--resize", "bicubic")).exitCode());
    }

    /** A file with too long a side is named, and others are not lost over it. */
    @Test
    void aThinImageIsSkipped() throws IOException {
        Path photos = Files.createDirectories(temporary.resolve("photos"));
        Files.copy(HELD_OUT.resolve("star").resolve("red.png"), photos.resolve("red.png"));
        Files.copy(HELD_OUT.resolve("star").resolve("blue.png"), photos.resolve("blue.png"));
        Path thin = photos.resolve("c-thin.png");
        ImageIO.write(new BufferedImage(1, 900_000, BufferedImage.TYPE_INT_RGB), "png", thin.toFile());
        String clip = Goldens.folder("zeroshot-clip").toString();
        MainTest.Run found = run("search", "--backend", "cpu", "-m", clip, "-i", photos.toString(), "-p", "a");
        assertEquals(0, found.exitCode(), found.err());
        assertTrue(found.err().contains("skipped " + thin) && found.err().contains("2 images"), found.err());
        String lines = temporary.resolve("thin.jsonl").toString();
        fails(4, thin + ": ", "embed", "--backend", "cpu", "-m", clip, "-i", photos.toString(), "-o", lines);
        assertEquals(1, Files.readAllLines(Path.of(lines)).size());
        fails(4, thin + ": ", "match", "--backend", "cpu", "-m", clip, "-i", thin.toString(), "-p", "a");
    }

    @Test
    void searchRefuses() throws IOException {
        fails(2, "no image to search", "search", "-p", "a");
        fails(2, "nothing to look for", "search", "-i", DUAL.toString());
        fails(2, "no images in this folder", "search", "-i", temporary.toString(), "-p", "a");
        fails(2, "holds no index yet", "search", "--index", temporary.toString(), "-p", "a");
        fails(2, "is not positive", "search", "-i", DUAL.toString(), "-p", "a", "--best", "0");
        fails(2, "does not end in .png", "search", "-i", DUAL.toString(), "-p", "a", "--figure", "x.jpg");
        Files.writeString(temporary.resolve("letter.txt"), "kept");
        fails(2, "holds something else", "search", "-i", DUAL.toString(), "-p", "a", "--index", temporary.toString());
        assertEquals("kept", Files.readString(temporary.resolve("letter.txt")));
    }

    /** The lines of a successful run that warn. */
    private static String warnings(MainTest.Run run) {
        assertEquals(0, run.exitCode(), run.err());
        return String.join("\n", run.err().lines().filter(line -> line.contains("warning")).toList());
    }

    /** What is left of an interrupted command is gone on with, in every form, and the rows are those of one run. */
    @Test
    void embedGoesOnWhereItWas() throws IOException {
        Path texts = Files.writeString(temporary.resolve("texts.txt"), "a red star\n\na blue ring\r\na red star\n");
        Path lines = temporary.resolve("e.jsonl");
        Path whole = temporary.resolve("whole.csv");
        String image = DUAL.resolve("input_0.png").toString();
        for (Path file : List.of(lines, whole)) {
            assertEquals(0, run("embed", "--backend", "cpu", "-i", image, "--texts", texts.toString(), "-o",
                    file.toString()).exitCode());
        }
        List<String> rows = Files.readAllLines(lines);
        assertEquals(4, rows.size());
        assertEquals(5, Files.readAllLines(whole).size());
        // Row i is of item i, or nothing is written.
        String other = DUAL.resolve("input_1.png").toString();
        fails(2, "row 1 is of the image " + image + ", where the image " + other + " is asked for", "embed", "-i",
                other, "-i", image, "-o", lines.toString());
        fails(2, "row 2 is of the text a red star, which is not asked for", "embed", "-i", image, "-o",
                lines.toString());
        assertEquals(rows, Files.readAllLines(lines));
        Path resumed = temporary.resolve("resumed.csv");
        Path part = temporary.resolve("resumed.csv.part.jsonl");
        // The second row was cut off in the middle of writing it.
        Files.writeString(part, rows.get(0) + "\n" + rows.get(1).substring(0, 40));
        MainTest.Run run = run("embed", "--backend", "cpu", "-i", image, "--texts", texts.toString(), "-o",
                resumed.toString());
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.err().contains("4 embeddings of 128 numbers") && run.err().contains("; 3 made"), run.err());
        assertEquals(Files.readString(whole), Files.readString(resumed));
        assertTrue(Files.notExists(part));
        Files.writeString(part, rows.get(0) + "\n");
        fails(2, "embeddings of another model or other options", "embed", "--raw", "-i", image, "-o",
                resumed.toString());
        // Other settings, or another image of the same name, are not mixed with what is there.
        String named = Files.copy(HELD_OUT.resolve("star").resolve("red.png"), temporary.resolve("named.png"))
                .toString();
        Path kept = temporary.resolve("kept.jsonl");
        String[] again = {"embed", "--backend", "cpu", "-i", named, "-o", kept.toString()};
        assertEquals(0, run(again).exitCode());
        String before = Files.readString(kept);
        fails(2, "of another model or other options", with(again, "--resize", "bilinear"));
        // Nothing of so small a model is rounded, with the option or without; earlier versions kept the option itself.
        assertEquals(0, run(with(again, "--strict-math")).exitCode());
        Files.writeString(kept, before.replace(" exact files=", " strict-math files="));
        assertEquals("", warnings(run(again)));
        Files.writeString(kept, before.replace(" exact files=", " rounded files="));
        fails(2, "rounded files=", again);
        Files.writeString(kept, before.replace(" exact files=", " files="));
        assertEquals(
                "stormsight: warning: " + kept + " is of an earlier version and does not say whether products were "
                        + "rounded to 16 bits; it is continued as if that were as it is now",
                warnings(run(again)));
        Files.writeString(kept, before);
        fails(2, "of another model or other options", with(again, "--weights", "q8"));
        assertEquals(before, Files.readString(kept));
        // What the checkpoint says may be named, and a file that names no files is of an earlier time.
        assertEquals(0, run(with(again, "--resize", "bicubic")).exitCode());
        Files.writeString(kept, before.replaceAll(" exact files=[0-9a-f]+|\"sha256\":\"[0-9a-f]+\",", ""));
        assertTrue(warnings(run(again)).contains("does not say how images were resized"));
        fails(2, "of another model or other options", with(again, "--resize", "bilinear"));
        Files.writeString(kept, before);
        Files.copy(HELD_OUT.resolve("star").resolve("blue.png"), Path.of(named), StandardCopyOption.REPLACE_EXISTING);
        fails(2, "holds the embedding of another image under the name " + named, again);
        fails(2, "no line with a text", "embed", "--texts", Files.writeString(texts, "\n").toString(), "-o",
                resumed.toString());
    }

    /** Rows are the same for every --batch, and those before a broken image are kept. */
    @Test
    void embedTakesSeveralInARun() throws IOException {
        Path photos = Files.createDirectories(temporary.resolve("many"));
        for (String name : List.of("red", "blue", "green", "white")) {
            Files.copy(HELD_OUT.resolve("star").resolve(name + ".png"), photos.resolve(name + ".png"));
        }
        List<float[]> found = new ArrayList<>();
        for (String count : List.of("1", "3", "16")) {
            Path file = temporary.resolve(count + ".npy");
            MainTest.Run run = run("embed", "--backend", "cpu", "--batch", count, "-i", photos.toString(), "-p", "a",
                    "-p", "a star", "-o", file.toString());
            assertEquals(0, run.exitCode(), run.err());
            found.add(NumpyFiles.read(file).values());
        }
        assertArrayEquals(found.get(0), found.get(1));
        assertArrayEquals(found.get(0), found.get(2));
        Files.writeString(photos.resolve("hollow.png"), "no image");
        Path lines = temporary.resolve("lines.jsonl");
        fails(4, "hollow.png", "embed", "--backend", "cpu", "-i", photos.toString(), "-o", lines.toString());
        assertEquals(2, Files.readAllLines(lines).size());
        fails(2, "--batch 17 is not in 1 .. 16", "embed", "--backend", "cpu", "--batch", "17", "-p", "a", "-o",
                lines.toString());
    }

    @Test
    void embedReadsTextsFromStandardInput() throws IOException {
        InputStream terminal = System.in;
        Path file = temporary.resolve("e.npy");
        try {
            System.setIn(new ByteArrayInputStream("a red star\na blue ring\n".getBytes(StandardCharsets.UTF_8)));
            MainTest.Run run = run("embed", "--backend", "cpu", "--texts", "-", "-o", file.toString());
            assertEquals(0, run.exitCode(), run.err());
        } finally {
            System.setIn(terminal);
        }
        assertArrayEquals(new int[] {2, 128}, NumpyFiles.read(file).shape());
        fails(2, "both read standard input", "embed", "-i", "-", "--texts", "-", "-o", file.toString());
    }
}
