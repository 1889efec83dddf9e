package stormsight.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import stormsight.Goldens;
import stormsight.checkpoint.CheckpointException;
import stormsight.tokenizer.Tokenizer;

/** transformers adds tokens of other files to those of tokenizer.json. */
class LazyTokenizerTest {
    @TempDir
    private Path folder;

    private Tokenizer open() {
        return new LazyTokenizer(folder, _ -> { }).get();
    }

    @Test
    void takesAddedTokensThatTheTokenizerHas() throws IOException {
        Goldens.copy("llava-chat", folder);
        assertTrue(Files.exists(folder.resolve("added_tokens.json")));
        assertEquals(572, open().require("<image>"));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "added_tokens.json | {\"<image>\": 572, \"new.token\": 640}",
        "tokenizer_config.json | {\"added_tokens_decoder\": {\"640\": {\"content\": \"new.token\"}}}"})
    void refusesOthers(String file, String json) throws IOException {
        Goldens.copy("llava-chat", folder);
        Files.writeString(folder.resolve("tokenizer_config.json"), "{}");
        Files.writeString(folder.resolve(file), json);
        CheckpointException e = assertThrows(CheckpointException.class, this::open);
        assertTrue(e.getMessage().contains(file + ": the token new.token is not in tokenizer.json"), e.getMessage());
    }

    /** transformers reads added_tokens.json only where tokenizer_config.json has no such tokens. */
    @Test
    void passesOverAFileThatIsNotRead() throws IOException {
        Goldens.copy("llava-chat", folder);
        Files.writeString(folder.resolve("added_tokens.json"), "{\"new.token\": 640}");
        Files.writeString(folder.resolve("tokenizer_config.json"),
                "{\"added_tokens_decoder\": {\"572\": {\"content\": \"<image>\"}}}");
        assertEquals(572, open().require("<image>"));
    }
}
