package stormsight.probe;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.Goldens;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.RunListener;
import stormsight.checkpoint.Checkpoint;
import stormsight.generate.Generator;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.Description;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Pass;
import stormsight.model.Passes;
import stormsight.model.Preset;
import stormsight.model.Prompt;
import stormsight.model.Span;
import stormsight.model.Stage;
import stormsight.model.Views;
import stormsight.model.VisionLanguageModel;
import stormsight.model.Weights;
import stormsight.model.family.Families;
import stormsight.probe.AttentionRequest.Heads;
import stormsight.probe.AttentionRequest.Kind;
import stormsight.program.DType;
import stormsight.program.Tensor;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class AttentionMapsTest {
    /** What the project promises of attention rows; sums over layers add up the errors of each. */
    private static final float TOLERANCE = 1e-4f;
    /** A sum of F32 probabilities, or the same one computed in tiles of other rows. */
    private static final float ROUNDING = 1e-5f;

    private static final AttentionRequest EVERYTHING =
            new AttentionRequest(EnumSet.allOf(Kind.class), Optional.empty(), Optional.of(new Heads(List.of())));

    /** What the maps of one prompt about the golden image hold. */
    private record Read(List<AttentionMap> vision, AttentionReading reading, List<Integer> answer, int promptTokens) {
        float[] values(String name) {
            return Stream.concat(vision.stream(), reading.maps().stream())
                    .filter(map -> map.name().equals(name))
                    .findFirst()
                    .orElseThrow()
                    .values();
        }
    }

    private static JsonNode prompt(String golden, int index) throws IOException {
        return JsonMapper.shared()
                .readTree(Files.readString(Goldens.folder(golden).resolve("expected.json")))
                .get("prompts")
                .get(index);
    }

    /** Buffers are made for longer prompts than this one, as where several are compared. */
    private static Read read(String golden, String text, String backendName, AttentionRequest request) {
        try (ModelDirectory directory = Families.open(Goldens.folder(golden), Optional.empty());
                Backend backend = Backends.open(backendName, BackendOptions.DEFAULT)) {
            List<Views> image = List.of(directory
                    .processor()
                    .views(new ImageDecoder().decode(Goldens.folder(golden).resolve("input.png"))));
            Prompt prompt = directory.processor().prompt(text, image);
            Prompt longer = directory.processor().prompt(text + " or", image);
            AttentionMaps maps = new AttentionMaps(request, directory.describe(), List.of(prompt, longer));
            try (Generator generator = Generator.open(
                    directory,
                    backend,
                    new Limits(prompt.length() + 3, 5),
                    Options.DEFAULT,
                    RunListener.NONE,
                    List.of(maps))) {
                generator.encodeViews(image);
                // A longer prompt before leaves nothing behind.
                generator.greedy(longer, 5);
                List<Integer> answer = generator.greedy(prompt, 5);
                return new Read(
                        maps.vision(prompt),
                        maps.decoder(directory.tokenizer(), prompt, answer),
                        answer,
                        prompt.length());
            }
        }
    }

    private static float[] recorded(String golden, String name) {
        try (Checkpoint values = Checkpoint.openFile(Goldens.folder(golden).resolve("expected.safetensors"))) {
            return values.f32(List.of(name)).layers().getFirst().toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    /** The reference's weights of the prompt, multiplied here. */
    @ParameterizedTest
    @ValueSource(strings = {"paligemma-mqa", "paligemma-gqa"})
    void rolloutIsTheProductOfAllLayers(String golden) throws IOException {
        Read read = read(golden, prompt(golden, 0).get("text").asString(), "cpu", EVERYTHING);
        AttentionMap whole = read.reading().maps().stream()
                .filter(map -> map.name().equals(AttentionMap.WHOLE)).findFirst().orElseThrow();
        int layers = whole.shape()[0];
        int heads = whole.shape()[1];
        int tokens = whole.shape()[2];
        float[] found = read.values(AttentionMap.ROLLOUT);
        int patches = found.length / read.reading().words().size();
        for (int word = 0; word < tokens - patches; word++) {
            double[] row = new double[tokens];
            row[patches + word] = 1;
            for (int layer = layers - 1; layer >= 0; layer--) {
                double[] before = new double[tokens];
                for (int query = 0; query < tokens; query++) {
                    before[query] += row[query] / 2;
                    for (int head = 0; head < heads; head++) {
                        float[] weights = whole.at(layer, head, query);
                        for (int key = 0; key < tokens; key++) {
                            before[key] += row[query] / 2 * weights[key] / heads;
                        }
                    }
                }
                row = before;
            }
            for (int patch = 0; patch < patches; patch++) {
                assertEquals(row[patch], found[word * patches + patch], ROUNDING, "word " + word);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"paligemma-mqa", "paligemma-gqa", "paligemma2"})
    void mapsAreThoseThatTheReferenceRecorded(String golden) throws IOException {
        Read read = read(golden, prompt(golden, 0).get("text").asString(), "cpu", EVERYTHING);
        int layers = read.reading().layers().size();
        int patches = read.reading().grid().cells();
        int prompted = read.promptTokens() - patches;
        assertArrayEquals(
                recorded(golden, "map.vision_first"),
                Arrays.copyOf(read.values(AttentionMap.VISION_LAYERS), patches),
                TOLERANCE);
        assertArrayEquals(recorded(golden, "map.vision_global"), read.values(AttentionMap.VISION_SUM), TOLERANCE);
        assertArrayEquals(recorded(golden, "p0.map.text_rows_image_cols"),
                Arrays.copyOf(read.values(AttentionMap.WORD_TO_IMAGE_SUM), prompted * patches), TOLERANCE);
        assertArrayEquals(
                recorded(golden, "p0.map.text_rows_image_cols"),
                read.values(AttentionMap.QUADRANT + "text_image"),
                TOLERANCE);
        float[] imageRows = recorded(golden, "p0.map.image_rows_text_cols");
        assertArrayEquals(imageRows, read.values(AttentionMap.QUADRANT + "image_text"), TOLERANCE);
        float[] perWord = read.values(AttentionMap.IMAGE_TO_WORD_SUM);
        for (int i = 0; i < imageRows.length; i++) {
            assertEquals(imageRows[i], perWord[i % prompted * patches + i / prompted], TOLERANCE);
        }
        float[] whole = read.values(AttentionMap.WHOLE);
        assertArrayEquals(recorded(golden, "p0.dec.attn"), whole, TOLERANCE);
        for (int row = 0; row < whole.length / read.promptTokens(); row++) {
            double sum = 0;
            for (int key = 0; key < read.promptTokens(); key++) {
                sum += whole[row * read.promptTokens() + key];
            }
            assertEquals(1, sum, ROUNDING);
        }
        wordsReadImageAndWords(read, prompted, patches);
        // Each layer and head of the words is a part of the whole.
        float[] words = read.values(AttentionMap.WORD_TO_IMAGE);
        int all = read.reading().words().size();
        int heads = words.length / layers / all / patches;
        for (int plane = 0; plane < layers * heads; plane++) {
            for (int word = 0; word < prompted; word++) {
                int row = (plane * read.promptTokens() + patches + word) * read.promptTokens();
                assertArrayEquals(
                        Arrays.copyOfRange(whole, row, row + patches),
                        Arrays.copyOfRange(words, (plane * all + word) * patches, (plane * all + word + 1) * patches),
                        ROUNDING);
            }
        }
    }

    /**
     * Words of the prompt are a part of the whole; what a generated word reads of image and words together is all that
     * it reads.
     */
    private static void wordsReadImageAndWords(Read read, int prompted, int patches) {
        float[] whole = read.values(AttentionMap.WHOLE);
        float[] toWords = read.values(AttentionMap.WORD_TO_WORD);
        float[] toImage = read.values(AttentionMap.WORD_TO_IMAGE);
        int all = read.reading().words().size();
        assertTrue(all > prompted);
        for (int plane = 0; plane < toWords.length / all / all; plane++) {
            for (int word = 0; word < all; word++) {
                double sum = 0;
                for (int patch = 0; patch < patches; patch++) {
                    sum += toImage[(plane * all + word) * patches + patch];
                }
                for (int key = 0; key < all; key++) {
                    float weight = toWords[(plane * all + word) * all + key];
                    sum += weight;
                    if (word < prompted && key < prompted) {
                        assertEquals(
                                whole[
                                        (plane * read.promptTokens() + patches + word) * read.promptTokens()
                                                + patches
                                                + key],
                                weight);
                    }
                    if (key > word && key >= prompted) {
                        assertEquals(0, weight);
                    }
                }
                assertEquals(1, sum, ROUNDING);
            }
        }
    }

    /** The largest weight of each head against the recorded weights of the tower. */
    @ParameterizedTest
    @ValueSource(strings = {"cpu", "scalar"})
    void visionHeadsKeepTheirLargestWeights(String backend) throws IOException {
        String golden = "paligemma-mqa";
        Read read = read(golden, "caption en", backend,
                new AttentionRequest(Set.of(Kind.VISION), Optional.of(List.of(1)), Optional.of(new Heads(List.of(1)))));
        AttentionMap found = read.vision().stream()
                .filter(map -> map.name().equals(AttentionMap.VISION_HEADS))
                .findFirst()
                .orElseThrow();
        int side = read.reading().grid().rows();
        int patches = side * side;
        assertArrayEquals(new int[] {1, 1, side, side}, found.shape());
        float[] all = recorded(golden, "vision.attn");
        Description config = ((VisionLanguageModel) Families.configured(Goldens.folder(golden))).describe();
        int plane = config.vision().heads() + 1;
        for (int i = 0; i < patches; i++) {
            float largest = 0;
            for (int j = 0; j < patches; j++) {
                largest = Math.max(largest, all[(plane * patches + i) * patches + j]);
            }
            assertEquals(largest, found.values()[i], TOLERANCE);
        }
    }

    @Test
    void chosenLayersAndHeadsAreThoseOfAll() throws IOException {
        String golden = "paligemma-mqa";
        String text = prompt(golden, 0).get("text").asString();
        Read all = read(golden, text, "cpu", EVERYTHING);
        Read some = read(
                golden,
                text,
                "cpu",
                new AttentionRequest(
                        EnumSet.allOf(Kind.class), Optional.of(List.of(0, 2)), Optional.of(new Heads(List.of(1)))));
        for (String name : List.of(AttentionMap.WORD_TO_IMAGE, AttentionMap.IMAGE_TO_WORD, AttentionMap.WHOLE)) {
            AttentionMap from = all.reading().map(name).orElseThrow();
            AttentionMap part = some.reading().map(name).orElseThrow();
            assertEquals(List.of("0", "2"), part.axes().getFirst().labels());
            assertEquals(List.of("1"), part.axes().get(1).labels());
            assertArrayEquals(from.at(0, 1), part.at(0, 0), name);
            assertArrayEquals(from.at(2, 1), part.at(1, 0), name);
        }
        float[] sum = some.values(AttentionMap.WORD_TO_IMAGE_SUM);
        AttentionMap each = some.reading().map(AttentionMap.WORD_TO_IMAGE).orElseThrow();
        for (int i = 0; i < sum.length; i++) {
            assertEquals(each.at(0)[i] + each.at(1)[i], sum[i], ROUNDING);
        }
    }

    /** Of LLaVA-NeXT, all views count: what a word reads of them is in its map, and each view's tower is seen. */
    @Test
    void mapsShowAllViews() throws IOException {
        String golden = "llava-next";
        String text = prompt(golden, 0).get("text").asString();
        try (ModelDirectory directory = Families.open(Goldens.folder(golden), Optional.empty()).withRawPrompts();
                Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
            List<Views> image = List.of(directory
                    .processor()
                    .views(new ImageDecoder().decode(Goldens.folder(golden).resolve("input_0.png"))));
            Prompt prompt = directory.processor().prompt(text, image);
            AttentionMaps maps = new AttentionMaps(
                    new AttentionRequest(
                            Set.of(Kind.VISION, Kind.WORD_TO_IMAGE, Kind.IMAGE_TO_WORD),
                            Optional.empty(),
                            Optional.empty()),
                    directory.describe(),
                    List.of(prompt));
            try (Generator generator = Generator.open(
                    directory,
                    backend,
                    new Limits(prompt.length(), 2, image.getFirst().count()),
                    Options.DEFAULT,
                    RunListener.NONE,
                    List.of(maps))) {
                // Other views before leave nothing behind.
                generator.encodeViews(image);
                generator.prefill(prompt);
                generator.encodeViews(image);
                List<Integer> answer = generator.greedy(prompt, 1);
                AttentionReading reading = maps.decoder(directory.tokenizer(), prompt, answer);
                Span.Image base = prompt.images().getFirst();
                Span.Image tiles = prompt.images().getLast();
                assertEquals(List.of("base", "tiles"), List.of(base.name(), tiles.name()));
                assertEquals(tiles.grid().orElseThrow().rows(), reading.grid().rows());
                assertEquals(tiles.grid().orElseThrow().columns(), reading.grid().columns());
                float[] weights = recorded(golden, "p0.dec.attn_head_mean");
                int tokens = prompt.length();
                int layers = reading.layers().size();
                List<Integer> places = prompt.textPlaces();
                for (Word word : reading.words(AttentionReading.Direction.IMAGE_TO_WORD)) {
                    double given = 0;
                    for (int layer = 0; layer < layers; layer++) {
                        for (Span.Image part : prompt.images()) {
                            for (int cell = 0; cell < part.grid().orElseThrow().cells(); cell++) {
                                given += weights[
                                        (layer * tokens + places.get(word.index())) * tokens + part.place(cell)];
                            }
                        }
                    }
                    assertEquals(
                            given / layers,
                            reading.share(AttentionReading.Direction.WORD_TO_IMAGE, word),
                            TOLERANCE,
                            word.text());
                }
                assertArrayEquals(
                        visionMeans(golden, directory.describe().vision(), image.getFirst().count(), prompt),
                        maps.vision(prompt).getFirst().values(),
                        TOLERANCE);
            }
        }
    }

    /** Of each layer, the mean of what the patches of base view and tiles keep, as MapGrid weighs it. */
    private static float[] visionMeans(String golden, Description.Vision vision, int views, Prompt prompt) {
        float[] attention = recorded(golden, "vision.attn");
        int rows = vision.rows();
        MapGrid grid = MapGrid.of(prompt);
        float[] means = new float[vision.layers() * grid.cells().cells()];
        for (int l = 0; l < vision.layers(); l++) {
            int layer = l;
            grid.mean(
                    place -> {
                        int row = -1 - prompt.ids()[place];
                        float largest = 0;
                        for (int key = vision.firstPatch(); key < rows; key++) {
                            double mean = 0;
                            for (int head = 0; head < vision.heads(); head++) {
                                int plane = (layer * views + row / rows) * vision.heads() + head;
                                mean += attention[(plane * rows + row % rows) * rows + key];
                            }
                            largest = Math.max(largest, (float) (mean / vision.heads()));
                        }
                        return largest;
                    },
                    means,
                    layer * grid.cells().cells());
        }
        return means;
    }

    /** Rows of the answer, read one by one, against one pass over prompt and answer with the prompt as prefix. */
    @ParameterizedTest
    @ValueSource(strings = {"paligemma-mqa", "paligemma2"})
    void generatedWordsReadWhatOnePassReads(String golden) throws IOException {
        String text = prompt(golden, 1).get("text").asString();
        Read read = read(
                golden,
                text,
                "cpu",
                new AttentionRequest(Set.of(Kind.WORD_TO_IMAGE), Optional.empty(), Optional.of(new Heads(List.of()))));
        assertEquals(5, read.answer().size());
        try (ModelDirectory directory = Families.open(Goldens.folder(golden), Optional.empty());
                Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
            List<Views> image = List.of(directory
                    .processor()
                    .views(new ImageDecoder().decode(Goldens.folder(golden).resolve("input.png"))));
            int[] ids = IntStream.concat(Arrays.stream(directory.processor().prompt(text, image).ids()),
                    read.answer().stream().mapToInt(Integer::intValue)).toArray();
            List<Probes.Probed> whole = new ArrayList<>();
            float[] weights;
            try (Generator generator = Generator.open(
                    directory,
                    backend,
                    new Limits(ids.length, 1),
                    Options.DEFAULT,
                    RunListener.NONE,
                    List.of(),
                    passes -> {
                        whole.add(Probes.attentionWeights(
                                passes.prefill().program(),
                                passes.stage(Stage.DECODER_LAYERS).segment(),
                                ids.length,
                                "whole"));
                        return List.of(whole.getFirst().program());
                    })) {
                generator.encodeViews(image);
                generator.prefill(whole.getFirst().program(), new Prompt(ids, List.of(), read.promptTokens()));
                weights = generator.read(whole.getFirst().output());
            }
            AttentionMap found = read.reading().map(AttentionMap.WORD_TO_IMAGE).orElseThrow();
            int patches = read.reading().grid().cells();
            int heads = found.axes().get(1).size();
            for (int plane = 0; plane < found.axes().getFirst().size() * heads; plane++) {
                for (int g = 0; g < read.answer().size(); g++) {
                    int row = (plane * ids.length + read.promptTokens() + g) * ids.length;
                    assertArrayEquals(Arrays.copyOfRange(weights, row, row + patches),
                            found.at(plane / heads, plane % heads, read.promptTokens() - patches + g), TOLERANCE);
                }
            }
        }
    }

    /** Image rows never see the answer, so the other direction ends with the prompt. */
    @Test
    void onlyWhatWasAskedForIsThere() throws IOException {
        Read read = read("paligemma-mqa", "caption en", "cpu",
                new AttentionRequest(Set.of(Kind.IMAGE_TO_WORD), Optional.of(List.of(2)), Optional.empty()));
        assertEquals(List.of(), read.vision());
        assertEquals(List.of(AttentionMap.IMAGE_TO_WORD, AttentionMap.IMAGE_TO_WORD_SUM),
                read.reading().maps().stream().map(AttentionMap::name).toList());
        assertTrue(read.reading().words(AttentionReading.Direction.IMAGE_TO_WORD).stream().noneMatch(Word::generated));
        assertTrue(read.reading().words().getLast().generated());
        assertEquals(List.of("mean"), read.reading().maps().getFirst().axes().get(1).labels());
    }

    @Test
    void refusesLayersAndHeadsThatAreNotThere() {
        Description config = ((VisionLanguageModel) Families.configured(Goldens.folder("paligemma-mqa"))).describe();
        int layers = config.decoder().layers();
        IllegalArgumentException layer = assertThrows(IllegalArgumentException.class, () -> new AttentionRequest(
                        Set.of(Kind.WHOLE), Optional.of(List.of(layers)), Optional.empty())
                .check(config));
        assertEquals("there is no layer " + layers + " in the decoder, only 0 to " + (layers - 1), layer.getMessage());
        int heads = config.vision().heads();
        IllegalArgumentException head = assertThrows(IllegalArgumentException.class, () -> new AttentionRequest(
                        Set.of(Kind.VISION), Optional.empty(), Optional.of(new Heads(List.of(heads))))
                .check(config));
        assertEquals("there is no head " + heads + " in the vision tower, only 0 to " + (heads - 1), head.getMessage());
    }

    /**
     * At 896 px there are 4096 x 4096 weights a head and layer: two planes stand in memory, and nothing else as large.
     */
    @Test
    void memoryIsBoundedAtTheLargestResolution(@TempDir Path folder) throws IOException {
        Preset preset = Families.presets().stream()
                .filter(known -> known.name().equals("paligemma-3b-896"))
                .findFirst()
                .orElseThrow();
        Files.writeString(
                folder.resolve("config.json"),
                JsonMapper.shared().writeValueAsString(preset.files("bfloat16").get("config.json")));
        VisionLanguageModel model = (VisionLanguageModel) Families.configured(folder);
        int tokens = model.processor().imageTokens();
        assertEquals(4096, tokens);
        Passes passes = model.build(Weights.declared(DType.BF16), new Limits(tokens + 30, 30), Options.DEFAULT);
        int[] ids = new int[tokens + 30];
        Arrays.setAll(ids, i -> i < tokens ? -1 - i : 1);
        Views views = model.processor().views(new RgbImage(1, 1, new byte[3]));
        AttentionMaps maps = new AttentionMaps(
                new AttentionRequest(
                        Set.of(Kind.VISION, Kind.WORD_TO_IMAGE, Kind.IMAGE_TO_WORD),
                        Optional.empty(),
                        Optional.of(new Heads(List.of()))),
                model.describe(),
                List.of(new Prompt(ids, views.spans(0, 0), ids.length)));
        long plane = 4L * tokens * tokens;
        long vision = added(Probe.Pass.ENCODE, passes.encode(), maps, passes);
        assertTrue(vision < 2 * plane + plane / 8, vision + " bytes");
        long words = 4L
                * tokens
                * 30
                * model.describe().decoder().layers()
                * model.describe().decoder().heads().queryHeads();
        assertEquals(2 * words, added(Probe.Pass.PREFILL, passes.prefill(), maps, passes));
        assertEquals(words / 30, added(Probe.Pass.DECODE, passes.decode(), maps, passes));
    }

    private static long added(Probe.Pass which, Pass plain, AttentionMaps maps, Passes passes) {
        Set<Tensor> known = plain.program().tensors();
        return maps.add(which, plain.program(), passes).tensors().stream()
                .filter(tensor -> !known.contains(tensor))
                .mapToLong(Tensor::bytes)
                .sum();
    }

    /** Against the recorded cross attention, of which maps leave out the class token. */
    @Test
    void queriesReadTheImageAsRecorded() {
        String golden = "blip2-opt";
        Read read = read(golden, "a photo of", "cpu",
                new AttentionRequest(EnumSet.of(Kind.VISION, Kind.QUERIES), Optional.empty(), Optional.empty()));
        int layers = 2;
        int heads = 3;
        int queries = 5;
        int patches = 16;
        float[] wanted = new float[layers * queries * patches];
        try (Checkpoint values = Checkpoint.openFile(Goldens.folder(golden).resolve("expected.safetensors"))) {
            float[] all = values.f32(List.of("qformer.cross_attn"))
                    .layers()
                    .getFirst()
                    .toArray(ValueLayout.JAVA_FLOAT);
            for (int i = 0; i < wanted.length; i++) {
                for (int head = 0; head < heads; head++) {
                    int row = (i / queries / patches * heads + head) * queries + i / patches % queries;
                    wanted[i] += all[row * (1 + patches) + 1 + i % patches] / heads;
                }
            }
            float[] tower = values.f32(List.of("vision.attn")).layers().getFirst().toArray(ValueLayout.JAVA_FLOAT);
            assertArrayEquals(peaks(tower, layers, 4, patches), read.values(AttentionMap.VISION_LAYERS), TOLERANCE);
        }
        assertArrayEquals(wanted, read.values(AttentionMap.QUERY_TO_IMAGE), ROUNDING);
        float[] sum = read.values(AttentionMap.QUERY_TO_IMAGE_SUM);
        for (int i = 0; i < sum.length; i++) {
            assertEquals(wanted[i] + wanted[i + sum.length], sum[i], ROUNDING);
        }
    }

    /** Chosen layers and heads, against the recorded cross attention; maps of words stay as they are. */
    @Test
    void queriesAreShownOfChosenLayersAndHeads() {
        String golden = "blip2-opt";
        EnumSet<Kind> kinds = EnumSet.of(Kind.WORD_TO_IMAGE, Kind.QUERIES);
        Read read = read(golden, "a photo of", "cpu",
                new AttentionRequest(kinds, Optional.of(List.of(1)), Optional.of(new Heads(List.of(0, 2)))));
        int heads = 3;
        int queries = 5;
        int patches = 16;
        float[] wanted = new float[2 * queries * patches];
        float[] mean = new float[queries * patches];
        try (Checkpoint values = Checkpoint.openFile(Goldens.folder(golden).resolve("expected.safetensors"))) {
            float[] all = values.f32(List.of("qformer.cross_attn"))
                    .layers()
                    .getFirst()
                    .toArray(ValueLayout.JAVA_FLOAT);
            for (int i = 0; i < wanted.length; i++) {
                int row = (heads + i / mean.length * 2) * queries + i / patches % queries;
                wanted[i] = all[row * (1 + patches) + 1 + i % patches];
                mean[i % mean.length] += wanted[i] / 2;
            }
        }
        assertArrayEquals(wanted, read.values(AttentionMap.QUERY_TO_IMAGE_HEADS), ROUNDING);
        assertArrayEquals(mean, read.values(AttentionMap.QUERY_TO_IMAGE), ROUNDING);
        assertArrayEquals(mean, read.values(AttentionMap.QUERY_TO_IMAGE_SUM), ROUNDING);
        Read without = read(golden, "a photo of", "cpu", new AttentionRequest(EnumSet.of(Kind.WORD_TO_IMAGE),
                Optional.of(List.of(1)), Optional.of(new Heads(List.of(0, 2)))));
        assertArrayEquals(without.values(AttentionMap.WORD_TO_IMAGE), read.values(AttentionMap.WORD_TO_IMAGE));
    }

    /** The largest weight between patches of the mean over heads, of [layers, heads, 1 + patches, 1 + patches]. */
    private static float[] peaks(float[] all, int layers, int heads, int patches) {
        float[] peaks = new float[layers * patches];
        int rows = 1 + patches;
        for (int i = 0; i < peaks.length; i++) {
            for (int key = 1; key < rows; key++) {
                float mean = 0;
                for (int head = 0; head < heads; head++) {
                    mean += all[((i / patches * heads + head) * rows + 1 + i % patches) * rows + key] / heads;
                }
                peaks[i] = Math.max(peaks[i], mean);
            }
        }
        return peaks;
    }

    /** What a word gives to the queries is spread over the patches, and none of it is lost. */
    @Test
    void wordsReadTheImageOverQueries() {
        Read read = read("blip2-opt", "a photo of", "cpu",
                new AttentionRequest(EnumSet.of(Kind.WORD_TO_IMAGE, Kind.QUADRANTS, Kind.QUERIES), Optional.empty(),
                        Optional.empty()));
        int patches = 16;
        int queries = 5;
        float[] queried = read.values(AttentionMap.QUERY_TO_IMAGE_SUM);
        float[] given = read.values(AttentionMap.QUADRANT + "text_image");
        float[] map = read.values(AttentionMap.WORD_TO_IMAGE_SUM);
        int words = given.length / queries;
        assertTrue(words > 3 && map.length >= words * patches, words + " words");
        for (int word = 0; word < words; word++) {
            for (int patch = 0; patch < patches; patch++) {
                double wanted = 0;
                for (int query = 0; query < queries; query++) {
                    double all = 0;
                    for (int i = 0; i < patches; i++) {
                        all += queried[query * patches + i];
                    }
                    wanted += given[word * queries + query] * queried[query * patches + patch] / all;
                }
                assertEquals(wanted, map[word * patches + patch], TOLERANCE);
            }
        }
    }
}
