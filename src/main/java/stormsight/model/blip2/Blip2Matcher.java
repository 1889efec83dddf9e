package stormsight.model.blip2;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.ConfigFile;
import stormsight.checkpoint.Strictness;
import stormsight.image.Resampling;
import stormsight.image.RgbImage;
import stormsight.model.Description;
import stormsight.model.Encoding;
import stormsight.model.LazyTokenizer;
import stormsight.model.Matcher;
import stormsight.model.Pass;
import stormsight.model.Stage;
import stormsight.model.Views;
import stormsight.model.Weights;
import stormsight.model.nn.Linear;
import stormsight.model.nn.Pooled;
import stormsight.model.nn.Sizes;
import stormsight.model.nn.VisionConfig;
import stormsight.model.nn.VisionTower;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Tensor;
import stormsight.tokenizer.Tokenizer;

/**
 * BLIP-2 of the first stage of its training: the {@link QFormer} with text. Together, queries and text are judged by
 * the mean of what a product makes of each query; apart, each query and the first token of the text are projected into
 * one space.
 *
 * @see <a href="https://arxiv.org/abs/2301.12597">BLIP-2: Bootstrapping Language-Image Pre-training</a>
 */
final class Blip2Matcher implements Matcher {

    private final Blip2Images images;
    private final QFormer.Config qformer;
    private final int columns;
    private final LazyTokenizer tokenizer;

    private Blip2Matcher(Blip2Images images, QFormer.Config qformer, int columns, LazyTokenizer tokenizer) {
        this.images = images;
        this.qformer = qformer;
        this.columns = columns;
        this.tokenizer = tokenizer;
    }

    static Blip2Matcher open(Path directory, ConfigFile config, Optional<Resampling> resize) {
        VisionTower.Config vision = VisionConfig.eva(config, "vision_config.");
        QFormer.Config qformer = Blip2Config.qformer(config, vision);
        return new Blip2Matcher(
                Blip2Images.read(directory, vision, qformer.queries(), resize),
                qformer,
                Sizes.positive(config, "image_text_hidden_size", 256),
                new LazyTokenizer(directory, _ -> {}));
    }

    @Override
    public Blip2Matcher settled(Checkpoint checkpoint, Strictness strictness) {
        return this;
    }

    @Override
    public String title() {
        return "BLIP-2 (image and text), " + images.images().vision().imageSize() + " px";
    }

    @Override
    public Map<String, String> parts() {
        Map<String, String> parts = new LinkedHashMap<>();
        parts.put("vision", "EVA, " + images.images().describe());
        parts.put("Q-Former", qformer.describe());
        return parts;
    }

    @Override
    public Description.Vision vision() {
        return images.images().vision().describe(Blip2.TOWER);
    }

    @Override
    public Views views(RgbImage image) {
        return images.views(image);
    }

    @Override
    public Resampling resampling() {
        return images.resampling();
    }

    @Override
    public int columns() {
        return columns;
    }

    @Override
    public Tokenizer tokenizer() {
        return tokenizer.get();
    }

    @Override
    public int[] ids(String text) {
        Tokenizer words = tokenizer.get();
        int[] ids = words.encodeWithSpecials(text);
        if (ids.length > qformer.positions()) {
            throw new IllegalArgumentException(
                    "the text has " + ids.length + " tokens, the model takes " + qformer.positions());
        }
        for (int id : ids) {
            if (id >= qformer.vocabularySize()) {
                throw new CheckpointException(
                        words.file(),
                        "the text holds token " + id + ", \"" + words.token(id) + "\", but the embedding table has "
                                + qformer.vocabularySize() + " rows");
            }
        }
        return ids;
    }

    @Override
    public int[] pairIds(int[] textIds) {
        return IntStream.concat(IntStream.of(QFormer.queryIds(qformer)), IntStream.of(textIds)).toArray();
    }

    @Override
    public Encoders build(Weights weights) {
        weights.ignore("*.position_ids");
        VisionTower tower = new VisionTower(images.images().vision(), weights.in(Blip2.TOWER));
        QFormer.Image image = QFormer.Image.kept(qformer, tower.output());
        QFormer queries = QFormer.queries(qformer, weights, "itc.image_", image);
        List<Segment> segments = new ArrayList<>(tower.segments());
        segments.addAll(queries.segments());
        List<Stage> stages = new ArrayList<>(tower.stages());
        stages.addAll(queries.stages());
        Tensor queryRows =
                new Tensor("image.embeddings", DType.F32, Shape.of(qformer.queries(), columns), Tensor.Kind.OUTPUT, 1);
        Encoding imageEncoding = encoding(
                "image", segments, stages, tower.patches(), "itc.query_projection",
                List.of(linear(weights, "vision_projection", queries.output(), queryRows)), queryRows, false);

        Tensor textIds = ids("text.ids", qformer.positions());
        QFormer text = QFormer.text(qformer, weights, "itc.text_", textIds);
        Tensor textRow = Pooled.output("text.embedding", 1, columns);
        Encoding textEncoding = encoding(
                "text", text.segments(), text.stages(), textIds, "itc.text_projection",
                List.of(linear(weights, "text_projection", text.output(), textRow)), textRow, true);

        Tensor pairIds = ids("pair.ids", qformer.queries() + qformer.positions());
        QFormer pair = QFormer.both(qformer, weights, "itm.", pairIds, image.made());
        Tensor each = Tensor.activation("itm.each", qformer.queries(), 2);
        Tensor logits = Pooled.output("itm.logits", 1, 2);
        Encoding pairEncoding = encoding(
                "pair", pair.segments(), pair.stages(), pairIds, "itm.logits",
                List.of(linear(weights, "itm_head", pair.output(), each), new Op.MeanRows(each, logits)), logits, true);
        return new Encoders(imageEncoding, textEncoding, pairEncoding);
    }

    private static Tensor ids(String name, int most) {
        return new Tensor(name, DType.I32, Shape.of(most), Tensor.Kind.INPUT, 1);
    }

    private static Op linear(Weights weights, String name, Tensor x, Tensor out) {
        return Linear.op(weights, name, true, x, Op.Activation.NONE, out);
    }

    private static Encoding encoding(
            String name,
            List<Segment> segments,
            List<Stage> stages,
            Tensor input,
            String head,
            List<Op> ops,
            Tensor output,
            boolean whole) {
        List<Segment> all = new ArrayList<>(segments);
        all.add(Segment.once(head, ops));
        List<Stage> allStages = new ArrayList<>(stages);
        allStages.add(new Stage(head, head, head, output));
        return new Encoding(new Pass(new Program(name, all), input, output), allStages, whole);
    }

    @Override
    public void requireFiles() {
        tokenizer.requirePresent();
    }
}
