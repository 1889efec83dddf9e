package stormsight.bench;

/** A result is wrong, so that its time says nothing. The message names the row and how far it is off. */
public final class CheckFailedException extends RuntimeException {
    private static final long serialVersionUID = 1;

    CheckFailedException(String message) {
        super(message);
    }
}
