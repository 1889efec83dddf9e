package stormsight.study;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import stormsight.image.RgbImage;
import stormsight.probe.AttentionReading.Direction;
import stormsight.probe.AttentionReading;
import stormsight.probe.Word;
import stormsight.report.Csv;
import stormsight.report.HeatMap;
import stormsight.report.MapFigure;
import stormsight.report.ReportData;
import stormsight.report.TextTable;
import stormsight.study.PromptComparison.Change;

/** Several images and prompts beside each other: pictures, and tables of how the words' maps changed. */
public final class AttentionComparison {
    /**
     * One prompt about one image.
     *
     * @param image index
     * @param prompt index
     * @param reading with the maps that are summed over layers
     */
    public record Run(int image, int prompt, String answer, AttentionReading reading) {}

    /** Changes between two prompts about one image. */
    private record ImageChange(int image, Change change) {}

    private final List<Path> images;
    private final List<RgbImage> pixels;
    private final List<String> prompts;
    private final List<Run> runs;
    private final List<ImageChange> changes;

    /** @param runs of all prompts about all images */
    public AttentionComparison(List<Path> images, List<RgbImage> pixels, List<String> prompts, List<Run> runs) {
        this.images = images;
        this.pixels = pixels;
        this.prompts = prompts;
        this.runs = runs;
        changes = IntStream.range(0, images.size())
                .boxed()
                .flatMap(image ->
                        PromptComparison.of(runs.stream()
                                        .filter(run -> run.image() == image)
                                        .map(Run::reading)
                                        .toList())
                                .stream()
                                .map(change -> new ImageChange(image, change)))
                .toList();
    }

    /** Writes pictures, CSV and JSON, and says which. */
    public List<String> write(AttentionFiles files) {
        List<String> written = new ArrayList<>();
        for (Direction direction : Direction.values()) {
            if (runs.stream().allMatch(run -> run.reading().shown(direction).isEmpty())) {
                continue;
            }
            String file = "comparison_" + name(direction) + ".png";
            List<MapFigure.Row> rows = runs.stream().map(run -> row(direction, run)).toList();
            String title = switch (direction) {
                case WORD_TO_IMAGE -> "What each word reads of the image";
                case IMAGE_TO_WORD -> "What the image reads of each word";
            };
            files.pictures().rows(files.path(file), title + ", sum over layers", rows, MapFigure.Scale.OWN);
            written.add(file);
        }
        files.text("words.csv", words());
        files.text("changes.csv", changes());
        files.json("comparison.json", json());
        written.addAll(List.of("words.csv", "changes.csv", "comparison.json"));
        return written;
    }

    private MapFigure.Row row(Direction direction, Run run) {
        AttentionReading reading = run.reading();
        List<HeatMap> maps = reading.shown(direction).stream()
                .map(word -> new HeatMap(
                        reading.label(direction, word),
                        reading.grid().columns(),
                        reading.grid().rows(),
                        reading.map(direction, word)))
                .toList();
        return new MapFigure.Row(
                prompts.get(run.prompt()) + (run.answer().isEmpty() ? "" : " : " + run.answer()),
                pixels.get(run.image()),
                maps);
    }

    private static String name(Direction direction) {
        return direction.name().toLowerCase(Locale.ROOT);
    }

    private String words() {
        Csv csv = new Csv(
                "image",
                "prompt",
                "answer",
                "index",
                "token_id",
                "word",
                "generated",
                "direction",
                "share",
                "peak_row",
                "peak_column");
        for (Run run : runs) {
            for (Direction direction : Direction.values()) {
                for (Word word : run.reading().words(direction)) {
                    Optional<AttentionReading.Patch> peak = run.reading().peak(direction, word);
                    csv.row(
                            images.get(run.image()),
                            prompts.get(run.prompt()),
                            run.answer(),
                            word.index(),
                            word.tokenId(),
                            word.text(),
                            word.generated(),
                            name(direction),
                            run.reading().share(direction, word),
                            peak.map(patch -> String.valueOf(patch.row())).orElse(""),
                            peak.map(patch -> String.valueOf(patch.column())).orElse(""));
                }
            }
        }
        return csv.toString();
    }

    private String changes() {
        Csv csv = new Csv(
                "image",
                "direction",
                "word",
                "token_id",
                "occurrence",
                "first_prompt",
                "second_prompt",
                "cosine_distance",
                "total_variation",
                "first_share",
                "second_share");
        for (ImageChange each : changes) {
            Change change = each.change();
            csv.row(
                    images.get(each.image()),
                    name(change.direction()),
                    change.word(),
                    change.tokenId(),
                    change.occurrence(),
                    prompts.get(change.firstPrompt()),
                    prompts.get(change.secondPrompt()),
                    change.cosineDistance(),
                    change.totalVariation(),
                    change.firstShare(),
                    change.secondShare());
        }
        return csv.toString();
    }

    private Map<String, Object> json() {
        Map<String, Object> definitions = new LinkedHashMap<>();
        definitions.put("cosine_distance", PromptComparison.COSINE_DISTANCE);
        definitions.put("total_variation", PromptComparison.TOTAL_VARIATION);
        definitions.put(
                "share of word_to_image", "part of the word's attention that is on the image, mean over layers");
        definitions.put(
                "share of image_to_word",
                "part of a patch's attention that is on the word, mean over patches and layers");
        List<Map<String, Object>> entries = new ArrayList<>();
        for (ImageChange each : changes) {
            Change change = each.change();
            Map<String, Object> entry = new LinkedHashMap<>();
            entry.put("image", images.get(each.image()).toString());
            entry.put("direction", name(change.direction()));
            entry.put("word", change.word());
            entry.put("token_id", change.tokenId());
            entry.put("occurrence", change.occurrence());
            entry.put("prompts", List.of(change.firstPrompt(), change.secondPrompt()));
            entry.put("cosine_distance", change.cosineDistance());
            entry.put("total_variation", change.totalVariation());
            entry.put("shares", List.of(change.firstShare(), change.secondShare()));
            entries.add(entry);
        }
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("definitions", definitions);
        object.put("prompts", prompts);
        object.put("changes", entries);
        return object;
    }

    /** How each shared word changed, over all pairs of prompts and images. */
    public void print(PrintWriter out) {
        if (changes.isEmpty()) {
            return;
        }
        out.println("How much the map of a shared word changes from prompt to prompt, mean over " + prompts.size()
                + " prompts in pairs and " + images.size() + (images.size() == 1 ? " image:" : " images:"));
        TextTable table = new TextTable(
                "word", "direction", ">cosine distance", ">total variation", ">least share", ">largest share");
        rows().forEach(table::row);
        out.println(table.plain());
    }

    /** The same for a report; nothing if no word is in two prompts. */
    public Optional<ReportData.Table> table() {
        return changes.isEmpty() ? Optional.empty() : Optional.of(new ReportData.Table(
                "How much the map of a shared word changes from prompt to prompt",
                List.of("Word", "Direction", "Cosine distance", "Total variation", "Least share", "Largest share"),
                rows()));
    }

    private List<List<String>> rows() {
        return sharedWords().stream().map(same -> {
            Change first = same.getFirst();
            List<Double> shares = shares(same);
            return List.of(
                    first.word() + (first.occurrence() > 1 ? " (" + first.occurrence() + ")" : ""),
                    name(first.direction()).replace('_', ' '),
                    mean(same, Change::cosineDistance),
                    mean(same, Change::totalVariation),
                    TextTable.fixed(100 * shares.getFirst(), 2) + "%",
                    TextTable.fixed(100 * shares.getLast(), 2) + "%");
        }).toList();
    }

    private static String mean(List<Change> changes, ToDoubleFunction<Change> value) {
        return TextTable.fixed(changes.stream().mapToDouble(value).average().orElseThrow(), 4);
    }

    private Collection<List<Change>> sharedWords() {
        return changes.stream()
                .map(ImageChange::change)
                .collect(Collectors.groupingBy(
                        change -> List.of(change.direction(), change.tokenId(), change.occurrence()),
                        LinkedHashMap::new,
                        Collectors.toList()))
                .values();
    }

    private static List<Double> shares(List<Change> changes) {
        return changes.stream()
                .flatMap(change -> Stream.of(change.firstShare(), change.secondShare()))
                .sorted()
                .toList();
    }
}
