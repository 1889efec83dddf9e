package stormsight.report;

import java.nio.file.Path;

/** A figure or a file of numbers cannot be written or read. The message is one line that says which and why. */
public final class FigureException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** Something that concerns one file. */
    public FigureException(Path file, String problem, Throwable cause) {
        super(file + ": " + problem, cause);
    }

    FigureException(String problem, Throwable cause) {
        super(problem, cause);
    }
}
