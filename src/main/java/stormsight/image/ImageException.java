package stormsight.image;

/** An image cannot be used: unreadable, of an unknown format, cut short, too large. The message names the file. */
public final class ImageException extends RuntimeException {
    private static final long serialVersionUID = 1;

    public ImageException(String name, String problem) {
        super(name + ": " + problem);
    }

    public ImageException(String name, String problem, Throwable cause) {
        super(name + ": " + problem, cause);
    }

    /** Whether what was missing is memory, of which there may be more when less else is under way. */
    public boolean isOfMemory() {
        for (Throwable cause = getCause(); cause != null; cause = cause.getCause()) {
            if (cause instanceof OutOfMemoryError) {
                return true;
            }
        }
        return false;
    }
}
