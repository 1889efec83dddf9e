package stormsight.tokenizer;

import java.util.Arrays;

/**
 * Tokens and their ids. All spellings lie in one array, found by a table of ids: a map of strings would take ten times the memory
 * and, for the quarter of a million tokens of Gemma, most of the time of opening the file.
 */
final class Vocabulary {
    /** An upper limit that no vocabulary comes near: ids are indexes of arrays. */
    static final int MOST_IDS = 1 << 22;

    /** Another one in each process, so that nobody can write a file whose tokens all fall on one place of the table. */
    static final long SEED = System.nanoTime();

    private final char[] chars;

    /** By id: where the spelling begins and its length, or -1 where there is no such token. */
    private final int[] start;

    private final int[] length;

    /** Ids by spelling, -1 where free; at most half full. */
    private final int[] table;

    private final int count;

    private Vocabulary(char[] chars, int[] start, int[] length, int[] table, int count) {
        this.chars = chars;
        this.start = start;
        this.length = length;
        this.table = table;
        this.count = count;
    }

    /** One more than the highest id. */
    int size() {
        return start.length;
    }

    /** How many tokens there are: less than {@link #size} where ids are left out. */
    int count() {
        return count;
    }

    /** The id of a token, or -1. */
    int id(String token) {
        return id(token.toCharArray(), 0, token.length());
    }

    /** The id of the token that chars {@code from} to {@code to - 1} spell, or -1. */
    int id(char[] spelled, int from, int to) {
        for (int at = slot(spelled, from, to, table.length);; at = at + 1 & table.length - 1) {
            int id = table[at];
            if (id < 0 || length[id] == to - from
                    && Arrays.equals(chars, start[id], start[id] + to - from, spelled, from, to)) {
                return id;
            }
        }
    }

    /** The spelling of an id, or null. */
    String token(int id) {
        return id < 0 || id >= length.length || length[id] < 0 ? null : new String(chars, start[id], length[id]);
    }

    private static int slot(char[] spelled, int from, int to, int slots) {
        long hash = SEED;
        for (int i = from; i < to; i++) {
            hash = (hash ^ spelled[i]) * 0x9e3779b97f4a7c15L;
            hash ^= hash >>> 29;
        }
        return (int) (hash >>> 32) & slots - 1;
    }

    /** Takes tokens in any order. */
    static final class Builder {
        private char[] chars = new char[1 << 12];
        private int used;
        private int[] ids = new int[1 << 8];

        /** Where the spelling of the n-th token ends. */
        private int[] ends = new int[1 << 8];

        private int count;
        private int size;

        int count() {
            return count;
        }

        /** @param id 0 to {@link #MOST_IDS} - 1 */
        void add(String token, int id) {
            int length = token.length();
            if (used + length > chars.length) {
                chars = Arrays.copyOf(chars, Math.max(2 * chars.length, used + length));
            }
            if (count == ids.length) {
                ids = Arrays.copyOf(ids, 2 * count);
                ends = Arrays.copyOf(ends, 2 * count);
            }
            token.getChars(0, length, chars, used);
            used += length;
            ids[count] = id;
            ends[count++] = used;
            size = Math.max(size, id + 1);
        }

        /** @throws IllegalArgumentException if two tokens have one id, or a token has two */
        Vocabulary build() {
            int[] start = new int[size];
            int[] length = new int[size];
            Arrays.fill(length, -1);
            int slots = Integer.highestOneBit(Math.max(count, 4) * 2 - 1) * 2;
            int[] table = new int[slots];
            Arrays.fill(table, -1);
            Vocabulary vocabulary = new Vocabulary(chars, start, length, table, count);
            for (int i = 0, from = 0; i < count; from = ends[i++]) {
                int id = ids[i];
                if (length[id] >= 0) {
                    throw new IllegalArgumentException("the tokens " + quoted(vocabulary.token(id)) + " and "
                            + quoted(new String(chars, from, ends[i] - from)) + " both have the id " + id);
                }
                int at = slot(chars, from, ends[i], slots);
                while (table[at] >= 0) {
                    if (length[table[at]] == ends[i] - from
                            && Arrays.equals(chars, start[table[at]], start[table[at]] + ends[i] - from, chars, from, ends[i])) {
                        throw new IllegalArgumentException("the token " + quoted(new String(chars, from, ends[i] - from))
                                + " has the ids " + table[at] + " and " + id);
                    }
                    at = at + 1 & slots - 1;
                }
                table[at] = id;
                start[id] = from;
                length[id] = ends[i] - from;
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
