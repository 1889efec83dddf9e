package stormsight.tokenizer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import tools.jackson.databind.JsonNode;

class PaliGemmaPromptTest {
    static List<Path> goldens() throws IOException {
        try (Stream<Path> folders = Files.list(TokenizerTest.GOLDENS)) {
            return folders.filter(f -> f.getFileName().toString().startsWith("paligemma")
                            && Files.exists(f.resolve("tokenizer.json")))
                    .sorted()
                    .toList();
        }
    }

    @ParameterizedTest
    @MethodSource("goldens")
    void laysOutPromptsAsTheReferences(Path folder) {
        JsonNode prompts = TokenizerTest.json(folder.resolve("expected.json")).get("prompts");
        try (Tokenizer tokenizer = Tokenizer.open(folder.resolve("tokenizer.json"))) {
            assertTrue(prompts.size() > 0);
            for (JsonNode prompt : prompts) {
                int[] expected = TokenizerTest.ints(prompt.get("ids"));
                int images = 0;
                while (expected[images] == 627) {
                    images++;
                }
                PaliGemmaPrompt laidOut = new PaliGemmaPrompt(tokenizer, images, prompt.get("text").asString());
                assertArrayEquals(expected, laidOut.plainIds());
                for (int n = 0; n < images; n++) {
                    expected[n] = -1 - n;
                }
                assertArrayEquals(expected, laidOut.ids());
                assertEquals(expected.length, laidOut.length());
                assertEquals(images, laidOut.imageTokens());
            }
        }
    }

    @Test
    void findsTheTokensOfAPart() {
        try (Tokenizer tokenizer = Tokenizer.open(TokenizerTest.GOLDENS.resolve("paligemma-mqa/tokenizer.json"))) {
            PaliGemmaPrompt prompt = new PaliGemmaPrompt(tokenizer, 3, "answer en where is the cat sitting?\n");
            List<String> tokens = Arrays.stream(prompt.plainIds()).mapToObj(tokenizer::token).toList();
            assertEquals(List.of("\u2581where", "\u2581is", "\u2581the", "\u2581cat", "\u2581sitting", "?"),
                    prompt.tokensOf(tokenizer, "where is the cat sitting?").stream().map(tokens::get).toList());
            // A token counts that spells more than the part.
            assertEquals(List.of("\u2581the", "\u2581cat"), prompt.tokensOf(tokenizer, "he c").stream().map(tokens::get).toList());
            assertThrows(IllegalArgumentException.class, () -> prompt.tokensOf(tokenizer, "the dog"));
            assertThrows(IllegalArgumentException.class, () -> prompt.tokensOf(tokenizer, ""));
            // The last of several, behind characters of several bytes and of two chars.
            PaliGemmaPrompt twice = new PaliGemmaPrompt(tokenizer, 0, "the cat \u732b \ud83d\ude00 the cat");
            int end = twice.length() - 1;
            assertEquals(List.of(end - 2, end - 1), twice.tokensOf(tokenizer, "the cat"));
        }
    }

    @Test
    void treatsSpecialTextsAsDocumented() {
        try (Tokenizer tokenizer = Tokenizer.open(TokenizerTest.GOLDENS.resolve("tokenizer/tokenizer.json"))) {
            assertArrayEquals(new int[] {-1, -2, 2, 573, 108}, new PaliGemmaPrompt(tokenizer, 2, "a").ids());
            assertArrayEquals(new int[] {2, 573, 108}, new PaliGemmaPrompt(tokenizer, 0, "a\n\n").ids());
            assertArrayEquals(new int[] {2, 573, 108}, new PaliGemmaPrompt(tokenizer, 0, "a\r\n").ids());
            assertArrayEquals(new int[] {2, 108}, new PaliGemmaPrompt(tokenizer, 0, "").ids());
            assertArrayEquals(new int[] {2, 108, 573, 109, 574, 108}, new PaliGemmaPrompt(tokenizer, 0, "\na\n\nb").ids());
            assertArrayEquals(new int[] {2, 604, 620, 1, 2, 108}, new PaliGemmaPrompt(tokenizer, 0, "<loc0001><seg001><eos><bos>").ids());
            IllegalArgumentException e =
                    assertThrows(IllegalArgumentException.class, () -> new PaliGemmaPrompt(tokenizer, 1, "see <image>"));
            assertTrue(e.getMessage().contains("<image>"), e.getMessage());
        }
    }
}
