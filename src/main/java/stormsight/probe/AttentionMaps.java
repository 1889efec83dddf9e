package stormsight.probe;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import stormsight.model.Description;
import stormsight.model.Options.PromptRows;
import stormsight.model.Passes;
import stormsight.model.Prompt;
import stormsight.model.Span;
import stormsight.model.Stage;
import stormsight.probe.AttentionMap.Axis;
import stormsight.probe.AttentionRequest.Kind;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.tokenizer.Tokenizer;

/**
 * A probe that keeps what an {@link AttentionRequest} asks for, reduced while the model runs: nothing else is computed,
 * and of a vision tower at most one plane of [tokens, tokens] stands in memory for its layers and one for their sum.
 */
public final class AttentionMaps implements Probe {
    private static final String NAME = "attention.";
    private static final String COUNTED = "; layers are counted over those with attention to the image";

    private final AttentionRequest request;
    private final Description model;
    private final Op.Part vision;
    private final Op.Part decoder;
    private final Window reading;
    private final Window read;
    private int capacity;
    private int generatedKeys;
    /** Layers and heads with attention to the image that maps of queries show; null where there are none. */
    private Op.Part queryPart;
    private int queryLayers;
    private Optional<Probes.Probed> visionLayers = Optional.empty();
    private Optional<Probes.Probed> visionHeads = Optional.empty();
    private Optional<Probes.Probed> visionSum = Optional.empty();
    /** What queries stand for: the mean over all heads of every layer. */
    private Optional<Probes.Probed> queries = Optional.empty();
    /** What maps of queries show. */
    private Optional<Probes.Probed> chosenQueries = Optional.empty();
    private Optional<Probes.Probed> wordToImage = Optional.empty();
    private Optional<Probes.Probed> generatedToImage = Optional.empty();
    private Optional<Probes.Probed> imageToWord = Optional.empty();
    private Optional<Probes.Probed> quadrants = Optional.empty();
    private Optional<Probes.Probed> whole = Optional.empty();
    private Optional<Probes.Probed> generatedToAll = Optional.empty();
    private Optional<Probes.Probed> rollout = Optional.empty();
    private Optional<Probes.Probed> generatedRollout = Optional.empty();
    private Outputs run;
    /** What the tower's probes read of each view of the images that were encoded last. */
    private final List<Map<Probes.Probed, float[]>> views = new ArrayList<>();
    /** Whether further views belong to the same images. */
    private boolean encoding;
    /** What each generated token attends to, as decode left it. */
    private final List<float[]> generated = new ArrayList<>();
    private final List<float[]> generatedWhole = new ArrayList<>();
    private final List<float[]> generatedMean = new ArrayList<>();

    /**
     * A corner of the decoder's attention, large enough for every prompt.
     *
     * @param row first row
     * @param key first key
     */
    private record Window(int row, int rows, int key, int keys) {}

    /**
     * @param prompts all that will be answered: they say where images and words are
     * @throws IllegalArgumentException if the model does not have a layer or head that was asked for, or a prompt has
     *     no image
     */
    public AttentionMaps(AttentionRequest request, Description model, List<Prompt> prompts) {
        request.check(model);
        this.request = request;
        this.model = model;
        vision = new Op.Part(
                request.layers(model.vision().layers()),
                request.heads(model.vision().heads()),
                0,
                model.vision().firstPatch());
        decoder = new Op.Part(
                request.layers(model.decoder().layers()),
                request.heads(model.decoder().heads().queryHeads()),
                0,
                0);
        int image = Integer.MAX_VALUE;
        int imageEnd = 0;
        int word = Integer.MAX_VALUE;
        int wordEnd = 0;
        boolean causal = false;
        for (Prompt prompt : prompts) {
            MapGrid.of(prompt);
            image = Math.min(image, prompt.imagePlaces().getFirst());
            imageEnd = Math.max(imageEnd, prompt.imagePlaces().getLast() + 1);
            word = Math.min(word, prompt.textPlaces().getFirst());
            wordEnd = Math.max(wordEnd, prompt.length());
            causal |= prompt.prefixLength() == 0;
        }
        // Where nobody sees what comes later, words before the image read nothing of it, and it reads none behind it.
        int firstReader = causal ? image : word;
        int lastRead = causal ? imageEnd : wordEnd;
        reading = new Window(firstReader, wordEnd - firstReader, image, imageEnd - image);
        read = new Window(image, imageEnd - image, word, Math.max(1, lastRead - word));
    }

    /** The attention of the last layer is that of all rows in any case. */
    @Override
    public PromptRows promptRows() {
        return PromptRows.LAST;
    }

    @Override
    public Program add(Pass pass, Program program, Passes passes) {
        capacity = passes.limits().promptTokens();
        return switch (pass) {
            case ENCODE -> addQueries(addVision(program, passes.stage(Stage.VISION_LAYERS).segment()), passes);
            case PREFILL ->
                addPrompt(program, passes.stage(Stage.DECODER_LAYERS).segment());
            case DECODE ->
                addGenerated(
                        program,
                        passes.stage(Stage.DECODER_LAYERS).segment(),
                        passes.limits().capacity());
        };
    }

    private Program addVision(Program program, String segment) {
        if (!request.wants(Kind.VISION)) {
            return program;
        }
        int patches = model.vision().rows() - model.vision().firstPatch();
        Probes.Probed layers = Probes.headMeanPeaks(
                program, segment, vision, Op.Kept.EACH, patches, NAME + AttentionMap.VISION_LAYERS);
        Probes.Probed sum = Probes.headMeanPeaks(
                layers.program(), segment, vision, Op.Kept.SUM, patches, NAME + AttentionMap.VISION_SUM);
        visionLayers = Optional.of(layers);
        visionSum = Optional.of(sum);
        visionHeads = request.headMean() ? Optional.empty()
                : Optional.of(Probes.attentionPeaks(sum.program(), segment, vision, model.vision().rows(), patches,
                        NAME + AttentionMap.VISION_HEADS));
        return visionHeads.map(Probes.Probed::program).orElse(sum.program());
    }

    /**
     * Looks whether the attention of queries to the image has the layers and heads that were asked for.
     *
     * @throws IllegalArgumentException naming the one that it does not have
     */
    public void check(Passes passes) {
        if (request.wants(Kind.QUERIES)) {
            queryStage(passes).ifPresent(stage -> {
                Program program = passes.encode().program();
                request.checkQueries(
                        Probes.layers(program, stage.segment()).size(),
                        Probes.heads(program, stage.segment()).size());
            });
        }
    }

    private static Optional<Stage> queryStage(Passes passes) {
        return Stage.find(passes.encodeStages(), Stage.QUERIES);
    }

    /** Maps of words lead over the queries, too. */
    private Program addQueries(Program program, Passes passes) {
        Optional<Stage> found = queryStage(passes);
        if (found.isEmpty()) {
            return program;
        }
        Stage stage = found.get();
        Program rewritten = program;
        int firstPatch = model.vision().firstPatch();
        Op.Part all = new Op.Part(
                Probes.layers(program, stage.segment()), Probes.heads(program, stage.segment()), 0, firstPatch);
        queryLayers = all.layers().size();
        if (Stream.of(Kind.WORD_TO_IMAGE, Kind.IMAGE_TO_WORD, Kind.ROLLOUT).anyMatch(request::wants)) {
            queries = Optional.of(queriesRead(rewritten, stage, all, true, AttentionMap.QUERY_TO_IMAGE));
            rewritten = queries.get().program();
        }
        if (request.wants(Kind.QUERIES)) {
            check(passes);
            queryPart = new Op.Part(
                    request.layers(all.layers().size()), request.heads(all.heads().size()), 0, firstPatch);
            boolean same = queries.isPresent() && request.headMean() && queryPart.equals(all);
            chosenQueries = same
                    ? queries
                    : Optional.of(queriesRead(
                            rewritten, stage, queryPart, request.headMean(), "chosen_" + AttentionMap.QUERY_TO_IMAGE));
            rewritten = chosenQueries.filter(_ -> !same).map(Probes.Probed::program).orElse(rewritten);
        }
        return rewritten;
    }

    private Probes.Probed queriesRead(Program program, Stage stage, Op.Part part, boolean headMean, String name) {
        return Probes.attentionWeights(
                program,
                stage.segment(),
                part,
                headMean,
                Op.Kept.EACH,
                stage.result().rows(),
                model.vision().rows() - model.vision().firstPatch(),
                NAME + name);
    }

    private Program addPrompt(Program program, String segment) {
        Program rewritten = program;
        Window all = new Window(0, capacity, 0, capacity);
        if (request.wants(Kind.WORD_TO_IMAGE)) {
            wordToImage = Optional.of(weights(rewritten, segment, reading, Op.Kept.EACH, AttentionMap.WORD_TO_IMAGE));
            rewritten = wordToImage.get().program();
        }
        if (request.wants(Kind.IMAGE_TO_WORD)) {
            imageToWord = Optional.of(weights(rewritten, segment, read, Op.Kept.EACH, AttentionMap.IMAGE_TO_WORD));
            rewritten = imageToWord.get().program();
        }
        if (request.wants(Kind.QUADRANTS)) {
            quadrants = Optional.of(weights(rewritten, segment, all, Op.Kept.SUM, AttentionMap.QUADRANT));
            rewritten = quadrants.get().program();
        }
        if (request.wants(Kind.WHOLE)) {
            whole = Optional.of(weights(rewritten, segment, all, Op.Kept.EACH, AttentionMap.WHOLE));
            rewritten = whole.get().program();
        }
        if (request.wants(Kind.ROLLOUT)) {
            rollout = Optional.of(means(rewritten, segment, all, AttentionMap.ROLLOUT));
            rewritten = rollout.get().program();
        }
        return rewritten;
    }

    private Program addGenerated(Program program, String segment, int keys) {
        Program rewritten = program;
        generatedKeys = keys;
        if (request.wants(Kind.WORD_TO_IMAGE)) {
            generatedToImage = Optional.of(weights(
                    rewritten,
                    segment,
                    new Window(0, 1, reading.key(), reading.keys()),
                    Op.Kept.EACH,
                    "generated_to_image"));
            rewritten = generatedToImage.get().program();
        }
        if (request.wants(Kind.ROLLOUT)) {
            generatedRollout = Optional.of(means(rewritten, segment, new Window(0, 1, 0, keys), "generated_rollout"));
            rewritten = generatedRollout.get().program();
        }
        if (request.wants(Kind.WHOLE)) {
            generatedToAll = Optional.of(
                    weights(rewritten, segment, new Window(0, 1, 0, keys), Op.Kept.EACH, "generated_to_all"));
            rewritten = generatedToAll.get().program();
        }
        return rewritten;
    }

    /** Heads stay apart only where each layer does. */
    private Probes.Probed weights(Program program, String segment, Window window, Op.Kept kept, String name) {
        Op.Part part = new Op.Part(decoder.layers(), decoder.heads(), window.row(), window.key());
        return Probes.attentionWeights(
                program,
                segment,
                part,
                request.headMean() || kept == Op.Kept.SUM,
                kept,
                window.rows(),
                window.keys(),
                NAME + name);
    }

    /** The mean over all heads of every layer. */
    private Probes.Probed means(Program program, String segment, Window window, String name) {
        Op.Part part = new Op.Part(
                IntStream.range(0, model.decoder().layers()).boxed().toList(),
                IntStream.range(0, model.decoder().heads().queryHeads()).boxed().toList(),
                window.row(),
                window.key());
        return Probes.attentionWeights(
                program, segment, part, true, Op.Kept.EACH, window.rows(), window.keys(), NAME + name);
    }

    @Override
    public void read(Pass pass, Outputs current) {
        run = current;
        switch (pass) {
            case ENCODE -> {
                if (!encoding) {
                    views.clear();
                    encoding = true;
                }
                Map<Probes.Probed, float[]> view = new HashMap<>();
                Stream.of(visionLayers, visionHeads, visionSum, queries, chosenQueries)
                        .flatMap(Optional::stream)
                        .distinct()
                        .forEach(probed -> view.put(probed, current.read(probed.output())));
                views.add(view);
            }
            case PREFILL -> {
                encoding = false;
                generated.clear();
                generatedWhole.clear();
                generatedMean.clear();
            }
            case DECODE -> {
                generatedToImage.ifPresent(probed -> generated.add(current.read(probed.output())));
                generatedToAll.ifPresent(probed -> generatedWhole.add(current.read(probed.output())));
                generatedRollout.ifPresent(probed -> generatedMean.add(current.read(probed.output())));
            }
        }
    }

    /**
     * Maps of the image that was encoded last, [rows, columns] of patches each; empty if they were not asked for. Where
     * the tower looks at the image several times, a patch has the mean of what it has in each view.
     *
     * @param prompt any about the image: it says where patches lie
     */
    public List<AttentionMap> vision(Prompt prompt) {
        encoding = false;
        MapGrid grid = MapGrid.of(prompt);
        List<AttentionMap> maps = new ArrayList<>();
        String reduced =
                heads(vision.heads()) + ", of which each patch keeps the largest weight that it gives to a patch";
        visionLayers.ifPresent(probed -> maps.add(new AttentionMap(
                AttentionMap.VISION_LAYERS,
                "vision tower: " + reduced,
                axes(grid, Axis.of("layer", vision.layers())),
                patches(probed, prompt, grid))));
        visionHeads.ifPresent(probed -> maps.add(new AttentionMap(AttentionMap.VISION_HEADS,
                "vision tower: for each head, the largest weight that each patch gives to a patch",
                axes(grid, Axis.of("layer", vision.layers()), Axis.of("head", vision.heads())),
                patches(probed, prompt, grid))));
        visionSum.ifPresent(probed -> maps.add(new AttentionMap(AttentionMap.VISION_SUM,
                "vision tower: sum over layers " + vision.layers() + " of the " + reduced,
                axes(grid),
                patches(probed, prompt, grid))));
        chosenQueries.ifPresent(probed -> {
            float[] read = views.getFirst().get(probed);
            if (request.headMean()) {
                maps.addAll(queryMaps(read, queryPart.layers(), heads(queryPart.heads()), grid.cells()));
                return;
            }
            float[] mean = meanOverHeads(read, queryPart.layers().size(), queryPart.heads().size());
            maps.addAll(queryMaps(mean, queryPart.layers(), heads(queryPart.heads()), grid.cells()));
            maps.add(new AttentionMap(
                    AttentionMap.QUERY_TO_IMAGE_HEADS,
                    "Q-Former: for each head, the weight that a query gives to a patch" + COUNTED,
                    axes(
                            grid,
                            Axis.of("layer", queryPart.layers()),
                            Axis.of("head", queryPart.heads()),
                            Axis.counted("query", mean.length / queryPart.layers().size() / grid.cells().cells())),
                    read));
        });
        return maps;
    }

    /**
     * Maps of what queries read of an image.
     *
     * @param read mean over heads, [layers, queries, rows, columns], layers with attention to the image alone
     * @param layers which of these
     * @param heads what the mean is over
     * @param cells rows and columns
     */
    public static List<AttentionMap> queryMaps(float[] read, List<Integer> layers, String heads, Span.Grid cells) {
        float[] sum = sumOverLayers(read, layers.size());
        String meaning = "Q-Former: weight that a query gives to a patch, " + heads;
        Axis query = Axis.counted("query", sum.length / cells.cells());
        return List.of(
                new AttentionMap(
                        AttentionMap.QUERY_TO_IMAGE,
                        meaning + COUNTED,
                        joined(List.of(Axis.of("layer", layers), query), axes(cells)),
                        read),
                new AttentionMap(
                        AttentionMap.QUERY_TO_IMAGE_SUM,
                        meaning + ", sum over layers " + layers,
                        joined(List.of(query), axes(cells)),
                        sum));
    }

    /** [layers, heads, ...] to [layers, ...]. */
    public static float[] meanOverHeads(float[] values, int layers, int heads) {
        int size = values.length / layers / heads;
        float[] mean = new float[layers * size];
        for (int layer = 0; layer < layers; layer++) {
            for (int i = 0; i < size; i++) {
                double sum = 0;
                for (int head = 0; head < heads; head++) {
                    sum += values[(layer * heads + head) * size + i];
                }
                mean[layer * size + i] = (float) (sum / heads);
            }
        }
        return mean;
    }

    /** [layers, ...] to [...]. */
    public static float[] sumOverLayers(float[] values, int layers) {
        double[] sums = new double[values.length / layers];
        for (int i = 0; i < values.length; i++) {
            sums[i % sums.length] += values[i];
        }
        float[] sum = new float[sums.length];
        for (int i = 0; i < sum.length; i++) {
            sum[i] = (float) sums[i];
        }
        return sum;
    }

    /** What a probe of the tower read of the patches, [layers x heads, cells]. */
    private float[] patches(Probes.Probed probed, Prompt prompt, MapGrid grid) {
        int rows = model.vision().rows();
        int planes = views.getFirst().get(probed).length / rows;
        float[] patches = new float[planes * grid.cells().cells()];
        for (int i = 0; i < planes; i++) {
            int plane = i;
            if (prompt.hasQueries()) {
                // Rows of the prompt are none of the tower's.
                System.arraycopy(
                        views.getFirst().get(probed),
                        plane * rows + model.vision().firstPatch(),
                        patches,
                        plane * grid.cells().cells(),
                        grid.cells().cells());
                continue;
            }
            grid.mean(
                    place -> {
                        int row = -1 - prompt.ids()[place];
                        return views.get(row / rows).get(probed)[plane * rows + row % rows];
                    },
                    patches,
                    plane * grid.cells().cells());
        }
        return patches;
    }

    /**
     * Maps of the prompt that was answered last.
     *
     * @param answer its tokens without the one that ended it, each of which decode has read
     */
    public AttentionReading decoder(Tokenizer tokenizer, Prompt prompt, List<Integer> answer) {
        MapGrid grid = queries.map(probed -> sumOverLayers(views.getFirst().get(probed), queryLayers))
                .map(read -> MapGrid.of(prompt, read))
                .orElseGet(() -> MapGrid.of(prompt));
        List<Integer> places = prompt.textPlaces();
        List<Word> words = new ArrayList<>();
        for (int place : places) {
            words.add(Word.of(tokenizer, words.size(), prompt.ids()[place], false));
        }
        int prompted = words.size();
        for (int id : answer) {
            words.add(Word.of(tokenizer, words.size(), id, true));
        }
        // A word reads queries, each of which stands for what it read itself.
        String over = queries.isPresent() ? " over the queries, each spread over the patches as it read them" : "";
        List<AttentionMap> maps = new ArrayList<>();
        wordToImage.ifPresent(probed -> {
            float[] all = run.read(probed.output());
            add(
                    maps,
                    AttentionMap.WORD_TO_IMAGE,
                    AttentionMap.WORD_TO_IMAGE_SUM,
                    "weight that a word gives to a patch" + over,
                    words,
                    axes(grid.cells()),
                    byWords(all, places, grid.cells().cells(), grid::sum));
            if (prompt.hasQueries()) {
                List<Integer> rows = prompt.imagePlaces();
                add(
                        maps,
                        AttentionMap.WORD_TO_QUERY,
                        AttentionMap.WORD_TO_QUERY_SUM,
                        "weight that a word gives to a query",
                        words,
                        List.of(Axis.counted("query", rows.size())),
                        byWords(all, places, rows.size(), (given, out, from) -> {
                            for (int query = 0; query < rows.size(); query++) {
                                out[from + query] = given.at(rows.get(query));
                            }
                        }));
            }
        });
        imageToWord.ifPresent(probed -> {
            float[] values = imageToWord(run.read(probed.output()), places, grid);
            add(
                    maps,
                    AttentionMap.IMAGE_TO_WORD,
                    AttentionMap.IMAGE_TO_WORD_SUM,
                    "weight that a patch gives to a word of the prompt" + over,
                    words.subList(0, prompted),
                    axes(grid.cells()),
                    values);
        });
        quadrants.ifPresent(
                probed -> addQuadrants(maps, run.read(probed.output()), prompt, words.subList(0, prompted)));
        rollout.ifPresent(probed -> maps.add(rollout(run.read(probed.output()), prompt, words, grid)));
        whole.ifPresent(probed -> {
            float[] all = run.read(probed.output());
            maps.add(whole(all, prompt, words.subList(0, prompted)));
            maps.add(wordToWord(all, prompt, words));
        });
        int first = prompt.imagePlaces().getFirst();
        int last = prompt.imagePlaces().getLast();
        int prefix = prompt.prefixLength();
        return new AttentionReading(
                words,
                decoder.layers(),
                grid.cells(),
                maps,
                first < prefix ? 0 : countBefore(first, places),
                countBefore(Math.max(last, prefix), places));
    }

    private static int countBefore(int end, List<Integer> places) {
        return (int) places.stream().filter(place -> place < end).count();
    }

    /** Where the sequence has the patches of the image's finest part, row by row. */
    public static List<Integer> patchPlaces(Prompt prompt) {
        return MapGrid.of(prompt).finestPlaces();
    }

    /** The cells that maps of a prompt's image are made of, and what they cover of it. */
    public static Span.Grid cells(Prompt prompt) {
        return MapGrid.of(prompt).cells();
    }

    private int planes() {
        return decoder.layers().size() * (request.headMean() ? 1 : decoder.heads().size());
    }

    private static List<Axis> axes(MapGrid grid, Axis... first) {
        return joined(List.of(first), axes(grid.cells()));
    }

    private static List<Axis> axes(Span.Grid cells) {
        return axes(cells.rows(), cells.columns());
    }

    /** Of patches, behind those that a map has besides. */
    static List<Axis> axes(int rows, int columns, Axis... first) {
        return joined(
                List.of(first), List.of(Axis.counted("patch_row", rows), Axis.counted("patch_column", columns)));
    }

    private Axis headAxis() {
        return request.headMean() ? new Axis("head", List.of("mean")) : Axis.of("head", decoder.heads());
    }

    private static String heads(List<Integer> heads) {
        return "mean over heads " + heads;
    }

    /** Puts what a word gives to places of the image where its map begins. */
    @FunctionalInterface
    private interface Spread {
        void put(MapGrid.Places given, float[] out, int from);
    }

    /**
     * What words of the prompt and generated ones give to the image, [layers x heads, words, cells]; 0 for what they
     * cannot see.
     *
     * @param cells numbers of a word's map, which {@code spread} fills
     */
    private float[] byWords(float[] prompt, List<Integer> places, int cells, Spread spread) {
        int words = places.size() + generated.size();
        float[] values = new float[Math.multiplyExact(Math.multiplyExact(planes(), words), cells)];
        for (int plane = 0; plane < planes(); plane++) {
            for (int word = 0; word < words; word++) {
                boolean prompted = word < places.size();
                int row = prompted ? places.get(word) - reading.row() : 0;
                float[] from = prompted ? prompt : generated.get(word - places.size());
                int rows = prompted ? reading.rows() : 1;
                if (row >= 0) {
                    int first = (plane * rows + row) * reading.keys() - reading.key();
                    spread.put(place -> from[first + place], values, (plane * words + word) * cells);
                }
            }
        }
        return values;
    }

    /**
     * What the cells of a grid give to words of the prompt, the mean of the parts of the image, [layers x heads, words,
     * cells]; 0 for what they cannot see.
     */
    private float[] imageToWord(float[] prompt, List<Integer> places, MapGrid grid) {
        int cells = grid.cells().cells();
        float[] values = new float[Math.multiplyExact(Math.multiplyExact(planes(), places.size()), cells)];
        for (int plane = 0; plane < planes(); plane++) {
            int first = plane * read.rows() - read.row();
            for (int word = 0; word < places.size(); word++) {
                int key = places.get(word) - read.key();
                if (key < read.keys()) {
                    grid.mean(
                            place -> prompt[(first + place) * read.keys() + key],
                            values,
                            (plane * places.size() + word) * cells);
                }
            }
        }
        return values;
    }

    /** A map of each layer and head, and their mean over heads summed over layers. */
    private void add(
            List<AttentionMap> maps,
            String name,
            String sumName,
            String meaning,
            List<Word> words,
            List<Axis> cells,
            float[] values) {
        Axis wordAxis = wordAxis(words);
        maps.add(new AttentionMap(
                name,
                "decoder: " + meaning + (request.headMean() ? ", " + heads(decoder.heads()) : ""),
                joined(List.of(Axis.of("layer", decoder.layers()), headAxis(), wordAxis), cells),
                values));
        double[] sums = new double[values.length / planes()];
        for (int i = 0; i < values.length; i++) {
            sums[i % sums.length] += values[i];
        }
        float[] sum = new float[sums.length];
        for (int i = 0; i < sum.length; i++) {
            sum[i] = (float) (sums[i] * decoder.layers().size() / planes());
        }
        maps.add(new AttentionMap(
                sumName,
                "decoder: " + meaning + ", " + heads(decoder.heads()) + ", sum over layers " + decoder.layers(),
                joined(List.of(wordAxis), cells),
                sum));
    }

    private static List<Axis> joined(List<Axis> first, List<Axis> last) {
        List<Axis> axes = new ArrayList<>(first);
        axes.addAll(last);
        return axes;
    }

    private static Axis wordAxis(List<Word> words) {
        return new Axis("word", words.stream().map(Word::text).toList());
    }

    private void addQuadrants(List<AttentionMap> maps, float[] sum, Prompt prompt, List<Word> words) {
        for (boolean imageRows : new boolean[] {true, false}) {
            for (boolean imageKeys : new boolean[] {true, false}) {
                List<Integer> rows = imageRows ? prompt.imagePlaces() : prompt.textPlaces();
                List<Integer> keys = imageKeys ? prompt.imagePlaces() : prompt.textPlaces();
                float[] values = new float[Math.multiplyExact(rows.size(), keys.size())];
                for (int row = 0; row < rows.size(); row++) {
                    for (int key = 0; key < keys.size(); key++) {
                        values[row * keys.size() + key] = sum[rows.get(row) * capacity + keys.get(key)];
                    }
                }
                maps.add(new AttentionMap(
                        AttentionMap.QUADRANT + (imageRows ? "image_" : "text_") + (imageKeys ? "image" : "text"),
                        "decoder: weight that a token of the row gives to the token of the column, "
                                + heads(decoder.heads()) + ", sum over layers " + decoder.layers(),
                        List.of(
                                imageRows
                                        ? Axis.counted("query_patch", rows.size())
                                        : new Axis("query_word", wordAxis(words).labels()),
                                imageKeys
                                        ? Axis.counted("key_patch", keys.size())
                                        : new Axis("key_word", wordAxis(words).labels())),
                        values));
            }
        }
    }

    private AttentionMap whole(float[] all, Prompt prompt, List<Word> words) {
        int tokens = prompt.length();
        float[] values = new float[Math.multiplyExact(planes(), Math.multiplyExact(tokens, tokens))];
        for (int plane = 0; plane < planes(); plane++) {
            for (int row = 0; row < tokens; row++) {
                System.arraycopy(
                        all, (plane * capacity + row) * capacity, values, (plane * tokens + row) * tokens, tokens);
            }
        }
        List<String> labels = new ArrayList<>();
        int patch = 0;
        int word = 0;
        for (int place = 0; place < tokens; place++) {
            labels.add(prompt.isImage(place) ? String.valueOf(patch++) : words.get(word++).text());
        }
        return new AttentionMap(
                AttentionMap.WHOLE,
                "decoder: weight that a token of the row gives to the token of the column"
                        + (request.headMean() ? ", " + heads(decoder.heads()) : ""),
                List.of(
                        Axis.of("layer", decoder.layers()),
                        headAxis(),
                        new Axis("query", labels),
                        new Axis("key", labels)),
                values);
    }

    private AttentionMap rollout(float[] all, Prompt prompt, List<Word> words, MapGrid grid) {
        Rollout rollout = new Rollout(
                model.decoder().layers(), prompt.length(), all, capacity, generatedMean, generatedKeys);
        List<Integer> places = wordPlaces(prompt, words.size());
        int cells = grid.cells().cells();
        float[] values = new float[Math.multiplyExact(words.size(), cells)];
        for (int word = 0; word < words.size(); word++) {
            double[] row = rollout.row(places.get(word));
            grid.sum(place -> (float) row[place], values, word * cells);
        }
        return new AttentionMap(
                AttentionMap.ROLLOUT,
                "decoder: attention rollout, what reaches a word of a patch through all layers, mean over all heads",
                axes(grid, wordAxis(words)),
                values);
    }

    /** Where the sequence has the words of the prompt, and the generated ones behind it. */
    private static List<Integer> wordPlaces(Prompt prompt, int words) {
        List<Integer> places = new ArrayList<>(prompt.textPlaces());
        for (int i = places.size(); i < words; i++) {
            places.add(prompt.length() + i - prompt.textPlaces().size());
        }
        return places;
    }

    /** What words give to words, [layers x heads, words, words]; 0 for what comes later. */
    private AttentionMap wordToWord(float[] all, Prompt prompt, List<Word> words) {
        List<Integer> places = wordPlaces(prompt, words.size());
        int prompted = prompt.textPlaces().size();
        int count = words.size();
        float[] values = new float[Math.multiplyExact(planes(), Math.multiplyExact(count, count))];
        for (int plane = 0; plane < planes(); plane++) {
            for (int row = 0; row < count; row++) {
                for (int key = 0; key < (row < prompted ? prompted : row + 1); key++) {
                    values[(plane * count + row) * count + key] = row < prompted
                            ? all[(plane * capacity + places.get(row)) * capacity + places.get(key)]
                            : generatedWhole.get(row - prompted)[plane * generatedKeys + places.get(key)];
                }
            }
        }
        List<String> labels = wordAxis(words).labels();
        return new AttentionMap(
                AttentionMap.WORD_TO_WORD,
                "decoder: weight that the word of the row gives to the word of the column"
                        + (request.headMean() ? ", " + heads(decoder.heads()) : ""),
                List.of(
                        Axis.of("layer", decoder.layers()),
                        headAxis(),
                        new Axis("query_word", labels),
                        new Axis("key_word", labels)),
                values);
    }
}
