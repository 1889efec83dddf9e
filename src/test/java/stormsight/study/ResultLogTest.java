package stormsight.study;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.model.Options;

class ResultLogTest {
    private static final Map<String, String> SETTINGS = Map.of("window", "9", "model", "a");

    record Value(int line, Optional<String> text, Map<String, double[]> numbers) {}

    @TempDir
    private Path folder;
    private Path file;

    @BeforeEach
    void name() {
        file = folder.resolve("results.jsonl");
    }

    private ResultLog<Value> open(Map<String, String> settings) throws IOException {
        return ResultLog.open(file, settings, Value.class);
    }

    private void write(int... lines) throws IOException {
        try (ResultLog<Value> log = open(SETTINGS)) {
            for (int line : lines) {
                log.add(new Value(
                        line,
                        line == 1 ? Optional.of("one\n\"1\"") : Optional.empty(),
                        Map.of("p", new double[] {line, 1.0 / 3})));
            }
        }
    }

    private List<Integer> lines() throws IOException {
        try (ResultLog<Value> log = open(SETTINGS)) {
            return log.results().stream().map(Value::line).toList();
        }
    }

    @Test
    void resultsComeBackAsTheyWere() throws IOException {
        write(1, 2);
        write(3);
        try (ResultLog<Value> log = open(SETTINGS)) {
            assertEquals(3, log.results().size());
            assertEquals(Optional.of("one\n\"1\""), log.results().getFirst().text());
            assertEquals(Optional.empty(), log.results().get(1).text());
            assertArrayEquals(new double[] {3, 1.0 / 3}, log.results().get(2).numbers().get("p"));
        }
        assertEquals(4, Files.readAllLines(file).size());
    }

    /** It says nothing of results, and was not what ran at times. */
    @Test
    void rowsOfThePromptAreNotCompared() throws IOException {
        String before = "Options[slidingWindow=false, finalSoftCap=false, promptRows=LAST, firstPosition=1, "
                + "weights=Optional.empty]";
        try (ResultLog<Value> log = open(Map.of("options", before))) {
            log.add(new Value(1, Optional.empty(), Map.of()));
        }
        try (ResultLog<Value> log = open(Map.of("options", Options.DEFAULT.recorded()))) {
            assertEquals(1, log.results().size());
        }
        Map<String, String> others = Map.of("options", Options.DEFAULT.withFirstPosition(0).recorded());
        assertThrows(IllegalArgumentException.class, () -> open(others));
    }

    /** Cut off anywhere, the file gives the results that are whole, and goes on. */
    @Test
    void aLineThatWasCutOffIsDropped() throws IOException {
        write(1, 2);
        byte[] whole = Files.readAllBytes(file);
        long second = new String(whole).lastIndexOf('\n', whole.length - 2) + 1;
        for (long length = whole.length - 1; length >= second; length--) {
            Files.write(file, Arrays.copyOf(whole, (int) length));
            assertEquals(List.of(1), lines(), length + " bytes");
        }
        write(7);
        assertEquals(List.of(1, 7), lines());
    }

    @Test
    void otherSettingsAreRefusedAndChangeNothing() throws IOException {
        write(1);
        byte[] before = Files.readAllBytes(file);
        String message = assertThrows(IllegalArgumentException.class, () -> open(Map.of("window", "3", "model", "a")))
                .getMessage();
        assertTrue(message.contains("window was 9 and is 3"), message);
        assertTrue(assertThrows(
                        IllegalArgumentException.class, () -> open(Map.of("window", "9", "model", "a", "heads", "1")))
                .getMessage()
                .contains("heads was not set and is 1"));
        assertArrayEquals(before, Files.readAllBytes(file));
    }

    @Test
    void withoutResultsOtherSettingsAreFine() throws IOException {
        write();
        try (ResultLog<Value> log = open(Map.of("window", "3"))) {
            assertEquals(List.of(), log.results());
        }
        assertEquals(1, Files.readAllLines(file).size());
        assertThrows(IllegalArgumentException.class, () -> {
            try (ResultLog<Value> log = open(Map.of("window", "3"))) {
                log.add(new Value(1, Optional.empty(), Map.of()));
            }
            open(SETTINGS);
        });
    }

    /** Known only when a model is prepared, behind the results that are there. */
    @Test
    void roundedAndExactResultsAreNotMixed() throws IOException {
        try (ResultLog<Value> log = open(SETTINGS)) {
            log.requireRounding(false);
        }
        try (ResultLog<Value> log = open(SETTINGS)) {
            log.requireRounding(true);
            log.add(new Value(1, Optional.empty(), Map.of()));
        }
        byte[] before = Files.readAllBytes(file);
        try (ResultLog<Value> log = open(SETTINGS)) {
            assertEquals(1, log.results().size());
            log.requireRounding(true);
            String message = assertThrows(IllegalArgumentException.class, () -> log.requireRounding(false))
                    .getMessage();
            assertTrue(message.contains("activations was rounded and is not rounded"), message);
        }
        assertArrayEquals(before, Files.readAllBytes(file));
        Files.write(file, Arrays.copyOf(before, new String(before).indexOf("rounded")));
        assertEquals(List.of(), lines());
    }

    @Test
    void otherFilesAreRefusedAndKept() throws IOException {
        Files.writeString(file, "my notes\nof today\n");
        assertTrue(assertThrows(IllegalArgumentException.class, () -> open(SETTINGS)).getMessage().contains("line 1"));
        assertEquals("my notes\nof today\n", Files.readString(file));
        Files.delete(file);
        write(1);
        Files.writeString(file, "{\"line\": \"x\"}\n", StandardOpenOption.APPEND);
        assertTrue(assertThrows(IllegalArgumentException.class, () -> open(SETTINGS)).getMessage().contains("line 3"));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "my notes",
                "null\n",
                "\n",
                "{}\n",
                "{\"settings\": null}\n",
                "{\"settings\": {\"a\": 1",
                "{\"settings\": 5}\nmore"
            })
    void aFileThatIsNoLogIsRefusedAndKept(String text) throws IOException {
        Files.writeString(file, text);
        String message = assertThrows(IllegalArgumentException.class, () -> open(SETTINGS)).getMessage();
        assertTrue(
                message.contains("results.jsonl, line 1: ") && message.endsWith("no result of such an experiment"),
                message);
        assertEquals(text, Files.readString(file));
    }

    @Test
    void aLogThatWasCutOffAtItsBeginningIsBegunAnew() throws IOException {
        write(1);
        byte[] whole = Files.readAllBytes(file);
        int first = new String(whole).indexOf('\n') + 1;
        for (int length = 0; length <= first; length++) {
            Files.write(file, Arrays.copyOf(whole, length));
            assertEquals(List.of(), lines(), length + " bytes");
            assertArrayEquals(Arrays.copyOf(whole, first), Files.readAllBytes(file));
        }
    }

    @Test
    void isWrittenByOneAtATime() throws IOException {
        try (ResultLog<Value> log = open(SETTINGS)) {
            assertTrue(assertThrows(IllegalArgumentException.class, () -> open(SETTINGS))
                    .getMessage()
                    .contains("in use"));
            assertEquals(List.of(), log.results());
        }
    }
}
