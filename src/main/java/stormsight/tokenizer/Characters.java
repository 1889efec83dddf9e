package stormsight.tokenizer;

import java.util.regex.Pattern;

/**
 * Kinds of characters as Rust's standard library and regular expressions have them, which Java's own methods differ
 * from.
 */
final class Characters {
    /** \w and \s with Unicode's meaning, as everywhere in the tokenizers library. */
    static final int UNICODE = Pattern.UNICODE_CHARACTER_CLASS;

    private static final Pattern WORD = Pattern.compile("\\w", UNICODE);

    private Characters() {}

    /** Unicode's White_Space: no-break spaces count, the separators U+001C to U+001F do not. */
    static boolean isSpace(int c) {
        return c <= ' ' ? c == ' ' || c >= '\t' && c <= '\r' : c == 0x85 || Character.isSpaceChar(c);
    }

    /** What Python's str.strip() strips and its \\s matches: the separators U+001C to U+001F, too. */
    static boolean isPythonSpace(int c) {
        return isSpace(c) || c >= 0x1c && c <= 0x1f;
    }

    /** What a regular expression's \w matches. */
    static boolean isWord(int c) {
        return c < 0x80 ? Character.isLetterOrDigit(c) || c == '_' : WORD.matcher(Character.toString(c)).matches();
    }
}
