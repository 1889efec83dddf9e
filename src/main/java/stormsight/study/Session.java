package stormsight.study;

/** A model prepared for an experiment, for any number of questions. */
public interface Session extends AutoCloseable {
    /** As {@link stormsight.backend.Executor#roundsActivations}. */
    boolean roundsActivations();

    @Override
    void close();
}
