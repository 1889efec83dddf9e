package stormsight.study;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.ToDoubleFunction;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import stormsight.model.Description;
import stormsight.probe.AttentionMap;
import stormsight.probe.AttentionMap.Axis;
import stormsight.probe.AttentionMaps;
import stormsight.probe.TowerReading;
import stormsight.report.AttentionData;
import stormsight.report.Curve;
import stormsight.report.CurveFigure;
import stormsight.report.HeatMap;
import stormsight.report.MapFigure;
import stormsight.report.MapStyle;
import stormsight.report.Matrix;
import stormsight.report.MatrixFigure;
import stormsight.report.PatchFigure;
import stormsight.report.ReportData;
import stormsight.report.TileFigure;
import stormsight.report.VisibilityFigure;

/**
 * Shows what a model makes of an image step by step, as a course does: patches, their embeddings and positions, the
 * lengths of vectors, what stands for the whole image, queries, and who may read whom. Numbers, pictures and a page.
 */
public final class Explanation {
    private static final String CURVES = "norm_curves";
    private static final String CURVES_TITLE = "Lengths from layer to layer";
    /** Rows of embeddings and numbers of each that are printed. */
    private static final int FIRST_ROWS = 12;
    private static final int FIRST_NUMBERS = 8;
    /** Layers at most that have a map of their own in a picture. */
    private static final int MOST_MAPS = 12;
    /** Maps of positions at most beside each other. */
    private static final int MOST_TILES = 8;
    /** Similarities of positions that a page takes in, a byte each. */
    private static final long MOST_SIMILARITIES = 2_500_000;

    private final Explained explained;
    private final TowerReading tower;
    private final Description.Vision vision;
    private final AttentionFiles files;
    private final MapStyle style;
    private final Path out;
    private final List<ReportData.Figure> figures = new ArrayList<>();
    private final List<Map<String, Object>> entries = new ArrayList<>();

    /** @param files where pictures and numbers are written */
    public Explanation(Explained explained, AttentionFiles files) {
        this.explained = explained;
        this.files = files;
        out = files.out();
        style = files.style();
        tower = explained.tower();
        vision = tower.vision();
    }

    /** Writes all files and gives what they hold, for JSON: facts of the tower, first numbers, files. */
    public Map<String, Object> write() {
        grid();
        order();
        embeddings();
        positions();
        norms();
        tower.poolingMap().ifPresent(this::pooling);
        tower.classTokenMap().ifPresent(this::classToken);
        explained.bridge().ifPresent(this::bridge);
        for (int i = 0; i < explained.visible().size(); i++) {
            visible(explained.visible().get(i), i == 0 ? "mask" : "mask_" + (i + 1));
        }
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("tower", towerFacts());
        object.put("first_numbers", firstNumbers());
        object.put("norms", normFacts());
        explained.answer().ifPresent(answer -> object.put("answer", answer));
        object.put(
                "figures",
                figures.stream()
                        .map(figure -> {
                            Map<String, Object> entry = new LinkedHashMap<>();
                            entry.put("file", out.relativize(figure.png()).toString());
                            entry.put("title", figure.title());
                            entry.put("text", figure.text());
                            return entry;
                        })
                        .toList());
        object.put("files", entries.stream().filter(entry -> entry.containsKey("axes")).toList());
        return object;
    }

    /** Where a figure is to be drawn, which the page then shows with a text. */
    private Path figure(String name, String title, String text) {
        Path png = files.path(name + ".png");
        figures.add(new ReportData.Figure(title, text, png));
        return png;
    }

    private String caption() {
        return files.pictures().caption();
    }

    private void grid() {
        int size = explained.patchSize();
        Path png = figure("grid", "The image in patches", String.format(
                Locale.ROOT,
                "The tower sees the image at %d x %d pixels and cuts it into %d rows of %d patches of %d x %d pixels "
                        + "that do not overlap.%s",
                explained.view().width(),
                explained.view().height(),
                vision.gridRows(),
                vision.gridColumns(),
                size,
                size,
                explained.views() == 1
                        ? ""
                        : " This is the first of " + explained.views() + " views: the whole image. The others are "
                                + "tiles of it, each cut in the same way."));
        new PatchFigure(caption())
                .grid(png, "The image in patches", explained.view(), vision.gridRows(), vision.gridColumns());
    }

    private void order() {
        Path png = figure(
                "patches",
                "The patches in order",
                "Row by row the patches become a sequence of " + vision.rows() + " rows"
                        + (vision.hasClassToken() ? ", behind a class token that belongs to no place" : "")
                        + ": nothing but its position embedding tells the tower where a patch was.");
        new PatchFigure(caption())
                .order(
                        png,
                        "The patches in order",
                        explained.view(),
                        vision.gridRows(),
                        vision.gridColumns(),
                        tower.rowNames().subList(0, vision.firstPatch()));
    }

    private void embeddings() {
        files.numbers("", tower.embeddingMap(), entries);
        int rows = Math.min(FIRST_ROWS, vision.rows());
        int numbers = Math.min(FIRST_NUMBERS, tower.width());
        float[] values = new float[rows * numbers];
        for (int row = 0; row < rows; row++) {
            System.arraycopy(tower.embedding(row), 0, values, row * numbers, numbers);
        }
        Path png = figure("embeddings", "Patches become vectors", String.format(
                Locale.ROOT,
                "A learned product makes %d numbers of the %d pixel values of a patch, and its position embedding is "
                        + "added: the first %d numbers of the first %d rows.",
                tower.width(),
                3 * explained.patchSize() * explained.patchSize(),
                numbers,
                rows));
        new MatrixFigure(style.colors(), caption())
                .write(
                        png,
                        "The first numbers of the embeddings",
                        List.of(new Matrix(
                                "",
                                "patch",
                                tower.rowNames().subList(0, rows),
                                "number",
                                Axis.counted("number", numbers).labels(),
                                values)),
                        1);
    }

    private void positions() {
        int patches = vision.patches();
        files.numbers("", new AttentionMap(
                "position_similarity",
                "cosine of the position embeddings of two patches",
                List.of(Axis.counted("patch", patches), Axis.counted("other_patch", patches)),
                explained.positions()), entries);
        List<Integer> rows = spread(vision.gridRows(), MOST_TILES);
        List<Integer> columns = spread(vision.gridColumns(), MOST_TILES);
        List<HeatMap> tiles = new ArrayList<>();
        for (int row : rows) {
            for (int column : columns) {
                int patch = row * vision.gridColumns() + column;
                tiles.add(map("", Arrays.copyOfRange(
                        explained.positions(), patch * patches, (patch + 1) * patches)));
            }
        }
        String some = tiles.size() < patches ? tiles.size() + " of " + patches + " patches" : "all patches";
        Path png = figure(
                "positions",
                "Position embeddings",
                "Each small map, of " + some + ", shows how alike the position embedding of one patch is to those of "
                        + "all patches, as a cosine: in a trained tower neighbours are most alike, and rows and "
                        + "columns show.");
        new TileFigure(new MapStyle(style.colors(), false), caption())
                .write(
                        png,
                        "Position embeddings of " + some + ", compared with all",
                        new TileFigure.Places("patch row", rows.stream().map(String::valueOf).toList()),
                        new TileFigure.Places("patch column", columns.stream().map(String::valueOf).toList()),
                        tiles);
    }

    /** At most so many places, first and last among them, at equal distances. */
    private static List<Integer> spread(int count, int most) {
        int chosen = Math.min(count, most);
        return IntStream.range(0, chosen)
                .map(i -> chosen == 1 ? 0 : (int) Math.round((double) i * (count - 1) / (chosen - 1)))
                .boxed()
                .toList();
    }

    /** Maps beside each other: four, or as many as leave no line nearly empty. */
    private static int across(List<HeatMap> maps) {
        return maps.size() == 5 || maps.size() == 6 || maps.size() == 9 ? 3 : Math.min(4, maps.size());
    }

    private HeatMap map(String title, float[] values) {
        return new HeatMap(title, vision.gridColumns(), vision.gridRows(), values);
    }

    private void norms() {
        files.numbers("", tower.normMap(), entries);
        List<HeatMap> maps = spread(vision.layers() + 1, MOST_MAPS).stream()
                .map(after -> map(after == 0 ? "embeddings" : "after layer " + (after - 1), tower.patchNorms(after)))
                .toList();
        Path png = figure(
                "norms",
                "Lengths of the vectors",
                "The length of each patch's vector, of its embedding and after layers of the tower: bright patches "
                        + "are those whose vectors are the longest of all.");
        files.pictures().grid(png, "Lengths of the patches' vectors", explained.view(), maps, across(maps), true);
        Path curves = figure(CURVES, CURVES_TITLE, curvesText());
        CurveFigure.write(
                curves, CURVES_TITLE, "after layer (-1: the embeddings)", "length", normCurves());
    }

    private String curvesText() {
        return "The mean length of the patches' vectors"
                + (vision.hasClassToken() ? " and the length of the class token's" : "")
                + " after each layer; the band reaches from the shortest to the longest patch.";
    }

    private List<Curve> normCurves() {
        int steps = vision.layers() + 1;
        double[] x = IntStream.range(-1, steps - 1).asDoubleStream().toArray();
        List<Curve> curves = new ArrayList<>();
        curves.add(new Curve(
                "patches: mean, and from the shortest to the longest",
                x,
                eachNorm(norms -> norms.average().orElseThrow()),
                Optional.of(eachNorm(norms -> norms.min().orElseThrow())),
                Optional.of(eachNorm(norms -> norms.max().orElseThrow()))));
        if (vision.hasClassToken()) {
            curves.add(new Curve(
                    "class token",
                    x,
                    IntStream.range(0, steps).mapToDouble(after -> tower.norm(after, 0)).toArray()));
        }
        return curves;
    }

    private double[] eachNorm(ToDoubleFunction<DoubleStream> reduced) {
        return IntStream.range(0, vision.layers() + 1)
                .mapToDouble(after -> {
                    float[] norms = tower.patchNorms(after);
                    return reduced.applyAsDouble(IntStream.range(0, norms.length).mapToDouble(i -> norms[i]));
                })
                .toArray();
    }

    private void pooling(AttentionMap pooling) {
        files.numbers("", pooling, entries);
        int heads = pooling.axes().getFirst().size();
        List<HeatMap> maps = new ArrayList<>();
        maps.add(map("mean of the heads", AttentionMaps.meanOverHeads(pooling.values(), 1, heads)));
        for (int head = 0; head < heads; head++) {
            maps.add(map("head " + head, pooling.at(head)));
        }
        Path png = figure(
                "pooling",
                "What the pooling head reads",
                "A learned query reads all patches once to make the embedding of the image: its weights, which sum to "
                        + "1 in each head.");
        files.pictures().grid(png, "What the pooling head reads", explained.view(), maps, across(maps), true);
    }

    private void classToken(AttentionMap weights) {
        files.numbers("", weights, entries);
        float[] means = AttentionMaps.meanOverHeads(weights.values(), vision.layers(), vision.heads());
        int patches = vision.patches();
        List<HeatMap> maps = spread(vision.layers(), MOST_MAPS).stream()
                .map(layer -> map(
                        "layer " + layer, Arrays.copyOfRange(means, layer * patches, (layer + 1) * patches)))
                .toList();
        Path png = figure(
                "class_token",
                "What the class token reads",
                "The class token gathers what the whole image shows: the weights that it gives to the patches in "
                        + "layers of the tower, as the mean of their heads.");
        files.pictures().grid(png, "What the class token reads", explained.view(), maps, across(maps), true);
    }

    private void bridge(Explained.Bridge bridge) {
        figures.add(new ReportData.Figure(
                "Which patches each query reads",
                "The Q-Former's learned queries read the image in some of its layers: what each query gives to the "
                        + "patches, the mean of the heads, summed over these layers.",
                out.resolve(AttentionMap.QUERY_TO_IMAGE + ".png")));
        entries.addAll(files.vision("", explained.view(), bridge.queries()));
        if (bridge.words().isEmpty()) {
            return;
        }
        figures.add(new ReportData.Figure(
                "Which queries each word reads",
                "Words see the image through the queries alone: what each word gives to each of them, the mean of the "
                        + "heads, summed over the layers.",
                out.resolve(AttentionMap.WORD_TO_QUERY + ".png")));
        bridge.words().forEach(map -> files.numbers("", map, entries));
        files.wordToQuery("", bridge.words().getLast(), "layers summed", caption(), entries);
    }

    private void visible(Explained.VisibleTokens shown, String name) {
        int tokens = shown.tokens().size();
        float[] values = new float[tokens * tokens];
        for (int i = 0; i < values.length; i++) {
            values[i] = shown.visibility().seen()[i] ? 1 : 0;
        }
        List<String> labels = shown.tokens().stream().map(VisibilityFigure.Token::name).toList();
        files.numbers("", new AttentionMap(
                name,
                "1 where the token of the row sees that of the column, 0 where not",
                List.of(new Axis("reads", labels), new Axis("is_read", labels)),
                values), entries);
        String title = "Who may read whom" + (shown.layers().isEmpty() ? "" : ", " + shown.layers());
        Path png = figure(name, title, shown.rule());
        new VisibilityFigure(caption()).write(png, title, shown.tokens(), shown.visibility().seen());
    }

    private Map<String, Object> towerFacts() {
        Map<String, Object> facts = new LinkedHashMap<>();
        facts.put("views", explained.views());
        facts.put("width", explained.view().width());
        facts.put("height", explained.view().height());
        facts.put("patch_size", explained.patchSize());
        facts.put("patch_rows", vision.gridRows());
        facts.put("patch_columns", vision.gridColumns());
        facts.put("class_token", vision.hasClassToken());
        facts.put("layers", vision.layers());
        facts.put("heads", vision.heads());
        facts.put("numbers_per_row", tower.width());
        return facts;
    }

    /** The beginning of the embeddings: row, length and first numbers. */
    public List<Map<String, Object>> firstNumbers() {
        List<Map<String, Object>> rows = new ArrayList<>();
        for (int row = 0; row < Math.min(FIRST_ROWS, vision.rows()); row++) {
            Map<String, Object> entry = new LinkedHashMap<>();
            entry.put("row", tower.rowNames().get(row));
            entry.put("norm", tower.norm(0, row));
            entry.put("numbers", Arrays.copyOf(tower.embedding(row), Math.min(FIRST_NUMBERS, tower.width())));
            rows.add(entry);
        }
        return rows;
    }

    private List<Map<String, Object>> normFacts() {
        List<Curve> curves = normCurves();
        List<Map<String, Object>> facts = new ArrayList<>();
        for (int after = 0; after <= vision.layers(); after++) {
            Map<String, Object> entry = new LinkedHashMap<>();
            entry.put("after", tower.steps().get(after));
            entry.put("mean", curves.getFirst().y()[after]);
            entry.put("least", curves.getFirst().low().orElseThrow()[after]);
            entry.put("largest", curves.getFirst().high().orElseThrow()[after]);
            if (vision.hasClassToken()) {
                entry.put("class_token", tower.norm(after, 0));
            }
            facts.add(entry);
        }
        return facts;
    }

    /** A line about the tower. */
    public String towerLine() {
        return String.format(
                Locale.ROOT,
                "%d x %d pixels, %d x %d patches of %d pixels%s, %d numbers each, %d layers of %d heads",
                explained.view().width(),
                explained.view().height(),
                vision.gridRows(),
                vision.gridColumns(),
                explained.patchSize(),
                vision.hasClassToken() ? " and a class token" : "",
                tower.width(),
                vision.layers(),
                vision.heads());
    }

    /**
     * The page of what was written.
     *
     * @param asked facts about the image and what was asked
     */
    public ReportData page(List<ReportData.Fact> asked) {
        List<ReportData.Fact> facts = new ArrayList<>(asked);
        explained.answer().ifPresent(answer -> facts.add(new ReportData.Fact("Answer", answer)));
        facts.add(new ReportData.Fact("Tower", towerLine()));
        List<AttentionData.Direction> directions = new ArrayList<>();
        tower.poolingMap().ifPresent(map -> directions.add(direction(
                "Pooling head", map.meaning(), List.of("pooling"), map.axes().getFirst().labels(), map.values())));
        tower.classTokenMap().ifPresent(map -> directions.add(direction(
                "Class token",
                map.meaning(),
                map.axes().getFirst().labels(),
                map.axes().get(1).labels(),
                map.values())));
        explained.bridge().flatMap(bridge -> AttentionPage.queries(bridge.queries())).ifPresent(directions::add);
        directions.add(norms(tower.normMap().meaning()));
        if ((long) vision.patches() * vision.patches() <= MOST_SIMILARITIES) {
            directions.add(new AttentionData.Direction(
                    AttentionData.Kind.PATCHES,
                    "Positions",
                    "cosine of the position embedding of the chosen patch and that of each patch",
                    List.of("position embeddings"),
                    List.of(),
                    List.of(),
                    0,
                    explained.positions(),
                    Optional.empty(),
                    Optional.empty()));
        }
        return new ReportData(
                "What the model makes of the image",
                facts,
                Optional.empty(),
                // Curves can be read point by point there.
                figures.stream().filter(figure -> !figure.title().equals(CURVES_TITLE)).toList(),
                List.of(new AttentionData(
                        "image", explained.view(), vision.gridColumns(), vision.gridRows(), directions)),
                List.of(new ReportData.CurveSet(
                        CURVES_TITLE,
                        curvesText(),
                        "after layer (-1: the embeddings)",
                        "length",
                        normCurves())),
                List.of(numberTable()));
    }

    private static AttentionData.Direction direction(
            String name, String meaning, List<String> layers, List<String> heads, float[] values) {
        return new AttentionData.Direction(
                AttentionData.Kind.IMAGE,
                name,
                meaning,
                layers,
                heads,
                List.of(),
                0,
                AttentionMaps.meanOverHeads(values, layers.size(), heads.size()),
                Optional.of(values),
                Optional.empty());
    }

    private AttentionData.Direction norms(String meaning) {
        int patches = vision.patches();
        float[] values = new float[(vision.layers() + 1) * patches];
        for (int after = 0; after <= vision.layers(); after++) {
            System.arraycopy(tower.patchNorms(after), 0, values, after * patches, patches);
        }
        return new AttentionData.Direction(
                AttentionData.Kind.IMAGE,
                "Lengths",
                meaning,
                tower.steps(),
                List.of(),
                List.of(),
                0,
                values,
                Optional.empty(),
                Optional.empty());
    }

    private ReportData.Table numberTable() {
        int numbers = Math.min(FIRST_NUMBERS, tower.width());
        List<String> columns = new ArrayList<>(List.of("patch", "length"));
        IntStream.range(0, numbers).forEach(i -> columns.add(String.valueOf(i)));
        List<List<String>> rows = new ArrayList<>();
        for (int row = 0; row < Math.min(FIRST_ROWS, vision.rows()); row++) {
            List<String> cells = new ArrayList<>();
            cells.add(tower.rowNames().get(row));
            cells.add(String.format(Locale.ROOT, "%.4f", tower.norm(0, row)));
            float[] embedding = tower.embedding(row);
            IntStream.range(0, numbers).forEach(i -> cells.add(String.format(Locale.ROOT, "%.4f", embedding[i])));
            rows.add(cells);
        }
        return new ReportData.Table("First numbers of the embeddings", columns, rows);
    }
}
