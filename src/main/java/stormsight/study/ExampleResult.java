package stormsight.study;

import java.util.Arrays;
import java.util.Optional;

/** What an experiment found for one example. */
public sealed interface ExampleResult permits KnockoutResult, LensResult {
    /** Why an example is not kept. */
    enum Reason {
        UNREADABLE("image cannot be read", "images cannot be read"),
        MARK("box or mask does not fit the image", "boxes or masks do not fit the image"),
        WRONG("wrong answer", "wrong answers");

        /** As {@link ExampleResult#dropped} has it. */
        final String words;
        private final String several;

        Reason(String words, String several) {
            this.words = words;
            this.several = several;
        }

        /** {@code 1 wrong answer} or {@code 3 wrong answers}. */
        static String counted(int count, String words) {
            return count + " " + Arrays.stream(values())
                    .filter(reason -> count != 1 && reason.words.equals(words))
                    .findFirst().map(reason -> reason.several).orElse(words);
        }
    }

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
