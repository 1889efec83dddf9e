package stormsight.model.clip;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.ConfigFile;
import stormsight.checkpoint.Strictness;
import stormsight.image.Preprocessing;
import stormsight.image.Resampling;
import stormsight.image.RgbImage;
import stormsight.model.Description;
import stormsight.model.DualEncoder;
import stormsight.model.Encoding;
import stormsight.model.Family;
import stormsight.model.LazyTokenizer;
import stormsight.model.Stage;
import stormsight.model.Views;
import stormsight.model.Weights;
import stormsight.model.nn.ImageProcessor;
import stormsight.model.nn.Linear;
import stormsight.model.nn.Norm;
import stormsight.model.nn.Pooled;
import stormsight.model.nn.Sizes;
import stormsight.model.nn.TextTower;
import stormsight.model.nn.VisionConfig;
import stormsight.model.nn.VisionTower;
import stormsight.program.Op;
import stormsight.program.Segment;
import stormsight.program.Tensor;
import stormsight.tokenizer.TextRows;
import stormsight.tokenizer.Tokenizer;

/**
 * CLIP: a vision tower that is pooled at its class token, and a causal text tower that is pooled at the end of the
 * text.
 *
 * @see <a href="https://arxiv.org/abs/2103.00020">Learning Transferable Visual Models From Natural Language
 * Supervision</a>
 */
public final class Clip implements DualEncoder {
    public static final Family FAMILY = new Family("clip", "CLIP", Clip::open, ClipPreset.all());

    private static final String TOWER = "vision_model.";

    private static final TextTower.Defaults TEXT =
            new TextTower.Defaults("clip_text_model", 512, 8, 77, 49408, "quick_gelu", 1e-5, true);
    /** Of the first files, which is not the end of their texts: there the largest id is. */
    private static final int WRONG_END = 2;

    private final Path directory;
    private final ImageProcessor images;
    private final TextTower.Config text;
    private final int end;
    private final int columns;
    private final LazyTokenizer tokenizer;
    /** 0 until the first text: images do without what says it. */
    private int mostTokens;

    private Clip(Path directory, ImageProcessor images, TextTower.Config text, int end, int columns) {
        this.directory = directory;
        this.images = images;
        this.text = text;
        this.end = end;
        this.columns = columns;
        tokenizer = new LazyTokenizer(directory, _ -> { });
    }

    private static Clip open(Path directory, ConfigFile config, Optional<Resampling> resize, Strictness strictness) {
        VisionTower.Config vision = VisionConfig.clip(config, "vision_config.");
        return new Clip(
                directory,
                ImageProcessor.read(directory, vision, Preprocessing.clip(vision.imageSize()), resize),
                TextTower.Config.read(config, "text_config.", TEXT),
                config.integer("text_config.eos_token_id", 49407),
                Sizes.positive(config, "projection_dim", 512));
    }

    @Override
    public Clip settled(Checkpoint checkpoint, Strictness strictness) {
        return this;
    }

    @Override
    public String title() {
        return "CLIP, " + images.vision().imageSize() + " px";
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
        return Objective.SOFTMAX;
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
        return tokenizer.get();
    }

    @Override
    public int[] ids(String words) {
        Tokenizer opened = tokenizer.get();
        return needed(text.checked(opened.encodeWithSpecials(words, mostTokens()), opened));
    }

    private synchronized int mostTokens() {
        if (mostTokens == 0) {
            mostTokens = TextRows.most(directory, text.positions());
        }
        return mostTokens;
    }

    /** Up to the end of the text: no token sees what comes after it. */
    @Override
    public int[] needed(int[] padded) {
        int wanted = end == WRONG_END ? Arrays.stream(padded).max().orElse(end) : end;
        for (int i = 0; i < padded.length; i++) {
            if (padded[i] == wanted) {
                return Arrays.copyOf(padded, i + 1);
            }
        }
        throw new CheckpointException(
                directory.resolve("config.json"),
                "text_config.eos_token_id: no text of this tokenizer ends in token " + end);
    }

    /** Texts are of different lengths, of which none is padded, and are therefore encoded one by one. */
    @Override
    public Encoders build(Weights weights, int together) {
        weights.ignore("*.position_ids");
        Weights visionWeights = weights.in(TOWER);
        Pooled behind = Pooled.image(new VisionTower(images.vision(), visionWeights, together));
        Norm norm = images.vision().layer().norm();
        Tensor classToken = behind.activation("vision.class", images.vision().width());
        Tensor image = behind.output("image.embedding", columns);
        List<Op> ops = new ArrayList<>();
        Tensor first = behind.first(ops, weights, "vision.first");
        ops.add(norm.op(visionWeights, "post_layernorm", first, Optional.empty(), classToken));
        Segment pooling = Segment.once("vision.post_layernorm", ops);
        Segment projection = Segment.once("vision.projection",
                List.of(Linear.op(weights, "visual_projection", false, classToken, Op.Activation.NONE, image)));
        Encoding imageEncoding = behind.encoding(List.of(pooling, projection), List.of(
                new Stage("vision.post_layernorm_cls", "norm of the class token", pooling.name(), classToken),
                new Stage("vision.projected", "projection of the image", projection.name(), image)), image);

        Pooled behindText = Pooled.text(new TextTower(text, weights.in("text_model.")));
        Tensor embedding = behindText.output("text.embedding", columns);
        List<Op> textOps = new ArrayList<>();
        Tensor last = behindText.last(textOps, weights, "text.last");
        textOps.add(Linear.op(weights, "text_projection", false, last, Op.Activation.NONE, embedding));
        Segment textProjection = Segment.once("text.projection", textOps);
        return new Encoders(
                imageEncoding,
                behindText.encoding(
                        List.of(textProjection),
                        List.of(new Stage(
                                "text.projected", "projection of the text", textProjection.name(), embedding)),
                        embedding),
                weights.vector("logit_scale"),
                Optional.empty());
    }

    @Override
    public void requireFiles() {
        tokenizer.requirePresent();
    }
}
