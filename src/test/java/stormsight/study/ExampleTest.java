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
        assertEquals(new Example(1, folder.resolve("a/b.png"), "a/b.png", "what?", Optional.of("Yes"), List.of(new Box(1, 2.5, 3, 4)),
                Optional.empty(), Optional.of("color")), examples.getFirst());
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
        assertEquals("what\nis it?", read("{\"image\": \"a\", \"question\": \" what\\nis it?\\n\", \"answer\": \"b\"}").getFirst().question());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {"{\"image\": \"a\", | not JSON", "{\"image\": \"a\", \"answer\": \"b\"} | \"question\" is missing",
        "{\"question\": \"a\", \"answer\": \"b\"} | \"image\" is missing", "{\"image\": \"a\", \"question\": \"b\"} | \"answer\" is missing",
        "{\"image\": \"a\", \"question\": \"b\", \"answer\": 1} | \"answer\" is not a text",
        "{\"image\": \"a\", \"question\": \" \", \"answer\": \"c\"} | \"question\" is not a text",
        "{\"image\": \"a\", \"question\": \"b\", \"answer\": \"c\", \"boxes\": [1, 2, 3, 4]} | a box is not [x, y, w, h]",
        "{\"image\": \"a\", \"question\": \"b\", \"answer\": \"c\", \"boxes\": [[1, 2, 3, 0]]} | a box at"})
    void errorsNameFileAndLine(String line, String said) {
        String good = "{\"image\": \"a\", \"question\": \"b\", \"answer\": \"c\"}\n";
        String message = assertThrows(IllegalArgumentException.class, () -> read(good + line)).getMessage();
        assertTrue(message.contains("set.jsonl, line 2: " + said), message);
    }

    @Test
    void anEmptyFileIsAnError() {
        assertTrue(assertThrows(IllegalArgumentException.class, () -> read("\n")).getMessage().contains("no examples"));
    }

    /** The data set beside the embedded model asks what its record of answers asks, and every box covers an object of the scene. */
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
                    Example example = byQuestion.get(scene.get("image").asString() + " " + question.get("prompt").asString());
                    assertEquals(Optional.of(question.get("expected").asString()), example.answer());
                    assertEquals(Optional.of(question.get("task").asString()), example.category());
                    assertTrue(Files.exists(example.image()));
                    assertTrue(example.boxes().size() <= scene.get("objects").size());
                    boolean absent = List.of("no", "0").contains(example.answer().get());
                    assertEquals(absent, example.boxes().isEmpty(), example.toString());
                    example.boxes().forEach(box -> assertTrue(scene.get("objects").valueStream().anyMatch(object -> near(box, object.get("box"))),
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
