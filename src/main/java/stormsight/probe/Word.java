package stormsight.probe;

import stormsight.tokenizer.Tokenizer;

/**
 * A token of text as a map shows it.
 *
 * @param index place after the image's tokens, prompt first
 * @param text the token without the mark of a space before it, as it reads where it is whole characters; {@code \\n}
 *     for a newline
 * @param generated whether it is part of the answer
 */
public record Word(int index, int tokenId, String text, boolean generated) {
    private static final String SPACE = "\u2581";

    /** A token as its tokenizer names it. */
    public static Word of(Tokenizer tokenizer, int index, int tokenId, boolean generated) {
        String text = readable(tokenizer, tokenId).replace("\n", "\\n").replace(SPACE, " ").strip();
        return new Word(index, tokenId, text.isEmpty() ? "(space)" : text, generated);
    }

    /** Byte-level tokenizers spell bytes of UTF-8 with characters that mean nothing to readers. */
    private static String readable(Tokenizer tokenizer, int tokenId) {
        String token = tokenizer.token(tokenId);
        if (token.replace(SPACE, "").chars().allMatch(c -> c < 128)) {
            return token;
        }
        String read = tokenizer.decode(new int[] {tokenId}, false);
        return read.contains("\uFFFD") ? token : read;
    }
}
