package stormsight.bench;

/** A measuring process ended with an error: its last line and its exit code. */
public final class MeasuringException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final int exitCode;

    MeasuringException(int exitCode, String message) {
        super(message);
        this.exitCode = exitCode;
    }

    /** What the process ended with, so that this one can do the same. */
    public int exitCode() {
        return exitCode;
    }
}
