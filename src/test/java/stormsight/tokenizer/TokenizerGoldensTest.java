package stormsight.tokenizer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.JsonNode;

/** Ids, places and texts of small tokenizers of every kind, as transformers 5.18 and tokenizers 0.23.2 have them. */
class TokenizerGoldensTest {
    private static final Path FOLDER = TokenizerTest.GOLDENS.resolve("tokenizers");

    private static JsonNode expected(String kind) {
        return TokenizerTest.json(FOLDER.resolve(kind).resolve("expected.json"));
    }

    /** @param key where the ids of a case stand, if they are not those under "ids" */
    @ParameterizedTest
    @CsvSource({
        "bert, tokenizer.json, ids",
        "clip, tokenizer.json, ids",
        "llama, tokenizer.json, ids",
        "llama, tokenizer_metaspace.json, ids_metaspace_first",
        "opt, tokenizer.json, ids",
        "siglip, spiece.model, ids",
        "siglip, tokenizer.json, ids_tokenizer_json",
        "siglip2, tokenizer.json, ids_without_lower_case"
    })
    void idsAgree(String kind, String file, String key) {
        Tokenizer tokenizer = Tokenizer.open(FOLDER.resolve(kind).resolve(file));
        for (JsonNode c : expected(kind).get("cases")) {
            int[] ids = TokenizerTest.ints(c.has(key) ? c.get(key) : c.get("ids"));
            assertArrayEquals(ids, tokenizer.encodeWithSpecials(c.get("text").asString()), c::toString);
        }
    }

    @ParameterizedTest
    @CsvSource({
        "bert, tokenizer.json", "clip, tokenizer.json", "llama, tokenizer.json", "opt, tokenizer.json",
        "siglip, spiece.model",
        "siglip2, tokenizer.json"
    })
    void textsAgree(String kind, String file) {
        Tokenizer tokenizer = Tokenizer.open(FOLDER.resolve(kind).resolve(file));
        JsonNode expected = expected(kind);
        for (String cases : List.of("cases", "decode_cases")) {
            for (JsonNode c : expected.path(cases)) {
                int[] ids = TokenizerTest.ints(c.get("ids"));
                assertEquals(c.get("decode_keep_special").asString(), tokenizer.decode(ids, false), c::toString);
                assertEquals(c.get("decode_skip_special").asString(), tokenizer.decode(ids, true), c::toString);
                String streamed = StreamingDetokenizerTest.stream(tokenizer, ids);
                assertEquals(c.get("decode_skip_special").asString(), streamed, c::toString);
            }
        }
    }

    /** CLIP as it is, SigLIP from spiece.model, SigLIP 2 lower-cased. */
    @ParameterizedTest
    @CsvSource({"clip, 77, ids_77, pad_id", "siglip, 64, ids_64, pad_id", "siglip2, 64, ids_64, pad_id"})
    void rowsAgree(String kind, int length, String key, String pad) {
        TextRows rows = TextRows.open(FOLDER.resolve(kind), length, kind.equals("siglip2"));
        JsonNode expected = expected(kind);
        assertEquals(expected.get(pad).asInt(), rows.pad());
        for (JsonNode c : expected.get("cases")) {
            assertArrayEquals(TokenizerTest.ints(c.get(key)), rows.row(c.get("text").asString()), c::toString);
        }
    }

    @Test
    void lowerCaseLeavesAddedTokensAsTheyAreSpelled() {
        Tokenizer tokenizer = Tokenizer.open(FOLDER.resolve("siglip2/tokenizer.json")).lowerCasing();
        for (JsonNode c : expected("siglip2").get("cases")) {
            int[] ids = tokenizer.encodeWithSpecials(c.get("text").asString());
            assertArrayEquals(TokenizerTest.ints(c.get("ids")), ids, c::toString);
        }
    }

    /** As Python's str.lower() does; String.toLowerCase takes the first for the end of a word and not the second. */
    @ParameterizedTest
    @CsvSource({
        "\u0391\u03a3\u00aa, \u0391\u03a3\u00aa", "\u0391\u03a3\ud55ct, \u0391\u03c2\ud55ct",
        "\u0391\u03a3.\u0391, \u0391\u03a3.\u0391", "\u0391\u03a3, \u0391\u03c2", "\u0391.\u03a3., \u0391.\u03c2.",
        "\u03a3, \u03a3", "1\u03a3, 1\u03a3"
    })
    void sigmasAtTheEndOfWords(String text, String expected) {
        assertEquals(expected, SiglipCutter.withFinalSigmas(text));
    }

    /** Places rise, and cover all that is no space. */
    @ParameterizedTest
    @CsvSource({
        "clip, tokenizer.json", "llama, tokenizer.json", "llama, tokenizer_metaspace.json", "opt, tokenizer.json",
        "siglip2, tokenizer.json"
    })
    void piecesCoverTheText(String kind, String file) {
        Tokenizer tokenizer = Tokenizer.open(FOLDER.resolve(kind).resolve(file));
        for (JsonNode c : expected(kind).get("cases")) {
            String text = c.get("text").asString();
            List<Tokenizer.Piece> pieces = tokenizer.pieces(text);
            assertArrayEquals(tokenizer.encode(text), pieces.stream().mapToInt(Tokenizer.Piece::id).toArray());
            boolean[] covered = new boolean[text.codePointCount(0, text.length())];
            int from = 0;
            for (Tokenizer.Piece piece : pieces) {
                assertTrue(piece.from() >= from && piece.to() > piece.from(), () -> piece + " in " + text);
                from = piece.from();
                Arrays.fill(covered, piece.from(), piece.to(), true);
            }
            int[] points = text.codePoints().toArray();
            for (int i = 0; i < points.length; i++) {
                int point = points[i];
                assertTrue(covered[i] || Characters.isSpace(point), () -> "U+%04X of %s".formatted(point, text));
            }
        }
    }

    @Test
    void piecesOfWordsBehindAnAddedTokenHaveTheirPlaces() {
        Tokenizer tokenizer = Tokenizer.open(FOLDER.resolve("llama/tokenizer.json"));
        List<Tokenizer.Piece> pieces = tokenizer.pieces("<image>\nthe dog");
        assertEquals(new Tokenizer.Piece(tokenizer.require("<image>"), 0, 7), pieces.getFirst());
        // The sign of a space that the normalizer puts in front stands where the newline does.
        assertEquals(new Tokenizer.Piece(tokenizer.require("\u2581"), 7, 8), pieces.get(1));
        assertEquals(new Tokenizer.Piece(tokenizer.require("<0x0A>"), 7, 8), pieces.get(2));
        assertEquals(new Tokenizer.Piece(tokenizer.require("\u2581dog"), 11, 15), pieces.getLast());
    }

    @Test
    void aStreamDropsTheSpaceOfItsFirstPieceOnly() {
        Tokenizer tokenizer = Tokenizer.open(FOLDER.resolve("llama/tokenizer.json"));
        StreamingDetokenizer stream = new StreamingDetokenizer(tokenizer);
        int dog = tokenizer.require("\u2581dog");
        assertEquals("dog", stream.push(dog));
        assertEquals(" dog", stream.push(dog));
        assertEquals("", stream.flush());
        assertEquals("", stream.push(tokenizer.require("</s>")));
        assertEquals("dog", stream.push(dog));
    }

    /** Stripping the end of CLIP's texts means holding spaces back; what stands before them comes at once. */
    @Test
    void aStreamOfClipHoldsBackSpaces() {
        Tokenizer tokenizer = Tokenizer.open(FOLDER.resolve("clip/tokenizer.json"));
        StreamingDetokenizer stream = new StreamingDetokenizer(tokenizer);
        assertEquals("photo", stream.push(tokenizer.require("photo</w>")));
        assertEquals(" of", stream.push(tokenizer.require("of</w>")));
        assertEquals("", stream.flush());
    }

    /** Bytes of characters that are cut between tokens. */
    @Test
    void aStreamOfBytesHoldsBackCharactersThatAreNotWhole() {
        Tokenizer tokenizer = Tokenizer.open(FOLDER.resolve("opt/tokenizer.json"));
        int[] ids = tokenizer.encode("\u65e5\u672c\ud83d\ude42");
        StreamingDetokenizer stream = new StreamingDetokenizer(tokenizer);
        StringBuilder text = new StringBuilder();
        for (int id : ids) {
            String piece = stream.push(id);
            assertEquals(-1, piece.indexOf('\ufffd'));
            text.append(piece);
        }
        assertEquals("\u65e5\u672c\ud83d\ude42", text + stream.flush());
        assertEquals("\ufffd", StreamingDetokenizerTest.stream(tokenizer, ids[0]));
    }
}
