package stormsight.tokenizer;

import java.util.Arrays;

/**
 * A text on its way to tokens, each char of which knows the chars of the original that it stands for. It never changes;
 * what normalizers make of it are new texts.
 */
final class AlignedText {
    private final String text;

    /** For the char at {@code i + shift}: its place in the original, of which {@code to} is the end. */
    private final int[] from;

    private final int[] to;
    private final int shift;

    private AlignedText(String text, int[] from, int[] to, int shift) {
        this.text = text;
        this.from = from;
        this.to = to;
        this.shift = shift;
    }

    /** The original itself: both halves of a surrogate pair have the place of the pair. */
    static AlignedText of(String original) {
        int[] from = new int[original.length()];
        int[] to = new int[original.length()];
        for (int i = 0; i < from.length;) {
            int end = i + Character.charCount(original.codePointAt(i));
            Arrays.fill(from, i, end, i);
            Arrays.fill(to, i, end, end);
            i = end;
        }
        return new AlignedText(original, from, to, 0);
    }

    /** Other chars in the same places. */
    AlignedText with(String chars) {
        if (chars.length() != length()) {
            throw new IllegalArgumentException(chars.length() + " chars for " + length());
        }
        return new AlignedText(chars, from, to, shift);
    }

    String text() {
        return text;
    }

    int length() {
        return text.length();
    }

    boolean isEmpty() {
        return text.isEmpty();
    }

    /** Where what the char stands for begins in the original. */
    int from(int index) {
        return from[shift + index];
    }

    /** Where what the char stands for ends in the original. */
    int to(int index) {
        return to[shift + index];
    }

    AlignedText slice(int start, int end) {
        return start == 0 && end == length()
                ? this
                : new AlignedText(text.substring(start, end), from, to, shift + start);
    }

    /** A text made from another one, piece by piece. */
    static final class Builder {
        private final AlignedText source;
        private final StringBuilder text;
        private int[] from;
        private int[] to;

        Builder(AlignedText source) {
            this.source = source;
            text = new StringBuilder(source.length() + 16);
            from = new int[source.length() + 16];
            to = new int[source.length() + 16];
        }

        /** Chars that stand for what chars {@code start} to {@code end - 1} of the source stand for; at least one. */
        Builder append(CharSequence chars, int start, int end) {
            for (int i = 0; i < chars.length(); i++) {
                append(chars.charAt(i), source.from(start), source.to(end - 1));
            }
            return this;
        }

        Builder appendCodePoint(int codePoint, int start, int end) {
            return append(Character.toString(codePoint), start, end);
        }

        /** Chars of the source as they are. */
        Builder keep(int start, int end) {
            for (int i = start; i < end; i++) {
                append(source.text.charAt(i), source.from(i), source.to(i));
            }
            return this;
        }

        private void append(char c, int first, int last) {
            int at = text.length();
            if (at == from.length) {
                from = Arrays.copyOf(from, 2 * at);
                to = Arrays.copyOf(to, 2 * at);
            }
            text.append(c);
            from[at] = first;
            to[at] = last;
        }

        AlignedText build() {
            return new AlignedText(text.toString(), from, to, 0);
        }
    }
}
