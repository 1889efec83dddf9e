package stormsight.tokenizer;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.ConfigFile;

/**
 * Texts as dual encoders take them: rows of ids, all of one length, with the ids that the tokenizer puts around a text;
 * cut off where a text is too long and filled up on the right where it is shorter.
 *
 * @param length ids in a row: 77 for CLIP, 64 for SigLIP
 * @param pad the id that rows are filled up with
 */
public record TextRows(Tokenizer tokenizer, int length, int pad) {
    private static final String CONFIG = "tokenizer_config.json";
    private static final String MOST = "model_max_length";
    /** A token between that in front and that behind. */
    private static final int SHORTEST = 3;

    /**
     * Most ids of a text: there transformers cuts it off, where the model has no fewer positions.
     *
     * @throws CheckpointException if a text would have no token of its own
     */
    public static int most(Path folder, int positions) {
        Optional<ConfigFile> config = ConfigFile.readIfPresent(folder.resolve(CONFIG)).filter(c -> c.has(MOST));
        // Where there is no limit, transformers writes a number of 31 digits.
        double most = config.map(c -> c.number(MOST)).orElse(Double.POSITIVE_INFINITY);
        if (most < SHORTEST) {
            throw config.orElseThrow().invalid(MOST, most + " is too short for a text");
        }
        return (int) Math.min(positions, most);
    }

    /**
     * Opens the tokenizer of a checkpoint: spiece.model where there is one, as transformers does for SigLIP, else
     * tokenizer.json.
     *
     * @param lowerCase whether texts are lower-cased, as SigLIP 2 was trained; the files of its models of fixed
     *     resolution do not say so. spiece.model and CLIP's tokenizer.json do it anyway
     * @throws CheckpointException if there is no tokenizer, no pad token, or texts are to be filled up to fewer ids
     */
    public static TextRows open(Path folder, int length, boolean lowerCase) {
        Path pieces = folder.resolve("spiece.model");
        Tokenizer opened = Tokenizer.open(Files.exists(pieces) ? pieces : folder.resolve("tokenizer.json"));
        int most = most(folder, length);
        if (most < length) {
            throw new CheckpointException(folder.resolve(CONFIG), MOST + ": transformers fills texts up to " + most
                    + " tokens, but the model was trained with " + length + " and is run so here: set it to " + length);
        }
        String pad = padToken(folder.resolve(CONFIG))
                .or(() -> padToken(folder.resolve("special_tokens_map.json")))
                .orElseThrow(() -> new CheckpointException(folder,
                        "no pad_token in tokenizer_config.json or special_tokens_map.json"));
        return new TextRows(lowerCase ? opened.lowerCasing() : opened, length, opened.require(pad));
    }

    /** The token, which files give as it is spelled or as an object with its properties. */
    private static Optional<String> padToken(Path file) {
        Optional<ConfigFile> config = ConfigFile.readIfPresent(file).filter(c -> c.has("pad_token"));
        return config.map(c -> c.hasObject("pad_token") ? c.text("pad_token.content") : c.text("pad_token"));
    }

    /** The ids of a text: {@link #length} of them. */
    public int[] row(String text) {
        int[] ids = tokenizer.encodeWithSpecials(text, length);
        int[] row = Arrays.copyOf(ids, length);
        Arrays.fill(row, ids.length, length, pad);
        return row;
    }
}
