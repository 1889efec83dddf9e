package stormsight.model;

/**
 * What the results in a file follow from beside the inputs, kept with them so that nobody mixes results of two kinds.
 *
 * @param settings the weights, and options where they are not as they would be without a word
 * @param files of what else is read beside the checkpoint, see {@link ModelDirectory#besides}
 */
public record Stamp(String settings, String files) {
    private static final String FILES = " files=";

    /** As it is kept. */
    public String text() {
        return settings + FILES + files;
    }

    /** Whether results of that stamp are of this kind. One that names no files is of a time when none did. */
    public boolean fits(String recorded) {
        return recorded.equals(text()) || recorded.equals(settings);
    }
}
