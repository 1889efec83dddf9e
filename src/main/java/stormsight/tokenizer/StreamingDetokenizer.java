package stormsight.tokenizer;

/**
 * Turns tokens into text as they come. What {@link #push} and at the end {@link #flush} return, joined, is what {@link
 * Tokenizer#decode} gives for all the tokens without the special ones; nothing that a later token could change is
 * returned early, and what no token can change is not held back.
 */
public final class StreamingDetokenizer {
    private final Tokenizer tokenizer;
    private final Decoder.Stream stream;

    public StreamingDetokenizer(Tokenizer tokenizer) {
        this.tokenizer = tokenizer;
        stream = tokenizer.decoding();
    }

    /**
     * Takes the next token.
     *
     * @return the text that is certain now and was not before, often empty
     * @throws IllegalArgumentException if the id is not in the vocabulary
     */
    public String push(int id) {
        StringBuilder text = new StringBuilder();
        if (!tokenizer.isSpecial(id)) {
            tokenizer.push(id, stream, text::append);
        }
        return text.toString();
    }

    /** The rest of the text, to be called after the last token. The next push begins another text. */
    public String flush() {
        StringBuilder text = new StringBuilder();
        stream.flush(text::append);
        return text.toString();
    }
}
