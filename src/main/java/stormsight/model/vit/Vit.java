package stormsight.model.vit;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.ConfigFile;
import stormsight.checkpoint.Strictness;
import stormsight.image.Preprocessing;
import stormsight.image.Resampling;
import stormsight.image.RgbImage;
import stormsight.model.Classifier;
import stormsight.model.Description;
import stormsight.model.Encoding;
import stormsight.model.Family;
import stormsight.model.Stage;
import stormsight.model.Views;
import stormsight.model.Weights;
import stormsight.model.nn.ImageProcessor;
import stormsight.model.nn.Linear;
import stormsight.model.nn.Pooled;
import stormsight.model.nn.Sizes;
import stormsight.model.nn.VisionConfig;
import stormsight.model.nn.VisionTower;
import stormsight.program.Op;
import stormsight.program.Segment;
import stormsight.program.Tensor;

/**
 * A vision transformer that scores an image for the labels it was trained with, at its class token.
 *
 * @see <a href="https://arxiv.org/abs/2010.11929">An Image is Worth 16x16 Words</a>
 */
public final class Vit implements Classifier {
    public static final Family FAMILY = new Family("vit", "ViT", Vit::open, VitPreset.all());

    private static final String TOWER = "vit.";

    private final ImageProcessor images;
    private final List<String> labels;

    private Vit(ImageProcessor images, List<String> labels) {
        this.images = images;
        this.labels = labels;
    }

    private static Vit open(Path directory, ConfigFile config, Optional<Resampling> resize, Strictness strictness) {
        VisionTower.Config vision = VisionConfig.vit(config, "");
        Preprocessing published = Preprocessing.siglip(vision.imageSize()).with(Resampling.BILINEAR);
        return new Vit(ImageProcessor.read(directory, vision, published, resize), labels(config));
    }

    /** In order of their ids, which must be the numbers from 0 on. Without names, transformers numbers them. */
    private static List<String> labels(ConfigFile config) {
        List<String> labels = new ArrayList<>();
        Optional<ConfigFile> named = config.objectIfPresent("id2label");
        while (named.isPresent() && named.get().has(String.valueOf(labels.size()))) {
            labels.add(named.get().text(String.valueOf(labels.size())));
        }
        if (named.isEmpty()) {
            return IntStream.range(0, Sizes.positive(config, "num_labels", 2))
                    .mapToObj(id -> "LABEL_" + id)
                    .toList();
        }
        if (labels.isEmpty()) {
            throw config.invalid("id2label", "no label 0");
        }
        return List.copyOf(labels);
    }

    @Override
    public Vit settled(Checkpoint checkpoint, Strictness strictness) {
        return this;
    }

    @Override
    public String title() {
        return "ViT, " + images.vision().imageSize() + " px";
    }

    @Override
    public Map<String, String> parts() {
        return Map.of("vision", images.describe());
    }

    @Override
    public List<String> labels() {
        return labels;
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
    public Encoding build(Weights weights, int together) {
        // A head of other tasks, stored beside this one.
        weights.ignore("vit.pooler.*");
        Pooled behind = Pooled.image(new VisionTower(images.vision(), weights.in(TOWER), together));
        Tensor logits = behind.output("logits", labels.size());
        List<Op> ops = new ArrayList<>();
        Tensor first = behind.first(ops, weights, "vision.first");
        ops.add(Linear.op(weights, "classifier", true, first, Op.Activation.NONE, logits));
        Segment classifier = Segment.once("classifier", ops);
        return behind.encoding(
                List.of(classifier), List.of(new Stage("logits", "classifier", classifier.name(), logits)), logits);
    }

    /** There are none. */
    @Override
    public void requireFiles() {}
}
