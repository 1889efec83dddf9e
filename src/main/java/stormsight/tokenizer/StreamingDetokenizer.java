package stormsight.tokenizer;

import java.util.Arrays;

/**
 * Turns tokens into text as they come. What {@link #push} and at the end {@link #flush} return, joined, is what
 * {@link Tokenizer#decode} gives for all the tokens without the special ones; nothing that a later token could change is returned
 * early.
 *
 * <p>Only a run of byte tokens can change: if it is not valid UTF-8 as a whole, each of its bytes becomes U+FFFD. A run is held
 * back until a token of another kind ends it, or until it is certainly invalid. Each token is decoded a fixed number of times,
 * however long the answer gets.
 *
 * <p>Where the tokenizer has no byte tokens but cuts characters into bytes otherwise, text is held back while it ends in U+FFFD.
 */
public final class StreamingDetokenizer {
    private final Tokenizer tokenizer;

    /** The tokens that are held back: bytes of one run, or, without byte tokens, the end of the text. */
    private int[] held = new int[8];

    private int count;

    /** The token before the held ones, or -1: decoders treat the start of a text in their own way. */
    private int before = -1;

    private final Utf8 utf8 = new Utf8();

    public StreamingDetokenizer(Tokenizer tokenizer) {
        this.tokenizer = tokenizer;
    }

    /**
     * Takes the next token.
     *
     * @return the text that is certain now and was not before, often empty
     * @throws IllegalArgumentException if the id is not in the vocabulary
     */
    public String push(int id) {
        if (tokenizer.isSpecial(id)) {
            return "";
        }
        if (tokenizer.isByte(id)) {
            return pushByte(id);
        }
        String run = tokenizer.hasBytes() ? releaseHeld() : "";
        hold(id);
        String piece = decodeHeld();
        if (!tokenizer.hasBytes() && piece.endsWith("\ufffd")) {
            return "";
        }
        release();
        return run + piece;
    }

    private String pushByte(int id) {
        boolean wasValid = utf8.possible();
        utf8.push(tokenizer.byteOf(id));
        if (utf8.possible()) {
            hold(id);
            return "";
        }
        String replaced = "\ufffd".repeat(wasValid ? count + 1 : 1);
        count = 0;
        before = id;
        return replaced;
    }

    /** The rest of the text, to be called after the last token. The next push begins another text. */
    public String flush() {
        String rest = releaseHeld();
        before = -1;
        return rest;
    }

    private String releaseHeld() {
        String text = count == 0 ? "" : decodeHeld();
        release();
        return text;
    }

    private void hold(int id) {
        if (count == held.length) {
            held = Arrays.copyOf(held, 2 * count);
        }
        held[count++] = id;
    }

    private void release() {
        if (count > 0) {
            before = held[count - 1];
        }
        count = 0;
        utf8.reset();
    }

    /** The text that the held tokens add to that of the token before them. */
    private String decodeHeld() {
        if (before < 0) {
            return tokenizer.decode(Arrays.copyOf(held, count), false);
        }
        int[] both = new int[count + 1];
        both[0] = before;
        System.arraycopy(held, 0, both, 1, count);
        String text = tokenizer.decode(both, false);
        return text.substring(Math.min(tokenizer.decode(new int[] {before}, false).length(), text.length()));
    }
}
