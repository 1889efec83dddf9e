package stormsight.model.averaged;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.RunListener;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.RandomWeights;
import stormsight.checkpoint.SafetensorsWriter;
import stormsight.checkpoint.Strictness;
import stormsight.generate.Generator;
import stormsight.image.Preprocessing;
import stormsight.image.Resampling;
import stormsight.image.RgbImage;
import stormsight.model.Description;
import stormsight.model.LazyTokenizer;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Pass;
import stormsight.model.Passes;
import stormsight.model.Processor;
import stormsight.model.Prompt;
import stormsight.model.Span;
import stormsight.model.Stage;
import stormsight.model.Views;
import stormsight.model.VisionLanguageModel;
import stormsight.model.Weights;
import stormsight.model.nn.Decoder;
import stormsight.model.nn.Linear;
import stormsight.model.nn.Norm;
import stormsight.model.nn.PromptWriter;
import stormsight.model.nn.Rotation;
import stormsight.model.nn.TransformerLayer;
import stormsight.model.nn.VisionTower;
import stormsight.probe.StageProbes;
import stormsight.probe.TowerProbe;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Tensor;

/**
 * A family that does not exist, written as the documentation of the package says: a tower with a class token, whose
 * patches are averaged in squares, and a causal decoder.
 */
class AveragedFamilyTest {
    private static final int SIZE = 16;
    private static final int PATCH = 4;
    /** Patches of a square's side. */
    private static final int SIDE = 2;
    private static final int SQUARES = SIZE * SIZE / (PATCH * PATCH * SIDE * SIDE);
    private static final int WIDTH = 16;
    private static final float ROUNDING = 2e-5f;

    /** The family's folder, in one class. */
    private static final class Averaged implements VisionLanguageModel {
        private static final Norm LAYER_NORM = new Norm(Norm.Kind.LAYER, 1e-5f);
        private static final Norm RMS = new Norm(Norm.Kind.RMS, 1e-6f);
        private final VisionTower.Config vision = new VisionTower.Config(
                12,
                SIZE,
                PATCH,
                2,
                new TransformerLayer(
                        TransformerLayer.Attention.plain(12, 3),
                        new TransformerLayer.Mlp(20, Op.Activation.QUICK_GELU, false, true),
                        LAYER_NORM,
                        TransformerLayer.Names.CLIP),
                new VisionTower.Names(
                        "patch",
                        true,
                        Optional.of("class"),
                        false,
                        "positions",
                        Optional.of("pre"),
                        "layers.{i}.",
                        Optional.empty()));
        /** Two kinds of layers, which run as two segments; those of the second differ in their windows. */
        private final Decoder.Config text = new Decoder.Config(
                WIDTH,
                40,
                64,
                List.of(
                        new Decoder.Group(1, layer(Op.Activation.SILU, 0)),
                        new Decoder.Group(
                                2, List.of(layer(Op.Activation.GELU_TANH, 3), layer(Op.Activation.GELU_TANH, 0)))),
                Optional.of(RMS),
                1,
                Optional.of(new Rotation(10000)),
                0,
                false,
                Decoder.Names.LANGUAGE_MODEL);

        private static TransformerLayer layer(Op.Activation activation, int window) {
            return new TransformerLayer(
                    new TransformerLayer.Attention(new Op.Heads(4, 2, 4), 0.5f, 0, window, false),
                    new TransformerLayer.Mlp(24, activation, true, false),
                    RMS,
                    TransformerLayer.Names.LLAMA);
        }

        @Override
        public Passes build(Weights weights, Limits limits, Options options) {
            VisionTower tower = new VisionTower(vision, weights.in("vit."));
            int width = vision.width();
            Tensor around = Tensor.activation("vision.around", SQUARES, SIDE * SIDE * width);
            Tensor mean = Tensor.activation("vision.mean", SQUARES, width);
            Tensor projected = Tensor.activation("vision.projected", SQUARES, text.width());
            Tensor features = new Tensor("features", DType.F32, Shape.of(limits.views() * SQUARES, text.width()),
                    Tensor.Kind.CACHE, 1);
            List<Segment> segments = new ArrayList<>(tower.segments());
            segments.add(Segment.once(Stage.POOLED, List.of(
                    new Op.Gather(tower.output(), weights.indices("vision.squares", squares()), around),
                    new Op.MatMul(
                            around,
                            weights.computed("vision.averaging", Shape.of(width, SIDE * SIDE * width), List.of(),
                                    _ -> averaging(width)),
                            Optional.empty(),
                            Op.Activation.NONE,
                            Optional.empty(),
                            mean))));
            segments.add(Segment.once(Stage.PROJECTOR, List.of(
                    Linear.op(weights, "connector", true, mean, Op.Activation.NONE, projected),
                    new Op.Store(projected, features))));
            List<Stage> stages = new ArrayList<>(tower.stages());
            stages.add(new Stage(Stage.POOLED, "means", Stage.POOLED, mean));
            stages.add(new Stage(Stage.PROJECTOR, "projector", Stage.PROJECTOR, projected));
            return new Decoder(text, weights, limits, options)
                    .passes(new Pass(new Program("encode", segments), tower.patches(), features), stages);
        }

        /** The tower's rows of each square. */
        private int[][] squares() {
            int[][] squares = new int[SQUARES][SIDE * SIDE];
            int across = vision.grid() / SIDE;
            for (int square = 0; square < SQUARES; square++) {
                for (int i = 0; i < SIDE * SIDE; i++) {
                    int y = square / across * SIDE + i / SIDE;
                    int x = square % across * SIDE + i % SIDE;
                    squares[square][i] = vision.firstPatch() + y * vision.grid() + x;
                }
            }
            return squares;
        }

        /** The product that makes the mean of the rows that stand side by side. */
        private static float[] averaging(int width) {
            float[] weight = new float[width * SIDE * SIDE * width];
            for (int c = 0; c < width; c++) {
                for (int i = 0; i < SIDE * SIDE; i++) {
                    weight[(c * SIDE * SIDE + i) * width + c] = 1f / (SIDE * SIDE);
                }
            }
            return weight;
        }

        @Override
        public Description describe() {
            return new Description("Averaged", vision.describe("vit."), text.describe(), 39, 0, true, Set.of(1), 1e-4);
        }

        @Override
        public Map<String, String> parts() {
            return Map.of();
        }

        @Override
        public Processor processor() {
            return new AveragedProcessor();
        }

        @Override
        public Averaged settled(Checkpoint checkpoint, Strictness strictness) {
            return this;
        }
    }

    /** Prompts are numbers here: each word is an id. */
    private static final class AveragedProcessor implements Processor {
        private static final Preprocessing PREPROCESSING = Preprocessing.siglip(SIZE);

        @Override
        public Views views(RgbImage image) {
            return Views.single(PREPROCESSING.resize(image), PREPROCESSING.patches(),
                    Views.Layout.ofSquares(PATCH, 1, SIDE, SQUARES), PREPROCESSING.area(image));
        }

        @Override
        public int mostViews() {
            return 1;
        }

        @Override
        public int imageTokens() {
            return SQUARES;
        }

        @Override
        public void check(String text, int images) {}

        @Override
        public int textTokensAtMost(String text) {
            return text.split(" ").length;
        }

        @Override
        public Prompt prompt(String text, List<Views> images) {
            int[] words = Arrays.stream(text.split(" ")).mapToInt(Integer::parseInt).toArray();
            // Between the first word and the others.
            PromptWriter writer = new PromptWriter(text);
            writer.ids(words[0]);
            images.forEach(writer::image);
            writer.ids(Arrays.copyOfRange(words, 1, words.length));
            return writer.prompt(false);
        }

        @Override
        public String questionPrompt(String question) {
            return question;
        }

        @Override
        public Resampling resampling() {
            return PREPROCESSING.resampling();
        }

        @Override
        public boolean hasTokenizer() {
            return false;
        }

        @Override
        public void requireFiles() {}

        @Override
        public void readTokenizer() {}

        @Override
        public LazyTokenizer lazyTokenizer() {
            throw new UnsupportedOperationException("no tokenizer");
        }
    }

    private static ModelDirectory open(Path folder) {
        Averaged model = new Averaged();
        Weights declared = Weights.declared(DType.F32);
        model.declare(declared);
        List<SafetensorsWriter.Entry> entries = declared.stored().stream()
                .flatMap(stored -> stored.names().stream()
                        .map(name -> new SafetensorsWriter.Entry(name, DType.F32, stored.shape())))
                .toList();
        SafetensorsWriter.write(
                folder, entries, 1 << 20, new RandomWeights(1, _ -> new RandomWeights.Distribution(0, 0.3f)));
        ModelDirectory directory = new ModelDirectory(folder, model, Checkpoint.open(folder));
        directory.check(Strictness.STRICT);
        return directory;
    }

    private static RgbImage image(long seed) {
        byte[] pixels = new byte[3 * SIZE * SIZE];
        new Random(seed).nextBytes(pixels);
        return new RgbImage(SIZE, SIZE, pixels);
    }

    /** A window is found by the index of the layer in the model, wherever its segment begins. */
    @Test
    void eachLayerHasItsWindow(@TempDir Path folder) {
        try (ModelDirectory directory = open(folder)) {
            Passes passes = directory.unbound(new Limits(8, 12), Options.DEFAULT);
            List<Segment> layers = passes.decode().program().segments().stream()
                    .filter(segment -> segment.name().startsWith("decoder.layers")).toList();
            assertEquals(2, layers.size());
            assertEquals(0, windows(layers.get(0)).of(0));
            assertEquals(3, windows(layers.get(1)).of(1));
            assertEquals(0, windows(layers.get(1)).of(2));
        }
    }

    private static Op.Windows windows(Segment segment) {
        return segment.ops().stream().filter(Op.Attention.class::isInstance).map(Op.Attention.class::cast)
                .findFirst().orElseThrow().windows();
    }

    /**
     * Two images stand where the prompt has them, on both paths; and each view's rows stay while others are encoded.
     */
    @Test
    void answersAboutTwoImages(@TempDir Path folder) {
        try (ModelDirectory directory = open(folder); Backend vectors = Backends.open("cpu", BackendOptions.DEFAULT);
                Backend scalar = Backends.open("scalar", BackendOptions.DEFAULT)) {
            float[] found = logits(directory, vectors, 1, 2);
            assertArrayEquals(logits(directory, scalar, 1, 2), found, ROUNDING);
            assertFalse(
                    Arrays.equals(logits(directory, vectors, 2, 1), found), "images that change places change nothing");
        }
    }

    private static float[] logits(ModelDirectory directory, Backend backend, long... images) {
        List<Views> views = Arrays.stream(images).mapToObj(seed -> directory.processor().views(image(seed))).toList();
        Prompt prompt = directory.prompt("3 7 12 5", views);
        try (Generator generator = Generator.open(
                directory, backend, new Limits(prompt.length(), 4, 2), Options.DEFAULT, RunListener.NONE, List.of())) {
            generator.encodeViews(views);
            assertTrue(generator.greedy(prompt, 4).size() <= 4);
            generator.prefill(prompt);
            return generator.read(generator.passes().prefill().output());
        }
    }

    /** The tower is explained as any other: a stage that makes means of rows is no pooling head. */
    @Test
    void eachRowIsTheMeanOfItsSquare(@TempDir Path folder) {
        StageProbes stages = new StageProbes();
        try (ModelDirectory directory = open(folder);
                Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
            TowerProbe tower = new TowerProbe(directory.describe().vision());
            try (Generator generator = Generator.open(directory, backend, new Limits(8, 4), Options.DEFAULT,
                    RunListener.NONE, List.of(tower, stages))) {
                generator.encode(List.of(image(1)));
                float[] layers = generator.read(stages.encode().get(generator.passes().stage(Stage.VISION_LAYERS)));
                float[] means = generator.read(stages.encode().get(generator.passes().stage(Stage.POOLED)));
                // The second square of the second row, of the last of two layers of 17 rows.
                for (int c = 0; c < 12; c++) {
                    double sum = 0;
                    for (int patch : List.of(10, 11, 14, 15)) {
                        sum += layers[(17 + 1 + patch) * 12 + c];
                    }
                    assertEquals(sum / 4, means[3 * 12 + c], ROUNDING);
                }
                assertTrue(tower.reading().pooling().isEmpty());
            }
        }
    }

    /** Parts of an image are found by the squares, not by the patches that they are made of. */
    @Test
    void rowsAreFoundByWhatTheyShow(@TempDir Path folder) {
        try (ModelDirectory directory = open(folder)) {
            Views views = directory.processor().views(image(1));
            assertEquals(List.of(3), views.rowsWhere(square -> square.x() >= SIZE / 2 && square.y() >= SIZE / 2));
            assertEquals(List.of(0, 1, 2, 3), views.rowsWhere(square -> square.size() == SIDE * PATCH));
            assertEquals(16, views.squares(0).size());
            Span.Grid grid = directory.prompt("3 7", List.of(views)).onlyGrid().orElseThrow().grid().orElseThrow();
            assertEquals(List.of(2, 2), List.of(grid.rows(), grid.columns()));
            assertThrows(IllegalArgumentException.class, () -> Views.single(views.view(0),
                    AveragedProcessor.PREPROCESSING.patches(), new Views.Layout(PATCH, 1, SQUARES),
                    AveragedProcessor.PREPROCESSING.area(views.view(0))));
        }
    }

    @Test
    void aTextThatSpellsTheImageTokenIsRefused(@TempDir Path folder) {
        try (ModelDirectory directory = open(folder)) {
            CheckpointException refused = assertThrows(CheckpointException.class,
                    () -> directory.prompt("3 39 12", List.of(directory.processor().views(image(1)))));
            assertTrue(refused.getMessage().contains("the prompt spells token 39, which stands for an image"),
                    refused.getMessage());
        }
    }

    /** The class token's embedding is where its row of patches, which is zero, meets its position. */
    @Test
    void theClassTokenIsItsEmbeddingAndItsPosition(@TempDir Path folder) {
        StageProbes stages = new StageProbes();
        try (ModelDirectory directory = open(folder);
                Backend backend = Backends.open("cpu", BackendOptions.DEFAULT);
                Generator generator = Generator.open(
                        directory, backend, new Limits(8, 4), Options.DEFAULT, RunListener.NONE, List.of(stages));
                Arena arena = Arena.ofShared()) {
            generator.encode(List.of(image(1)));
            float[] embeddings = generator.read(stages.encode().get(generator.passes().encodeStages().getFirst()));
            Weights weights = Weights.bound(directory.checkpoint(), arena, Options.DEFAULT).in("vit.");
            float[] token = floats(weights, weights.vector("class", 12));
            float[] positions = floats(weights, weights.vector("positions", 17, 12));
            for (int i = 0; i < 12; i++) {
                assertEquals(token[i] + positions[i], embeddings[i], ROUNDING);
            }
            assertEquals(List.of("vision.embeddings", "vision.pre", "vision.layers", "vision.pooled",
                            "vision.projector"),
                    generator.passes().encodeStages().stream().map(Stage::name).toList());
            // Three layers in two segments are one stage.
            assertEquals(3, stages.prefill().get(generator.passes().stage(Stage.DECODER_LAYERS)).layers());
        }
    }

    private static float[] floats(Weights weights, Tensor tensor) {
        return weights.values().get(tensor).layers().getFirst().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
    }
}
