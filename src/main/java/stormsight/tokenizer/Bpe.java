package stormsight.tokenizer;

import java.util.Arrays;

/**
 * Byte pair encoding: begins with characters and merges the pair of lowest rank, the leftmost first, until no pair
 * merges. A text of n characters takes O(n log n), whatever the merges are.
 *
 * @see <a href="https://arxiv.org/abs/1508.07909">Sennrich, Haddow and Birch: Neural Machine Translation of Rare Words
 *     with Subword Units</a>
 */
final class Bpe implements Model {
    /**
     * @param suffix what the last character of a piece is spelled with, "{@literal </w>}" for CLIP, else empty
     * @param unknown the id of characters that the vocabulary lacks, or -1 to leave them out
     * @param fuseUnknown one id for a run of unknown characters
     * @param byteFallback characters that the vocabulary lacks become tokens of their bytes
     * @param ignoreMerges a piece that is a token as a whole is not merged
     */
    record Options(String suffix, int unknown, boolean fuseUnknown, boolean byteFallback, boolean ignoreMerges) {}

    private final Vocabulary vocabulary;
    private final Merges merges;
    private final Options options;
    private final int[] byteIds;

    Bpe(Vocabulary vocabulary, Merges merges, Options options) {
        this.vocabulary = vocabulary;
        this.merges = merges;
        this.options = options;
        byteIds = options.byteFallback ? Model.byteIds(vocabulary) : null;
    }

    String suffix() {
        return options.suffix;
    }

    @Override
    public void tokenize(AlignedText text, Tokens tokens) {
        char[] chars = text.text().toCharArray();
        int whole = options.ignoreMerges ? vocabulary.id(chars, 0, chars.length) : -1;
        if (whole >= 0) {
            tokens.add(whole, text, 0, chars.length);
            return;
        }
        Word word = characters(text.text(), chars);
        merge(word);
        for (int at = 0; at < word.size; at = word.next[at]) {
            tokens.add(word.ids[at], text, word.start[at], word.end[at]);
        }
    }

    private Word characters(String text, char[] chars) {
        Word word = new Word(chars.length);
        // Where a run of unknown characters, which is added when another one ends it, begins and ends.
        int unknownFrom = -1;
        int unknownTo = -1;
        for (int i = 0, end; i < chars.length; i = end) {
            end = i + (Character.isHighSurrogate(chars[i]) && i + 1 < chars.length ? 2 : 1);
            boolean last = end == chars.length && !options.suffix.isEmpty();
            int id = last ? vocabulary.id(text.substring(i) + options.suffix) : vocabulary.id(chars, i, end);
            if (id >= 0) {
                if (unknownFrom >= 0) {
                    word.add(options.unknown, unknownFrom, unknownTo);
                    unknownFrom = -1;
                }
                word.add(id, i, end);
                continue;
            }
            int[] bytes = options.byteFallback ? Model.bytesOf(text.substring(i, end), byteIds) : null;
            if (bytes != null) {
                for (int value : bytes) {
                    word.add(value, i, end);
                }
            } else if (options.unknown >= 0) {
                if (unknownFrom >= 0 && !options.fuseUnknown) {
                    word.add(options.unknown, unknownFrom, unknownTo);
                    unknownFrom = -1;
                }
                unknownFrom = unknownFrom < 0 ? i : unknownFrom;
                unknownTo = end;
            }
        }
        if (unknownFrom >= 0) {
            word.add(options.unknown, unknownFrom, unknownTo);
        }
        return word;
    }

    private void merge(Word word) {
        word.link();
        Heap candidates = new Heap(word.size);
        for (int at = 0; at + 1 < word.size; at++) {
            offer(word, candidates, at);
        }
        while (!candidates.isEmpty()) {
            long candidate = candidates.poll();
            int rank = (int) (candidate >>> 32);
            int at = (int) candidate;
            int right = word.next[at];
            // The pair may have gone since it was found.
            if (word.ids[at] < 0 || right >= word.size || merges.rank(word.ids[at], word.ids[right]) != rank) {
                continue;
            }
            word.ids[at] = merges.result(rank);
            word.end[at] = word.end[right];
            word.ids[right] = -1;
            word.next[at] = word.next[right];
            if (word.next[right] < word.size) {
                word.previous[word.next[right]] = at;
            }
            if (word.previous[at] >= 0) {
                offer(word, candidates, word.previous[at]);
            }
            offer(word, candidates, at);
        }
    }

    private void offer(Word word, Heap candidates, int at) {
        int right = word.next[at];
        int rank = right >= word.size ? -1 : merges.rank(word.ids[at], word.ids[right]);
        if (rank >= 0) {
            candidates.add((long) rank << 32 | at);
        }
    }

    /** Symbols with their places; linked, so that two become one without moving the others. */
    private static final class Word {
        int[] ids;
        int[] start;
        int[] end;
        int[] previous;
        int[] next;
        int size;

        Word(int capacity) {
            ids = new int[capacity];
            start = new int[capacity];
            end = new int[capacity];
        }

        void add(int id, int from, int to) {
            if (size == ids.length) {
                ids = Arrays.copyOf(ids, 2 * size);
                start = Arrays.copyOf(start, 2 * size);
                end = Arrays.copyOf(end, 2 * size);
            }
            ids[size] = id;
            start[size] = from;
            end[size++] = to;
        }

        void link() {
            previous = new int[size];
            next = new int[size];
            for (int i = 0; i < size; i++) {
                previous[i] = i - 1;
                next[i] = i + 1;
            }
        }
    }

    /** Numbers, the smallest first. A PriorityQueue would box each of them. */
    private static final class Heap {
        private long[] values;
        private int size;

        Heap(int capacity) {
            values = new long[Math.max(capacity, 4)];
        }

        boolean isEmpty() {
            return size == 0;
        }

        void add(long value) {
            if (size == values.length) {
                values = Arrays.copyOf(values, 2 * size);
            }
            int at = size++;
            while (at > 0 && values[at - 1 >> 1] > value) {
                values[at] = values[at - 1 >> 1];
                at = at - 1 >> 1;
            }
            values[at] = value;
        }

        long poll() {
            long least = values[0];
            long moved = values[--size];
            int at = 0;
            for (int child = 1; child < size; child = 2 * at + 1) {
                if (child + 1 < size && values[child + 1] < values[child]) {
                    child++;
                }
                if (values[child] >= moved) {
                    break;
                }
                values[at] = values[child];
                at = child;
            }
            values[at] = moved;
            return least;
        }
    }
}
