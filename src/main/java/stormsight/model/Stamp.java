package stormsight.model;

import java.util.Optional;

/**
 * What the results in a file follow from beside the inputs, kept with them so that nobody mixes results of two kinds.
 *
 * @param settings the weights, and options where they are not as they would be without a word
 * @param strictSettings what earlier versions kept in their place where nothing was to be rounded
 * @param rounded whether products are computed with rounded activations, see {@link
 *     stormsight.backend.Executor#roundsActivations}
 * @param files of what else is read beside the checkpoint, see {@link ModelDirectory#besides}
 */
public record Stamp(String settings, String strictSettings, boolean rounded, String files) {
    private static final String FILES = " files=";

    /** As it is kept. */
    public String text() {
        return settings + (rounded ? " rounded" : " exact") + FILES + files;
    }

    /**
     * Whether results of that stamp are of this kind, as far as it says: one of an earlier version may leave something
     * {@link #unknown}.
     */
    public boolean fits(String recorded) {
        return recorded.equals(text())
                || !rounded && recorded.equals(strictSettings + FILES + files)
                || unknown(recorded).isPresent();
    }

    /** What results may differ in although they fit, since an earlier version kept nothing of it; for people. */
    public Optional<String> unknown(String recorded) {
        if (recorded.equals(settings + FILES + files)) {
            return Optional.of("whether products were rounded to 16 bits");
        }
        return recorded.equals(settings)
                ? Optional.of("how images were resized, what tokenizer and preprocessing files were read, and whether "
                        + "products were rounded to 16 bits")
                : Optional.empty();
    }
}
