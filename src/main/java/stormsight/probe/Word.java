package stormsight.probe;

import stormsight.tokenizer.Tokenizer;

/**
 * A token of text as a map shows it.
 *
 * @param index place after the image's tokens, prompt first
 * @param text the token without the mark of a space before it; {@code \\n} for a newline
 * @param generated whether it is part of the answer
 */
public record Word(int index, int tokenId, String text, boolean generated) {
    private static final String SPACE = "\u2581";

    static Word of(Tokenizer tokenizer, int index, int tokenId, boolean generated) {
        String token = tokenizer.token(tokenId).replace("\n", "\\n");
        String text = token.replace(SPACE, " ").strip();
        return new Word(index, tokenId, text.isEmpty() ? "(space)" : text, generated);
    }
}
