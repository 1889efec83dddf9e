package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import stormsight.Goldens;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** {@code match} with a model that reads image and text together. */
class MatchTest {
    private static final String FIRST =
            Goldens.folder("blip2-opt").resolve("input.png").toString();
    private static final String SECOND =
            Goldens.folder("paligemma-mqa").resolve("input.png").toString();

    @TempDir
    private static Path folder;

    private static String model;

    @BeforeAll
    static void synthesize() {
        model = folder.resolve("itm").toString();
        assertEquals(0, MainTest.run("synthesize", "--like", "tiny-blip2-itm", model).exitCode());
    }

    @ParameterizedTest
    @CsvSource({"itm, probabilities", "itc, cosines"})
    void pairsDependOnImageAndTextAlone(String head, String cells) {
        MainTest.Run run = MainTest.run("match", "-m", model, "-i", FIRST, "-i", SECOND, "-i", FIRST, "-p",
                "a red star", "-p", "two cats", "-p", "a red star", "--head", head, "--json");
        assertEquals(0, run.exitCode(), run.err());
        JsonNode matrix = JsonMapper.shared().readTree(run.out()).get(cells);
        for (int i = 0; i < 3; i++) {
            assertEquals(matrix.get(0).get(i), matrix.get(2).get(i), "the first image, again");
            assertEquals(matrix.get(i).get(0), matrix.get(i).get(2), "the first text, again");
            assertNotEquals(matrix.get(i).get(0), matrix.get(i).get(1));
            assertNotEquals(matrix.get(0).get(i), matrix.get(1).get(i));
            assertTrue(Math.abs(matrix.get(0).get(i).asDouble()) <= 1);
        }
    }

    @Test
    void writesTableAndFigure() {
        Path figure = folder.resolve("matrix.png");
        MainTest.Run run = MainTest.run("match", "-m", model, "-i", FIRST, "-p", "two cats", "--figure",
                figure.toString());
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.out().contains("probability"), run.out());
        assertTrue(Files.exists(figure));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "{\"image\": 7} | image: 7 found, a text expected",
        "{\"image\": \"a.png\", \"text\": [\"a\"]} | text: an array found, a text expected",
        "[\"a.png\"] | an array found, an object expected",
        "{\"caption\": \"a\"} | neither \"image\" nor \"text\"",
        "{\"image\": \"\\u0000\"} | image: not the name of a file",
        "{\"image\": \"a.png\" | not JSON: Unexpected end-of-input: expected close marker for Object"
    })
    void pairsOfTheWrongShapeAreNamed(String pair, String said) throws IOException {
        Path pairs = Files.writeString(folder.resolve("pairs.jsonl"), "\uFEFF{\"text\": \"good\"}\n\n" + pair + "\n");
        MainTest.fails(2, "--pairs " + pairs + ", line 3: " + said, "match", "-m", model, "--pairs", pairs.toString());
        assertFalse(MainTest.run("match", "-m", model, "--pairs", pairs.toString()).err().contains("REDACTED"));
    }

    @Test
    void textsAreUtf8() throws IOException {
        Path texts = Files.write(folder.resolve("texts.txt"), new byte[] {(byte) 0xff, (byte) 0xfe, 'a', 0});
        MainTest.fails(
                2, "--texts " + texts + ": not UTF-8", "match", "-m", model, "-i", FIRST, "--texts", texts.toString());
    }

    @Test
    void refusesWhatTheHeadDoesNotHave() {
        refused("--head itc gives cosine alone", "--head", "itc", "--show", "probability");
        refused("cosine is of --head itc", "--show", "cosine");
        refused("temperature", "--loss");
        refused("has 602 tokens, the model takes 512", "-p", "cat ".repeat(200).strip());
        MainTest.Run run = MainTest.run("match", "-m", Goldens.folder("zeroshot-clip").toString(), "-i", FIRST, "-p",
                "x", "--head", "itm");
        assertEquals(2, run.exitCode(), run.err());
        assertTrue(run.err().contains("--head itm is of BLIP-2"), run.err());
        run = MainTest.run("embed", "-m", model, "-i", FIRST, "--out", folder.resolve("e.npy").toString());
        assertEquals(3, run.exitCode());
        assertTrue(run.err().contains("only 'match' compares them"), run.err());
    }

    private static void refused(String said, String... options) {
        List<String> arguments = new ArrayList<>(List.of("match", "-m", model, "-i", FIRST));
        arguments.addAll(List.of(options));
        if (!arguments.contains("-p")) {
            arguments.addAll(List.of("-p", "two cats"));
        }
        MainTest.Run run = MainTest.run(arguments.toArray(String[]::new));
        assertEquals(2, run.exitCode(), run.err());
        assertEquals(1, run.err().lines().count(), run.err());
        assertTrue(run.err().contains(said), run.err());
    }
}
