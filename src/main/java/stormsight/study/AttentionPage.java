package stormsight.study;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import stormsight.image.RgbImage;
import stormsight.probe.AttentionMap;
import stormsight.probe.AttentionReading;
import stormsight.probe.Word;
import stormsight.report.AttentionData.Direction;
import stormsight.report.AttentionData;
import stormsight.report.ReportData.Fact;
import stormsight.report.ReportData;

/** Collects what a model attended to for a report. */
public final class AttentionPage {
    private static final String MEAN = "mean";

    private final List<AttentionData> attention = new ArrayList<>();
    private final List<List<String>> runs = new ArrayList<>();

    /**
     * Adds what was read of one prompt about one image.
     *
     * @param vision maps of the image alone
     */
    public void add(Path file, RgbImage image, List<AttentionMap> vision, String prompt, String answer, AttentionReading reading) {
        List<Direction> directions = new ArrayList<>();
        words("Word to image", AttentionMap.WORD_TO_IMAGE, AttentionReading.Direction.WORD_TO_IMAGE, reading).ifPresent(directions::add);
        words("Image to word", AttentionMap.IMAGE_TO_WORD, AttentionReading.Direction.IMAGE_TO_WORD, reading).ifPresent(directions::add);
        vision(vision).ifPresent(directions::add);
        runs.add(List.of(file.toString(), prompt, answer));
        if (!directions.isEmpty()) {
            attention.add(new AttentionData(file.getFileName() + ": " + prompt, image, reading.side(), reading.side(), directions));
        }
    }

    private static Optional<Direction> words(String name, String map, AttentionReading.Direction direction, AttentionReading reading) {
        return reading.map(map).map(each -> {
            List<Word> words = reading.words(direction);
            List<String> layers = each.axes().getFirst().labels();
            List<String> heads = each.axes().get(1).labels();
            boolean meanOnly = heads.equals(List.of(MEAN));
            float[] mean = meanOnly ? each.values() : meanOverHeads(each.values(), layers.size(), heads.size());
            return new Direction(name, each.meaning(), layers, meanOnly ? List.of() : heads,
                    words.stream().map(word -> reading.label(direction, word)).toList(),
                    (int) words.stream().filter(word -> !word.generated()).count(), mean,
                    meanOnly ? Optional.empty() : Optional.of(each.values()), reading.map(map + "_sum").map(AttentionMap::values));
        });
    }

    /** [layers, heads, ...] to [layers, ...]. */
    private static float[] meanOverHeads(float[] values, int layers, int heads) {
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

    private static Optional<Direction> vision(List<AttentionMap> maps) {
        return map(maps, AttentionMap.VISION_LAYERS).map(layers -> {
            Optional<AttentionMap> heads = map(maps, AttentionMap.VISION_HEADS);
            return new Direction("Vision tower", layers.meaning(), layers.axes().getFirst().labels(),
                    heads.map(each -> each.axes().get(1).labels()).orElse(List.of()), List.of(), 0, layers.values(),
                    heads.map(AttentionMap::values), map(maps, AttentionMap.VISION_SUM).map(AttentionMap::values));
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
