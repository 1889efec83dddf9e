package stormsight.model.paligemma;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
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
import stormsight.model.nn.GemmaConfig;
import stormsight.model.nn.Linear;
import stormsight.model.nn.VisionTower;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Tensor;

/**
 * PaliGemma 1 and 2: a SigLIP tower, one product, a Gemma decoder. The prompt is seen by all of its tokens, an answer's
 * token sees what came before it.
 *
 * @see <a href="https://arxiv.org/abs/2407.07726">PaliGemma</a>
 * @see <a href="https://arxiv.org/abs/2412.03555">PaliGemma 2</a>
 * @see <a href="https://arxiv.org/abs/2403.08295">Gemma</a>
 * @see <a href="https://arxiv.org/abs/2408.00118">Gemma 2</a>
 */
public final class PaliGemma implements VisionLanguageModel {
    public static final Family FAMILY =
            new Family("paligemma", "PaliGemma 1 and 2", PaliGemma::open, PaliGemmaPreset.all());

    private static final String TOWER = "vision_tower.vision_model.";
    private static final String PROJECTOR = "multi_modal_projector.linear";

    private static final double LOGITS_GEMMA = 1e-4;
    /** Gemma 2 has twice the norms, and soft caps. */
    private static final double LOGITS_GEMMA2 = 2e-4;

    private final PaliGemmaConfig config;
    private final PaliGemmaProcessor processor;

    private PaliGemma(PaliGemmaConfig config, PaliGemmaProcessor processor) {
        this.config = config;
        this.processor = processor;
    }

    private static PaliGemma open(Path directory, ConfigFile file, Optional<Resampling> resize, Strictness strictness) {
        PaliGemmaConfig config = PaliGemmaConfig.read(directory, file);
        Preprocessing stored = PreprocessorConfig.read(directory, Preprocessing.siglip(config.vision().imageSize()));
        LazyTokenizer tokenizer = LazyTokenizer.of(
                directory, config.text().vocabularySize(), PaliGemmaProcessor.IMAGE, config.imageTokenId(), strictness);
        return new PaliGemma(
                config,
                new PaliGemmaProcessor(config.vision(), resize.map(stored::with).orElse(stored), tokenizer));
    }

    @Override
    public PaliGemma settled(Checkpoint checkpoint, Strictness strictness) {
        return new PaliGemma(
                config.withTied(
                        Decoder.tied(config.text().tied(), Decoder.Names.LANGUAGE_MODEL, checkpoint, strictness)),
                processor);
    }

    @Override
    public Description describe() {
        return new Description(
                config.family(),
                config.vision().describe(TOWER),
                decoder(Options.DEFAULT).describe(),
                config.imageTokenId(),
                config.padId(),
                false,
                config.endIds(),
                config.text().version() == GemmaConfig.Version.GEMMA2 ? LOGITS_GEMMA2 : LOGITS_GEMMA);
    }

    @Override
    public Map<String, String> parts() {
        VisionTower.Config vision = config.vision();
        GemmaConfig text = config.text();
        Op.Heads visionHeads = vision.layer().attention().heads();
        Map<String, String> parts = new LinkedHashMap<>();
        parts.put(
                "vision",
                String.format(
                        Locale.ROOT,
                        "SigLIP, %d layers, width %d, %d heads of %d, MLP %d, %d x %d px in patches of %d: %d tokens",
                        vision.layers(),
                        vision.width(),
                        visionHeads.queryHeads(),
                        visionHeads.headDim(),
                        vision.layer().mlp().width(),
                        vision.imageSize(),
                        vision.imageSize(),
                        vision.patchSize(),
                        vision.patches()));
        parts.put(
                "decoder",
                String.format(
                        Locale.ROOT,
                        "%s, %d layers, width %d, %s, MLP %d, %d positions",
                        text.version() == GemmaConfig.Version.GEMMA2 ? "Gemma 2" : "Gemma 1",
                        text.layers(),
                        text.hiddenSize(),
                        text.heads().text(),
                        text.intermediateSize(),
                        text.maxPositions()));
        return parts;
    }

    private Decoder.Config decoder(Options options) {
        return config.text().decoder(options);
    }

    @Override
    public Processor processor() {
        return processor;
    }

    @Override
    public Passes build(Weights weights, Limits limits, Options options) {
        weights.ignore("*.position_ids");
        VisionTower tower = new VisionTower(config.vision(), weights.in(TOWER));
        int rows = config.vision().rows();
        int width = config.text().hiddenSize();
        Tensor projected = Tensor.activation("vision.projected", rows, width);
        Tensor features = new Tensor(
                "features", DType.F32, Shape.of(Math.multiplyExact(limits.views(), rows), width), Tensor.Kind.CACHE, 1);
        List<Segment> segments = new ArrayList<>(tower.segments());
        segments.add(Segment.once(Stage.PROJECTOR, List.of(
                Linear.op(weights, PROJECTOR, true, tower.output(), Op.Activation.NONE, projected),
                new Op.Store(projected, features))));
        List<Stage> stages = new ArrayList<>(tower.stages());
        stages.add(new Stage(Stage.PROJECTOR, "projector", Stage.PROJECTOR, projected));
        Decoder decoder = new Decoder(decoder(options), weights, limits, options);
        if (config.text().tied()) {
            weights.ignore(Decoder.Names.LANGUAGE_MODEL.head());
        }
        return decoder.passes(new Pass(new Program("encode", segments), tower.patches(), features), stages);
    }
}
