package stormsight.tokenizer;

import java.util.regex.Pattern;

/** Kinds of characters as Unicode, Rust and Python have them, which Java's own methods differ from. */
final class Characters {
    /** \w and \s with Unicode's meaning, as everywhere in the tokenizers library. */
    static final int UNICODE = Pattern.UNICODE_CHARACTER_CLASS;

    private static final Pattern WORD = Pattern.compile("\\w", UNICODE);

    /** Word_Break=MidLetter, MidNumLet and Single_Quote. */
    private static final String WITHIN_WORDS =
            "'.:\u00b7\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a";

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

    /** Unicode's Cased: whether the character has a case. */
    static boolean isCased(int c) {
        return Character.isLowerCase(c) || Character.isUpperCase(c) || Character.isTitleCase(c);
    }

    /** Unicode's Case_Ignorable: marks, signs within words and others that do not count where cases are looked at. */
    static boolean isCaseIgnorable(int c) {
        return switch (Character.getType(c)) {
            case Character.NON_SPACING_MARK, Character.ENCLOSING_MARK, Character.FORMAT, Character.MODIFIER_LETTER,
                    Character.MODIFIER_SYMBOL -> true;
            default -> WITHIN_WORDS.indexOf(c) >= 0;
        };
    }
}
