package stormsight.study;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import stormsight.image.RgbImage;
import stormsight.probe.AttentionMap;
import stormsight.probe.AttentionMaps;
import stormsight.probe.AttentionReading;
import stormsight.probe.Word;
import stormsight.report.AttentionData.Direction;
import stormsight.report.AttentionData.Kind;
import stormsight.report.AttentionData;
import stormsight.report.ReportData.Fact;
import stormsight.report.ReportData;

/** Collects what a model attended to for a report. */
public final class AttentionPage {
    private static final String MEAN = "mean";
    private static final String PATCHES = "Patch to patch";
    /** From patch to patch in a page, a byte each: of more, heads and then layers are left out. */
    private static final long MOST_PATCH_NUMBERS = 2_500_000;

    private final List<AttentionData> attention = new ArrayList<>();
    private final List<List<String>> runs = new ArrayList<>();

    /**
     * Adds what was read of one prompt about one image.
     *
     * @param vision maps of the image alone
     * @param patchPlaces as {@link stormsight.probe.AttentionMaps#patchPlaces} gives them
     */
    public void add(
            Path file,
            RgbImage image,
            List<AttentionMap> vision,
            String prompt,
            String answer,
            AttentionReading reading,
            List<Integer> patchPlaces) {
        List<Direction> directions = new ArrayList<>();
        words("Word to image", AttentionMap.WORD_TO_IMAGE, AttentionReading.Direction.WORD_TO_IMAGE, reading)
                .ifPresent(directions::add);
        words("Image to word", AttentionMap.IMAGE_TO_WORD, AttentionReading.Direction.IMAGE_TO_WORD, reading)
                .ifPresent(directions::add);
        reading.map(AttentionMap.WORD_TO_WORD).ifPresent(map -> directions.add(wordToWord(map, reading)));
        reading.map(AttentionMap.WHOLE).flatMap(whole -> patchToPatch(whole, patchPlaces)).ifPresent(directions::add);
        vision(vision).ifPresent(directions::add);
        queries(vision).ifPresent(directions::add);
        runs.add(List.of(file.toString(), prompt, answer));
        if (!directions.isEmpty()) {
            attention.add(new AttentionData(
                    file.getFileName() + ": " + prompt,
                    image,
                    reading.grid().columns(),
                    reading.grid().rows(),
                    directions));
        }
    }

    /** Of the words that have something to show; nothing if none has. */
    private static Optional<Direction> words(
            String name, String map, AttentionReading.Direction direction, AttentionReading reading) {
        List<Word> shown = reading.shown(direction);
        return reading.map(map).filter(_ -> !shown.isEmpty()).map(each -> {
            List<String> layers = each.axes().getFirst().labels();
            List<String> heads = each.axes().get(1).labels();
            int words = reading.words(direction).size();
            int cells = reading.grid().cells();
            float[] values = of(shown, words, cells, each.values());
            boolean meanOnly = heads.equals(List.of(MEAN));
            float[] mean = meanOnly ? values : AttentionMaps.meanOverHeads(values, layers.size(), heads.size());
            return new Direction(
                    Kind.IMAGE,
                    name,
                    each.meaning()
                            + AttentionFiles.notShown(reading, List.of(direction)).map(why -> "; " + why).orElse(""),
                    layers,
                    meanOnly ? List.of() : heads,
                    shown.stream().map(word -> reading.label(direction, word)).toList(),
                    (int) shown.stream().filter(word -> !word.generated()).count(),
                    mean,
                    meanOnly ? Optional.empty() : Optional.of(values),
                    reading.map(map + "_sum").map(sum -> of(shown, words, cells, sum.values())));
        });
    }

    /** The maps of some words, of [planes, words, cells]. */
    private static float[] of(List<Word> chosen, int words, int cells, float[] values) {
        if (chosen.size() == words) {
            return values;
        }
        int planes = values.length / words / cells;
        float[] part = new float[planes * chosen.size() * cells];
        for (int plane = 0; plane < planes; plane++) {
            for (int i = 0; i < chosen.size(); i++) {
                System.arraycopy(
                        values,
                        (plane * words + chosen.get(i).index()) * cells,
                        part,
                        (plane * chosen.size() + i) * cells,
                        cells);
            }
        }
        return part;
    }

    private static Direction wordToWord(AttentionMap map, AttentionReading reading) {
        List<String> layers = map.axes().getFirst().labels();
        List<String> heads = map.axes().get(1).labels();
        boolean meanOnly = heads.equals(List.of(MEAN));
        float[] mean = AttentionMaps.meanOverHeads(map.values(), layers.size(), heads.size());
        return new Direction(Kind.WORDS, "Word to word", map.meaning(), layers, meanOnly ? List.of() : heads,
                reading.words().stream().map(word -> word.generated() ? "+ " + word.text() : word.text()).toList(),
                (int) reading.words().stream().filter(word -> !word.generated()).count(), mean,
                meanOnly ? Optional.empty() : Optional.of(map.values()),
                Optional.of(AttentionMaps.sumOverLayers(mean, layers.size())));
    }

    /** Of all weights, those from patch to patch, as far as a page should hold them. */
    private static Optional<Direction> patchToPatch(AttentionMap whole, List<Integer> places) {
        long each = (long) places.size() * places.size();
        if (each == 0 || each > MOST_PATCH_NUMBERS) {
            return Optional.empty();
        }
        List<String> layers = whole.axes().getFirst().labels();
        List<String> heads = whole.axes().get(1).labels();
        boolean meanOnly = heads.equals(List.of(MEAN));
        float[] image = part(whole.values(), whole.axes().getLast().size(), places);
        float[] means = AttentionMaps.meanOverHeads(image, layers.size(), heads.size());
        float[] sum = AttentionMaps.sumOverLayers(means, layers.size());
        String meaning = "decoder: weight that the chosen patch gives to each patch";
        if (each * (layers.size() + 1) > MOST_PATCH_NUMBERS) {
            return Optional.of(new Direction(
                    Kind.PATCHES,
                    PATCHES,
                    meaning + ", mean over heads, sum over layers; whole.npy has each layer",
                    List.of("sum of all"),
                    List.of(),
                    List.of(),
                    0,
                    sum,
                    Optional.empty(),
                    Optional.empty()));
        }
        if (meanOnly || each * (layers.size() * (heads.size() + 1L) + 1) > MOST_PATCH_NUMBERS) {
            return Optional.of(new Direction(
                    Kind.PATCHES,
                    PATCHES,
                    meaning + ", mean over heads" + (meanOnly ? "" : "; whole.npy has each head"),
                    layers,
                    List.of(),
                    List.of(),
                    0,
                    means,
                    Optional.empty(),
                    Optional.of(sum)));
        }
        return Optional.of(new Direction(
                Kind.PATCHES,
                PATCHES,
                meaning,
                layers,
                heads,
                List.of(),
                0,
                means,
                Optional.of(image),
                Optional.of(sum)));
    }

    /** Of planes of tokens x tokens, the rows and columns of some tokens. */
    private static float[] part(float[] values, int tokens, List<Integer> places) {
        int planes = values.length / tokens / tokens;
        int side = places.size();
        float[] part = new float[Math.multiplyExact(planes, side * side)];
        for (int plane = 0; plane < planes; plane++) {
            for (int row = 0; row < side; row++) {
                int from = (plane * tokens + places.get(row)) * tokens;
                int to = (plane * side + row) * side;
                for (int column = 0; column < side; column++) {
                    part[to + column] = values[from + places.get(column)];
                }
            }
        }
        return part;
    }

    private static Optional<Direction> vision(List<AttentionMap> maps) {
        return map(maps, AttentionMap.VISION_LAYERS).map(layers -> {
            Optional<AttentionMap> heads = map(maps, AttentionMap.VISION_HEADS);
            return new Direction(Kind.IMAGE, "Vision tower", layers.meaning(), layers.axes().getFirst().labels(),
                    heads.map(each -> each.axes().get(1).labels()).orElse(List.of()), List.of(), 0, layers.values(),
                    heads.map(AttentionMap::values), map(maps, AttentionMap.VISION_SUM).map(AttentionMap::values));
        });
    }

    static Optional<Direction> queries(List<AttentionMap> maps) {
        return map(maps, AttentionMap.QUERY_TO_IMAGE).map(layers -> {
            List<String> queries = layers.axes().get(1).labels().stream().map(query -> "query " + query).toList();
            Optional<AttentionMap> heads = map(maps, AttentionMap.QUERY_TO_IMAGE_HEADS);
            return new Direction(Kind.IMAGE, "Query to image", layers.meaning(), layers.axes().getFirst().labels(),
                    heads.map(each -> each.axes().get(1).labels()).orElse(List.of()), queries, queries.size(),
                    layers.values(), heads.map(AttentionMap::values),
                    map(maps, AttentionMap.QUERY_TO_IMAGE_SUM).map(AttentionMap::values));
        });
    }

    private static Optional<AttentionMap> map(List<AttentionMap> maps, String name) {
        return maps.stream().filter(map -> map.name().equals(name)).findFirst();
    }

    /**
     * The page of all that was added.
     *
     * @param comparison of several runs
     */
    public ReportData page(List<ReportData.Table> comparison) {
        List<Fact> facts = new ArrayList<>();
        List<ReportData.Table> tables = new ArrayList<>();
        if (runs.size() == 1) {
            facts.add(new Fact("Image", runs.getFirst().get(0)));
            facts.add(new Fact("Prompt", runs.getFirst().get(1)));
            facts.add(new Fact("Answer", runs.getFirst().get(2)));
        } else {
            tables.add(new ReportData.Table("Answers", List.of("Image", "Prompt", "Answer"), runs));
        }
        tables.addAll(comparison);
        return new ReportData("What the model attends to", facts, Optional.empty(), attention, List.of(), tables);
    }
}
