package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import stormsight.backend.Backend;
import stormsight.generate.Generator;
import stormsight.image.Box;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Prompt;
import stormsight.model.Views;
import stormsight.probe.AttentionMap;
import stormsight.probe.AttentionMaps;
import stormsight.probe.AttentionReading.Direction;
import stormsight.probe.AttentionReading;
import stormsight.probe.AttentionRequest.Kind;
import stormsight.probe.AttentionRequest;
import stormsight.probe.Word;
import stormsight.report.ReportData;
import stormsight.report.TextTable;
import stormsight.study.AttentionComparison;
import stormsight.study.AttentionFiles;
import stormsight.study.AttentionPage;
import tools.jackson.databind.json.JsonMapper;

/** Shows what a model attends to while it answers. */
@Command(
        name = "attend",
        description = {
            "Answers prompts about images and writes what the model attended to: pictures, and the numbers behind "
                    + "them.",
            "Word to image is what a word reads of each patch. Image to word is what each patch reads of a word of "
                    + "the prompt; the image never sees generated words. Where no token sees a later one, as in "
                    + "LLaVA, words before the image see nothing of it, and words behind it are not seen from it: "
                    + "they have no picture. 'a \u2192 b' marks what a read when the model chose b; generated words "
                    + "have a plus.",
            "Several images and prompts are compared. maps.json in the output directory names every file."
        })
final class Attend extends PromptCommand implements Runnable {
    /** Groups of maps as users name them. */
    enum Group {
        VISION,
        QUERIES,
        WORDS,
        QUADRANTS,
        WHOLE,
        ROLLOUT;

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** Directions as users name them. */
    enum Way {
        WORD_TO_IMAGE("word-to-image"),
        IMAGE_TO_WORD("image-to-word"),
        BOTH("both");

        private final String option;

        Way(String option) {
            this.option = option;
        }

        @Override
        public String toString() {
            return option;
        }
    }

    @Mixin
    private ReportMixin report;

    @Mixin
    private MapStyleMixin style;

    @Option(names = {"-i", "--image"}, paramLabel = "FILE", required = true, converter = ImageArgument.class,
            description = "PNG, JPEG, GIF, BMP or WebP; may be repeated.")
    private List<Path> images;

    @Option(names = "--ignore-orientation", description = "Do not turn the images as their EXIF data says.")
    private boolean ignoreOrientation;

    @Option(
            names = {"-p", "--prompt"},
            paramLabel = "TEXT",
            description = "What to do with the image; may be repeated.")
    private List<String> prompts = List.of();

    @Option(
            names = "--compare-objects",
            paramLabel = "A,B",
            description =
                    "Six prompts that name two objects, such as cat,dog: as a question in both orders, one by one, "
                            + "and as statements. The embedded model is asked in its own tasks.")
    private Optional<String> objects = Optional.empty();

    @Option(
            names = {"-o", "--out"},
            paramLabel = "DIR",
            required = true,
            description =
                    "Where to write; made if it does not exist. Files of the same name are replaced, others stay.")
    private Path out;

    @Option(
            names = "--maps",
            paramLabel = "GROUP",
            split = ",",
            description =
                    "vision: how strongly each patch attends to another in the vision tower. queries: what each of "
                            + "BLIP-2's queries reads of the image. words: between words and image in the decoder. "
                            + "quadrants: all of the decoder, summed over layers. whole: all of "
                            + "the decoder in each layer, as numbers, and for a report from word to word and patch to "
                            + "patch. rollout: what reaches each word of the image through all layers of the decoder "
                            + "(attention rollout). The page of --html has those of vision, queries, words and whole. "
                            + "Default: vision and words, and queries where the model has some.")
    private List<Group> chosenGroups = List.of();

    @Option(
            names = "--direction",
            paramLabel = "WAY",
            defaultValue = "both",
            description = "${COMPLETION-CANDIDATES}. Default: ${DEFAULT-VALUE}.")
    private Way way;

    @Option(
            names = "--layers",
            paramLabel = "LIST",
            description =
                    "Layers to look at, such as 0,3-5, in the tower, the decoder and, counted over those that read "
                            + "the image, BLIP-2's Q-Former. Default: all.")
    private Optional<String> layers = Optional.empty();

    @Option(
            names = "--heads",
            paramLabel = "LIST",
            defaultValue = "mean",
            description =
                    "Heads to show one by one, such as 0,2 or all; means are then of these. mean: only the mean of "
                            + "all. Default: ${DEFAULT-VALUE}.")
    private String heads;

    @Option(names = {"-n", "--max-new-tokens", "--max-tokens"}, paramLabel = "N", defaultValue = "32",
            description = "The longest answer, in tokens. Default: ${DEFAULT-VALUE}.")
    private int maxTokens;

    @Option(names = "--json", description = "Print what maps.json holds instead of a table.")
    private boolean json;

    @Override
    public void run() {
        if (maxTokens < 1) {
            throw new UsageException("--max-tokens " + maxTokens + " is not positive");
        }
        List<String> texts = new ArrayList<>(prompts);
        objects.ifPresent(pair -> texts.addAll(model.chosen() ? objectPrompts(pair) : embeddedObjectPrompts(pair)));
        if (texts.isEmpty()) {
            throw new UsageException("--prompt or --compare-objects is missing");
        }
        texts.replaceAll(PromptText::of);
        AttentionRequest request = request();
        OutputOption.requireFolder("--out", out);
        report.requireWritable();
        if (report.isWanted() && Set.of(Group.QUADRANTS, Group.ROLLOUT).containsAll(groups())) {
            throw new UsageException("--html shows the maps of vision, words and whole, which --maps leaves out");
        }
        ImageDecoder decoder =
                new ImageDecoder(!ignoreOrientation, ImageDecoder.DEFAULT_MAX_PIXELS, ImageDecoder.DEFAULT_MAX_BYTES);
        List<RgbImage> pixels = images.stream().map(ImageArgument::file).map(decoder::decode).toList();
        withModel((directory, backend, progress) -> {
            try {
                request.check(directory.describe());
            } catch (IllegalArgumentException e) {
                throw new UsageException(e.getMessage());
            }
            texts.forEach(text -> model.requirePrompt(directory, text, "--prompt"));
            List<Asked> asked = pixels.stream().map(image -> Asked.of(directory, image, texts)).toList();
            List<Prompt> all = asked.stream().flatMap(about -> about.prompts().stream()).toList();
            Limits limits = new Limits(all.stream().mapToInt(Prompt::length).max().orElseThrow(), maxTokens,
                    asked.stream().mapToInt(about -> about.views().count()).max().orElseThrow());
            AttentionMaps maps =
                    new AttentionMaps(withQueries(request, all.getFirst()), directory.describe(), all);
            try {
                maps.check(directory.unbound(limits, model.options()));
            } catch (IllegalArgumentException e) {
                throw new UsageException(
                        e.getMessage() + (chosenGroups.isEmpty() ? "; --maps vision,words leaves it out" : ""));
            }
            try (Generator generator =
                    Generator.open(directory, backend, limits, model.options(), progress, List.of(maps))) {
                attend(generator, maps, pixels, texts, asked, backend);
                PromptText.warnOfUnknownTask(err(), model, directory, texts.getFirst());
            }
        });
    }

    /** The six prompts of the experiment that this follows, for any two objects. */
    static List<String> objectPrompts(String pair) {
        List<String> names = objectNames(pair);
        String a = withArticle(names.getFirst());
        String b = withArticle(names.getLast());
        return List.of(
                "Is this an image of " + a + " or " + b + "?",
                "Is this an image of " + b + " or " + a + "?",
                "Is this " + a + "?",
                "Is this " + b + "?",
                "This is " + b + ".",
                "This is " + a + ".");
    }

    /** The same for the embedded model, in the words that it knows. */
    static List<String> embeddedObjectPrompts(String pair) {
        String a = objectNames(pair).getFirst();
        String b = objectNames(pair).getLast();
        return List.of(
                "answer en is the " + a + " left or right of the " + b + "?",
                "answer en is the " + b + " left or right of the " + a + "?",
                "answer en is there " + withArticle(a) + "?",
                "answer en is there " + withArticle(b) + "?",
                "detect " + b,
                "detect " + a);
    }

    private static List<String> objectNames(String pair) {
        String[] names = pair.split(",", -1);
        if (names.length != 2 || names[0].isBlank() || names[1].isBlank()) {
            throw new UsageException("--compare-objects " + pair + ": two objects are needed, such as cat,dog");
        }
        return List.of(names[0].strip(), names[1].strip());
    }

    private static String withArticle(String noun) {
        return ("aeiouAEIOU".indexOf(noun.charAt(0)) >= 0 ? "an " : "a ") + noun;
    }

    private List<Group> groups() {
        return chosenGroups.isEmpty() ? List.of(Group.VISION, Group.WORDS) : chosenGroups;
    }

    /** With queries where there are some, if nobody chose otherwise. */
    private AttentionRequest withQueries(AttentionRequest request, Prompt prompt) {
        if (request.wants(Kind.QUERIES) && !prompt.hasQueries()) {
            throw new UsageException("--maps queries: this model has none; its image tokens are patches");
        }
        return chosenGroups.isEmpty() && prompt.hasQueries() ? request.withQueries() : request;
    }

    private AttentionRequest request() {
        Set<Kind> kinds = EnumSet.noneOf(Kind.class);
        for (Group group : groups()) {
            switch (group) {
                case VISION -> kinds.add(Kind.VISION);
                case QUERIES -> kinds.add(Kind.QUERIES);
                case QUADRANTS -> kinds.add(Kind.QUADRANTS);
                case WHOLE -> kinds.add(Kind.WHOLE);
                case ROLLOUT -> kinds.add(Kind.ROLLOUT);
                case WORDS -> {
                    if (way != Way.IMAGE_TO_WORD) {
                        kinds.add(Kind.WORD_TO_IMAGE);
                    }
                    if (way != Way.WORD_TO_IMAGE) {
                        kinds.add(Kind.IMAGE_TO_WORD);
                    }
                }
            }
        }
        Optional<AttentionRequest.Heads> chosen = switch (heads) {
            case "mean" -> Optional.empty();
            case "all" -> Optional.of(new AttentionRequest.Heads(List.of()));
            default -> Optional.of(new AttentionRequest.Heads(Indices.parse("--heads", heads)));
        };
        return new AttentionRequest(kinds, layers.map(text -> Indices.parse("--layers", text)), chosen);
    }

    /** What is asked about an image. */
    private record Asked(Views views, List<Prompt> prompts) {
        static Asked of(ModelDirectory directory, RgbImage image, List<String> texts) {
            Views views = directory.views(image, "the image");
            return new Asked(views, texts.stream().map(text -> directory.prompt(text, List.of(views))).toList());
        }
    }

    private void attend(
            Generator generator,
            AttentionMaps maps,
            List<RgbImage> pixels,
            List<String> texts,
            List<Asked> asked,
            Backend backend) {
        AttentionFiles files = new AttentionFiles(out, style.style(), model.name());
        List<RgbImage> shown = new ArrayList<>();
        boolean several = images.size() * texts.size() > 1;
        List<Map<String, Object>> imageEntries = new ArrayList<>();
        List<AttentionComparison.Run> runs = new ArrayList<>();
        List<Map<String, Object>> runEntries = new ArrayList<>();
        AttentionPage reported = new AttentionPage();
        PrintWriter stdout = out();
        for (int i = 0; i < images.size(); i++) {
            generator.encodeViews(List.of(asked.get(i).views()));
            String imageFolder = several ? "image" + (i + 1) + "/" : "";
            Map<String, Object> imageEntry = new LinkedHashMap<>();
            imageEntry.put("image", images.get(i).toString());
            imageEntry.put("width", pixels.get(i).width());
            imageEntry.put("height", pixels.get(i).height());
            Box area = AttentionMaps.cells(asked.get(i).prompts().getFirst()).area();
            imageEntry.put("area", List.of(area.x(), area.y(), area.width(), area.height()));
            shown.add(AttentionFiles.covered(pixels.get(i), area));
            List<AttentionMap> vision = maps.vision(asked.get(i).prompts().getFirst());
            imageEntry.put("files", files.vision(imageFolder, shown.get(i), vision));
            imageEntries.add(imageEntry);
            for (int p = 0; p < texts.size(); p++) {
                List<Integer> ids = generator.greedy(asked.get(i).prompts().get(p), maxTokens);
                String answer = generator
                        .directory()
                        .tokenizer()
                        .decode(ids.stream().mapToInt(Integer::intValue).toArray(), true);
                AttentionReading reading = maps.decoder(
                        generator.directory().tokenizer(),
                        asked.get(i).prompts().get(p),
                        ids);
                String folder = several ? imageFolder + "prompt" + (p + 1) + "/" : "";
                Map<String, Object> entry = new LinkedHashMap<>();
                entry.put("image", images.get(i).toString());
                entry.put("prompt", texts.get(p));
                entry.put("answer", answer);
                entry.put("words", words(reading));
                entry.put("files", files.decoder(folder, shown.get(i), texts.get(p), answer, reading));
                runEntries.add(entry);
                runs.add(new AttentionComparison.Run(i, p, answer, sums(reading)));
                if (report.isWanted()) {
                    reported.add(images.get(i), shown.get(i), vision, texts.get(p), answer, reading,
                            AttentionMaps.patchPlaces(asked.get(i).prompts().get(p)));
                }
                if (!json) {
                    print(stdout, images.get(i), texts.get(p), answer, reading);
                }
            }
        }
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("version", Version.text());
        object.put("model", model.name());
        object.put("family", generator.directory().describe().family());
        object.put("backend", backend.device().backend());
        object.put("device", backend.device().title());
        object.put("raw_prompt", rawPrompt());
        object.put("layers", layers.map(text -> (Object) Indices.parse("--layers", text)).orElse("all"));
        object.put("heads", heads);
        object.put("images", imageEntries);
        object.put("runs", runEntries);
        List<ReportData.Table> compared = new ArrayList<>();
        if (several) {
            AttentionComparison comparison = new AttentionComparison(images, shown, texts, runs);
            object.put("comparison", comparison.write(files));
            comparison.table().ifPresent(compared::add);
            if (!json) {
                comparison.print(stdout);
            }
        }
        files.json("maps.json", object);
        report.write(reported.page(compared), style.style(), model.name(), backend.device());
        if (json) {
            stdout.println(JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(object));
        } else {
            stdout.println(files.count() + " files in " + out + ", all named in " + out.resolve("maps.json"));
        }
    }

    /** A comparison needs no more of a reading, which may be large. */
    private static AttentionReading sums(AttentionReading reading) {
        return new AttentionReading(
                reading.words(),
                reading.layers(),
                reading.grid(),
                reading.maps().stream()
                        .filter(map -> map.name().equals(AttentionMap.WORD_TO_IMAGE_SUM)
                                || map.name().equals(AttentionMap.IMAGE_TO_WORD_SUM))
                        .toList(),
                reading.firstSeeing(),
                reading.firstUnseen());
    }

    private static List<Map<String, Object>> words(AttentionReading reading) {
        List<Map<String, Object>> words = new ArrayList<>();
        for (Word word : reading.words()) {
            Map<String, Object> entry = new LinkedHashMap<>();
            entry.put("index", word.index());
            entry.put("token_id", word.tokenId());
            entry.put("text", word.text());
            entry.put("generated", word.generated());
            for (Direction direction : Direction.values()) {
                if (reading.words(direction).contains(word)) {
                    Map<String, Object> read = new LinkedHashMap<>();
                    read.put("share", reading.share(direction, word));
                    reading.peak(direction, word)
                            .ifPresent(peak -> read.put("peak_patch", List.of(peak.row(), peak.column())));
                    entry.put(direction.name().toLowerCase(Locale.ROOT), read);
                }
            }
            words.add(entry);
        }
        return words;
    }

    private static void print(PrintWriter stdout, Path image, String prompt, String answer, AttentionReading reading) {
        stdout.println("image   " + image);
        stdout.println("prompt  " + prompt);
        stdout.println("answer  " + answer);
        List<Direction> shown = Stream.of(Direction.values())
                .filter(direction -> !reading.words(direction).isEmpty())
                .toList();
        if (!shown.isEmpty()) {
            List<String> header = new ArrayList<>(List.of("word"));
            for (Direction direction : shown) {
                header.addAll(switch (direction) {
                    case WORD_TO_IMAGE -> List.of(">reads of the image", "peak at");
                    case IMAGE_TO_WORD -> List.of(">is read by it", "peak at");
                });
            }
            TextTable table = new TextTable(header);
            for (Word word : reading.words()) {
                List<String> row = new ArrayList<>(List.of(reading.label(Direction.WORD_TO_IMAGE, word)));
                for (Direction direction : shown) {
                    boolean has = reading.words(direction).contains(word);
                    row.add(has ? TextTable.fixed(100 * reading.share(direction, word), 2) + "%" : "");
                    row.add(!has ? "" : reading.peak(direction, word)
                            .map(peak -> "row " + peak.row() + ", column " + peak.column())
                            .orElse("nowhere"));
                }
                table.row(row);
            }
            stdout.print(table.plain());
            AttentionFiles.notShown(reading).ifPresent(stdout::println);
        }
        stdout.println();
    }
}
