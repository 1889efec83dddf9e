package stormsight.spark;

import java.io.Serializable;
import java.nio.file.Path;
import stormsight.Question;
import stormsight.Stormsight;

/**
 * Which model executors open, and how. A path must be there on each machine.
 *
 * @param path a checkpoint directory; null takes the small model in the jar
 * @param backend such as {@code cpu}, or {@code auto}
 * @param parallel questions that a process answers at a time
 * @param maxTokens most tokens of an answer
 */
public record ModelChoice(String path, String backend, int parallel, int maxTokens) implements Serializable {
    /** Answers that are decoded together. */
    private static final int PARALLEL = 8;

    /** The small model in the jar, on the processor. */
    public static ModelChoice embedded() {
        return new ModelChoice(null, "cpu", PARALLEL, Question.DEFAULT_MAX_TOKENS);
    }

    /** A checkpoint directory, on a GPU if there is one. */
    public static ModelChoice of(String path) {
        return new ModelChoice(path, "auto", PARALLEL, Question.DEFAULT_MAX_TOKENS);
    }

    Stormsight open() {
        Stormsight.Builder builder = path == null ? Stormsight.embedded() : Stormsight.model(Path.of(path));
        return builder.backend(backend).parallel(parallel).open();
    }
}
