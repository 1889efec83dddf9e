package stormsight.cli;

/** Standard output is closed or full. */
final class OutputException extends RuntimeException {
    private static final long serialVersionUID = 1;

    OutputException() {
        super("standard output cannot be written");
    }
}
