package stormsight.generate;

/** A request does not fit: the prompt and the answer pass what the model or the prepared session can hold. */
public final class LimitException extends RuntimeException {
    private static final long serialVersionUID = 1;

    public LimitException(String message) {
        super(message);
    }
}
