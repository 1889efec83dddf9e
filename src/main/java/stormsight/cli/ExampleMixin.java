package stormsight.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.CRC32;
import picocli.CommandLine.Option;
import stormsight.backend.DeviceInfo;
import stormsight.image.Box;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Processor;
import stormsight.model.Prompt;
import stormsight.model.Views;
import stormsight.report.ReportData.Fact;
import stormsight.study.Example;
import stormsight.study.ExampleResult;
import stormsight.study.Outcome;

/** Options that choose what an experiment asks: one prompt about one image, or every question of a data set. */
final class ExampleMixin {
    private static final String PLACE = "{question}";
    /** The words before a question that PaliGemma was trained with: the task and a language. */
    private static final Pattern ANSWER_PROMPT = Pattern.compile("answer\\s+\\S+\\s+(\\S.*)", Pattern.DOTALL);

    /** An example with the prompt that asks for it. */
    record Asking(Example example, String prompt) {}

    @Option(
            names = {"-i", "--image"},
            paramLabel = "FILE",
            converter = ImageArgument.class,
            description = "An image to ask about.")
    private Path image;

    @Option(names = {"-p", "--prompt"}, paramLabel = "TEXT", description = "What to ask about the image.")
    private String prompt;

    @Option(
            names = "--question",
            paramLabel = "TEXT",
            description =
                    "The part of the prompt that is the question. Default: what follows 'answer en', else the whole "
                            + "prompt.")
    private String question;

    @Option(
            names = "--dataset",
            paramLabel = "FILE",
            description = {
                "Many questions instead of one: a line of JSON each,",
                "{\"image\": FILE, \"question\": TEXT, \"answer\": TEXT, \"boxes\": [[x, y, w, h], ..], \"category\": "
                        + "TEXT},",
                "files relative to the data set, boxes in pixels of the image; boxes and category may be absent. "
                        + "A question counts if the model's whole answer is the right one."
            })
    private Path dataset;

    @Option(
            names = "--template",
            paramLabel = "TEXT",
            description =
                    "How a question of the data set becomes a prompt. Default: as the model was trained, for "
                            + "PaliGemma 'answer en "
                            + PLACE + "'.")
    private Optional<String> template = Optional.empty();

    @Option(
            names = "--category",
            paramLabel = "NAME",
            description = "Only questions of this category; may be repeated.")
    private List<String> categories = new ArrayList<>();

    @Option(names = "--limit", paramLabel = "N", description = "Only the first N questions.")
    private Integer limit;

    @Option(names = {"-n", "--max-new-tokens", "--max-tokens"}, paramLabel = "N", defaultValue = "32",
            description = "The longest answer of the model itself, in tokens. Default: ${DEFAULT-VALUE}.")
    private int maxTokens;

    boolean isDataset() {
        return dataset != null;
    }

    int maxTokens() {
        return maxTokens;
    }

    /**
     * All that is to be asked.
     *
     * @param boxes of the object in a single image
     * @param mask of the object in a single image
     */
    List<Example> read(List<Box> boxes, Optional<Path> mask) {
        if (maxTokens < 1) {
            throw new UsageException("--max-tokens " + maxTokens + " is not positive");
        }
        if (limit != null && limit < 1) {
            throw new UsageException("--limit " + limit + " is not positive");
        }
        if (dataset == null) {
            return List.of(single(boxes, mask));
        }
        if (image != null || prompt != null || question != null || !boxes.isEmpty() || mask.isPresent()) {
            throw new UsageException("--dataset brings its own images, questions and boxes");
        }
        if (template.isPresent() && !template.get().contains(PLACE)) {
            throw new UsageException("--template has no " + PLACE);
        }
        List<Example> examples = examples();
        for (String category : categories) {
            if (examples.stream().noneMatch(example -> example.category().equals(Optional.of(category)))) {
                throw new UsageException("--category: " + dataset + " has no question of category '" + category + "'");
            }
        }
        return examples.stream()
                .filter(example -> categories.isEmpty()
                        || example.category().isPresent()
                                && categories.contains(example.category().get()))
                .limit(limit == null ? Integer.MAX_VALUE : limit)
                .toList();
    }

    /** The examples with their prompts. */
    List<Asking> ask(ModelMixin model, ModelDirectory directory, List<Example> examples) {
        List<Asking> askings = examples.stream()
                .map(example -> new Asking(
                        example, dataset == null ? prompt : template(directory).replace(PLACE, example.question())))
                .toList();
        for (Asking asking : askings) {
            model.requirePrompt(
                    directory,
                    asking.prompt,
                    dataset == null ? "--prompt" : dataset + ", line " + asking.example.line());
        }
        return askings;
    }

    private String template(ModelDirectory directory) {
        return template.orElseGet(() -> directory.processor().questionPrompt(PLACE));
    }

    private List<Example> examples() {
        try {
            return Example.read(dataset);
        } catch (NoSuchFileException e) {
            throw new UsageException("--dataset: " + dataset + ": no such file");
        } catch (IOException e) {
            throw new UsageException("--dataset: " + dataset + " cannot be read: " + e.getMessage());
        } catch (IllegalArgumentException e) {
            throw new UsageException("--dataset: " + e.getMessage());
        }
    }

    private Example single(List<Box> boxes, Optional<Path> mask) {
        if (image == null || prompt == null) {
            throw new UsageException("give --dataset, or --image and --prompt");
        }
        if (!categories.isEmpty() || limit != null) {
            throw new UsageException("--category and --limit choose from a --dataset");
        }
        prompt = PromptText.of(prompt);
        Matcher answer = ANSWER_PROMPT.matcher(prompt.strip());
        String asked = question != null ? question : answer.matches() ? answer.group(1) : prompt.strip();
        if (asked.isBlank() || !prompt.contains(asked)) {
            throw new UsageException("--question: the prompt does not hold '" + asked + "'");
        }
        // What cannot be read is found out before a model is opened.
        ImageDecoder decoder = new ImageDecoder();
        image = ImageArgument.file(image);
        decoder.decode(image);
        mask.ifPresent(decoder::decode);
        return new Example(0, image, image.toString(), asked, Optional.empty(), boxes, mask, Optional.empty());
    }

    /** What the longest of the prompts needs. */
    Limits limits(ModelDirectory directory, List<Asking> askings) {
        Processor processor = directory.processor();
        // What an image takes may depend on its size, so any image stands for the one with the most places.
        Views any = processor.views(new RgbImage(1, 1, new byte[3]));
        int longest = new HashSet<>(askings.stream().map(Asking::prompt).toList())
                .stream()
                        .mapToInt(text ->
                                directory.prompt(text, List.of(any)).length() - any.length() + processor.imageTokens())
                        .max()
                        .orElseThrow();
        return processor.limits(longest, maxTokens);
    }

    /** What results depend on. */
    void describe(Map<String, String> settings, ModelDirectory directory, List<Asking> askings) {
        settings.put("max tokens", String.valueOf(maxTokens));
        if (dataset == null) {
            Example example = askings.getFirst().example();
            settings.put("image", image + " " + checksum(image));
            settings.put("prompt", prompt);
            settings.put("question", example.question());
            settings.put("boxes", example.boxes().toString());
            settings.put("mask", example.mask().map(file -> file + " " + checksum(file)).orElse("none"));
        } else {
            settings.put("data set", dataset.getFileName() + " " + checksum(dataset));
            settings.put("template", template(directory));
        }
    }

    /** What became of the examples. */
    <R extends ExampleResult> Outcome<R> outcome(List<Asking> askings, Map<String, String> settings, String model,
            DeviceInfo device, List<R> results) {
        return new Outcome<>(isDataset(), facts(askings), settings, model, device, results);
    }

    private List<Fact> facts(List<Asking> askings) {
        return dataset != null ? List.of(new Fact("Data set", dataset.toString()))
                : List.of(new Fact("Image", image.toString()), new Fact("Prompt", askings.getFirst().prompt()),
                        new Fact("Question", askings.getFirst().example().question()));
    }

    /** The single image that is asked about. */
    Optional<RgbImage> image() {
        return dataset != null ? Optional.empty() : Optional.of(new ImageDecoder().decode(image));
    }

    /** Tells a file from another. */
    static String checksum(Path file) {
        try {
            return Long.toHexString(crc32(file));
        } catch (IOException e) {
            throw new UsageException(file + " cannot be read: " + e.getMessage());
        }
    }

    /** The number that {@link #checksum} writes in hexadecimal digits. */
    static long crc32(Path file) throws IOException {
        CRC32 sum = new CRC32();
        sum.update(Files.readAllBytes(file));
        return sum.getValue();
    }
}
