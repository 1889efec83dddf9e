package stormsight.tokenizer;

import java.util.Arrays;

/** Ids as they are found, each with its place in the original text, in chars. */
final class Tokens {
    private int[] ids = new int[16];
    private int[] from = new int[16];
    private int[] to = new int[16];
    private int size;

    /** A token that spells chars {@code start} to {@code end - 1} of a text, at least one. */
    void add(int id, AlignedText text, int start, int end) {
        add(id, text.from(start), text.to(end - 1));
    }

    private void add(int id, int begin, int end) {
        if (size == ids.length) {
            ids = Arrays.copyOf(ids, 2 * size);
            from = Arrays.copyOf(from, 2 * size);
            to = Arrays.copyOf(to, 2 * size);
        }
        ids[size] = id;
        from[size] = begin;
        to[size++] = end;
    }

    void addAll(Tokens others, int first) {
        for (int i = first; i < others.size; i++) {
            add(others.ids[i], others.from[i], others.to[i]);
        }
    }

    int size() {
        return size;
    }

    int[] ids() {
        return Arrays.copyOf(ids, size);
    }

    int id(int index) {
        return ids[index];
    }

    int from(int index) {
        return from[index];
    }

    int to(int index) {
        return to[index];
    }
}
