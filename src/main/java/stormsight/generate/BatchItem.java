package stormsight.generate;

import java.io.IOException;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.UnaryOperator;
import stormsight.checkpoint.JsonRecord;
import tools.jackson.databind.node.ObjectNode;

/**
 * One prompt about one image, among many.
 *
 * @param index among all, from 0, in the order in which they were named
 * @param image as it was named
 * @param file of the image
 * @param input other fields of the line that it comes from, if there are some
 */
public record BatchItem(int index, String image, Path file, String prompt, Optional<ObjectNode> input) {
    private static final String IMAGE = "image";
    private static final String PROMPT = "prompt";
    private static final String QUESTION = "question";

    /**
     * Reads a list: one object of JSON a line with {@code image}, a file relative to the list, and {@code prompt}, or
     * {@code question} in place of it. Empty lines are passed over.
     *
     * @param prompts asked where a line has neither, each of them
     * @param asked makes a prompt of a question
     * @param first index of the first item
     * @throws IllegalArgumentException naming file, line and field if a line is not so
     * @throws IOException if the file cannot be read
     */
    public static List<BatchItem> read(Path list, List<String> prompts, UnaryOperator<String> asked, int first)
            throws IOException {
        List<BatchItem> items = new ArrayList<>();
        int line = 0;
        for (String text : JsonRecord.textOf(list).split("\n", -1)) {
            line++;
            if (text.isBlank()) {
                continue;
            }
            JsonRecord record = JsonRecord.parse(list + ", line " + line, text);
            JsonRecord image = record.get(IMAGE);
            List<String> texts = record.find(PROMPT)
                    .map(JsonRecord::text)
                    .or(() -> record.find(QUESTION).map(question -> asked.apply(question.text().strip())))
                    .map(List::of)
                    .orElse(prompts);
            if (texts.isEmpty()) {
                throw record.invalid("neither \"" + PROMPT + "\" nor \"" + QUESTION + "\", and no --prompt");
            }
            ObjectNode others = ((ObjectNode) record.node()).deepCopy();
            others.remove(List.of(IMAGE, PROMPT));
            for (String prompt : texts) {
                items.add(new BatchItem(
                        first + items.size(),
                        image.text(),
                        beside(list, image),
                        prompt,
                        others.isEmpty() ? Optional.empty() : Optional.of(others)));
            }
        }
        return items;
    }

    private static Path beside(Path list, JsonRecord image) {
        try {
            return list.resolveSibling(image.text());
        } catch (InvalidPathException e) {
            throw image.invalid("not the name of a file: " + e.getReason());
        }
    }

    /**
     * The order in which items are answered: those about one image follow each other, images in the order in which they
     * are named first, so that each is encoded once.
     *
     * @param shard from 1
     * @param shards into which the images are dealt; only those of one shard are kept
     */
    public static List<BatchItem> ordered(List<BatchItem> items, int shard, int shards) {
        Map<Path, List<BatchItem>> byImage = new LinkedHashMap<>();
        items.forEach(item -> byImage
                .computeIfAbsent(item.file.toAbsolutePath().normalize(), _ -> new ArrayList<>())
                .add(item));
        List<BatchItem> ordered = new ArrayList<>();
        int image = 0;
        for (List<BatchItem> about : byImage.values()) {
            if (image++ % shards == shard - 1) {
                ordered.addAll(about);
            }
        }
        return ordered;
    }

    /** Whether two items are about one image. */
    boolean sharesImage(BatchItem other) {
        return file.toAbsolutePath().normalize().equals(other.file.toAbsolutePath().normalize());
    }
}
