package stormsight.generate;

/** Hears an answer while it forms. Called on the thread that asked. */
public interface AnswerListener {
    AnswerListener NONE = new AnswerListener() {
        @Override
        public void text(String piece) {}
    };

    /** The next piece of text, never empty, never half a character. */
    void text(String piece);
}
