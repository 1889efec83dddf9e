package stormsight.checkpoint;

import java.nio.file.Path;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What becomes of something odd about a model that is passed over, such as a tensor that it does not use or a setting
 * of generation that is left to the user's options.
 */
public enum Strictness {
    /** A warning is logged, in one line. */
    LENIENT,
    /** It is refused. */
    STRICT;

    private static final Logger LOG = LoggerFactory.getLogger(Strictness.class);

    /**
     * Tells of it.
     *
     * @param problem what is odd, and what is done all the same
     * @throws CheckpointException if odd things are refused
     */
    public void odd(Path file, String problem) {
        CheckpointException told = new CheckpointException(file, problem);
        if (this == STRICT) {
            throw told;
        }
        LOG.warn(told.getMessage());
    }
}
