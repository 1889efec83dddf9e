package stormsight.study;

import java.io.IOException;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import stormsight.checkpoint.JsonRecord;
import stormsight.image.Box;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.ModelDirectory;
import stormsight.probe.ObjectPatches;

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
public record Example(
        int line,
        Path image,
        String name,
        String question,
        Optional<String> answer,
        List<Box> boxes,
        Optional<Path> mask,
        Optional<String> category) {
    public Example {
        // A prompt drops newlines at its end, and then holds no question that ends in one.
        question = question.strip();
        boxes = List.copyOf(boxes);
    }

    /**
     * Reads a data set: one object of JSON a line, {@code {"image": FILE, "question": TEXT, "answer": TEXT, "boxes":
     * [[x, y, w, h], ..]}}, with files relative to the data set; {@code boxes}, {@code mask} (a file) and {@code
     * category} may be absent. Empty lines and a byte order mark are passed over.
     *
     * @throws IllegalArgumentException naming file, line and field if a line is not so
     * @throws IOException if the file cannot be read
     */
    public static List<Example> read(Path file) throws IOException {
        List<Example> examples = new ArrayList<>();
        int line = 0;
        for (String text : JsonRecord.textOf(file).split("\n", -1)) {
            line++;
            if (!text.isBlank()) {
                examples.add(parse(file, line, JsonRecord.parse(file + ", line " + line, text)));
            }
        }
        if (examples.isEmpty()) {
            throw new IllegalArgumentException(file + ": no examples");
        }
        return examples;
    }

    private static Example parse(Path file, int line, JsonRecord example) {
        String name = text(example.get("image"));
        List<Box> boxes = new ArrayList<>();
        for (JsonRecord box : example.find("boxes").map(JsonRecord::elements).orElse(List.of())) {
            List<JsonRecord> sides = box.elements(4);
            try {
                boxes.add(new Box(
                        sides.get(0).number(),
                        sides.get(1).number(),
                        sides.get(2).number(),
                        sides.get(3).number()));
            } catch (JsonRecord.WrongShapeException e) {
                throw e;
            } catch (IllegalArgumentException e) {
                throw box.invalid(e.getMessage());
            }
        }
        return new Example(
                line,
                beside(file, example.get("image")),
                name,
                text(example.get("question")),
                Optional.of(text(example.get("answer"))),
                boxes,
                example.find("mask").map(mask -> beside(file, mask)),
                example.find("category").map(Example::text));
    }

    private static Path beside(Path file, JsonRecord name) {
        try {
            return file.resolveSibling(text(name));
        } catch (InvalidPathException e) {
            throw name.invalid("not the name of a file: " + e.getReason());
        }
    }

    private static String text(JsonRecord value) {
        if (value.text().isBlank()) {
            throw value.invalid("the text is empty");
        }
        return value.text();
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

    /**
     * Whether a prediction is the right answer: lower-cased and stripped, the texts are the same. Anything is right
     * where none is known.
     */
    public boolean isRight(String prediction) {
        return answer.isEmpty() || fold(prediction).equals(fold(answer.get()));
    }

    private static String fold(String text) {
        return text.strip().toLowerCase(Locale.ROOT);
    }
}
