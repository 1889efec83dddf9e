package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static stormsight.cli.MainTest.fails;
import static stormsight.cli.MainTest.run;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.Goldens;
import stormsight.checkpoint.NumpyArray;
import stormsight.checkpoint.NumpyFiles;
import stormsight.model.family.EmbeddedModel;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** What explain writes: every step that the model has, each named in JSON and shown on the page. */
class ExplainTest {
    private static final String IMAGE = Path.of("examples", "kitchen.png").toString();

    @TempDir
    private Path temporary;

    private JsonNode explain(String... more) throws IOException {
        List<String> arguments = Stream.concat(
                        Stream.of("explain", "-i", IMAGE, "--backend", "cpu", "--json", "-o", out().toString()),
                        Stream.of(more))
                .toList();
        MainTest.Run run = run(arguments.toArray(String[]::new));
        assertEquals(0, run.exitCode(), run.err());
        JsonNode object = JsonMapper.shared().readTree(run.out());
        assertEquals(object, JsonMapper.shared().readTree(Files.readString(out().resolve("explain.json"))));
        return object;
    }

    private Path out() {
        return temporary.resolve("out");
    }

    /** Every picture and array is there, and nothing else; the page has each title and its text. */
    private Set<String> consistent(JsonNode object) throws IOException {
        Set<String> named = new TreeSet<>(Set.of("explain.json", "index.html"));
        String page = Files.readString(out().resolve("index.html"));
        Set<String> pictures = new TreeSet<>();
        for (JsonNode figure : object.get("figures")) {
            String file = figure.get("file").asString();
            named.add(file);
            pictures.add(file.replace(".png", ""));
            assertTrue(ImageIO.read(out().resolve(file).toFile()).getWidth() > 200, file);
            assertTrue(page.contains(figure.get("text").asString()), file);
            assertTrue(figure.get("text").asString().endsWith("."), file);
        }
        for (JsonNode file : object.get("files")) {
            named.add(file.get("file").asString());
            NumpyArray array = NumpyFiles.read(out().resolve(file.get("file").asString()));
            assertArrayEquals(
                    file.get("axes").valueStream().mapToInt(axis -> axis.get("labels").size()).toArray(),
                    array.shape(),
                    file.toString());
        }
        try (Stream<Path> files = Files.list(out())) {
            assertEquals(named, new TreeSet<>(files.map(file -> file.getFileName().toString()).toList()));
        }
        return pictures;
    }

    @Test
    void explainsTheEmbeddedModelAndWhoReadsWhom() throws IOException {
        JsonNode object = explain("-p", "caption en", "-n", "3");
        assertEquals(EmbeddedModel.NAME, object.get("model").asString());
        assertEquals(
                Set.of("grid", "patches", "embeddings", "positions", "norms", "norm_curves", "mask"),
                consistent(object));
        String page = Files.readString(out().resolve("index.html"));
        assertTrue(page.contains("of 64 of 256 patches") && page.contains("patches: mean, and from the shortest"));
        assertEquals(16, object.get("tower").get("patch_rows").asInt());
        assertFalse(object.get("tower").get("class_token").asBoolean());
        NumpyArray embeddings = NumpyFiles.read(out().resolve("embeddings.npy"));
        assertEquals(256, embeddings.shape()[0]);
        JsonNode first = object.get("first_numbers").get(3);
        double squares = 0;
        for (int i = 0; i < 128; i++) {
            squares += Math.pow(embeddings.values()[3 * 128 + i], 2);
            if (i < 8) {
                assertEquals(embeddings.values()[3 * 128 + i], first.get("numbers").get(i).floatValue());
            }
        }
        assertEquals(Math.sqrt(squares), first.get("norm").asDouble(), 1e-4);
        // Image and prompt see each other, and nothing of the answer; three of its words see what is before them.
        NumpyArray mask = NumpyFiles.read(out().resolve("mask.npy"));
        assertArrayEquals(new int[] {263, 263}, mask.shape());
        double edges = 0;
        for (float edge : mask.values()) {
            edges += edge;
        }
        assertEquals(260 * 260 + 261 + 262 + 263, edges);
        assertEquals(5, object.get("norms").size());
    }

    @Test
    void explainsTheTowerAloneAndThePoolingHead() throws IOException {
        JsonNode object = explain("--encoder");
        assertEquals(EmbeddedModel.ENCODER_NAME, object.get("model").asString());
        assertTrue(object.get("prompt").isNull());
        assertEquals(
                Set.of("grid", "patches", "embeddings", "positions", "norms", "norm_curves", "pooling"),
                consistent(object));
        NumpyArray pooling = NumpyFiles.read(out().resolve("pooling.npy"));
        assertArrayEquals(new int[] {4, 16, 16}, pooling.shape());
        double sum = 0;
        for (float weight : pooling.values()) {
            sum += weight;
        }
        assertEquals(4, sum, 1e-4);
    }

    /** Without a prompt BLIP-2 writes a caption, whose words read the queries. */
    @Test
    void explainsTheBridge() throws IOException {
        JsonNode object = explain("-m", Goldens.folder("blip2-opt").toString(), "-n", "3");
        assertEquals("", object.get("prompt").asString());
        assertEquals(
                Set.of("grid", "patches", "embeddings", "positions", "norms", "norm_curves", "class_token", "mask",
                        "query_to_image", "word_to_query"),
                consistent(object));
        assertArrayEquals(new int[] {2, 5, 4, 4}, NumpyFiles.read(out().resolve("query_to_image.npy")).shape());
        assertArrayEquals(new int[] {4, 5}, NumpyFiles.read(out().resolve("word_to_query_sum.npy")).shape());
    }

    @Test
    void layersThatSlideHaveAPictureOfTheirOwn() throws IOException {
        JsonNode object = explain(
                "-m", Goldens.folder("paligemma2-window").toString(), "-p", "caption en", "--sliding-window");
        assertTrue(consistent(object).containsAll(Set.of("mask", "mask_2")));
    }

    @Test
    void errorsAreOneLine() {
        String folder = out().toString();
        fails(2, "--image", "explain", "-o", folder);
        fails(2, "--out", "explain", "-i", IMAGE);
        fails(2, "--encoder", "explain", "-i", IMAGE, "-o", folder, "--encoder", "-m", folder);
        fails(2, "is not positive", "explain", "-i", IMAGE, "-o", folder, "-n", "0");
        fails(2, "reads no text", "explain", "-i", IMAGE, "-o", folder, "-m", Goldens.folder("vit").toString(),
                "-p", "a cat");
        fails(4, "no such file", "explain", "-i", "missing.png", "-o", folder);
        fails(1, "cannot be written", "explain", "-i", IMAGE, "-o", IMAGE);
        assertFalse(Files.exists(out()));
    }
}
