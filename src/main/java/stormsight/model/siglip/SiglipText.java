package stormsight.model.siglip;

import java.nio.file.Files;
import java.nio.file.Path;
import stormsight.checkpoint.CheckpointException;
import stormsight.model.nn.TextTower;
import stormsight.tokenizer.TextRows;
import stormsight.tokenizer.Tokenizer;

/**
 * Texts as SigLIP was trained to read them: all of its positions, of which the last ones are padding that every token
 * sees.
 *
 * <p>SigLIP 2 has Gemma's tokenizer and was trained on texts in lower case, which its tokenizer.json does not say.
 * transformers 5.18 therefore does not lower them; training did, and so does this.
 */
final class SiglipText {
    /** SigLIP's have 32000 or 250000 tokens. */
    static final int GEMMA_VOCABULARY = 256000;

    private final Path directory;
    private final TextTower.Config config;
    /** Null until the first text. */
    private TextRows rows;

    SiglipText(Path directory, TextTower.Config config) {
        this.directory = directory;
        this.config = config;
    }

    /** As many ids as there are positions. */
    int[] ids(String text) {
        return config.checked(rows().row(text), tokenizer());
    }

    Tokenizer tokenizer() {
        return rows().tokenizer();
    }

    private synchronized TextRows rows() {
        if (rows == null) {
            rows = TextRows.open(directory, config.positions(), true);
        }
        return rows;
    }

    void requirePresent() {
        if (!Files.exists(directory.resolve("spiece.model")) && !Files.exists(directory.resolve("tokenizer.json"))) {
            throw new CheckpointException(directory, "neither spiece.model nor tokenizer.json in this directory");
        }
    }
}
