package stormsight.model.siglip;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.ConfigFile;
import stormsight.checkpoint.Strictness;
import stormsight.image.Preprocessing;
import stormsight.image.Resampling;
import stormsight.image.RgbImage;
import stormsight.model.Description;
import stormsight.model.DualEncoder;
import stormsight.model.Encoding;
import stormsight.model.Family;
import stormsight.model.Stage;
import stormsight.model.Views;
import stormsight.model.Weights;
import stormsight.model.nn.ImageProcessor;
import stormsight.model.nn.Linear;
import stormsight.model.nn.Pooled;
import stormsight.model.nn.Sizes;
import stormsight.model.nn.TextTower;
import stormsight.model.nn.VisionConfig;
import stormsight.model.nn.VisionTower;
import stormsight.program.Op;
import stormsight.program.Segment;
import stormsight.program.Tensor;
import stormsight.tokenizer.Tokenizer;

/**
 * SigLIP, and SigLIP 2 of a fixed resolution: a vision tower whose patches a learned query pools, and a text tower that
 * sees all of its positions and is pooled at the last one.
 *
 * @see <a href="https://arxiv.org/abs/2303.15343">Sigmoid Loss for Language Image Pre-Training</a>
 * @see <a href="https://arxiv.org/abs/2502.14786">SigLIP 2</a>
 */
public final class Siglip implements DualEncoder {
    public static final Family FAMILY = new Family("siglip", "SigLIP and SigLIP 2", Siglip::open, SiglipPreset.all());

    private static final String TOWER = "vision_model.";

    private static final TextTower.Defaults TEXT =
            new TextTower.Defaults("siglip_text_model", 768, 12, 64, 32000, "gelu_pytorch_tanh", 1e-6, false);

    private final String title;
    private final ImageProcessor images;
    private final TextTower.Config text;
    private final SiglipText texts;
    private final int columns;

    private Siglip(String title, ImageProcessor images, TextTower.Config text, SiglipText texts, int columns) {
        this.title = title;
        this.images = images;
        this.text = text;
        this.texts = texts;
        this.columns = columns;
    }

    private static Siglip open(Path directory, ConfigFile config, Optional<Resampling> resize, Strictness strictness) {
        VisionTower.Config vision = VisionConfig.siglip(config, "vision_config.");
        TextTower.Config text = TextTower.Config.read(config, "text_config.", TEXT);
        int columns = Sizes.positive(config, "text_config.projection_size", text.width());
        if (columns != vision.width()) {
            throw config.invalid(
                    "text_config.projection_size", "texts become " + columns + " numbers, images " + vision.width());
        }
        if (!config.bool("vision_config.vision_use_head", true)) {
            throw config.invalid(
                    "vision_config.vision_use_head", "false: without its head the tower makes no embedding");
        }
        return new Siglip(
                (text.vocabularySize() == SiglipText.GEMMA_VOCABULARY ? "SigLIP 2, " : "SigLIP, ") + vision.imageSize()
                        + " px",
                ImageProcessor.read(directory, vision, Preprocessing.siglip(vision.imageSize()), resize),
                text,
                new SiglipText(directory, text),
                columns);
    }

    @Override
    public Siglip settled(Checkpoint checkpoint, Strictness strictness) {
        return this;
    }

    @Override
    public String title() {
        return title;
    }

    @Override
    public Map<String, String> parts() {
        Map<String, String> parts = new LinkedHashMap<>();
        parts.put("vision", images.describe());
        parts.put("text", text.describe());
        return parts;
    }

    @Override
    public Objective objective() {
        return Objective.SIGMOID;
    }

    @Override
    public int columns() {
        return columns;
    }

    @Override
    public Description.Vision vision() {
        return images.vision().describe(TOWER);
    }

    @Override
    public Views views(RgbImage image) {
        return images.views(image);
    }

    @Override
    public Resampling resampling() {
        return images.preprocessing().resampling();
    }

    @Override
    public Tokenizer tokenizer() {
        return texts.tokenizer();
    }

    @Override
    public int[] ids(String words) {
        return texts.ids(words);
    }

    /** All: padding is seen. */
    @Override
    public int[] needed(int[] padded) {
        return padded;
    }

    @Override
    public Encoders build(Weights weights, int together) {
        weights.ignore("*.position_ids");
        VisionTower tower = new VisionTower(images.vision(), weights.in(TOWER), together);
        Pooled behind = Pooled.image(tower);
        Tensor image = behind.output("image.embedding", columns);
        Segment head = PoolingHead.segment(
                images.vision(), weights.in("vision_model.head."), behind, tower.output(), image);
        Encoding imageEncoding = behind.encoding(
                List.of(head), List.of(new Stage(Stage.POOLED, "pooling head", head.name(), image)), image);

        Pooled behindText = Pooled.text(new TextTower(text, weights.in("text_model."), together));
        Tensor pooled = behindText.output("text.embedding", columns);
        List<Op> ops = new ArrayList<>();
        Tensor last = behindText.last(ops, weights, "text.last");
        ops.add(Linear.op(weights, "text_model.head", true, last, Op.Activation.NONE, pooled));
        Segment textHead = Segment.once("text.head", ops);
        return new Encoders(
                imageEncoding,
                behindText.encoding(
                        List.of(textHead),
                        List.of(new Stage("text.pooled", "text head", textHead.name(), pooled)),
                        pooled),
                weights.vector("logit_scale", 1),
                Optional.of(weights.vector("logit_bias", 1)));
    }

    @Override
    public void requireFiles() {
        texts.requirePresent();
    }
}
