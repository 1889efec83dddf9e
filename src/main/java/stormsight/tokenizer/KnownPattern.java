package stormsight.tokenizer;

import java.util.Map;
import java.util.regex.Pattern;

/**
 * The regular expressions that files of the known families hold. Others are refused: an expression of a file may take
 * any time that a hostile mind wants, and the library that files are written for (Oniguruma) has a syntax of its own.
 *
 * <p>All of these take time in proportion to the text: each repetition is of one class of characters, and what follows
 * it never makes it give back more than one.
 */
final class KnownPattern {
    private static final String WORDS = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

    /** GPT-2's, which ByteLevel cuts by. */
    static final Pattern BYTE_LEVEL = Pattern.compile(
            "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", Characters.UNICODE);

    /** By how files spell them; Java reads them alike once \s has Unicode's meaning. */
    private static final Map<String, Pattern> KNOWN = Map.of(
            "\\s+", Pattern.compile("\\s+", Characters.UNICODE),
            " {2,}", Pattern.compile(" {2,}"),
            BYTE_LEVEL.pattern(), BYTE_LEVEL,
            // CLIP's, without and with its special tokens.
            WORDS, Pattern.compile(WORDS, Characters.UNICODE),
            "<\\|startoftext\\|>|<\\|endoftext\\|>|" + WORDS,
            Pattern.compile("<\\|startoftext\\|>|<\\|endoftext\\|>|" + WORDS, Characters.UNICODE),
            // SigLIP's punctuation.
            "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]\\^_`{|}~]", Pattern.compile("[!-/:-@\\[-`{-~]"));

    private KnownPattern() {}

    /** The expression, or null if it is not known. */
    static Pattern of(String spelled) {
        return KNOWN.get(spelled);
    }
}
