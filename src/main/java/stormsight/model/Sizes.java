package stormsight.model;

import stormsight.checkpoint.ConfigFile;

/** Sizes in config.json. */
final class Sizes {
    private Sizes() {}

    static int positive(ConfigFile config, String key, int absent) {
        int size = config.integer(key, absent);
        if (size < 1) {
            throw config.invalid(key, size + " is not positive");
        }
        return size;
    }
}
