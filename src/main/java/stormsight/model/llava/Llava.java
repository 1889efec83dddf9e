package stormsight.model.llava;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.ConfigFile;
import stormsight.checkpoint.Strictness;
import stormsight.image.Preprocessing;
import stormsight.image.Resampling;
import stormsight.model.Description;
import stormsight.model.Family;
import stormsight.model.LazyTokenizer;
import stormsight.model.Limits;
import stormsight.model.Options;
import stormsight.model.Pass;
import stormsight.model.Passes;
import stormsight.model.PreprocessorConfig;
import stormsight.model.Processor;
import stormsight.model.Stage;
import stormsight.model.VisionLanguageModel;
import stormsight.model.Weights;
import stormsight.model.nn.Decoder;
import stormsight.model.nn.Linear;
import stormsight.model.nn.LlamaConfig;
import stormsight.model.nn.VisionTower;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Tensor;

/**
 * LLaVA-1.5 and LLaVA-NeXT: the last layer but one of a CLIP tower, two products, a Llama or Mistral decoder that sees
 * what came before a token alone.
 *
 * <p>Rows of features lie as the tower makes them, a class token first. No prompt uses the class token's; in LLaVA-NeXT
 * the newline of an image stands there.
 *
 * @see <a href="https://arxiv.org/abs/2310.03744">Improved Baselines with Visual Instruction Tuning</a>
 * @see <a href="https://llava-vl.github.io/blog/2024-01-30-llava-next/">LLaVA-NeXT</a>
 */
public final class Llava implements VisionLanguageModel {
    public static final Family FAMILY = new Family(
            "llava",
            "LLaVA-1.5",
            (directory, config, resize, strictness) -> open(directory, config, resize, strictness, false),
            LlavaPreset.llava());
    public static final Family NEXT = new Family(
            "llava_next",
            "LLaVA-NeXT",
            (directory, config, resize, strictness) -> open(directory, config, resize, strictness, true),
            LlavaPreset.llavaNext());

    private static final String TOWER = "vision_tower.vision_model.";
    private static final String PROJECTOR = "multi_modal_projector.";
    private static final String NEWLINE = "image_newline";

    private static final double LOGITS = 1e-4;

    private final LlavaConfig config;
    private final LlavaProcessor processor;

    private Llava(LlavaConfig config, LlavaProcessor processor) {
        this.config = config;
        this.processor = processor;
    }

    private static Llava open(
            Path directory, ConfigFile file, Optional<Resampling> resize, Strictness strictness, boolean next) {
        LlavaConfig config = LlavaConfig.read(directory, file, next);
        Preprocessing published = Preprocessing.clip(config.vision().imageSize());
        Preprocessing stored = next
                ? PreprocessorConfig.readOfTiles(directory, published)
                : PreprocessorConfig.read(directory, published);
        LazyTokenizer tokenizer = LazyTokenizer.of(
                directory, config.text().vocabularySize(), LlavaProcessor.IMAGE, config.imageTokenId(), strictness);
        return new Llava(
                config,
                new LlavaProcessor(
                        config,
                        resize.map(stored::with).orElse(stored),
                        Template.read(directory, config.text().mistral()),
                        tokenizer));
    }

    @Override
    public Llava settled(Checkpoint checkpoint, Strictness strictness) {
        return new Llava(
                config.withTied(
                        Decoder.tied(config.text().tied(), Decoder.Names.LANGUAGE_MODEL, checkpoint, strictness)),
                processor);
    }

    @Override
    public Description describe() {
        return new Description(
                config.family(),
                config.vision().describe(TOWER),
                config.text().decoder().describe(),
                config.imageTokenId(),
                config.padId(),
                true,
                config.endIds(),
                LOGITS);
    }

    @Override
    public Map<String, String> parts() {
        VisionTower.Config vision = config.vision();
        LlamaConfig text = config.text();
        Op.Heads heads = vision.layer().attention().heads();
        Map<String, String> parts = new LinkedHashMap<>();
        parts.put(
                "vision",
                String.format(
                        Locale.ROOT,
                        "CLIP, %d of %d layers, width %d, %d heads of %d, MLP %d, %d x %d px in patches of %d: %d "
                                + "tokens%s",
                        vision.layers(),
                        config.storedLayers(),
                        vision.width(),
                        heads.queryHeads(),
                        heads.headDim(),
                        vision.layer().mlp().width(),
                        vision.imageSize(),
                        vision.imageSize(),
                        vision.patchSize(),
                        vision.patches(),
                        config.tiles()
                                .map(tiles -> ", up to " + tiles.mostViews() + " views and " + tiles.mostPlaces()
                                        + " tokens an image")
                                .orElse("")));
        parts.put(
                "decoder",
                String.format(
                        Locale.ROOT,
                        "%s, %d layers, width %d, %s, MLP %d, %d positions",
                        text.mistral() ? "Mistral" : "Llama",
                        text.layers(),
                        text.hiddenSize(),
                        text.heads().text(),
                        text.intermediateSize(),
                        text.maxPositions()));
        return parts;
    }

    @Override
    public Processor processor() {
        return processor;
    }

    @Override
    public Passes build(Weights weights, Limits limits, Options options) {
        Weights towerWeights = weights.in(TOWER);
        VisionTower tower = new VisionTower(config.vision(), towerWeights);
        // What stands behind the layer that is taken.
        towerWeights.ignore("post_layernorm.*");
        IntStream.range(config.vision().layers(), config.storedLayers())
                .forEach(layer -> towerWeights.ignore("encoder.layers." + layer + ".*"));
        weights.ignore("*.position_ids");
        int rows = config.vision().rows();
        int width = config.text().hiddenSize();
        Tensor hidden = Tensor.activation("vision.projector_hidden", rows, width);
        Tensor projected = Tensor.activation("vision.projected", rows, width);
        Tensor features = new Tensor(
                "features", DType.F32, Shape.of(Math.multiplyExact(limits.views(), rows), width), Tensor.Kind.CACHE, 1);
        List<Op> projector = new ArrayList<>(List.of(
                Linear.op(
                        weights,
                        PROJECTOR + "linear_1",
                        config.projectorBias(),
                        tower.output(),
                        config.projector(),
                        hidden),
                Linear.op(
                        weights,
                        PROJECTOR + "linear_2",
                        config.projectorBias(),
                        hidden,
                        Op.Activation.NONE,
                        projected)));
        if (config.tiles().isPresent()) {
            projector.add(new Op.Copy(weights.vector(NEWLINE, width), projected));
        }
        projector.add(new Op.Store(projected, features));
        List<Segment> segments = new ArrayList<>(tower.segments());
        segments.add(Segment.once(Stage.PROJECTOR, projector));
        List<Stage> stages = new ArrayList<>(tower.stages());
        stages.add(new Stage(Stage.PROJECTOR, "projector", Stage.PROJECTOR, projected));
        // transformers counts positions from 0 here.
        Decoder decoder = new Decoder(config.text().decoder(), weights, limits, options.withFirstPosition(0));
        if (config.text().tied()) {
            weights.ignore(Decoder.Names.LANGUAGE_MODEL.head());
        }
        return decoder.passes(new Pass(new Program("encode", segments), tower.patches(), features), stages);
    }
}
