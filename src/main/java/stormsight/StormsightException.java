package stormsight;

/** Something that a program can run into: the message is one line that says what there is and what would help. */
public final class StormsightException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** What the problem lies in. */
    public enum Kind {
        /** The checkpoint is missing, broken, or does not do what it is asked for. */
        MODEL,
        /** The image cannot be read, or has a shape that the model cannot take. */
        IMAGE,
        /** The backend or device is missing, too small or fails. */
        BACKEND,
        /** Question and answer do not fit what the model was opened for. */
        TOO_LONG
    }

    private final Kind kind;

    StormsightException(Kind kind, Throwable cause) {
        this(kind, cause.getMessage(), cause);
    }

    StormsightException(Kind kind, String message, Throwable cause) {
        super(message, cause);
        this.kind = kind;
    }

    /** What the problem lies in. */
    public Kind kind() {
        return kind;
    }
}
