package stormsight.model.siglip;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import stormsight.model.LazyTokenizer;
import stormsight.model.nn.TextTower;
import stormsight.tokenizer.Tokenizer;

/**
 * Texts as SigLIP was trained to read them: all of its positions, of which the last ones are padding that every token sees.
 *
 * <p>SigLIP has a SentencePiece model, which cleans texts up, and pads with its end. SigLIP 2 has Gemma's tokenizer and its own padding. It was trained on texts
 * in lower case, which its tokenizer.json does not say; transformers 5.18 therefore does not lower them, but training did, and so does this.
 */
final class SiglipText implements AutoCloseable {
    /** SigLIP's have 32000 or 250000 tokens. */
    static final int GEMMA_VOCABULARY = 256000;

    private static final String SENTENCE_PIECE = "spiece.model";
    private static final String GEMMA_END = "<eos>";

    private final TextTower.Config config;
    private final LazyTokenizer tokenizer;

    SiglipText(Path directory, TextTower.Config config) {
        this.config = config;
        String name = Files.exists(directory.resolve(SENTENCE_PIECE)) ? SENTENCE_PIECE : "tokenizer.json";
        tokenizer = new LazyTokenizer(directory, name, _ -> { });
    }

    LazyTokenizer tokenizer() {
        return tokenizer;
    }

    /** As many ids as there are positions. */
    int[] ids(String text) {
        Tokenizer words = tokenizer.get();
        int[] ids;
        int padding;
        int length;
        if (words.id(GEMMA_END).isPresent()) {
            ids = words.encode(text.toLowerCase(Locale.ROOT));
            length = Math.min(ids.length, config.positions() - 1);
            ids = Arrays.copyOf(ids, length + 1);
            ids[length++] = words.require(GEMMA_END);
            padding = words.require("<pad>");
        } else {
            ids = words.encodeWithSpecials(text, config.positions());
            length = ids.length;
            padding = words.require("</s>");
        }
        int[] padded = Arrays.copyOf(ids, config.positions());
        Arrays.fill(padded, length, padded.length, padding);
        return config.checked(padded, words);
    }

    @Override
    public void close() {
        tokenizer.close();
    }
}
