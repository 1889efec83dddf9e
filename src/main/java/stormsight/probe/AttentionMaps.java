package stormsight.probe;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import stormsight.model.PaliGemma;
import stormsight.probe.AttentionMap.Axis;
import stormsight.probe.AttentionRequest.Kind;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.tokenizer.PaliGemmaPrompt;
import stormsight.tokenizer.Tokenizer;

/**
 * A probe that keeps what an {@link AttentionRequest} asks for, reduced while the model runs: nothing else is computed, and of a vision tower at
 * most one plane of [tokens, tokens] stands in memory for its layers and one for their sum.
 */
public final class AttentionMaps implements Probe {
    private static final String NAME = "attention.";

    private final AttentionRequest request;
    private PaliGemma model;
    private int imageTokens;
    private int textCapacity;
    private int capacity;
    private Op.Part vision;
    private Op.Part decoder;
    private Optional<Probes.Probed> visionLayers = Optional.empty();
    private Optional<Probes.Probed> visionHeads = Optional.empty();
    private Optional<Probes.Probed> visionSum = Optional.empty();
    private Optional<Probes.Probed> wordToImage = Optional.empty();
    private Optional<Probes.Probed> generatedToImage = Optional.empty();
    private Optional<Probes.Probed> imageToWord = Optional.empty();
    private Optional<Probes.Probed> quadrants = Optional.empty();
    private Optional<Probes.Probed> whole = Optional.empty();
    private Outputs run;
    /** What each generated token attends to, as decode left it. */
    private final List<float[]> generated = new ArrayList<>();

    public AttentionMaps(AttentionRequest request) {
        this.request = request;
    }

    /** @throws IllegalArgumentException if the model does not have a layer or head that was asked for */
    @Override
    public Program add(Pass pass, Program program, PaliGemma target) {
        request.check(target.config());
        model = target;
        imageTokens = target.config().vision().tokens();
        capacity = target.limits().promptTokens();
        textCapacity = capacity - imageTokens;
        vision = part(target.config().vision().layers(), target.config().vision().heads());
        decoder = part(target.config().text().layers(), target.config().text().heads().queryHeads());
        return switch (pass) {
            case ENCODE -> addVision(program);
            case PREFILL -> addPrompt(program);
            case DECODE -> addGenerated(program);
        };
    }

    private Op.Part part(int layers, int heads) {
        return new Op.Part(request.layers(layers), request.heads(heads), 0, 0);
    }

    private Program addVision(Program program) {
        if (!request.wants(Kind.VISION)) {
            return program;
        }
        String segment = model.visionLayers().segment();
        Probes.Probed layers = Probes.headMeanPeaks(program, segment, vision, Op.Kept.EACH, imageTokens, NAME + AttentionMap.VISION_LAYERS);
        Probes.Probed sum = Probes.headMeanPeaks(layers.program(), segment, vision, Op.Kept.SUM, imageTokens, NAME + AttentionMap.VISION_SUM);
        visionLayers = Optional.of(layers);
        visionSum = Optional.of(sum);
        visionHeads = request.headMean() ? Optional.empty()
                : Optional.of(Probes.attentionPeaks(sum.program(), segment, vision, imageTokens, imageTokens, NAME + AttentionMap.VISION_HEADS));
        return visionHeads.map(Probes.Probed::program).orElse(sum.program());
    }

    private Program addPrompt(Program program) {
        Program rewritten = program;
        if (request.wants(Kind.WORD_TO_IMAGE)) {
            wordToImage = Optional.of(weights(rewritten, imageTokens, 0, textCapacity, imageTokens, Op.Kept.EACH, AttentionMap.WORD_TO_IMAGE));
            rewritten = wordToImage.get().program();
        }
        if (request.wants(Kind.IMAGE_TO_WORD)) {
            imageToWord = Optional.of(weights(rewritten, 0, imageTokens, imageTokens, textCapacity, Op.Kept.EACH, AttentionMap.IMAGE_TO_WORD));
            rewritten = imageToWord.get().program();
        }
        if (request.wants(Kind.QUADRANTS)) {
            quadrants = Optional.of(weights(rewritten, 0, 0, capacity, capacity, Op.Kept.SUM, AttentionMap.QUADRANT));
            rewritten = quadrants.get().program();
        }
        if (request.wants(Kind.WHOLE)) {
            whole = Optional.of(weights(rewritten, 0, 0, capacity, capacity, Op.Kept.EACH, AttentionMap.WHOLE));
            rewritten = whole.get().program();
        }
        return rewritten;
    }

    private Program addGenerated(Program program) {
        if (request.wants(Kind.WORD_TO_IMAGE)) {
            generatedToImage = Optional.of(weights(program, 0, 0, 1, imageTokens, Op.Kept.EACH, "generated_to_image"));
        }
        return generatedToImage.map(Probes.Probed::program).orElse(program);
    }

    /** Heads stay apart only where each layer does. */
    private Probes.Probed weights(Program program, int firstRow, int firstKey, int rows, int keys, Op.Kept kept, String name) {
        Op.Part part = new Op.Part(decoder.layers(), decoder.heads(), firstRow, firstKey);
        return Probes.attentionWeights(program, model.decoderLayers().segment(), part, request.headMean() || kept == Op.Kept.SUM, kept, rows, keys,
                NAME + name);
    }

    @Override
    public void read(Pass pass, Outputs current) {
        run = current;
        switch (pass) {
            case ENCODE -> {}
            case PREFILL -> generated.clear();
            case DECODE -> generatedToImage.ifPresent(probed -> generated.add(current.read(probed.output())));
        }
    }

    /** Maps of the image that was encoded last, [rows, columns] of patches each; empty if they were not asked for. */
    public List<AttentionMap> vision() {
        List<AttentionMap> maps = new ArrayList<>();
        String reduced = heads(vision.heads()) + ", of which each patch keeps the largest weight that it gives to a patch";
        visionLayers.ifPresent(probed -> maps.add(new AttentionMap(AttentionMap.VISION_LAYERS, "vision tower: " + reduced,
                axes(Axis.of("layer", vision.layers())), run.read(probed.output()))));
        visionHeads.ifPresent(probed -> maps.add(new AttentionMap(AttentionMap.VISION_HEADS,
                "vision tower: for each head, the largest weight that each patch gives to a patch",
                axes(Axis.of("layer", vision.layers()), Axis.of("head", vision.heads())), run.read(probed.output()))));
        visionSum.ifPresent(probed -> maps.add(new AttentionMap(AttentionMap.VISION_SUM,
                "vision tower: sum over layers " + vision.layers() + " of the " + reduced, axes(), run.read(probed.output()))));
        return maps;
    }

    /**
     * Maps of the prompt that was answered last.
     *
     * @param answer its tokens without the one that ended it, each of which decode has read
     */
    public AttentionReading decoder(Tokenizer tokenizer, PaliGemmaPrompt prompt, List<Integer> answer) {
        int[] ids = prompt.plainIds();
        List<Word> words = new ArrayList<>();
        for (int i = imageTokens; i < ids.length; i++) {
            words.add(Word.of(tokenizer, words.size(), ids[i], false));
        }
        int prompted = words.size();
        for (int id : answer) {
            words.add(Word.of(tokenizer, words.size(), id, true));
        }
        List<AttentionMap> maps = new ArrayList<>();
        wordToImage.ifPresent(probed -> {
            float[] values = wordToImage(run.read(probed.output()), prompted);
            add(maps, AttentionMap.WORD_TO_IMAGE, AttentionMap.WORD_TO_IMAGE_SUM, "weight that a word gives to a patch", words, values);
        });
        imageToWord.ifPresent(probed -> {
            float[] values = imageToWord(run.read(probed.output()), prompted);
            add(maps, AttentionMap.IMAGE_TO_WORD, AttentionMap.IMAGE_TO_WORD_SUM, "weight that a patch gives to a word of the prompt",
                    words.subList(0, prompted), values);
        });
        quadrants.ifPresent(probed -> addQuadrants(maps, run.read(probed.output()), ids.length, words.subList(0, prompted)));
        whole.ifPresent(probed -> maps.add(whole(run.read(probed.output()), ids.length, words.subList(0, prompted))));
        return new AttentionReading(words, decoder.layers(), side(), maps);
    }

    private int planes() {
        return decoder.layers().size() * (request.headMean() ? 1 : decoder.heads().size());
    }

    private int side() {
        return model.config().vision().imageSize() / model.config().vision().patchSize();
    }

    private List<Axis> axes(Axis... first) {
        List<Axis> axes = new ArrayList<>(List.of(first));
        axes.add(Axis.counted("patch_row", side()));
        axes.add(Axis.counted("patch_column", side()));
        return axes;
    }

    private Axis headAxis() {
        return request.headMean() ? new Axis("head", List.of("mean")) : Axis.of("head", decoder.heads());
    }

    private static String heads(List<Integer> heads) {
        return "mean over heads " + heads;
    }

    /** [layers x heads, textCapacity, patches] and the generated rows to [layers x heads, words, patches]. */
    private float[] wordToImage(float[] prompt, int prompted) {
        int words = prompted + generated.size();
        float[] values = new float[Math.multiplyExact(Math.multiplyExact(planes(), words), imageTokens)];
        for (int plane = 0; plane < planes(); plane++) {
            System.arraycopy(prompt, plane * textCapacity * imageTokens, values, plane * words * imageTokens, prompted * imageTokens);
            for (int g = 0; g < generated.size(); g++) {
                System.arraycopy(generated.get(g), plane * imageTokens, values, (plane * words + prompted + g) * imageTokens, imageTokens);
            }
        }
        return values;
    }

    /** [layers x heads, patches, textCapacity] to [layers x heads, words, patches]. */
    private float[] imageToWord(float[] prompt, int prompted) {
        float[] values = new float[Math.multiplyExact(Math.multiplyExact(planes(), prompted), imageTokens)];
        for (int plane = 0; plane < planes(); plane++) {
            for (int patch = 0; patch < imageTokens; patch++) {
                for (int word = 0; word < prompted; word++) {
                    values[(plane * prompted + word) * imageTokens + patch] = prompt[(plane * imageTokens + patch) * textCapacity + word];
                }
            }
        }
        return values;
    }

    /** A map of each layer and head, and their mean over heads summed over layers. */
    private void add(List<AttentionMap> maps, String name, String sumName, String meaning, List<Word> words, float[] values) {
        Axis wordAxis = wordAxis(words);
        maps.add(new AttentionMap(name, "decoder: " + meaning + (request.headMean() ? ", " + heads(decoder.heads()) : ""),
                axes(Axis.of("layer", decoder.layers()), headAxis(), wordAxis), values));
        double[] sums = new double[words.size() * imageTokens];
        for (int i = 0; i < values.length; i++) {
            sums[i % sums.length] += values[i];
        }
        float[] sum = new float[sums.length];
        for (int i = 0; i < sum.length; i++) {
            sum[i] = (float) (sums[i] * decoder.layers().size() / planes());
        }
        maps.add(new AttentionMap(sumName, "decoder: " + meaning + ", " + heads(decoder.heads()) + ", sum over layers " + decoder.layers(),
                axes(wordAxis), sum));
    }

    private static Axis wordAxis(List<Word> words) {
        return new Axis("word", words.stream().map(Word::text).toList());
    }

    private void addQuadrants(List<AttentionMap> maps, float[] sum, int tokens, List<Word> words) {
        for (boolean imageRows : new boolean[] {true, false}) {
            for (boolean imageKeys : new boolean[] {true, false}) {
                int firstRow = imageRows ? 0 : imageTokens;
                int rows = imageRows ? imageTokens : tokens - imageTokens;
                int firstKey = imageKeys ? 0 : imageTokens;
                int keys = imageKeys ? imageTokens : tokens - imageTokens;
                float[] values = new float[Math.multiplyExact(rows, keys)];
                for (int row = 0; row < rows; row++) {
                    System.arraycopy(sum, (firstRow + row) * capacity + firstKey, values, row * keys, keys);
                }
                maps.add(new AttentionMap(AttentionMap.QUADRANT + (imageRows ? "image_" : "text_") + (imageKeys ? "image" : "text"),
                        "decoder: weight that a token of the row gives to the token of the column, " + heads(decoder.heads()) + ", sum over layers "
                                + decoder.layers(),
                        List.of(imageRows ? Axis.counted("query_patch", rows) : new Axis("query_word", wordAxis(words).labels()),
                                imageKeys ? Axis.counted("key_patch", keys) : new Axis("key_word", wordAxis(words).labels())), values));
            }
        }
    }

    private AttentionMap whole(float[] all, int tokens, List<Word> words) {
        float[] values = new float[Math.multiplyExact(planes(), Math.multiplyExact(tokens, tokens))];
        for (int plane = 0; plane < planes(); plane++) {
            for (int row = 0; row < tokens; row++) {
                System.arraycopy(all, (plane * capacity + row) * capacity, values, (plane * tokens + row) * tokens, tokens);
            }
        }
        List<String> labels = new ArrayList<>(Axis.counted("patch", imageTokens).labels());
        words.forEach(word -> labels.add(word.text()));
        return new AttentionMap(AttentionMap.WHOLE, "decoder: weight that a token of the row gives to the token of the column"
                + (request.headMean() ? ", " + heads(decoder.heads()) : ""),
                List.of(Axis.of("layer", decoder.layers()), headAxis(), new Axis("query", labels), new Axis("key", labels)), values);
    }
}
