package stormsight.cli;

/** Options that parse but make no sense together or with the files they name. */
final class UsageException extends RuntimeException {
    private static final long serialVersionUID = 1;

    UsageException(String message) {
        super(message);
    }
}
