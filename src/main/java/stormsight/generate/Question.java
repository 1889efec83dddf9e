package stormsight.generate;

/** One of many requests, and where its answer goes. Called on the thread that answers. */
public interface Question extends AnswerListener {
    /**
     * The request, once there is room for it. Waiting here holds up all others.
     *
     * @throws LimitException if it is refused; so are IllegalArgumentException, ImageException and CheckpointException
     */
    Prepared prepared();

    @Override
    default void text(String piece) {}

    /** Whether somebody still waits for the answer; otherwise it ends without a word, and others go on. */
    default boolean wanted() {
        return true;
    }

    /** The answer is complete. */
    void answered(Answer answer);

    /**
     * There will be no answer, and others go on.
     *
     * @param why prompt and answer do not fit what the generator was opened for, the text cannot be a prompt, or the
     *     image cannot be read
     */
    void refused(RuntimeException why);
}
