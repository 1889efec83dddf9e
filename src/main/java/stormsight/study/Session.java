package stormsight.study;

/** A model prepared for an experiment, for any number of questions. */
public interface Session extends AutoCloseable {
    @Override
    void close();
}
