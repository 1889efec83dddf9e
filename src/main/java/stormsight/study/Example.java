package stormsight.study;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import stormsight.image.Box;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.ModelDirectory;
import stormsight.probe.ObjectPatches;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * One question of a data set.
 *
 * @param line where it stands in the file, from 1; 0 if it comes from no file
 * @param image file of the image
 * @param name the image as the data set names it
 * @param question without words and white space around it
 * @param answer the right answer, if there is one to compare with
 * @param boxes of the object in question, in pixels of the image; may be empty
 * @param mask image that marks the object, in the size of the image
 * @param category kind of question, if the data set says so
 */
public record Example(int line, Path image, String name, String question, Optional<String> answer, List<Box> boxes, Optional<Path> mask,
        Optional<String> category) {
    public Example {
        // A prompt drops newlines at its end, and then holds no question that ends in one.
        question = question.strip();
        boxes = List.copyOf(boxes);
    }

    /**
     * Reads a data set: one object of JSON a line, {@code {"image": FILE, "question": TEXT, "answer": TEXT, "boxes": [[x, y, w, h], ..]}}, with files
     * relative to the data set; {@code boxes}, {@code mask} (a file) and {@code category} may be absent. Empty lines are passed over.
     *
     * @throws IllegalArgumentException naming file and line if a line is not so
     * @throws IOException if the file cannot be read
     */
    public static List<Example> read(Path file) throws IOException {
        List<Example> examples = new ArrayList<>();
        int line = 0;
        for (String text : Files.readString(file, StandardCharsets.UTF_8).split("\n", -1)) {
            line++;
            if (!text.isBlank()) {
                try {
                    examples.add(parse(file, line, JsonMapper.shared().readTree(text)));
                } catch (JacksonException e) {
                    throw new IllegalArgumentException(file + ", line " + line + ": not JSON", e);
                } catch (IllegalArgumentException e) {
                    throw new IllegalArgumentException(file + ", line " + line + ": " + e.getMessage(), e);
                }
            }
        }
        if (examples.isEmpty()) {
            throw new IllegalArgumentException(file + ": no examples");
        }
        return examples;
    }

    private static Example parse(Path file, int line, JsonNode object) {
        String name = text(object, "image").orElseThrow(() -> new IllegalArgumentException("\"image\" is missing"));
        List<Box> boxes = new ArrayList<>();
        for (JsonNode box : object.path("boxes")) {
            if (box.size() != 4 || !box.valueStream().allMatch(JsonNode::isNumber)) {
                throw new IllegalArgumentException("a box is not [x, y, w, h]: " + box);
            }
            boxes.add(new Box(box.get(0).asDouble(), box.get(1).asDouble(), box.get(2).asDouble(), box.get(3).asDouble()));
        }
        return new Example(line, file.resolveSibling(name), name,
                text(object, "question").orElseThrow(() -> new IllegalArgumentException("\"question\" is missing")),
                Optional.of(text(object, "answer").orElseThrow(() -> new IllegalArgumentException("\"answer\" is missing"))),
                boxes, text(object, "mask").map(file::resolveSibling), text(object, "category"));
    }

    private static Optional<String> text(JsonNode object, String key) {
        JsonNode value = object.get(key);
        if (value == null || value.isNull()) {
            return Optional.empty();
        }
        if (!value.isString() || value.asString().isBlank()) {
            throw new IllegalArgumentException("\"" + key + "\" is not a text");
        }
        return Optional.of(value.asString());
    }

    /**
     * What a session is asked.
     *
     * @param prompt holds the question
     * @param maxTokens most tokens of the model's own answer
     * @throws stormsight.image.ImageException if the image or the mask cannot be read
     * @throws IllegalArgumentException if a box lies outside of the image, or the mask has another size
     */
    public Inquiry inquiry(ModelDirectory directory, String prompt, int maxTokens) {
        ImageDecoder decoder = new ImageDecoder();
        RgbImage pixels = decoder.decode(image);
        Optional<List<Integer>> object = Optional.empty();
        if (mask.isPresent()) {
            object = Optional.of(ObjectPatches.of(directory.processor(), pixels, decoder.decode(mask.get())));
        } else if (!boxes.isEmpty()) {
            object = Optional.of(ObjectPatches.of(directory.processor(), pixels, boxes));
        }
        return new Inquiry(pixels, prompt, question, object, maxTokens);
    }

    /** Whether the question is known to be about certain patches. */
    public boolean hasObject() {
        return !boxes.isEmpty() || mask.isPresent();
    }

    /** Whether a prediction is the right answer: lower-cased and stripped, the texts are the same. Anything is right where none is known. */
    public boolean isRight(String prediction) {
        return answer.isEmpty() || fold(prediction).equals(fold(answer.get()));
    }

    private static String fold(String text) {
        return text.strip().toLowerCase(Locale.ROOT);
    }
}
