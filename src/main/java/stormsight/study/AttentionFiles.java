package stormsight.study;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import stormsight.image.Box;
import stormsight.image.RgbImage;
import stormsight.probe.AttentionMap;
import stormsight.probe.AttentionReading.Direction;
import stormsight.probe.AttentionReading;
import stormsight.probe.Word;
import stormsight.report.Count;
import stormsight.report.FigureException;
import stormsight.report.HeatMap;
import stormsight.report.MapFigure;
import stormsight.report.MapStyle;
import stormsight.report.Matrix;
import stormsight.report.MatrixFigure;
import stormsight.report.Npy;
import stormsight.report.OutputFile;
import tools.jackson.databind.json.JsonMapper;

/** Files of attention: numbers first, then their pictures. Each is whole or not there. */
public final class AttentionFiles {
    private static final int GRID_COLUMNS = 5;

    private final Path out;
    private final MapStyle style;
    private final String model;
    private int count;

    /**
     * Writes into a folder, which is made if it does not exist.
     *
     * @param model what captions call it
     */
    public AttentionFiles(Path out, MapStyle style, String model) {
        this.out = out;
        this.style = style;
        this.model = model;
    }

    /** Files written so far. */
    public int count() {
        return count;
    }

    /** The folder. */
    Path out() {
        return out;
    }

    MapStyle style() {
        return style;
    }

    Path path(String name) {
        Path file = out.resolve(name);
        try {
            Files.createDirectories(file.getParent());
        } catch (IOException e) {
            throw new FigureException(file.getParent(), "cannot be made: " + e.getMessage(), e);
        }
        count++;
        return file;
    }

    /** Writes an object as JSON, indented. */
    public void json(String name, Object object) {
        OutputFile.write(
                path(name), JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(object) + "\n");
    }

    void text(String name, String text) {
        OutputFile.write(path(name), text);
    }

    void numbers(String folder, AttentionMap map, List<Map<String, Object>> entries) {
        String name = folder + map.name() + ".npy";
        Npy.write(path(name), map.values(), map.shape());
        Map<String, Object> entry = entry(name, map);
        entry.put("meaning", map.meaning());
        entry.put("shape", map.shape());
        List<Map<String, Object>> axes = new ArrayList<>();
        for (AttentionMap.Axis axis : map.axes()) {
            Map<String, Object> labelled = new LinkedHashMap<>();
            labelled.put("name", axis.name());
            labelled.put("labels", axis.labels());
            axes.add(labelled);
        }
        entry.put("axes", axes);
        entries.add(entry);
    }

    private static Map<String, Object> entry(String file, AttentionMap map) {
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("file", file);
        entry.put("map", map.name());
        return entry;
    }

    /** @param shows what of the map the picture shows */
    private static Map<String, Object> picture(String file, AttentionMap map, String shows) {
        Map<String, Object> entry = entry(file, map);
        entry.put("shows", shows);
        return entry;
    }

    /** Pictures with a caption of the model alone. */
    MapFigure pictures() {
        return new MapFigure(style, "Model: " + model);
    }

    private String caption(String prompt, String answer) {
        return "Model: " + model + "  \u00b7  Prompt: " + prompt + "  \u00b7  Answer: "
                + (answer.isEmpty() ? "(empty)" : answer);
    }

    /** A part of a map of which the last axes are rows and columns of patches. */
    private static HeatMap patches(String title, AttentionMap map, float[] values) {
        int axes = map.axes().size();
        return new HeatMap(
                title, map.axes().get(axes - 1).size(), map.axes().get(axes - 2).size(), values);
    }

    /**
     * What cells cover of an image, black where they reach beyond it: pictures show it, since the model sees nothing
     * else.
     */
    public static RgbImage covered(RgbImage image, Box area) {
        int left = (int) Math.round(area.x());
        int top = (int) Math.round(area.y());
        int right = Math.max(left + 1, (int) Math.round(area.x() + area.width()));
        int bottom = Math.max(top + 1, (int) Math.round(area.y() + area.height()));
        if (left == 0 && top == 0 && right == image.width() && bottom == image.height()) {
            return image;
        }
        int x = Math.clamp(left, 0, image.width() - 1);
        int y = Math.clamp(top, 0, image.height() - 1);
        RgbImage inside = image.crop(
                x, y, Math.min(right, image.width()) - x, Math.min(bottom, image.height()) - y);
        return inside.onBlack(right - left, bottom - top, x - left, y - top);
    }

    /** Which layers a map of queries sums. */
    private static String summed(List<AttentionMap> maps) {
        return "layers "
                + maps.stream()
                        .filter(map -> map.name().equals(AttentionMap.QUERY_TO_IMAGE))
                        .findFirst()
                        .map(map -> String.join(", ", map.axes().getFirst().labels()))
                        .orElseThrow()
                + " summed";
    }

    /**
     * Vision maps: numbers, an overlay for each layer, a grid of heads for each layer, the sum beside the image, a grid
     * of queries.
     */
    public List<Map<String, Object>> vision(String folder, RgbImage image, List<AttentionMap> maps) {
        List<Map<String, Object>> entries = new ArrayList<>();
        maps.forEach(map -> numbers(folder, map, entries));
        for (AttentionMap map : maps) {
            switch (map.name()) {
                case AttentionMap.VISION_SUM -> {
                    String file = folder + map.name() + ".png";
                    pictures().panels(path(file), image, patches("Vision tower, sum over layers", map, map.values()));
                    entries.add(picture(file, map, "all"));
                }
                case AttentionMap.VISION_LAYERS -> {
                    List<String> layers = map.axes().getFirst().labels();
                    for (int l = 0; l < layers.size(); l++) {
                        String file = folder + "vision_layer_" + layers.get(l) + ".png";
                        pictures()
                                .overlay(
                                        path(file),
                                        image,
                                        patches("Vision tower, layer " + layers.get(l), map, map.at(l)));
                        entries.add(picture(file, map, "layer " + layers.get(l)));
                    }
                }
                case AttentionMap.QUERY_TO_IMAGE_SUM -> {
                    String file = folder + AttentionMap.QUERY_TO_IMAGE + ".png";
                    List<HeatMap> each = IntStream.range(0, map.axes().getFirst().size())
                            .mapToObj(query -> patches("query " + query, map, map.at(query)))
                            .toList();
                    pictures()
                            .grid(
                                    path(file),
                                    "What each query reads of the image, " + summed(maps),
                                    image,
                                    each,
                                    GRID_COLUMNS,
                                    true);
                    entries.add(picture(file, map, "all queries"));
                }
                case AttentionMap.QUERY_TO_IMAGE, AttentionMap.QUERY_TO_IMAGE_HEADS -> { }
                default -> {
                    List<String> layers = map.axes().getFirst().labels();
                    List<String> heads = map.axes().get(1).labels();
                    for (int l = 0; l < layers.size(); l++) {
                        int layer = l;
                        String file = folder + "vision_heads_layer_" + layers.get(l) + ".png";
                        List<HeatMap> each = IntStream.range(0, heads.size())
                                .mapToObj(h -> patches("head " + heads.get(h), map, map.at(layer, h))).toList();
                        pictures()
                                .grid(
                                        path(file),
                                        "Vision tower, layer " + layers.get(l),
                                        image,
                                        each,
                                        Math.min(4, each.size()),
                                        true);
                        entries.add(picture(file, map, "layer " + layers.get(l)));
                    }
                }
            }
        }
        return entries;
    }

    /** Decoder maps: numbers, a grid of words in each direction, an overlay for each word, rollout, the quadrants. */
    public List<Map<String, Object>> decoder(
            String folder, RgbImage image, String prompt, String answer, AttentionReading reading) {
        MapFigure pictures = new MapFigure(style, caption(prompt, answer));
        List<Map<String, Object>> entries = new ArrayList<>();
        reading.maps().forEach(map -> numbers(folder, map, entries));
        String layers = "layers " + ranges(reading.layers()) + " summed";
        for (Direction direction : Direction.values()) {
            List<Word> words = reading.shown(direction);
            if (words.isEmpty()) {
                continue;
            }
            String name = direction.name().toLowerCase(Locale.ROOT);
            AttentionMap sum = reading.map(name + "_sum").orElseThrow();
            List<HeatMap> maps = words.stream()
                    .map(word -> patches(reading.label(direction, word), sum, reading.map(direction, word)))
                    .toList();
            String grid = folder + name + ".png";
            pictures.grid(path(grid), title(direction) + ", " + layers, image, maps, GRID_COLUMNS, true);
            entries.add(picture(grid, sum, which(words, reading.words(direction))));
            for (Word word : words) {
                String file =
                        folder + name + "/" + String.format(Locale.ROOT, "%02d", word.index()) + slug(word) + ".png";
                String title = title(direction, reading.label(direction, word)) + ", " + layers;
                pictures.overlay(path(file), image, patches(title, sum, reading.map(direction, word)));
                entries.add(picture(file, sum, "word " + word.index()));
            }
        }
        reading.map(AttentionMap.ROLLOUT).ifPresent(map -> {
            String file = folder + map.name() + ".png";
            List<Word> words = reading.words().stream()
                    .filter(word -> !AttentionReading.isZero(map.at(word.index())))
                    .toList();
            if (words.isEmpty()) {
                return;
            }
            List<HeatMap> maps = words.stream()
                    .map(word -> patches(reading.label(Direction.WORD_TO_IMAGE, word), map, map.at(word.index())))
                    .toList();
            pictures.grid(
                    path(file), "What reaches each word of the image, all layers", image, maps, GRID_COLUMNS, true);
            entries.add(picture(file, map, which(words, reading.words())));
        });
        reading.map(AttentionMap.WORD_TO_QUERY_SUM)
                .ifPresent(map -> wordToQuery(folder, map, layers, pictures.caption(), entries));
        reading.map(AttentionMap.WORD_TO_WORD).ifPresent(map -> {
            String file = folder + map.name() + ".png";
            new MatrixFigure(style.colors(), pictures.caption())
                    .write(path(file), "What each word reads of each word, " + layers, List.of(wordToWord(map)), 1);
            entries.add(picture(file, map, "sum over layers of the mean over heads"));
        });
        List<AttentionMap> quadrants = reading.maps().stream()
                .filter(map -> map.name().startsWith(AttentionMap.QUADRANT))
                .toList();
        if (!quadrants.isEmpty()) {
            String file = folder + "quadrants.png";
            List<Matrix> matrices = quadrants.stream().map(AttentionFiles::quadrant).toList();
            new MatrixFigure(style.colors(), pictures.caption())
                    .write(path(file), "What each token attends to, " + layers, matrices, 2);
            for (AttentionMap map : quadrants) {
                entries.add(picture(file, map, "all"));
            }
        }
        return entries;
    }

    private static String which(List<Word> shown, List<Word> all) {
        return shown.size() == all.size() ? "all words" : "all words whose map is not zero";
    }

    /** Why words have no picture; empty if all have one. */
    public static Optional<String> notShown(AttentionReading reading) {
        return notShown(reading, List.of(Direction.values()));
    }

    static Optional<String> notShown(AttentionReading reading, List<Direction> directions) {
        List<String> hidden = new ArrayList<>();
        List<String> unread = new ArrayList<>();
        for (Direction direction : directions) {
            Map<Boolean, Long> counts = reading.words(direction).stream()
                    .filter(word -> !reading.isShown(direction, word))
                    .collect(Collectors.partitioningBy(
                            word -> reading.isHidden(direction, word), Collectors.counting()));
            if (counts.get(true) > 0) {
                hidden.add(Count.text(counts.get(true).intValue(), "word") + switch (direction) {
                    case WORD_TO_IMAGE -> " before the image cannot see it";
                    case IMAGE_TO_WORD -> " behind the image cannot be seen from it";
                });
            }
            if (counts.get(false) > 0) {
                String words = Count.text(counts.get(false).intValue(), "word");
                unread.add(switch (direction) {
                    case WORD_TO_IMAGE ->
                        words + (counts.get(false) == 1 ? " reads" : " read") + " nothing of the image";
                    case IMAGE_TO_WORD -> "the image reads nothing of " + words;
                });
            }
        }
        List<String> parts = new ArrayList<>();
        if (!hidden.isEmpty()) {
            parts.add(String.join(", and ", hidden) + ": no token of this model sees a later one");
        }
        if (!unread.isEmpty()) {
            parts.add(String.join(", and ", unread) + " in these layers");
        }
        return parts.isEmpty() ? Optional.empty()
                : Optional.of(String.join("; ", parts) + ", so there is no picture of these");
    }

    /** What each word reads of each query, [words, queries]. */
    void wordToQuery(
            String folder, AttentionMap map, String layers, String caption, List<Map<String, Object>> entries) {
        String file = folder + AttentionMap.WORD_TO_QUERY + ".png";
        Matrix matrix = new Matrix(
                "",
                "reading word",
                map.axes().get(0).labels(),
                "query that is read",
                map.axes().get(1).labels(),
                map.values());
        new MatrixFigure(style.colors(), caption)
                .write(path(file), "What each word reads of each query, " + layers, List.of(matrix), 1);
        entries.add(picture(file, map, "all words"));
    }

    /** {@code 0, 3-5}. */
    static String ranges(List<Integer> rising) {
        List<String> parts = new ArrayList<>();
        int from = 0;
        for (int i = 1; i <= rising.size(); i++) {
            if (i == rising.size() || rising.get(i) != rising.get(i - 1) + 1) {
                parts.add(
                        i - 1 == from ? String.valueOf(rising.get(from)) : rising.get(from) + "-" + rising.get(i - 1));
                from = i;
            }
        }
        return String.join(", ", parts);
    }

    private static String title(Direction direction) {
        return switch (direction) {
            case WORD_TO_IMAGE -> "What each word reads of the image";
            case IMAGE_TO_WORD -> "What the image reads of each word";
        };
    }

    private static String title(Direction direction, String label) {
        return switch (direction) {
            case WORD_TO_IMAGE -> "Read of the image by: " + label;
            case IMAGE_TO_WORD -> "Read by the image of: " + label;
        };
    }

    private static String slug(Word word) {
        String letters = word.text().toLowerCase(Locale.ROOT).replaceAll("[^a-z0-9]+", "");
        return letters.isEmpty() ? "" : "_" + letters.substring(0, Math.min(24, letters.length()));
    }

    private static Matrix quadrant(AttentionMap map) {
        AttentionMap.Axis rows = map.axes().get(0);
        AttentionMap.Axis columns = map.axes().get(1);
        String title = map.name().substring(AttentionMap.QUADRANT.length()).replace("_", " to ");
        return new Matrix(
                title,
                "attending: " + tokens(rows),
                rows.labels(),
                "attended to: " + tokens(columns),
                columns.labels(),
                map.values());
    }

    private static Matrix wordToWord(AttentionMap map) {
        int size = map.axes().get(2).size() * map.axes().get(3).size();
        int heads = map.axes().get(1).size();
        float[] sum = new float[size];
        for (int i = 0; i < map.values().length; i++) {
            sum[i % size] += map.values()[i] / heads;
        }
        return new Matrix(
                "",
                "reading word",
                map.axes().get(2).labels(),
                "word that is read",
                map.axes().get(3).labels(),
                sum);
    }

    private static String tokens(AttentionMap.Axis axis) {
        return axis.name().endsWith("patch") ? "image patch" : "text token";
    }
}
