package stormsight.model;

import java.util.Map;

/** What generates text about images. */
public interface VisionLanguageModel extends Model {
    Description describe();

    /** Lines about its parts for people, by their names, {@code vision} or {@code decoder}: for {@code inspect}. */
    Map<String, String> parts();

    Processor processor();

    /**
     * Writes the model's programs. Every weight is asked of {@code weights} where it is used, whether they hold values
     * or not.
     *
     * @throws IllegalArgumentException naming the option that the model does not have
     */
    Passes build(Weights weights, Limits limits, Options options);

    /** Programs are written for limits before anybody knows any: the weights are the same. */
    @Override
    default void declare(Weights weights) {
        build(weights, new Limits(2, 1, 1), Options.DEFAULT);
    }

    @Override
    default void requireFiles() {
        processor().requireFiles();
    }
}
