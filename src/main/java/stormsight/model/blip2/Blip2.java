package stormsight.model.blip2;

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
import stormsight.image.Resampling;
import stormsight.model.Description;
import stormsight.model.Family;
import stormsight.model.LazyTokenizer;
import stormsight.model.Limits;
import stormsight.model.Model;
import stormsight.model.Options;
import stormsight.model.Pass;
import stormsight.model.Passes;
import stormsight.model.Processor;
import stormsight.model.Stage;
import stormsight.model.VisionLanguageModel;
import stormsight.model.Weights;
import stormsight.model.nn.Decoder;
import stormsight.model.nn.Linear;
import stormsight.model.nn.OptConfig;
import stormsight.model.nn.VisionTower;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Tensor;

/**
 * BLIP-2 that answers: an EVA tower, a {@link QFormer} whose queries read its rows, one product, an OPT decoder that
 * sees what came before a token alone.
 *
 * @see <a href="https://arxiv.org/abs/2301.12597">BLIP-2: Bootstrapping Language-Image Pre-training</a>
 */
public final class Blip2 implements VisionLanguageModel {
    public static final Family FAMILY = new Family("blip-2", "BLIP-2", Blip2::openEither, Blip2Preset.all());

    static final String TOWER = "vision_model.";
    private static final String PROJECTION = "language_projection";
    private static final double LOGITS = 1e-4;

    private final Blip2Config config;
    private final Blip2Images images;
    private final Blip2Processor processor;

    private Blip2(Blip2Config config, Blip2Images images, Blip2Processor processor) {
        this.config = config;
        this.images = images;
        this.processor = processor;
    }

    /** A Q-Former with weights for text belongs to the model that compares. */
    private static Model openEither(
            Path directory, ConfigFile file, Optional<Resampling> resize, Strictness strictness) {
        return file.bool("qformer_config.use_qformer_text_input", false)
                ? Blip2Matcher.open(directory, file, resize)
                : open(directory, file, resize, strictness);
    }

    private static Blip2 open(Path directory, ConfigFile file, Optional<Resampling> resize, Strictness strictness) {
        Blip2Config config = Blip2Config.read(directory, file);
        LazyTokenizer tokenizer = config.imageTokenId() < 0
                ? new LazyTokenizer(directory, _ -> {})
                : LazyTokenizer.of(
                        directory, config.text().vocabularySize(), Blip2Processor.IMAGE, config.imageTokenId(),
                        strictness);
        Blip2Images images = Blip2Images.read(directory, config.vision(), config.qformer().queries(), resize);
        return new Blip2(config, images, new Blip2Processor(images, tokenizer));
    }

    @Override
    public Blip2 settled(Checkpoint checkpoint, Strictness strictness) {
        return new Blip2(
                config.withTied(Decoder.tied(config.text().tied(), OptConfig.NAMES, checkpoint, strictness)),
                images,
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
        OptConfig text = config.text();
        Map<String, String> parts = new LinkedHashMap<>();
        parts.put("vision", "EVA, " + images.images().describe());
        parts.put("Q-Former", config.qformer().describe());
        parts.put(
                "decoder",
                String.format(
                        Locale.ROOT,
                        "OPT, %d layers, width %d, %d heads of %d, MLP %d, %d positions",
                        text.layers(),
                        text.hiddenSize(),
                        text.heads(),
                        text.hiddenSize() / text.heads(),
                        text.intermediateSize(),
                        text.positions()));
        return parts;
    }

    @Override
    public Processor processor() {
        return processor;
    }

    @Override
    public Passes build(Weights weights, Limits limits, Options options) {
        weights.ignore("*.position_ids");
        VisionTower tower = new VisionTower(config.vision(), weights.in(TOWER));
        QFormer qformer = QFormer.queries(
                config.qformer(), weights, "qformer.", QFormer.Image.within(config.qformer(), tower.output()));
        int queries = config.qformer().queries();
        int width = config.text().hiddenSize();
        Tensor projected = Tensor.activation(PROJECTION, queries, width);
        Tensor features = new Tensor(
                "features",
                DType.F32,
                Shape.of(Math.multiplyExact(limits.views(), queries), width),
                Tensor.Kind.CACHE,
                1);
        List<Segment> segments = new ArrayList<>(tower.segments());
        segments.addAll(qformer.segments());
        segments.add(Segment.once(
                PROJECTION,
                List.of(
                        Linear.op(weights, PROJECTION, true, qformer.output(), Op.Activation.NONE, projected),
                        new Op.Store(projected, features))));
        List<Stage> stages = new ArrayList<>(tower.stages());
        stages.addAll(qformer.stages());
        stages.add(new Stage(PROJECTION, "projector", PROJECTION, projected));
        Decoder decoder = new Decoder(config.text().decoder(), weights, limits, options);
        if (config.text().tied()) {
            weights.ignore(OptConfig.NAMES.head());
        }
        return decoder.passes(new Pass(new Program("encode", segments), tower.patches(), features), stages);
    }
}
