package stormsight.tokenizer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.Random;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.checkpoint.CheckpointException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class TokenizerTest {
    static final Path GOLDENS = Path.of("src/test/resources/goldens");

    static JsonNode json(Path file) {
        return JsonMapper.shared().readTree(file.toFile());
    }

    static int[] ints(JsonNode array) {
        return StreamSupport.stream(array.spliterator(), false).mapToInt(JsonNode::asInt).toArray();
    }

    @ParameterizedTest
    @ValueSource(strings = {"tokenizer.json", "tokenizer_legacy_merges.json"})
    void agreesWithTheOriginal(String file) {
        JsonNode expected = json(GOLDENS.resolve("tokenizer/expected.json"));
        Tokenizer tokenizer = Tokenizer.open(GOLDENS.resolve("tokenizer").resolve(file));
        assertEquals(628, tokenizer.size());
        for (JsonNode c : expected.get("cases")) {
            String text = c.get("text").asString();
            int[] ids = ints(c.get("ids"));
            assertArrayEquals(ids, tokenizer.encode(text), text);
            String[] tokens = Arrays.stream(ids).mapToObj(tokenizer::token).toArray(String[]::new);
            assertEquals(c.get("tokens"), JsonMapper.shared().valueToTree(tokens));
        }
        for (String kind : new String[] {"cases", "decode_cases"}) {
            for (JsonNode c : expected.get(kind)) {
                int[] ids = ints(c.get("ids"));
                assertEquals(c.get("decode_keep_special").asString(), tokenizer.decode(ids, false), c::toString);
                assertEquals(c.get("decode_skip_special").asString(), tokenizer.decode(ids, true), c::toString);
                assertEquals(
                        c.get("decode_skip_special").asString(),
                        StreamingDetokenizerTest.stream(tokenizer, ids),
                        c::toString);
            }
        }
    }

    /** Places count code points, which a text has fewer of than chars; together the pieces cover all of it. */
    @Test
    void piecesKnowTheirPlaces() {
        Tokenizer tokenizer = Tokenizer.open(GOLDENS.resolve("tokenizer/tokenizer.json"));
        String text = "a <loc0001> \u65e5\u672c \ud83d\ude42 where  is it?";
        List<Tokenizer.Piece> pieces = tokenizer.pieces(text);
        assertArrayEquals(tokenizer.encode(text), pieces.stream().mapToInt(Tokenizer.Piece::id).toArray());
        int[] points = text.codePoints().toArray();
        int end = 0;
        for (Tokenizer.Piece piece : pieces) {
            assertTrue(
                    piece.from() == end || tokenizer.isByte(piece.id()) && piece.to() == end,
                    piece + " after " + end);
            end = piece.to();
            if (!tokenizer.isByte(piece.id())) {
                assertEquals(
                        new String(points, piece.from(), piece.to() - piece.from()),
                        tokenizer.token(piece.id()).replace('\u2581', ' '));
            }
        }
        assertEquals(points.length, end);
    }

    @Test
    void knowsItsVocabulary() {
        Tokenizer tokenizer = Tokenizer.open(GOLDENS.resolve("tokenizer/tokenizer.json"));
        assertEquals(OptionalInt.of(108), tokenizer.id("\n"));
        assertEquals(OptionalInt.of(627), tokenizer.id("<image>"));
        assertEquals(OptionalInt.of(603), tokenizer.id("<loc0000>"));
        assertEquals(OptionalInt.empty(), tokenizer.id("<loc1023>"));
        assertTrue(tokenizer.isSpecial(1));
        assertFalse(tokenizer.isSpecial(603));
        assertTrue(tokenizer.isByte(188));
        assertEquals('A', tokenizer.byteOf(188));
        assertFalse(tokenizer.isByte(108));
        assertThrows(IllegalArgumentException.class, () -> tokenizer.token(628));
        assertThrows(IllegalArgumentException.class, () -> tokenizer.decode(new int[] {-1}, true));
        CheckpointException e = assertThrows(CheckpointException.class, () -> tokenizer.require("<loc1023>"));
        assertTrue(e.getMessage().contains("tokenizer.json"), e.getMessage());
    }

    @Test
    void neverCutsLongTexts() {
        Tokenizer tokenizer = Tokenizer.open(GOLDENS.resolve("tokenizer/tokenizer.json"));
        assertEquals(20_000, tokenizer.encode("a b ".repeat(10_000)).length - 1);
    }

    @Test
    void takesAnyString() {
        Tokenizer tokenizer = Tokenizer.open(GOLDENS.resolve("tokenizer/tokenizer.json"));
        assertArrayEquals(tokenizer.encode("a\ufffdb\ufffd"), tokenizer.encode("a\ud800b\udfff"));
        assertEquals("a\u0000b", tokenizer.decode(tokenizer.encode("a\u0000b"), true));
        Random random = new Random(4);
        for (int i = 0; i < 300; i++) {
            String text = random.ints(random.nextInt(20), 0, i % 2 == 0 ? 0x300 : 0x110000)
                    .filter(c -> c < 0xd800 || c > 0xdfff)
                    .collect(StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append)
                    .toString()
                    .replace('\u2581', ' ');
            assertEquals(text, tokenizer.decode(tokenizer.encode(text), false));
        }
    }

    @Test
    void namesTheFileThatIsWrong(@TempDir Path folder) throws IOException {
        Path file = folder.resolve("tokenizer.json");
        assertMessage("no such file", file);
        for (String content : new String[] {
            "",
            "[]",
            "{",
            "{}",
            "null",
            "{\"model\":{\"vocab\":{\"a\":-1}}}",
            "{\"model\":{\"vocab\":{\"a\":1e9}}}",
            "{\"model\":{\"vocab\":{\"a\":99999999999}}}",
            "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}",
            "{\"added_tokens\":[{\"id\":0}],\"model\":{\"vocab\":{\"a\":0}}}"
        }) {
            Files.writeString(file, content);
            assertMessage("", file);
        }
    }

    @Test
    void survivesBrokenFiles(@TempDir Path folder) throws IOException {
        byte[] good = Files.readAllBytes(GOLDENS.resolve("tokenizer/tokenizer.json"));
        Path file = folder.resolve("tokenizer.json");
        Random random = new Random(5);
        for (int i = 0; i < 300; i++) {
            byte[] bad = i % 3 == 0 ? Arrays.copyOf(good, random.nextInt(good.length)) : good.clone();
            for (int flips = i % 3 * 3; flips > 0; flips--) {
                bad[random.nextInt(bad.length)] = (byte) random.nextInt(128);
            }
            Files.write(file, bad);
            try {
                Tokenizer tokenizer = Tokenizer.open(file);
                tokenizer.decode(tokenizer.encode("caption en <loc0001> 日本"), true);
            } catch (CheckpointException e) {
                assertTrue(e.getMessage().contains("tokenizer.json"), e.getMessage());
            }
        }
    }

    private static void assertMessage(String part, Path file) {
        CheckpointException e = assertThrows(CheckpointException.class, () -> Tokenizer.open(file));
        assertTrue(e.getMessage().startsWith(file.toString()), e.getMessage());
        assertTrue(e.getMessage().contains(part), e.getMessage());
    }
}
