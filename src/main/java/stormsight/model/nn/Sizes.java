package stormsight.model.nn;

import stormsight.checkpoint.ConfigFile;

/** Sizes and factors in config.json. */
public final class Sizes {
    private Sizes() {}

    public static int positive(ConfigFile config, String key, int absent) {
        int size = config.integer(key, absent);
        if (size < 1) {
            throw config.invalid(key, size + " is not positive");
        }
        return size;
    }

    public static double positiveNumber(ConfigFile config, String key, double absent) {
        double number = config.number(key, absent);
        if (number <= 0) {
            throw config.invalid(key, number + " is not positive");
        }
        return number;
    }
}
