package stormsight.model.paligemma;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.Goldens;
import stormsight.image.Preprocessing;
import stormsight.image.RgbImage;
import stormsight.model.LazyTokenizer;
import stormsight.model.Prompt;
import stormsight.model.Views;
import stormsight.tokenizer.Tokenizer;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class PaliGemmaProcessorTest {
    /** What stands for a row of an image in the goldens. */
    private static final int IMAGE_TOKEN = 627;

    private static PaliGemmaProcessor processor(String golden) {
        return new PaliGemmaProcessor(
                null, Preprocessing.siglip(1), new LazyTokenizer(Goldens.folder(golden), _ -> {}));
    }

    /** An image of so many places, or none. */
    private static List<Views> images(int places) {
        return places == 0
                ? List.of()
                : List.of(new Views(
                        List.of(new RgbImage(1, 1, new byte[3])),
                        Preprocessing.siglip(1).patches(),
                        new Views.Layout(1, 0, places),
                        IntStream.range(0, places).toArray(),
                        List.of()));
    }

    @ParameterizedTest
    @ValueSource(strings = {"paligemma-mqa", "paligemma-gqa", "paligemma2", "paligemma2-window"})
    void laysOutPromptsAsTheReferences(String golden) throws IOException {
        JsonNode prompts = JsonMapper.shared()
                .readTree(Files.readString(Goldens.folder(golden).resolve("expected.json")))
                .get("prompts");
        PaliGemmaProcessor processor = processor(golden);
        assertTrue(prompts.size() > 0);
        for (JsonNode prompt : prompts) {
            int[] expected = prompt.get("ids").valueStream().mapToInt(JsonNode::asInt).toArray();
            int places = (int) Arrays.stream(expected).filter(id -> id == IMAGE_TOKEN).count();
            Prompt laidOut = processor.prompt(prompt.get("text").asString(), images(places));
            assertArrayEquals(expected, laidOut.plainIds(IMAGE_TOKEN));
            for (int n = 0; n < places; n++) {
                expected[n] = -1 - n;
            }
            assertArrayEquals(expected, laidOut.ids());
            assertEquals(expected.length, laidOut.prefixLength());
            assertEquals(places, laidOut.imagePlaces().size());
            assertTrue(laidOut.length() <= places + processor.textTokensAtMost(prompt.get("text").asString()));
        }
    }

    @Test
    void imagesStandInOrder() {
        PaliGemmaProcessor processor = processor("paligemma-mqa");
        List<Views> two = List.of(images(2).getFirst(), images(3).getFirst());
        assertArrayEquals(new int[] {-1, -2, -3, -4, -5}, Arrays.copyOf(processor.prompt("a", two).ids(), 5));
    }

    @Test
    void findsTheTokensOfAPart() {
        PaliGemmaProcessor processor = processor("paligemma-mqa");
        Tokenizer tokenizer = processor.tokenizer();
        Prompt prompt = processor.prompt("answer en where is the cat sitting?\n", images(3));
        List<String> tokens = Arrays.stream(prompt.plainIds(IMAGE_TOKEN)).mapToObj(tokenizer::token).toList();
        assertEquals(List.of("\u2581where", "\u2581is", "\u2581the", "\u2581cat", "\u2581sitting", "?"),
                prompt.placesOf("where is the cat sitting?").stream().map(tokens::get).toList());
        // A token counts that spells more than the part.
        assertEquals(List.of("\u2581the", "\u2581cat"), prompt.placesOf("he c").stream().map(tokens::get).toList());
        assertThrows(IllegalArgumentException.class, () -> prompt.placesOf("the dog"));
        assertThrows(IllegalArgumentException.class, () -> prompt.placesOf(""));
        // The last of several, behind characters of several bytes and of two chars.
        Prompt twice = processor.prompt("the cat \u732b \ud83d\ude00 the cat", List.of());
        int end = twice.length() - 1;
        assertEquals(List.of(end - 2, end - 1), twice.placesOf("the cat"));
    }

    @Test
    void treatsSpecialTextsAsDocumented() {
        PaliGemmaProcessor processor = processor("tokenizer");
        assertArrayEquals(new int[] {-1, -2, 2, 573, 108}, processor.prompt("a", images(2)).ids());
        assertArrayEquals(new int[] {2, 573, 108}, processor.prompt("a\n\n", List.of()).ids());
        assertArrayEquals(new int[] {2, 573, 108}, processor.prompt("a\r\n", List.of()).ids());
        assertArrayEquals(new int[] {2, 108}, processor.prompt("", List.of()).ids());
        assertArrayEquals(new int[] {2, 108, 573, 109, 574, 108}, processor.prompt("\na\n\nb", List.of()).ids());
        assertArrayEquals(
                new int[] {2, 604, 620, 1, 2, 108},
                processor.prompt("<loc0001><seg001><eos><bos>", List.of()).ids());
        IllegalArgumentException e =
                assertThrows(IllegalArgumentException.class, () -> processor.prompt("<image> <image>", images(1)));
        assertTrue(e.getMessage().contains("<image>"), e.getMessage());
    }
}
