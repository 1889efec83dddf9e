package stormsight.study;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import stormsight.Goldens;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.RunListener;
import stormsight.checkpoint.Checkpoint;
import stormsight.generate.Generator;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Passes;
import stormsight.model.Prompt;
import stormsight.model.Stage;
import stormsight.model.Views;
import stormsight.model.family.Families;
import stormsight.probe.AttentionMap;
import stormsight.probe.AttentionMaps;
import stormsight.probe.Probe;
import stormsight.probe.Probes;
import stormsight.probe.TowerReading;
import stormsight.probe.Visibility;
import stormsight.program.Program;
import stormsight.program.Tensor;
import stormsight.report.VisibilityFigure;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** What is explained, against values of transformers and against the model's own attention. */
class ExplainerTest {
    /** Two computations in F32 that sum in another order. */
    private static final float STATE = 2e-4f;
    private static final float WEIGHT = 1e-5f;
    private static final int NEW_TOKENS = 4;

    private static float[] recorded(String golden, String name) {
        try (Checkpoint values = Checkpoint.openFile(Goldens.folder(golden).resolve("expected.safetensors"))) {
            return floats(values, name);
        }
    }

    private static float[] floats(Checkpoint values, String name) {
        byte[] bytes = values.bytes(name, 0, (int) values.info(name).bytes());
        float[] floats = new float[bytes.length / Float.BYTES];
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(floats);
        return floats;
    }

    private static RgbImage image(String golden) {
        Path folder = Goldens.folder(golden);
        Path first = folder.resolve("input_0.png");
        return new ImageDecoder().decode(Files.exists(first) ? first : folder.resolve("input.png"));
    }

    private static Explained explain(String golden, Optional<String> text, Options options) {
        try (ModelDirectory directory = Families.openForIds(Goldens.folder(golden));
                Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
            return new Explainer(directory, backend, options, RunListener.NONE)
                    .explain(image(golden), text, NEW_TOKENS);
        }
    }

    private static Explained explain(String golden) {
        return explain(golden, Optional.empty(), Options.DEFAULT);
    }

    /** The first image's part of what is recorded of several. */
    private static float[] first(String golden, String name, int size) {
        return Arrays.copyOf(recorded(golden, name), size);
    }

    private static double length(float[] values, int row, int width) {
        double squares = 0;
        for (int i = row * width; i < (row + 1) * width; i++) {
            squares += (double) values[i] * values[i];
        }
        return Math.sqrt(squares);
    }

    @ParameterizedTest
    @CsvSource({
        "siglip, embeddings.position_embedding.weight",
        "clip, embeddings.position_embedding.weight",
        "vit, embeddings.position_embeddings",
        "blip2-itm, embeddings.position_embedding",
        "blip2-opt, embeddings.position_embedding",
        "paligemma-mqa, embeddings.position_embedding.weight"
    })
    void embeddingsLengthsAndPositionsAreThoseOfTheReference(String golden, String positions) {
        Explained explained = explain(golden);
        TowerReading tower = explained.tower();
        int rows = tower.vision().rows();
        int width = tower.width();
        float[] wanted = first(golden, "vision.embeddings", rows * width);
        assertArrayEquals(wanted, tower.embeddings(), STATE);
        float[] layers = first(golden, "vision.layers", tower.vision().layers() * rows * width);
        for (int row = 0; row < rows; row++) {
            assertEquals(length(wanted, row, width), tower.norm(0, row), STATE);
            for (int layer = 0; layer < tower.vision().layers(); layer++) {
                assertEquals(length(layers, layer * rows + row, width), tower.norm(1 + layer, row), 10 * STATE);
            }
        }
        float[] table;
        try (Checkpoint checkpoint = Checkpoint.openFile(Goldens.folder(golden).resolve("model.safetensors"))) {
            String stored = checkpoint.names().stream()
                    .filter(name -> name.endsWith(positions) && (name.contains("vision") || name.startsWith("vit")))
                    .findFirst()
                    .orElseThrow();
            table = floats(checkpoint, stored);
        }
        int before = tower.vision().firstPatch();
        int patches = tower.vision().patches();
        assertEquals((before + patches) * width, table.length);
        for (int a = 0; a < patches; a++) {
            for (int b = 0; b < patches; b++) {
                double dot = 0;
                for (int i = 0; i < width; i++) {
                    dot += (double) table[(before + a) * width + i] * table[(before + b) * width + i];
                }
                double cosine = dot / length(table, before + a, width) / length(table, before + b, width);
                assertEquals(cosine, explained.positions()[a * patches + b], WEIGHT);
            }
        }
    }

    @Test
    void thePoolingHeadReadsAsTheReferenceDoes() {
        TowerReading tower = explain("siglip").tower();
        assertTrue(tower.classTokenMap().isEmpty());
        AttentionMap pooling = tower.poolingMap().orElseThrow();
        int heads = pooling.axes().getFirst().size();
        float[] mean = AttentionMaps.meanOverHeads(pooling.values(), 1, heads);
        assertArrayEquals(first("siglip", "vision.pool_attn", mean.length), mean, WEIGHT);
        assertTrue(heads > 1);
    }

    @ParameterizedTest
    @CsvSource({"clip", "vit", "blip2-itm", "blip2-opt", "llava-chat"})
    void theClassTokenReadsAsTheReferenceDoes(String golden) {
        TowerReading tower = explain(golden).tower();
        assertTrue(tower.poolingMap().isEmpty());
        float[] found = tower.classTokenMap().orElseThrow().values();
        int rows = tower.vision().rows();
        int planes = tower.vision().layers() * tower.vision().heads();
        float[] attention = first(golden, "vision.attn", planes * rows * rows);
        for (int plane = 0; plane < planes; plane++) {
            for (int patch = 0; patch + 1 < rows; patch++) {
                assertEquals(
                        attention[plane * rows * rows + patch + 1], found[plane * (rows - 1) + patch], WEIGHT);
            }
        }
    }

    @Test
    void aTowerWithoutEitherHasNeither() {
        TowerReading tower = explain("paligemma-mqa").tower();
        assertTrue(tower.poolingMap().isEmpty());
        assertTrue(tower.classTokenMap().isEmpty());
    }

    /** All weights that the decoder computes, of the prompt and of each token of the answer. */
    private static final class Everything implements Probe {
        private Tensor prompt;
        private Tensor token;
        private final List<float[]> tokens = new ArrayList<>();
        private float[] prompts;

        @Override
        public Program add(Pass pass, Program program, Passes passes) {
            String segment = passes.stage(Stage.DECODER_LAYERS).segment();
            return switch (pass) {
                case ENCODE -> program;
                case PREFILL -> {
                    Probes.Probed probed = Probes.attentionWeights(program, segment, "all.prompt");
                    prompt = probed.output();
                    yield probed.program();
                }
                case DECODE -> {
                    Probes.Probed probed = Probes.attentionWeights(program, segment, "all.token");
                    token = probed.output();
                    yield probed.program();
                }
            };
        }

        @Override
        public void read(Pass pass, Outputs outputs) {
            switch (pass) {
                case ENCODE -> { }
                case PREFILL -> prompts = outputs.read(prompt);
                case DECODE -> tokens.add(outputs.read(token));
            }
        }

        /** Whether any head of a layer gives something to a key. */
        boolean reads(int layer, int heads, int row, int key, int promptLength) {
            boolean prompted = row < promptLength;
            Tensor tensor = prompted ? prompt : token;
            float[] values = prompted ? prompts : tokens.get(row - promptLength);
            int rows = tensor.shape().dimension(1);
            int keys = tensor.shape().dimension(2);
            return IntStream.range(layer * heads, (layer + 1) * heads)
                    .anyMatch(plane -> values[(plane * rows + (prompted ? row : 0)) * keys + key] != 0);
        }
    }

    /** The picture of who sees whom is that of the weights that the model computes: 0 where nothing is seen. */
    @ParameterizedTest
    @CsvSource({
        "paligemma-mqa, caption en, false, 1",
        "paligemma2-window, caption en, true, 2",
        "paligemma2-window, caption en, false, 1",
        "llava-chat, What is this?, false, 1",
        "llava-next, What is this?, false, 1",
        "blip2-opt, a photo of, false, 1"
    })
    void whoSeesWhomIsWhereAttentionIsNotZero(String golden, String text, boolean sliding, int kinds) {
        Options options = Options.DEFAULT.withSlidingWindow(sliding);
        Explained explained = explain(golden, Optional.of(text), options);
        assertEquals(kinds, explained.visible().size());
        Everything everything = new Everything();
        try (ModelDirectory directory = Families.open(Goldens.folder(golden), Optional.empty());
                Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
            Views views = directory.processor().views(image(golden));
            Prompt prompt = directory.prompt(text, List.of(views));
            int heads = directory.describe().decoder().heads().queryHeads();
            try (Generator generator = Generator.open(
                    directory,
                    backend,
                    new Limits(prompt.length(), NEW_TOKENS, views.count()),
                    options,
                    RunListener.NONE,
                    List.of(everything))) {
                generator.encodeViews(List.of(views));
                List<Integer> answer = generator.greedy(prompt, NEW_TOKENS);
                int tokens = prompt.length() + answer.size();
                List<Integer> layers = new ArrayList<>();
                for (Explained.VisibleTokens shown : explained.visible()) {
                    assertEquals(tokens, shown.visibility().tokens());
                    assertEquals(tokens, shown.tokens().size());
                    layers.addAll(shown.visibility().layers());
                    for (int layer : shown.visibility().layers()) {
                        for (int row = 0; row < tokens; row++) {
                            for (int key = 0; key < tokens; key++) {
                                boolean reads = key < prompt.length() + (row < prompt.length() ? 0 : answer.size())
                                        && everything.reads(layer, heads, row, key, prompt.length());
                                assertEquals(
                                        reads,
                                        shown.visibility().sees(row, key),
                                        "layer " + layer + ": " + row + " reads " + key);
                            }
                        }
                    }
                    for (int place = 0; place < tokens; place++) {
                        assertEquals(
                                place >= prompt.length()
                                        ? VisibilityFigure.Kind.ANSWER
                                        : prompt.isImage(place)
                                                ? VisibilityFigure.Kind.IMAGE
                                                : VisibilityFigure.Kind.PROMPT,
                                shown.tokens().get(place).kind());
                    }
                }
                assertEquals(
                        directory.describe().decoder().layers(), layers.stream().distinct().count());
            }
        }
    }

    /** CLIP's text is causal, SigLIP's sees all of it, padding too. */
    @Test
    void textTowersSeeAsTheirAttentionDoes() {
        Visibility causal = explain("zeroshot-clip", Optional.of("a photo of a cat"), Options.DEFAULT)
                .visible().getFirst().visibility();
        for (int row = 0; row < causal.tokens(); row++) {
            for (int key = 0; key < causal.tokens(); key++) {
                assertEquals(key <= row, causal.sees(row, key));
            }
        }
        Explained.VisibleTokens whole =
                explain("zeroshot-siglip", Optional.of("a photo of a cat"), Options.DEFAULT).visible().getFirst();
        assertTrue(whole.visibility().isWhole());
        assertEquals(64, whole.visibility().tokens());
        assertEquals(VisibilityFigure.Kind.PADDING, whole.tokens().getLast().kind());
        assertEquals(VisibilityFigure.Kind.PROMPT, whole.tokens().getFirst().kind());
    }

    /** [planes, heads, rows, columns] without the first columns, mean over heads. */
    private static float[] headMean(float[] all, int planes, int heads, int rows, int columns, int skipped) {
        int kept = columns - skipped;
        float[] mean = new float[planes * rows * kept];
        for (int plane = 0; plane < planes; plane++) {
            for (int row = 0; row < rows; row++) {
                for (int column = 0; column < kept; column++) {
                    double sum = 0;
                    for (int head = 0; head < heads; head++) {
                        sum += all[((plane * heads + head) * rows + row) * columns + skipped + column];
                    }
                    mean[(plane * rows + row) * kept + column] = (float) (sum / heads);
                }
            }
        }
        return mean;
    }

    @Test
    void queriesReadTheImageAndWordsReadThemAsTheReferenceDoes() throws IOException {
        JsonNode prompt = JsonMapper.shared()
                .readTree(Files.readString(Goldens.folder("blip2-opt").resolve("expected.json")))
                .get("prompts").get(1);
        Explained explained = explain("blip2-opt", Optional.of(prompt.get("text").asString()), Options.DEFAULT);
        Explained.Bridge bridge = explained.bridge().orElseThrow();
        assertArrayEquals(
                headMean(recorded("blip2-opt", "qformer.cross_attn"), 2, 3, 5, 17, 1),
                bridge.queries().getFirst().values(),
                WEIGHT);
        float[] decoder = headMean(recorded("blip2-opt", "p1.dec.attn"), 3, 5, 18, 18, 0);
        AttentionMap words = bridge.words().getFirst();
        int count = words.axes().get(2).size();
        assertEquals(Set.of(5), Set.of(words.axes().get(3).size()));
        for (int layer = 0; layer < 3; layer++) {
            for (int word = 0; word < 13; word++) {
                for (int query = 0; query < 5; query++) {
                    assertEquals(
                            decoder[(layer * 18 + 5 + word) * 18 + query],
                            words.values()[(layer * count + word) * 5 + query],
                            WEIGHT);
                }
            }
        }
    }

    @Test
    void imageAndTextTogetherReadAsTheReferenceDoes() throws IOException {
        JsonNode expected = JsonMapper.shared()
                .readTree(Files.readString(Goldens.folder("blip2-itm").resolve("expected.json")));
        int tokens = expected.get("attention_mask").get(0).valueStream().mapToInt(JsonNode::asInt).sum();
        int[] ids = expected.get("input_ids").get(0).valueStream().mapToInt(JsonNode::asInt).limit(tokens).toArray();
        Explained explained;
        try (ModelDirectory directory = Families.openForIds(Goldens.folder("blip2-itm"));
                Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
            explained = new Explainer(directory, backend, Options.DEFAULT, RunListener.NONE)
                    .pair(directory.matcher(), image("blip2-itm"), ids, Arrays.stream(ids)
                            .mapToObj(String::valueOf).toList());
        }
        Explained.Bridge bridge = explained.bridge().orElseThrow();
        float[] cross = recorded("blip2-itm", "itm.cross_attn");
        assertArrayEquals(
                headMean(Arrays.copyOf(cross, cross.length / 2), 2, 3, 5, 17, 1),
                bridge.queries().getFirst().values(),
                WEIGHT);
        float[] self = headMean(recorded("blip2-itm", "itm.self_attn"), 3, 3, 11, 11, 0);
        AttentionMap words = bridge.words().getFirst();
        assertEquals(Map.of("layer", 3, "word", tokens, "query", 5), Map.of(
                words.axes().get(0).name(), words.axes().get(0).size(),
                words.axes().get(1).name(), words.axes().get(1).size(),
                words.axes().get(2).name(), words.axes().get(2).size()));
        for (int layer = 0; layer < 3; layer++) {
            for (int word = 0; word < tokens; word++) {
                for (int query = 0; query < 5; query++) {
                    assertEquals(
                            self[(layer * 11 + 5 + word) * 11 + query],
                            words.values()[(layer * tokens + word) * 5 + query],
                            WEIGHT);
                }
            }
        }
        assertTrue(explained.visible().getFirst().visibility().isWhole());
    }

    @Test
    void aClassifierTakesNoText() {
        assertTrue(assertThrows(
                        IllegalArgumentException.class,
                        () -> explain("vit", Optional.of("a cat"), Options.DEFAULT))
                .getMessage()
                .contains("reads no text"));
    }
}
