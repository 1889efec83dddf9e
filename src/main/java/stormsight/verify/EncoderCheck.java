package stormsight.verify;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import stormsight.backend.Backend;
import stormsight.backend.RunListener;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.JsonRecord;
import stormsight.match.Embedder;
import stormsight.match.PairMatcher;
import stormsight.match.Similarity;
import stormsight.match.Towers;
import stormsight.model.Classifier;
import stormsight.model.DualEncoder;
import stormsight.model.Encoding;
import stormsight.model.Matcher;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Stage;
import stormsight.model.Views;
import stormsight.model.Weights;
import stormsight.probe.Probes;
import stormsight.probe.StageProbes;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Shape;
import stormsight.program.Tensor;

/**
 * Compares what a dual encoder or a classifier makes of the images and texts of a golden folder with what was recorded.
 * Texts are ids, or templates with labels as in the zero-shot pipeline of transformers.
 */
final class EncoderCheck {
    private static final double LOGITS = 1e-4;
    private static final String LOGITS_OF_PAIR = "itm.logits";

    private final Path folder;
    private final ModelDirectory directory;
    private final Backend backend;
    private final JsonRecord expected;
    private final Recorded recorded;

    EncoderCheck(Path folder, ModelDirectory directory, Backend backend, JsonRecord expected, Recorded recorded) {
        this.folder = folder;
        this.directory = directory;
        this.backend = backend;
        this.expected = expected;
        this.recorded = recorded;
    }

    /**
     * An encoding with probes.
     *
     * @param stages of which a run leaves something, with the tensors that hold it
     * @param weights of the attention in the layers, and in the pooling head
     */
    private record Tapped(Encoding encoding, Map<Stage, Tensor> stages, Map<String, Tensor> weights) {
        /** @param side how names begin: {@code vision} or {@code text} */
        static Tapped of(Encoding encoding, String side, Recorded recorded) {
            Map<Stage, Tensor> stages = new LinkedHashMap<>();
            Program program = StageProbes.add(encoding.program(), encoding.stages(), stages);
            Map<String, Tensor> weights = new LinkedHashMap<>();
            for (Map.Entry<String, String> probed : Map.of(
                            side + ".layers", side + ".attn", side + ".pooled", side + ".pool_attn")
                    .entrySet()) {
                Optional<Stage> stage = encoding.stages().stream()
                        .filter(known -> known.name().equals(probed.getKey()))
                        .findFirst();
                if (stage.isPresent() && attends(program, stage.get())) {
                    Probes.Probed attention = Probes.attentionWeights(
                            program,
                            stage.get().segment(),
                            encoding.pass().input().rows() > 1
                                    ? encoding.pass().input().rows()
                                    : encoding.pass().input().columns(),
                            "golden." + probed.getValue());
                    weights.put(probed.getValue(), attention.output());
                    program = attention.program();
                }
            }
            for (Stage stage : encoding.stages()) {
                String name = stage.name() + "_attn";
                if (recorded.has(name)) {
                    Probes.Probed attention = Probes.attentionWeights(program, stage.segment(), "golden." + name);
                    weights.put(name, attention.output());
                    program = attention.program();
                }
            }
            return new Tapped(encoding.with(program), stages, weights);
        }

        private static boolean attends(Program program, Stage stage) {
            return program.segments().stream().filter(segment -> segment.name().equals(stage.segment()))
                    .anyMatch(segment -> segment.ops().stream().anyMatch(Op.Attention.class::isInstance));
        }
    }

    void run() {
        switch (directory.anyModel()) {
            case DualEncoder model -> dual(model);
            case Matcher model -> matcher(model);
            case Classifier model -> classifier(model);
            default -> throw new CheckpointException(folder, "is a model that nothing can be compared for");
        }
        recorded.requireAllCompared();
    }

    private void dual(DualEncoder model) {
        try (Arena arena = Arena.ofShared()) {
            Weights weights = Weights.bound(directory.checkpoint(), arena, Options.DEFAULT);
            DualEncoder.Encoders encoders = model.build(weights);
            Tapped image = Tapped.of(encoders.image(), "vision", recorded);
            Tapped text = Tapped.of(encoders.text(), "text", recorded);
            Similarity similarity = Similarity.of(model, encoders, weights);
            try (Towers towers =
                    new Towers(weights, List.of(image.encoding(), text.encoding()), backend, RunListener.NONE)) {
                float[][] images = images(
                        towers,
                        image,
                        GoldenCheck.inputs(folder).stream().map(model::views).toList());
                float[][] unit = unit(images);
                recorded.floats("image_embeds", GoldenCheck.joined(List.of(unit)), GoldenCheck.STATES);
                if (expected.find("input_ids").isPresent()) {
                    float[][] texts = unit(texts(model, towers, text, ids(expected.get("input_ids"))));
                    recorded.floats("text_embeds", GoldenCheck.joined(List.of(texts)), GoldenCheck.STATES);
                    scores("", similarity, unit, texts);
                    losses(similarity, unit, texts);
                }
                List<JsonRecord> templates = expected.find("templates").map(JsonRecord::elements).orElse(List.of());
                for (int t = 0; t < templates.size(); t++) {
                    template("t" + t + ".", templates.get(t), model, towers, text, similarity, unit);
                }
                if (expected.find("captions").isPresent()) {
                    captions(expected.get("captions"), model, towers, text, similarity, unit);
                }
            }
        }
    }

    /** Each image with the text of the same number, and all images and texts apart. */
    private void matcher(Matcher model) {
        try (Arena arena = Arena.ofShared()) {
            Weights weights = Weights.bound(directory.checkpoint(), arena, Options.DEFAULT);
            Matcher.Encoders encoders = model.build(weights);
            Tapped image = Tapped.of(encoders.image(), "vision", recorded);
            Tapped text = Tapped.of(encoders.text(), "text", recorded);
            Tapped pair = Tapped.of(encoders.pair(), "pair", recorded);
            List<Views> views = GoldenCheck.inputs(folder).stream().map(model::views).toList();
            int[][] texts = unpadded();
            if (texts.length != views.size()) {
                throw expected.get("input_ids").invalid(texts.length + " texts for " + views.size() + " images");
            }
            try (Towers towers = new Towers(
                    weights,
                    List.of(image.encoding(), text.encoding(), pair.encoding()),
                    backend,
                    RunListener.NONE)) {
                List<float[]> queries = new ArrayList<>();
                for (float[] all : images(towers, image, views)) {
                    for (int at = 0; at < all.length; at += model.columns()) {
                        queries.add(Embedder.normalized(Arrays.copyOfRange(all, at, at + model.columns())));
                    }
                }
                float[][] rows = unit(embeddings(towers, text, texts));
                recorded.floats("itc.query_embeds", GoldenCheck.joined(queries), GoldenCheck.STATES);
                recorded.floats("itc.text_embeds", GoldenCheck.joined(List.of(rows)), GoldenCheck.STATES);
                int each = queries.size() / views.size();
                double[][] similarities = new double[views.size()][];
                for (int i = 0; i < similarities.length; i++) {
                    float[][] some = queries.subList(i * each, (i + 1) * each).toArray(float[][]::new);
                    similarities[i] = Arrays.stream(rows)
                            .mapToDouble(row -> PairMatcher.similarity(some, row))
                            .toArray();
                }
                recorded.floats("itc.similarity", joined(similarities), GoldenCheck.STATES);
                pairs(model, towers, image, pair, views, texts);
            }
        }
    }

    /** The texts without their padding, which nothing sees. */
    private int[][] unpadded() {
        int[][] padded = ids(expected.get("input_ids"));
        int[][] mask = ids(expected.get("attention_mask"));
        int[][] texts = new int[padded.length][];
        for (int i = 0; i < texts.length; i++) {
            texts[i] = Arrays.copyOf(padded[i], Arrays.stream(mask[i]).sum());
        }
        return texts;
    }

    private void pairs(
            Matcher model, Towers towers, Tapped image, Tapped pair, List<Views> views, int[][] texts) {
        Map<String, List<float[]>> found = new LinkedHashMap<>();
        Map<String, List<float[]>> wanted = new LinkedHashMap<>();
        double[][] probabilities = new double[texts.length][];
        for (int i = 0; i < texts.length; i++) {
            towers.image(image.encoding(), views.get(i));
            int[] ids = model.pairIds(texts[i]);
            float[] logits = towers.text(pair.encoding(), ids);
            probabilities[i] = Similarity.softmax(new double[] {logits[0], logits[1]});
            Map<String, Tensor> outputs = new LinkedHashMap<>(pair.weights());
            pair.stages().forEach((stage, output) -> outputs.put(stage.name(), output));
            for (String name : outputs.keySet()) {
                if (recorded.has(name)) {
                    Tensor output = outputs.get(name);
                    keep(found, name, used(name, towers.read(output), output.shape(), ids.length));
                    keep(wanted, name, usedOfRecorded(name, i, texts.length, ids.length));
                }
            }
        }
        found.forEach((name, values) -> recorded.compare(
                name,
                GoldenCheck.joined(values),
                GoldenCheck.joined(wanted.get(name)),
                name.endsWith("attn") ? GoldenCheck.PROBABILITIES : GoldenCheck.STATES));
        recorded.floats("itm.probabilities", joined(probabilities), GoldenCheck.PROBABILITIES);
    }

    /** The same of what is recorded of one of several pairs, where shorter texts are padded. */
    private float[] usedOfRecorded(String name, int pair, int pairs, int tokens) {
        float[] all = recorded.values(name);
        int size = all.length / pairs;
        return used(name, Arrays.copyOfRange(all, pair * size, (pair + 1) * size), recorded.info(name).shape(), tokens);
    }

    /** Rows, and of attention among tokens columns, of as many tokens as there are. */
    private static float[] used(String name, float[] all, Shape shape, int tokens) {
        int columns = shape.columns();
        int rows = name.equals(LOGITS_OF_PAIR) ? 1 : shape.dimension(shape.rank() - 2);
        int usedColumns = name.endsWith("self_attn") ? Math.min(columns, tokens) : columns;
        return GoldenCheck.part(
                all, all.length / rows / columns, rows, columns, Math.min(rows, tokens), usedColumns);
    }

    /** Embeddings of images; compares what the stages leave of all of them. */
    private float[][] images(Towers towers, Tapped tapped, List<Views> views) {
        recorded.floats(
                "pixel_values",
                GoldenCheck.joined(views.stream().map(view -> view.pixels(0)).toList()),
                GoldenCheck.PIXELS);
        Map<String, List<float[]>> made = new LinkedHashMap<>();
        List<float[]> embeddings = new ArrayList<>();
        for (Views view : views) {
            embeddings.add(towers.image(tapped.encoding(), view));
            tapped.stages().forEach((stage, output) -> keep(made, stage.name(), towers.read(output)));
            tapped.weights().forEach((name, output) -> keep(made, name, planes(name, towers.read(output), output)));
        }
        compare(made);
        if (recorded.has("query_output")) {
            // The last layer of the queries alone, once more.
            int size = (int) recorded.info("query_output").shape().elements() / views.size();
            recorded.floats("query_output", GoldenCheck.joined(made.get("itc.image_layers").stream()
                    .map(layers -> Arrays.copyOfRange(layers, layers.length - size, layers.length))
                    .toList()), GoldenCheck.STATES);
        }
        return embeddings.toArray(float[][]::new);
    }

    /** Embeddings of texts; compares what the stages leave of all rows. */
    private float[][] texts(DualEncoder model, Towers towers, Tapped tapped, int[][] texts) {
        Map<String, List<float[]>> made = new LinkedHashMap<>();
        List<float[]> embeddings = new ArrayList<>();
        for (int[] ids : texts) {
            towers.text(tapped.encoding(), ids);
            tapped.stages().forEach((stage, output) -> {
                if (stage.result().rows() > 1) {
                    keep(made, stage.name(), towers.read(output));
                }
            });
            tapped.weights().forEach((name, output) -> keep(made, name, planes(name, towers.read(output), output)));
            // The row that stands for the text is the last one of those that are needed.
            embeddings.add(towers.text(tapped.encoding(), model.needed(ids)));
            tapped.stages().forEach((stage, output) -> {
                if (stage.result().rows() == 1) {
                    keep(made, stage.name(), towers.read(output));
                }
            });
        }
        compare(made);
        return embeddings.toArray(float[][]::new);
    }

    /** A pooling head's weights are recorded as the mean of its heads. */
    private static float[] planes(String name, float[] weights, Tensor output) {
        return name.endsWith(".pool_attn") ? GoldenCheck.headMean(weights, 1, output.shape().dimension(0)) : weights;
    }

    private static void keep(Map<String, List<float[]>> made, String name, float[] values) {
        made.computeIfAbsent(name, _ -> new ArrayList<>()).add(values);
    }

    private void compare(Map<String, List<float[]>> made) {
        made.forEach((name, found) -> recorded.floats(name, GoldenCheck.joined(found),
                name.endsWith("attn") ? GoldenCheck.PROBABILITIES : GoldenCheck.STATES));
    }

    private void template(
            String name,
            JsonRecord template,
            DualEncoder model,
            Towers towers,
            Tapped tapped,
            Similarity similarity,
            float[][] images) {
        // Where a tokenizer leaves letters as they are although the model was trained on lower case, both are recorded.
        boolean lowered = template.find("input_ids_lower").isPresent();
        int[][] wanted = ids(template.get(lowered ? "input_ids_lower" : "input_ids"));
        int[][] found = foundIds(name, template, model, wanted);
        float[][] plain = unit(embeddings(towers, tapped, lowered ? ids(template.get("input_ids")) : found));
        recorded.floats(name + "text_embeds", GoldenCheck.joined(List.of(plain)), GoldenCheck.STATES);
        double[][] probabilities = scores(name, similarity, images, plain);
        List<String> labels = expected.get("labels").elements().stream().map(JsonRecord::text).toList();
        List<String> best = template.get("best").elements().stream().map(JsonRecord::text).toList();
        recorded.exact(name + "best", Arrays.stream(probabilities).mapToInt(EncoderCheck::largest).toArray(),
                best.stream().mapToInt(labels::indexOf).toArray());
        if (lowered) {
            scores(name + "lower.", similarity, images, unit(embeddings(towers, tapped, found)));
        }
    }

    /** Each image has a text. */
    private void captions(
            JsonRecord captions,
            DualEncoder model,
            Towers towers,
            Tapped tapped,
            Similarity similarity,
            float[][] images) {
        int[][] found = foundIds("captions.", captions, model, ids(captions.get("input_ids")));
        float[][] texts = unit(texts(model, towers, tapped, found));
        recorded.floats("captions.text_embeds", GoldenCheck.joined(List.of(texts)), GoldenCheck.STATES);
        scores("captions.", similarity, images, texts);
        recorded.floats(
                "captions.loss", new float[] {(float) similarity.loss(images, texts).total()}, LOGITS);
    }

    /** What the tokenizer makes of recorded texts, which must be the recorded ids. */
    private int[][] foundIds(String name, JsonRecord record, DualEncoder model, int[][] wanted) {
        int[][] found = record.get("texts").elements().stream().map(JsonRecord::text).map(model::ids)
                .toArray(int[][]::new);
        for (int i = 0; i < found.length; i++) {
            recorded.exact(name + "ids." + i, found[i], model.needed(wanted[i]));
        }
        return found;
    }

    private static float[][] embeddings(Towers towers, Tapped tapped, int[][] texts) {
        return Arrays.stream(texts).map(ids -> towers.text(tapped.encoding(), ids)).toArray(float[][]::new);
    }

    /** @return probabilities of the texts for each image */
    private double[][] scores(String name, Similarity similarity, float[][] images, float[][] texts) {
        double[][] logits = Arrays.stream(images)
                .map(image -> Arrays.stream(texts)
                        .mapToDouble(text -> similarity.logit(image, text))
                        .toArray())
                .toArray(double[][]::new);
        double[][] probabilities = Arrays.stream(logits).map(similarity::probabilities).toArray(double[][]::new);
        recorded.floats(name + "logits_per_image", joined(logits), LOGITS);
        recorded.floats(name + "probabilities", joined(probabilities), GoldenCheck.PROBABILITIES);
        return probabilities;
    }

    private void losses(Similarity similarity, float[][] images, float[][] texts) {
        recorded.floats("loss", new float[] {(float) similarity.loss(images, texts).total()}, LOGITS);
        recorded.floats(
                "loss_b1",
                new float[] {
                    (float) similarity
                            .loss(Arrays.copyOf(images, 1), Arrays.copyOf(texts, 1))
                            .total()
                },
                LOGITS);
    }

    private void classifier(Classifier model) {
        try (Arena arena = Arena.ofShared()) {
            Weights weights = Weights.bound(directory.checkpoint(), arena, Options.DEFAULT);
            Tapped tapped = Tapped.of(model.build(weights), "vision", recorded);
            try (Towers towers = new Towers(weights, List.of(tapped.encoding()), backend, RunListener.NONE)) {
                float[][] logits = images(
                        towers,
                        tapped,
                        GoldenCheck.inputs(folder).stream().map(model::views).toList());
                double[][] probabilities = Arrays.stream(logits).map(row -> {
                    double[] wide = new double[row.length];
                    Arrays.setAll(wide, i -> row[i]);
                    return Similarity.softmax(wide);
                }).toArray(double[][]::new);
                recorded.floats("probabilities", joined(probabilities), GoldenCheck.PROBABILITIES);
                recorded.exact(
                        "top1",
                        Arrays.stream(probabilities)
                                .mapToInt(EncoderCheck::largest)
                                .toArray(),
                        expected.get("top1").indices(Integer.MAX_VALUE));
            }
        }
    }

    private static int largest(double[] values) {
        int largest = 0;
        for (int i = 1; i < values.length; i++) {
            largest = values[i] > values[largest] ? i : largest;
        }
        return largest;
    }

    private static int[][] ids(JsonRecord arrays) {
        return arrays.elements().stream().map(row -> row.indices(Integer.MAX_VALUE)).toArray(int[][]::new);
    }

    private static float[][] unit(float[][] embeddings) {
        return Arrays.stream(embeddings).map(Embedder::normalized).toArray(float[][]::new);
    }

    private static float[] joined(double[][] rows) {
        double[] all = Arrays.stream(rows).flatMapToDouble(Arrays::stream).toArray();
        float[] values = new float[all.length];
        for (int i = 0; i < all.length; i++) {
            values[i] = (float) all[i];
        }
        return values;
    }
}
