package stormsight.tokenizer;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.Mutator;
import stormsight.Mutator.Outcome;
import stormsight.checkpoint.CheckpointException;

/**
 * Broken tokenizers are refused by a {@link CheckpointException} or work: no other exception, and no case that takes
 * long. How to run it for hours: {@link Mutator}.
 */
class TokenizerFuzzTest {
    private static final int CASES = 300;

    private static final String[] TEXTS = {
        "", " ", "caption en <loc0001> the cat's", "a\u0301\ud83d\ude42 \u65e5\u672c  \n\n\u0130\u03a3 3.14<image></s>",
        "aaaa ".repeat(200)
    };

    @TempDir
    Path folder;

    @Test
    void gemma() throws IOException {
        json("gemma", "tokenizer/tokenizer.json", 11);
    }

    @Test
    void llama() throws IOException {
        json("llama", "tokenizers/llama/tokenizer_metaspace.json", 12);
    }

    @Test
    void clip() throws IOException {
        json("clip", "tokenizers/clip/tokenizer.json", 13);
    }

    @Test
    void opt() throws IOException {
        json("opt", "tokenizers/opt/tokenizer.json", 14);
    }

    @Test
    void unigram() throws IOException {
        json("unigram", "tokenizers/siglip/tokenizer.json", 15);
    }

    @Test
    void spiece() throws IOException {
        byte[] good = Files.readAllBytes(TokenizerTest.GOLDENS.resolve("tokenizers/siglip/spiece.model"));
        Path file = folder.resolve("spiece.model");
        run("spiece.model", 16, mutator -> {
            write(file, mutator.bytes(good));
            return use(file);
        });
    }

    /** Half of the cases change components, which are a small part of the file. */
    private void json(String kind, String golden, long seed) throws IOException {
        byte[] good = Files.readAllBytes(TokenizerTest.GOLDENS.resolve(golden));
        String text = new String(good, StandardCharsets.UTF_8);
        int model = text.indexOf("\"model\"");
        assertTrue(model > 0);
        String components = text.substring(0, model);
        String rest = text.substring(model);
        Path file = folder.resolve("tokenizer.json");
        run("tokenizer.json of " + kind, seed, mutator -> {
            byte[] mutated = switch (mutator.random().nextInt(4)) {
                case 0 -> mutator.bytes(good);
                case 1 -> mutator.json(text).getBytes(StandardCharsets.UTF_8);
                default -> (mutator.json(components) + rest).getBytes(StandardCharsets.UTF_8);
            };
            write(file, mutated);
            return use(file);
        });
    }

    private static void run(String name, long seed, Mutator.Case target) {
        Mutator.fuzz(name, seed, CASES, target).assertRefused(0);
    }

    private static void write(Path file, byte[] bytes) throws IOException {
        Files.deleteIfExists(file);
        Files.write(file, bytes);
    }

    private static Outcome use(Path file) {
        Tokenizer tokenizer;
        try {
            tokenizer = Tokenizer.open(file);
        } catch (CheckpointException e) {
            return Outcome.refused(e, file);
        }
        for (String text : TEXTS) {
            int[] ids = tokenizer.encodeWithSpecials(text);
            for (int id : ids) {
                assertTrue(id >= 0 && id < tokenizer.size(), id + " of " + tokenizer.size());
            }
            tokenizer.pieces(text);
            tokenizer.decode(ids, false);
            StreamingDetokenizerTest.stream(tokenizer, ids);
        }
        tokenizer.lowerCasing().encode(TEXTS[3]);
        return Outcome.READ;
    }
}
