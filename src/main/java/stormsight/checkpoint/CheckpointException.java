package stormsight.checkpoint;

import java.nio.file.Path;

/**
 * A file of a checkpoint is missing, broken or not what the model needs. The message names the file and, if there is
 * one, the tensor; of a long one, which quotes what a file holds, the middle is left out.
 */
public final class CheckpointException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private static final int LONGEST = 1000;
    private static final int BEGINNING = 400;
    private static final int END = 200;

    public CheckpointException(Path file, String problem) {
        super(file + ": " + cut(problem));
    }

    public CheckpointException(Path file, String problem, Throwable cause) {
        super(file + ": " + cut(problem), cause);
    }

    private CheckpointException(String message, Throwable cause) {
        super(message, cause);
    }

    /** The same of a folder that goes by another name for those who read it. */
    public CheckpointException renamed(Path folder, Path known) {
        return new CheckpointException(getMessage().replace(folder.toString(), known.toString()), this);
    }

    private static String cut(String problem) {
        return problem.length() <= LONGEST
                ? problem
                : problem.substring(0, BEGINNING) + " ... " + problem.substring(problem.length() - END);
    }
}
