package stormsight.study;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.RunListener;
import stormsight.checkpoint.HostTensor;
import stormsight.generate.Generator;
import stormsight.image.Box;
import stormsight.image.RgbImage;
import stormsight.match.Towers;
import stormsight.model.Classifier;
import stormsight.model.Description;
import stormsight.model.DualEncoder;
import stormsight.model.Encoding;
import stormsight.model.ImageEncoder;
import stormsight.model.Limits;
import stormsight.model.Matcher;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Passes;
import stormsight.model.Prompt;
import stormsight.model.Span;
import stormsight.model.Stage;
import stormsight.model.Views;
import stormsight.model.Weights;
import stormsight.probe.AttentionMap;
import stormsight.probe.AttentionMap.Axis;
import stormsight.probe.AttentionMaps;
import stormsight.probe.AttentionReading;
import stormsight.probe.AttentionRequest;
import stormsight.probe.Probe;
import stormsight.probe.Probes;
import stormsight.probe.TowerProbe;
import stormsight.probe.TowerReading;
import stormsight.probe.Visibility;
import stormsight.probe.Word;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Tensor;
import stormsight.report.VisibilityFigure.Kind;
import stormsight.report.VisibilityFigure.Token;
import stormsight.tokenizer.Tokenizer;

/** Runs a model about one image and reads what an {@link Explanation} shows. */
public final class Explainer {
    private static final String ALL_HEADS = "mean over heads";

    private final ModelDirectory directory;
    private final Backend backend;
    private final Options options;
    private final RunListener listener;

    /** @param directory stays open */
    public Explainer(ModelDirectory directory, Backend backend, Options options, RunListener listener) {
        this.directory = directory;
        this.backend = backend;
        this.options = options;
        this.listener = listener;
    }

    /**
     * Reads what the model makes of an image.
     *
     * @param text prompt of a model that answers, text of one that compares; without it the tower alone is explained
     * @param maxTokens longest answer
     * @throws IllegalArgumentException if the model takes no such text
     */
    public Explained explain(RgbImage image, Optional<String> text, int maxTokens) {
        return switch (directory.anyModel()) {
            case DualEncoder model -> dual(model, image, text);
            case Matcher model -> matcher(model, image, text);
            case Classifier model -> {
                if (text.isPresent()) {
                    throw new IllegalArgumentException("this model reads no text");
                }
                yield encoded(model, image, List.of(), Optional.empty());
            }
            default -> answering(image, text, maxTokens);
        };
    }

    // Models that answer.

    private Explained answering(RgbImage image, Optional<String> text, int maxTokens) {
        Description model = directory.describe();
        Views views = directory.views(image, "the image");
        TowerProbe tower = new TowerProbe(model.vision());
        if (text.isEmpty()) {
            Limits limits = new Limits(2, 1, views.count());
            try (Generator generator =
                    Generator.open(directory, backend, limits, options, listener, List.of(tower))) {
                generator.encodeViews(List.of(views));
                return explained(views, tower.reading(), generator.weights(), List.of(), Optional.empty(),
                        Optional.empty());
            }
        }
        Prompt prompt = directory.prompt(text.get(), List.of(views));
        List<Probe> probes = new ArrayList<>(List.of(tower));
        Optional<AttentionMaps> bridge = prompt.hasQueries()
                ? Optional.of(new AttentionMaps(
                        new AttentionRequest(
                                EnumSet.of(AttentionRequest.Kind.QUERIES, AttentionRequest.Kind.WORD_TO_IMAGE),
                                Optional.empty(),
                                Optional.empty()),
                        model,
                        List.of(prompt)))
                : Optional.empty();
        bridge.ifPresent(probes::add);
        Limits limits = new Limits(prompt.length(), maxTokens, views.count());
        try (Generator generator = Generator.open(directory, backend, limits, options, listener, probes)) {
            generator.encodeViews(List.of(views));
            List<Integer> answer = generator.greedy(prompt, maxTokens);
            Tokenizer tokenizer = directory.tokenizer();
            return explained(
                    views,
                    tower.reading(),
                    generator.weights(),
                    visible(generator.passes(), prompt, answer),
                    bridge.map(maps -> bridge(maps.vision(prompt), maps.decoder(tokenizer, prompt, answer))),
                    Optional.of(tokenizer.decode(answer.stream().mapToInt(Integer::intValue).toArray(), true)));
        }
    }

    private static Explained.Bridge bridge(List<AttentionMap> queries, AttentionReading reading) {
        return new Explained.Bridge(queries, List.of(
                reading.map(AttentionMap.WORD_TO_QUERY).orElseThrow(),
                reading.map(AttentionMap.WORD_TO_QUERY_SUM).orElseThrow()));
    }

    private List<Explained.VisibleTokens> visible(Passes passes, Prompt prompt, List<Integer> answer) {
        List<Visibility.Run> runs = new ArrayList<>();
        runs.add(new Visibility.Run(
                passes.prefill().program(), passes.prefillStep(prompt.length(), prompt.prefixLength())));
        for (int i = 0; i < answer.size(); i++) {
            runs.add(new Visibility.Run(
                    passes.decode().program(), passes.decodeStep(prompt.length() + i, prompt.prefixLength())));
        }
        List<Token> tokens = new ArrayList<>();
        int rows = 0;
        for (int place = 0; place < prompt.length(); place++) {
            tokens.add(prompt.isImage(place)
                    ? new Token(Kind.IMAGE, (prompt.hasQueries() ? "query " : "image ") + rows++)
                    : new Token(Kind.PROMPT, name(directory.tokenizer(), prompt.ids()[place])));
        }
        answer.forEach(id -> tokens.add(new Token(Kind.ANSWER, name(directory.tokenizer(), id))));
        List<Visibility> found =
                Visibility.of(runs, passes.stage(Stage.DECODER_LAYERS).segment());
        String rule = prompt.prefixLength() > 0
                ? "Image and prompt all see each other; a word of the answer sees them and the words before it."
                : "Each token sees itself and what stands before it, image and prompt as well as answer.";
        // Of equal ones the first.
        Visibility widest = Collections.max(found, Comparator.comparingInt(Explainer::edges));
        return found.stream()
                .map(seen -> new Explained.VisibleTokens(
                        rule
                                + (found.size() > 1 && seen != widest
                                        ? " In these layers words of the answer see the last tokens alone."
                                        : ""),
                        found.size() > 1 ? "layers " + AttentionFiles.ranges(seen.layers()) : "",
                        tokens,
                        seen))
                .toList();
    }

    private static int edges(Visibility visibility) {
        int edges = 0;
        for (boolean seen : visibility.seen()) {
            edges += seen ? 1 : 0;
        }
        return edges;
    }

    private static String name(Tokenizer tokenizer, int id) {
        return Word.of(tokenizer, 0, id, false).text();
    }

    // Models that compare or name.

    private Explained dual(DualEncoder model, RgbImage image, Optional<String> text) {
        if (text.isEmpty()) {
            return encoded(model, image, List.of(), Optional.empty());
        }
        int[] ids = model.ids(text.get());
        List<Token> tokens = tokens(model.tokenizer(), ids);
        Encoding encoding = model.build(Weights.of(directory.checkpoint(), options)).text();
        Visibility.Run run = new Visibility.Run(encoding.program(), encoding.step(ids.length));
        List<Explained.VisibleTokens> visible = Visibility.of(List.of(run), Stage.TEXT_LAYERS).stream()
                .map(seen -> new Explained.VisibleTokens(
                        seen.isWhole()
                                ? "All tokens of the text see each other, padding as well; the last one stands for "
                                        + "the text."
                                : "Each token of the text sees itself and those before it, so that the last one, "
                                        + "which stands for the text, has seen all.",
                        "",
                        tokens,
                        seen))
                .toList();
        return encoded(model, image, visible, Optional.empty());
    }

    private static List<Token> tokens(Tokenizer tokenizer, int[] ids) {
        List<Token> tokens = new ArrayList<>();
        // Of the same tokens at the end the first one ends the text, and the others fill it up.
        int padding = ids.length;
        while (padding > 1 && ids[padding - 1] == ids[padding - 2]) {
            padding--;
        }
        for (int i = 0; i < ids.length; i++) {
            tokens.add(new Token(i < padding ? Kind.PROMPT : Kind.PADDING, name(tokenizer, ids[i])));
        }
        return tokens;
    }

    private Explained matcher(Matcher model, RgbImage image, Optional<String> text) {
        if (text.isEmpty()) {
            return encoded(model, image, List.of(), Optional.of(Matcher.QUERIES_ALONE));
        }
        int[] ids = model.ids(text.get());
        List<String> words = new ArrayList<>();
        for (int id : ids) {
            words.add(name(model.tokenizer(), id));
        }
        return pair(model, image, ids, words);
    }

    /** An image and the ids of a text, with what names them. */
    Explained pair(Matcher model, RgbImage image, int[] ids, List<String> words) {
        int[] all = model.pairIds(ids);
        Description.Vision vision = model.vision();
        int queries = all.length - ids.length;
        try (Arena arena = Arena.ofShared()) {
            Weights weights = Weights.bound(directory.checkpoint(), arena, options);
            Matcher.Encoders encoders = model.build(weights);
            TowerProbe tower = new TowerProbe(vision);
            Encoding seen = encoders.image()
                    .with(tower.add(encoders.image().program(), encoders.image().stages()));
            Program pair = encoders.pair().program();
            List<Integer> crossing = Probes.layers(pair, Matcher.QUERIES_WITH_TEXT);
            Probes.Probed cross = queriesRead(pair, Matcher.QUERIES_WITH_TEXT, queries, vision);
            List<Integer> layers = Probes.layers(pair, Matcher.TOGETHER);
            Probes.Probed self = Probes.attentionWeights(
                    cross.program(),
                    Matcher.TOGETHER,
                    new Op.Part(layers, Probes.heads(pair, Matcher.TOGETHER), queries, 0),
                    true,
                    Op.Kept.EACH,
                    encoders.pair().rows() - queries,
                    queries,
                    "explain.word_to_query");
            Encoding read = encoders.pair().with(self.program());
            try (Towers towers = new Towers(weights, List.of(seen, read), backend, listener)) {
                Views views = Views.of(model::views, image, "the image");
                towers.image(seen, views);
                TowerReading reading = tower.reading(towers::read);
                towers.text(read, all);
                List<Token> tokens = new ArrayList<>();
                IntStream.range(0, queries).forEach(query -> tokens.add(new Token(Kind.IMAGE, "query " + query)));
                words.forEach(word -> tokens.add(new Token(Kind.PROMPT, word)));
                Visibility.Run run = new Visibility.Run(pair, encoders.pair().step(all.length));
                List<Explained.VisibleTokens> visible = Visibility.of(List.of(run), Matcher.TOGETHER).stream()
                        .map(each -> new Explained.VisibleTokens(
                                "Queries and words of the text all see each other.", "", tokens, each))
                        .toList();
                return explained(
                        views,
                        reading,
                        weights.values(),
                        visible,
                        Optional.of(new Explained.Bridge(
                                AttentionMaps.queryMaps(
                                        towers.read(cross.output()),
                                        IntStream.range(0, crossing.size()).boxed().toList(),
                                        ALL_HEADS,
                                        grid(vision)),
                                wordMaps(towers.read(self.output()), layers, words, queries))),
                        Optional.empty());
            }
        }
    }

    private static Probes.Probed queriesRead(
            Program program, String segment, int queries, Description.Vision vision) {
        return Probes.attentionWeights(
                program,
                segment,
                new Op.Part(
                        Probes.layers(program, segment), Probes.heads(program, segment), 0, vision.firstPatch()),
                true,
                Op.Kept.EACH,
                queries,
                vision.patches(),
                "explain." + AttentionMap.QUERY_TO_IMAGE);
    }

    private static Span.Grid grid(Description.Vision vision) {
        return new Span.Grid(
                vision.gridRows(),
                vision.gridColumns(),
                vision.gridColumns(),
                new Box(0, 0, vision.gridColumns(), vision.gridRows()));
    }

    /** @param read [layers, most words, queries] */
    private static List<AttentionMap> wordMaps(float[] read, List<Integer> layers, List<String> words, int queries) {
        int all = read.length / layers.size();
        float[] values = new float[layers.size() * words.size() * queries];
        for (int layer = 0; layer < layers.size(); layer++) {
            System.arraycopy(read, layer * all, values, layer * words.size() * queries, words.size() * queries);
        }
        Axis word = new Axis("word", words);
        Axis query = Axis.counted("query", queries);
        String meaning = "Q-Former: weight that a word gives to a query, mean over heads";
        return List.of(
                new AttentionMap(
                        AttentionMap.WORD_TO_QUERY, meaning, List.of(Axis.of("layer", layers), word, query), values),
                new AttentionMap(
                        AttentionMap.WORD_TO_QUERY_SUM,
                        meaning + ", sum over layers",
                        List.of(word, query),
                        AttentionMaps.sumOverLayers(values, layers.size())));
    }

    /** @param crossing segment in which queries read the image, if there is one */
    private Explained encoded(
            ImageEncoder model, RgbImage image, List<Explained.VisibleTokens> visible, Optional<String> crossing) {
        try (Arena arena = Arena.ofShared()) {
            Weights weights = Weights.bound(directory.checkpoint(), arena, options);
            Encoding encoding = model.encodings(weights).getFirst();
            TowerProbe tower = new TowerProbe(model.vision());
            Program program = tower.add(encoding.program(), encoding.stages());
            Optional<Probes.Probed> cross = Optional.empty();
            if (crossing.isPresent()) {
                int queries = encoding.pass().output().rows();
                cross = Optional.of(queriesRead(program, crossing.get(), queries, model.vision()));
                program = cross.get().program();
            }
            Encoding probed = encoding.with(program);
            try (Towers towers = new Towers(weights, List.of(probed), backend, listener)) {
                Views views = Views.of(model::views, image, "the image");
                towers.image(probed, views);
                return explained(
                        views,
                        tower.reading(towers::read),
                        weights.values(),
                        visible,
                        cross.map(read -> new Explained.Bridge(
                                AttentionMaps.queryMaps(
                                        towers.read(read.output()),
                                        Probes.layers(encoding.program(), crossing.orElseThrow()),
                                        ALL_HEADS,
                                        grid(model.vision())),
                                List.of())),
                        Optional.empty());
            }
        }
    }

    private static Explained explained(
            Views views,
            TowerReading tower,
            Map<Tensor, HostTensor> weights,
            List<Explained.VisibleTokens> visible,
            Optional<Explained.Bridge> bridge,
            Optional<String> answer) {
        for (float norm : tower.norms()) {
            if (!Float.isFinite(norm)) {
                throw new BackendException("the tower made rows that are not numbers: the weights are damaged or the "
                        + "device computes wrongly");
            }
        }
        int size = views.squares(0).getFirst().size();
        RgbImage view = views.view(0);
        int width = tower.vision().gridColumns() * size;
        int height = tower.vision().gridRows() * size;
        return new Explained(
                view.width() == width && view.height() == height ? view : view.crop(0, 0, width, height),
                views.count(),
                size,
                tower,
                tower.positionSimilarity(positions(weights, tower.vision().positions())),
                visible,
                bridge,
                answer);
    }

    private static float[] positions(Map<Tensor, HostTensor> weights, String name) {
        return weights.entrySet().stream()
                .filter(weight -> weight.getKey().name().equals(name))
                .map(weight -> weight.getValue().layers().getFirst().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED))
                .findFirst()
                .orElseThrow(() -> new IllegalStateException("no weight " + name));
    }
}
