package stormsight.model.nn;

import stormsight.checkpoint.ConfigFile;
import stormsight.program.Op.Heads;

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

    /**
     * Heads of a decoder.
     *
     * @param prefix of the decoder's keys, with the dot
     */
    public static Heads heads(
            ConfigFile config, String prefix, int absentQueryHeads, int absentKeyValueHeads, int absentHeadDim) {
        int queryHeads = positive(config, prefix + "num_attention_heads", absentQueryHeads);
        int keyValueHeads = positive(config, prefix + "num_key_value_heads", absentKeyValueHeads);
        int headDim = positive(config, prefix + "head_dim", absentHeadDim);
        if (queryHeads % keyValueHeads != 0) {
            throw config.invalid(prefix + "num_key_value_heads",
                    keyValueHeads + " key-value heads do not divide " + queryHeads + " query heads");
        }
        if (headDim % 2 != 0) {
            throw config.invalid(prefix + "head_dim", headDim + " is odd");
        }
        if ((long) queryHeads * headDim > Integer.MAX_VALUE) {
            throw config.invalid(prefix + "num_attention_heads", queryHeads + " heads of " + headDim + " are too many");
        }
        return new Heads(queryHeads, keyValueHeads, headDim);
    }
}
