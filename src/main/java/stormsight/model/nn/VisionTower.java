package stormsight.model.nn;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import stormsight.model.Description;
import stormsight.model.Stage;
import stormsight.model.Weights;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Op.Activation;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Tensor;

/**
 * A vision transformer: patch embedding with learned positions, layers, a last norm. All its rows are its result.
 *
 * @see <a href="https://arxiv.org/abs/2010.11929">An Image is Worth 16x16 Words</a>
 */
public final class VisionTower {
    /** Colour channels; no published tower has another number. */
    public static final int CHANNELS = 3;

    /**
     * A tower.
     *
     * @param imageSize pixels of a side
     * @param patchSize pixels of a side
     * @param layers that run; the checkpoint may hold more
     */
    public record Config(int width, int imageSize, int patchSize, int layers, TransformerLayer layer, Names names) {
        /** The same with another number of layers that run. */
        public Config withLayers(int running) {
            return new Config(width, imageSize, patchSize, running, layer, names);
        }

        /** Patches of a side; pixels beyond the last whole patch are not used. */
        public int grid() {
            return imageSize / patchSize;
        }

        public int patches() {
            return grid() * grid();
        }

        /** Rows before that of the first patch: 1 for a class token. */
        public int firstPatch() {
            return names.classEmbedding().isPresent() ? 1 : 0;
        }

        public int rows() {
            return firstPatch() + patches();
        }

        /** Values of one patch, ordered channel, y, x. */
        public int patchColumns() {
            return CHANNELS * patchSize * patchSize;
        }

        /** @param prefix of the tower's stored weights */
        public Description.Vision describe(String prefix) {
            return new Description.Vision(
                    layers,
                    layer.attention().heads().queryHeads(),
                    rows(),
                    firstPatch(),
                    grid(),
                    grid(),
                    prefix + names.positions());
        }
    }

    /**
     * Names of the stored weights under the tower's prefix.
     *
     * @param patchBias whether the patch embedding has a bias
     * @param classEmbedding weight of the class token; without it there is no such token
     * @param batched whether class token and positions are stored as a batch of one: [1, 1, width] and [1, rows,
     *     width], not [width] and [rows, width]
     * @param preNorm norm of the embeddings
     * @param layers prefix of a layer, with {@value Weights#LAYER}
     * @param lastNorm norm of the result
     */
    public record Names(
            String patchEmbedding,
            boolean patchBias,
            Optional<String> classEmbedding,
            boolean batched,
            String positions,
            Optional<String> preNorm,
            String layers,
            Optional<String> lastNorm) {}

    private final Config config;
    private final Weights weights;
    private final int together;
    private final Tensor patches;
    private final TransformerLayer.Buffers buffers;
    private final List<Segment> segments = new ArrayList<>();
    private final List<Stage> stages = new ArrayList<>();

    /** @param weights under the tower's prefix */
    public VisionTower(Config config, Weights weights) {
        this(config, weights, 1);
    }

    /** @param together images of a run, whose rows follow each other */
    public VisionTower(Config config, Weights weights, int together) {
        this.config = config;
        this.weights = weights;
        this.together = together;
        int rows = Math.multiplyExact(config.rows(), together);
        patches = new Tensor("patches", DType.F32, Shape.of(rows, config.patchColumns()), Tensor.Kind.INPUT, 1);
        buffers = TransformerLayer.Buffers.of("vision", rows, config.width(), config.layer());
        add(Stage.VISION_EMBEDDINGS, "patch embedding", 1, List.of(embeddings()), buffers.x());
        config.names()
                .preNorm()
                .ifPresent(name -> add(
                        "vision." + name,
                        "vision pre-norm",
                        1,
                        List.of(config.layer().norm().op(weights, name, buffers.x(), Optional.empty(), buffers.x())),
                        buffers.x()));
        add(Stage.VISION_LAYERS, "vision layer", config.layers(), config.layer()
                .ops(
                        weights.layers(config.names().layers(), config.layers()),
                        buffers,
                        Optional.empty(),
                        Op.Keys.each(config.rows(), together)), buffers.x());
        config.names()
                .lastNorm()
                .ifPresent(name -> add(
                        "vision." + name,
                        "vision norm",
                        1,
                        List.of(config.layer()
                                .norm()
                                .op(weights, name, buffers.x(), Optional.empty(), buffers.normed())),
                        buffers.normed()));
    }

    private void add(String name, String title, int layers, List<Op> ops, Tensor result) {
        segments.add(new Segment(name, 0, layers, ops));
        stages.add(new Stage(name, title, name, result));
    }

    private Op embeddings() {
        Names names = config.names();
        int width = config.width();
        Tensor kernel = weights.matrix(
                names.patchEmbedding() + ".weight", width, CHANNELS, config.patchSize(), config.patchSize());
        Optional<Tensor> bias = names.patchBias()
                ? Optional.of(weights.vector(names.patchEmbedding() + ".bias", width))
                : Optional.empty();
        Tensor positions = names.batched() ? weights.vector(names.positions(), 1, config.rows(), width)
                : weights.vector(names.positions(), config.rows(), width);
        if (names.classEmbedding().isEmpty()) {
            return new Op.MatMul(
                    patches, kernel, bias, Activation.NONE, Optional.of(repeated(positions)), buffers.x());
        }
        // The class token's row of patches is zero, so its embedding comes with its position.
        List<Tensor> from = new ArrayList<>(List.of(
                positions,
                names.batched()
                        ? weights.vector(names.classEmbedding().get(), 1, 1, width)
                        : weights.vector(names.classEmbedding().get(), width)));
        bias.ifPresent(from::add);
        Tensor added = weights.computed(
                "vision.positions", Shape.of(config.rows(), width), from, values -> withClassToken(values, width));
        return new Op.MatMul(
                patches, kernel, Optional.empty(), Activation.NONE, Optional.of(repeated(added)), buffers.x());
    }

    private Tensor repeated(Tensor rows) {
        return Pooled.repeated(weights, rows, config.rows(), together);
    }

    /** @param from positions, class embedding, and bias if there is one */
    private static float[] withClassToken(List<float[]> from, int width) {
        float[] values = from.getFirst().clone();
        for (int i = 0; i < values.length; i++) {
            if (i < width) {
                values[i] += from.get(1)[i];
            } else if (from.size() > 2) {
                values[i] += from.get(2)[i % width];
            }
        }
        return values;
    }

    /** Images of a run. */
    public int together() {
        return together;
    }

    /** What {@link stormsight.model.Views#write} fills, [rows, channels x patchSize x patchSize]. */
    public Tensor patches() {
        return patches;
    }

    /** The result, [rows, width]. */
    public Tensor output() {
        return stages.getLast().result();
    }

    public List<Segment> segments() {
        return List.copyOf(segments);
    }

    /** One a segment. */
    public List<Stage> stages() {
        return List.copyOf(stages);
    }
}
