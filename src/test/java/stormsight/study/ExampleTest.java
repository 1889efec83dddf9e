package stormsight.study;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import stormsight.image.Box;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class ExampleTest {
    private static final Path HELD_OUT = Path.of("models/shapes/heldout");

    @TempDir
    private Path folder;

    private List<Example> read(String text) throws IOException {
        return Example.read(Files.writeString(folder.resolve("set.jsonl"), text));
    }

    @Test
    void readsLines() throws IOException {
        List<Example> examples = read("""
                {"image": "a/b.png", "question": "what?", "answer": "Yes", "boxes": [[1, 2.5, 3, 4]], "category": "color", "more": 1}

                {"question": "who?", "answer": "no", "image": "/c.png", "boxes": [], "mask": "m.png"}
                """);
        assertEquals(
                new Example(
                        1,
                        folder.resolve("a/b.png"),
                        "a/b.png",
                        "what?",
                        Optional.of("Yes"),
                        List.of(new Box(1, 2.5, 3, 4)),
                        Optional.empty(),
                        Optional.of("color")),
                examples.getFirst());
        assertEquals(3, examples.getLast().line());
        assertEquals(Path.of("/c.png"), examples.getLast().image());
        assertEquals(Optional.of(folder.resolve("m.png")), examples.getLast().mask());
        assertTrue(examples.getLast().hasObject());
        assertTrue(examples.getFirst().isRight(" yes\n"));
        assertFalse(examples.getFirst().isRight("yes."));
    }

    /** A prompt has no newlines at its end, so a question that had one would not be found in it. */
    @Test
    void aQuestionHasNoSpaceAroundIt() throws IOException {
        assertEquals(
                "what\nis it?",
                read("{\"image\": \"a\", \"question\": \" what\\nis it?\\n\", \"answer\": \"b\"}")
                        .getFirst()
                        .question());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{\"image\": \"a\", | not JSON",
                "{\"image\": \"a\", \"answer\": \"b\"} | \"question\" is missing",
                "{\"question\": \"a\", \"answer\": \"b\"} | \"image\" is missing",
                "{\"image\": \"a\", \"question\": \"b\"} | \"answer\" is missing",
                "{\"image\": \"a\", \"question\": \"b\", \"answer\": 1} | answer: 1 found, a text expected",
                "{\"image\": \"a\", \"question\": \" \", \"answer\": \"c\"} | question: the text is empty",
                "{\"image\": \"a\", \"question\": \"b\", \"answer\": \"c\", \"boxes\": [1, 2, 3, 4]} | boxes[0]: 1 "
                        + "found, an array expected",
                "{\"image\": \"a\", \"question\": \"b\", \"answer\": \"c\", \"boxes\": [{\"x\": 1, \"y\": 2, \"w\": "
                        + "3, \"h\": 4}]} | boxes[0]: an object found, an array expected",
                "{\"image\": \"a\", \"question\": \"b\", \"answer\": \"c\", \"boxes\": {\"x\": 1}} | boxes: an object "
                        + "found, an array expected",
                "{\"image\": \"a\", \"question\": \"b\", \"answer\": \"c\", \"boxes\": [[1, 2, 3]]} | boxes[0]: 3 "
                        + "values found, 4 expected",
                "{\"image\": \"a\", \"question\": \"b\", \"answer\": \"c\", \"boxes\": [[1, 2, \"3\", 4]]} | "
                        + "boxes[0][2]: \"3\" found, a finite number expected",
                "{\"image\": \"a\", \"question\": \"b\", \"answer\": \"c\", \"boxes\": [[1, 2, 1e999, 4]]} | "
                        + "boxes[0][2]: ",
                "{\"image\": \"a\\u0000\", \"question\": \"b\", \"answer\": \"c\"} | image: not the name of a file",
                "{\"image\": {\"path\": \"a\"}, \"question\": \"b\", \"answer\": \"c\"} | image: an object found, a "
                        + "text expected",
                "[\"a\"] | an array found, an object expected",
                "null | null found, an object expected",
                "{} {} | not JSON",
                "{\"image\": \"a\", \"question\": \"b\", \"answer\": \"c\", \"boxes\": [[1, 2, 3, 0]]} | boxes[0]: a "
                        + "box at"
            })
    void errorsNameFileAndLine(String line, String said) {
        String good = "{\"image\": \"a\", \"question\": \"b\", \"answer\": \"c\"}\n";
        String message = assertThrows(IllegalArgumentException.class, () -> read(good + line)).getMessage();
        assertTrue(message.contains("set.jsonl, line 2: " + said), message);
    }

    @Test
    void aByteOrderMarkIsDropped() throws IOException {
        assertEquals(
                "b",
                read("\uFEFF{\"image\": \"a\", \"question\": \"b\", \"answer\": \"c\"}\r\n")
                        .getFirst()
                        .question());
    }

    @Test
    void otherEncodingsAreAnError() throws IOException {
        Path file = Files.write(folder.resolve("set.jsonl"), new byte[] {(byte) 0xff, (byte) 0xfe, '{', 0});
        assertEquals(
                file + ": not UTF-8",
                assertThrows(IllegalArgumentException.class, () -> Example.read(file))
                        .getMessage());
    }

    @Test
    void anEmptyFileIsAnError() {
        assertTrue(assertThrows(IllegalArgumentException.class, () -> read("\n")).getMessage().contains("no examples"));
    }

    /**
     * The data set beside the embedded model asks what its record of answers asks, and every box covers an object of
     * the scene.
     */
    @Test
    void theDataSetOfTheEmbeddedModelIsThatOfItsRecord() throws IOException {
        JsonNode record = JsonMapper.shared().readTree(Files.readString(HELD_OUT.resolve("answers.json")));
        List<Example> examples = Example.read(HELD_OUT.resolve("knockout.jsonl"));
        Map<String, Example> byQuestion = new TreeMap<>();
        examples.forEach(example -> byQuestion.put(example.name() + " answer en " + example.question(), example));
        int asked = 0;
        for (JsonNode scene : record.get("scenes")) {
            for (JsonNode question : scene.get("questions")) {
                if (question.get("prompt").asString().startsWith("answer en ")) {
                    asked++;
                    Example example = byQuestion.get(scene.get("image").asString() + " "
                            + question.get("prompt").asString());
                    assertEquals(Optional.of(question.get("expected").asString()), example.answer());
                    assertEquals(Optional.of(question.get("task").asString()), example.category());
                    assertTrue(Files.exists(example.image()));
                    assertTrue(example.boxes().size() <= scene.get("objects").size());
                    boolean absent = List.of("no", "0").contains(example.answer().get());
                    assertEquals(absent, example.boxes().isEmpty(), example.toString());
                    example.boxes()
                            .forEach(box -> assertTrue(
                                    scene.get("objects").valueStream().anyMatch(object -> near(box, object.get("box"))),
                                    example.toString()));
                }
            }
        }
        assertEquals(asked, examples.size());
    }

    /** To a pixel of an image of 224 x 224. */
    private static boolean near(Box box, JsonNode corners) {
        double[] found = {box.y(), box.x(), box.y() + box.height(), box.x() + box.width()};
        for (int i = 0; i < found.length; i++) {
            if (Math.abs(found[i] - 224 * corners.get(i).asDouble()) > 1) {
                return false;
            }
        }
        return true;
    }
}
