package stormsight.study;

import java.util.Optional;

/** What an experiment found for one example. */
public sealed interface ExampleResult permits KnockoutResult, LensResult {
    /** Where the example stands in its data set. */
    int line();

    /** As the data set names it. */
    String image();

    String question();

    /** Why the example is not kept, in words that are the same for all such examples. */
    Optional<String> dropped();

    /** More about that. */
    Optional<String> detail();

    /** The model's own answer. */
    Optional<String> prediction();

    /** Whether the model was not even asked, because a file could not be read or used: another time it may be. */
    default boolean unread() {
        return dropped().isPresent() && prediction().isEmpty();
    }
}
