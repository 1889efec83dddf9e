package stormsight.tokenizer;

import java.util.Arrays;

/**
 * Which two tokens become which third, and in what order of precedence. Found by one table of numbers: half a million
 * boxed pairs would take longer to make than the file takes to read.
 */
final class Merges {
    /** Both ids of a pair, plus one so that 0 is free; at most two thirds full. */
    private long[] keys = new long[1 << 10];

    private int[] ranks = new int[1 << 10];

    /** By rank: the token that the pair becomes. */
    private int[] results = new int[1 << 8];

    private int count;

    /** Adds a pair of the next rank. As with a map, of two entries for one pair the later one counts. */
    void add(int left, int right, int result) {
        if (3L * count >= 2L * keys.length) {
            grow();
        }
        if (count == results.length) {
            results = Arrays.copyOf(results, 2 * count);
        }
        put(keys, ranks, key(left, right), count);
        results[count++] = result;
    }

    private void grow() {
        long[] old = keys;
        int[] oldRanks = ranks;
        keys = new long[4 * old.length];
        ranks = new int[4 * old.length];
        for (int i = 0; i < old.length; i++) {
            if (old[i] != 0) {
                put(keys, ranks, old[i], oldRanks[i]);
            }
        }
    }

    private static void put(long[] keys, int[] ranks, long key, int rank) {
        int at = slot(key, keys.length);
        while (keys[at] != 0 && keys[at] != key) {
            at = at + 1 & keys.length - 1;
        }
        keys[at] = key;
        ranks[at] = rank;
    }

    int count() {
        return count;
    }

    /** The rank of a pair, lowest first, or -1 if the two do not merge. */
    int rank(int left, int right) {
        long key = key(left, right);
        for (int at = slot(key, keys.length);; at = at + 1 & keys.length - 1) {
            if (keys[at] == key) {
                return ranks[at];
            }
            if (keys[at] == 0) {
                return -1;
            }
        }
    }

    /** The token that the pair of a rank becomes. */
    int result(int rank) {
        return results[rank];
    }

    private static long key(int left, int right) {
        return ((long) left << 32 | right) + 1;
    }

    private static int slot(long key, int slots) {
        long hash = (key ^ Vocabulary.SEED) * 0x9e3779b97f4a7c15L;
        hash = (hash ^ hash >>> 32) * 0xd6e8feb86659fd93L;
        return (int) (hash >>> 32) & slots - 1;
    }
}
