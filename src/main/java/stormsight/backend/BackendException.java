package stormsight.backend;

/**
 * A backend cannot do what it was asked: not present, no such device, too little memory, a kernel that does not
 * compile.
 */
public final class BackendException extends RuntimeException {
    private static final long serialVersionUID = 1;

    public BackendException(String message) {
        super(message);
    }

    public BackendException(String message, Throwable cause) {
        super(message, cause);
    }
}
