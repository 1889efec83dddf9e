package stormsight.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ConfigFileTest {
    @TempDir
    Path directory;

    private ConfigFile read(String json) {
        try {
            return ConfigFile.read(Files.writeString(directory.resolve("config.json"), json));
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void assertRefused(Executable reading, String message) {
        CheckpointException e = assertThrows(CheckpointException.class, reading);
        assertTrue(e.getMessage().contains(message), e.getMessage());
        assertFalse(e.getMessage().contains("\n"), e.getMessage());
    }

    @Test
    void readsTypedValues() {
        ConfigFile config = read("""
                {"a": {"i": -7, "x": 1e-06, "big": 2147483648, "b": true, "t": "gemma", "none": null}, "ids": [1, 107], "id": 1, "names": ["P"]}
                """);
        assertEquals(-7, config.integer("a.i"));
        assertEquals(-7, config.objectIfPresent("a").orElseThrow().integer("i"));
        assertEquals(-7, config.objectIfPresent("a").orElseThrow().integer("i", 3));
        assertEquals(1e-6, config.number("a.x"));
        assertEquals(2147483648.0, config.number("a.big"));
        assertEquals(-7.0, config.number("a.i", 1));
        assertTrue(config.bool("a.b"));
        assertEquals("gemma", config.text("a.t"));
        assertEquals(List.of(1, 107), config.integers("ids"));
        assertEquals(List.of(1), config.integers("id"));
        assertEquals(List.of(), config.integers("a.none"));
        assertTrue(config.has("a.i"));
    }

    @Test
    void anEmptyFileIsNamedSo() {
        assertRefused(() -> read(""), "config.json: the file is empty; download it again");
        assertRefused(() -> read("\uFEFF"), "config.json: not a JSON object");
    }

    /** Python writes it. */
    @ParameterizedTest
    @ValueSource(strings = {"NaN", "Infinity", "-Infinity"})
    void saysThatJsonHasNoSuchNumber(String number) {
        assertRefused(() -> read("{\"a\": " + number + "}"), ": JSON has no " + number);
    }

    @Test
    void nullAndAbsentValuesTakeTheDefault() {
        ConfigFile config = read("{\"a\": {\"none\": null}, \"nothing\": null}");
        for (String key : List.of("a.none", "a.other", "other", "other.deeper", "nothing", "nothing.deeper")) {
            assertFalse(config.has(key), key);
            assertEquals(256, config.integer(key, 256));
            assertEquals(1e-6, config.number(key, 1e-6));
            assertTrue(config.bool(key, true));
            assertEquals("x", config.text(key, "x"));
            assertEquals(Optional.empty(), config.objectIfPresent(key));
            assertRefused(() -> config.integer(key), "config.json: " + key + ": missing");
        }
    }

    @Test
    void refusesOtherTypes() {
        ConfigFile config = read("""
                {"a": {"i": 2048.5, "whole": 2048.0, "big": 2147483648, "t": "8", "o": {}, "l": [1, "x"], "inf": 1e999}}
                """);
        assertRefused(() -> config.integer("a.i"), "config.json: a.i: 2048.5 found, an integer of 32 bits expected");
        assertRefused(
                () -> config.objectIfPresent("a").orElseThrow().integer("i", 1), "config.json: a.i: 2048.5 found");
        assertRefused(() -> config.integer("a.whole", 1), "a.whole: 2048.0 found");
        assertRefused(() -> config.integer("a.big"), "a.big: 2147483648 found");
        assertRefused(() -> config.integer("a.t", 1), "a.t: \"8\" found");
        assertRefused(() -> config.number("a.t"), "a.t: \"8\" found, a finite number expected");
        assertRefused(() -> config.number("a.inf"), "a.inf");
        assertRefused(() -> config.bool("a.i"), "a.i: 2048.5 found, true or false expected");
        assertRefused(() -> config.text("a.o"), "a.o: an object found, a string expected");
        assertRefused(() -> config.objectIfPresent("a.l"), "a.l: an array found, an object expected");
        assertRefused(() -> config.integers("a.l"), "a.l: \"x\" found");
        assertRefused(() -> config.integer("a.t.deeper", 1), "a.t: \"8\" found, an object expected");
        assertRefused(
                () -> {
                    throw config.objectIfPresent("a").orElseThrow().invalid("i", "is odd");
                },
                "config.json: a.i: is odd");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "{",
                "{\"a\":1,\"a\":2}",
                "{\"a\":{\"b\":1,\"b\":1}}",
                "{} {}",
                "{}x",
                "{\"a\":NaN}",
                "[1]",
                "1",
                "null",
                "\ufeff",
                "{\"a\"\n:\n}"
            })
    void refusesWhatIsNotAnObject(String json) {
        assertRefused(() -> read(json), "config.json: ");
    }

    @Test
    void refusesHostileFiles() {
        assertRefused(() -> read("[".repeat(1_000_000)), "config.json: ");
        assertRefused(() -> read("{\"a\":".repeat(1_000_000)), "config.json: ");
        assertRefused(() -> read("{\"a\":" + "9".repeat(1_000_000) + "}"), "config.json: ");
        assertRefused(() -> read(" ".repeat(16_000_001)), "at most 16000000");
        byte[] latin = "{\"\u00e9\":1}".getBytes(StandardCharsets.ISO_8859_1);
        assertRefused(() -> ConfigFile.read(Files.write(directory.resolve("config.json"), latin)), "not UTF-8");
    }

    @Test
    void namesWhatIsNotThere() throws IOException {
        Path file = directory.resolve("config.json");
        assertRefused(() -> ConfigFile.read(file), directory + ": no config.json in this directory");
        assertRefused(
                () -> ConfigFile.read(directory.resolve("none/config.json")),
                directory.resolve("none") + ": no such directory");
        assertEquals(Optional.empty(), ConfigFile.readIfPresent(file));
        Files.createDirectory(file);
        assertRefused(() -> ConfigFile.read(file), file + ": not a file");
    }
}
