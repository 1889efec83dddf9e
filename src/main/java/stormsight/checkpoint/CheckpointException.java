package stormsight.checkpoint;

import java.nio.file.Path;

/** A file of a checkpoint is missing, broken or not what the model needs. The message names the file and, if there is one, the tensor. */
public final class CheckpointException extends RuntimeException {
    private static final long serialVersionUID = 1;

    public CheckpointException(Path file, String problem) {
        super(file + ": " + problem);
    }

    public CheckpointException(Path file, String problem, Throwable cause) {
        super(file + ": " + problem, cause);
    }
}
