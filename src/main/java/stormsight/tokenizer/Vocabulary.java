package stormsight.tokenizer;

import java.util.Arrays;
import java.util.BitSet;

/**
 * Tokens and their ids. All spellings lie in one array, found by a table of ids: a map of strings would take ten times
 * the memory and, for the quarter of a million tokens of Gemma, most of the time of opening the file.
 */
final class Vocabulary {
    /** An upper limit that no vocabulary comes near: ids are indexes of arrays. */
    static final int MOST_IDS = 1 << 22;

    /** Another one in each process, so that nobody can write a file whose tokens all fall on one place of the table. */
    static final long SEED = System.nanoTime();

    private final char[] chars;

    /** By id: where the spelling begins and, in the lower half, its length; or -1 where there is no such token. */
    private final long[] places;

    /** Ids by spelling, -1 where free; at most half full. */
    private final int[] table;

    private Vocabulary(char[] chars, long[] places, int[] table) {
        this.chars = chars;
        this.places = places;
        this.table = table;
    }

    /** One more than the highest id. */
    int size() {
        return places.length;
    }

    /** The id of a token, or -1. */
    int id(String token) {
        return id(token.toCharArray(), 0, token.length());
    }

    /** The id of the token that chars {@code from} to {@code to - 1} spell, or -1. */
    int id(char[] spelled, int from, int to) {
        return table[slot(spelled, from, to, hash(spelled, from, to))];
    }

    /** The spelling of an id, or null. */
    String token(int id) {
        return id < 0 || id >= places.length || places[id] < 0
                ? null
                : new String(chars, (int) (places[id] >>> 32), (int) places[id]);
    }

    /** Ids of tokens that are not empty. */
    BitSet spelled() {
        BitSet ids = new BitSet(places.length);
        for (int id = 0; id < places.length; id++) {
            // The length, or less than 0 where there is no token.
            ids.set(id, (int) places[id] > 0);
        }
        return ids;
    }

    /** Where the table has a spelling, or where there is room for it. */
    private int slot(char[] spelled, int from, int to, int hash) {
        int at = hash & table.length - 1;
        while (table[at] >= 0) {
            long place = places[table[at]];
            int start = (int) (place >>> 32);
            if ((int) place == to - from && Arrays.equals(chars, start, start + to - from, spelled, from, to)) {
                break;
            }
            at = at + 1 & table.length - 1;
        }
        return at;
    }

    private static int hash(char[] spelled, int from, int to) {
        long hash = SEED;
        for (int i = from; i < to; i++) {
            hash = (hash ^ spelled[i]) * 0x9e3779b97f4a7c15L;
            hash ^= hash >>> 29;
        }
        return (int) (hash >>> 32);
    }

    /** Takes tokens in any order. */
    static final class Builder {
        private char[] chars = new char[1 << 12];
        private int used;
        private int[] ids = new int[1 << 8];
        private int[] hashes = new int[1 << 8];

        /** Where the spelling of the n-th token ends. */
        private int[] ends = new int[1 << 8];

        private int count;
        private int size;

        int count() {
            return count;
        }

        void add(String token, int id) {
            add(token.toCharArray(), token.length(), id);
        }

        /**
         * Adds what the first chars spell.
         *
         * @param id 0 to {@link #MOST_IDS} - 1
         */
        void add(char[] spelled, int length, int id) {
            if (used + length > chars.length) {
                chars = Arrays.copyOf(chars, Math.max(2 * chars.length, used + length));
            }
            if (count == ids.length) {
                ids = Arrays.copyOf(ids, 2 * count);
                hashes = Arrays.copyOf(hashes, 2 * count);
                ends = Arrays.copyOf(ends, 2 * count);
            }
            System.arraycopy(spelled, 0, chars, used, length);
            used += length;
            ids[count] = id;
            hashes[count] = hash(spelled, 0, length);
            ends[count++] = used;
            size = Math.max(size, id + 1);
        }

        /** @throws IllegalArgumentException if two tokens have one id, or a token has two */
        Vocabulary build() {
            long[] places = new long[size];
            Arrays.fill(places, -1);
            int[] table = new int[Integer.highestOneBit(Math.max(count, 4) * 2 - 1) * 2];
            Arrays.fill(table, -1);
            Vocabulary vocabulary = new Vocabulary(chars, places, table);
            for (int i = 0, from = 0; i < count; from = ends[i++]) {
                int id = ids[i];
                if (places[id] >= 0) {
                    throw new IllegalArgumentException("the tokens " + quoted(vocabulary.token(id)) + " and "
                            + quoted(new String(chars, from, ends[i] - from)) + " both have the id " + id);
                }
                int at = vocabulary.slot(chars, from, ends[i], hashes[i]);
                if (table[at] >= 0) {
                    throw new IllegalArgumentException("the token " + quoted(new String(chars, from, ends[i] - from))
                            + " has the ids " + table[at] + " and " + id);
                }
                table[at] = id;
                places[id] = (long) from << 32 | ends[i] - from;
            }
            return vocabulary;
        }
    }

    /** A token for a message: on one line, and not without end. */
    static String quoted(String token) {
        String part = token.length() <= 60 ? token : token.substring(0, 60) + "...";
        StringBuilder line = new StringBuilder("\"");
        part.codePoints().forEach(c -> {
            if (c == '\n') {
                line.append("\\n");
            } else if (Character.isISOControl(c) || c == 0x2028 || c == 0x2029 || c >= 0xd800 && c < 0xe000) {
                line.append("\\u%04x".formatted(c));
            } else {
                line.appendCodePoint(c);
            }
        });
        return line.append('"').toString();
    }
}
