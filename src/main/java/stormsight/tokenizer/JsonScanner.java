package stormsight.tokenizer;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Walks through the bytes of a JSON text, for the vocabulary and the merges of a tokenizer: tens of megabytes of short
 * strings, which a parser that makes a string of each would take a second for. Whatever else a file holds is cut out as
 * a whole ({@link #value}) and given to Jackson. Only a part of the file is in memory at a time.
 *
 * <p>All methods throw IllegalArgumentException where the text is not what they expect, and UncheckedIOException where
 * it cannot be read.
 */
final class JsonScanner {
    /** More than a number takes; Jackson's limit for those of a checkpoint is 400. */
    private static final int NUMBER = 500;

    private final InputStream source;
    private byte[] in;
    private int at;
    private int limit;

    /** What has been read before the bytes in memory. */
    private long before;

    /** From where on bytes are kept in memory though they were passed, or -1. */
    private int mark = -1;

    /** What {@link #string} has read. */
    private char[] text = new char[256];

    JsonScanner(InputStream source) {
        this(source, 1 << 18);
    }

    /** @param part how many bytes to read at a time, at least {@code 1} */
    JsonScanner(InputStream source, int part) {
        this.source = source;
        in = new byte[part];
    }

    JsonScanner(byte[] text) {
        this(new ByteArrayInputStream(text), Math.max(text.length, 1));
    }

    /**
     * Reads on; returns false at the end. What lies before the mark, or if there is none before the next byte, is
     * dropped.
     */
    private boolean fill() {
        int kept = mark < 0 ? at : mark;
        System.arraycopy(in, kept, in, 0, limit - kept);
        before += kept;
        at -= kept;
        limit -= kept;
        mark = mark < 0 ? -1 : 0;
        if (limit == in.length) {
            in = Arrays.copyOf(in, 2 * in.length);
        }
        try {
            int read = source.read(in, limit, in.length - limit);
            limit += Math.max(read, 0);
            return read > 0;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Reads on until so many bytes are there, if the text has them. */
    private void ahead(int bytes) {
        boolean more = true;
        while (more && limit - at < bytes) {
            more = fill();
        }
    }

    /** The next byte, which is taken; -1 at the end. */
    private int take() {
        return at < limit || fill() ? in[at++] & 0xff : -1;
    }

    /** Goes past a byte order mark, which some editors put in front. */
    void skipByteOrderMark() {
        ahead(3);
        if (limit >= 3 && in[0] == (byte) 0xef && in[1] == (byte) 0xbb && in[2] == (byte) 0xbf) {
            at = 3;
        }
    }

    /** The next byte that is no white space, which stays the next; -1 at the end. */
    int peek() {
        while (at < limit || fill()) {
            byte c = in[at];
            if (c > ' ' || c != ' ' && c != '\n' && c != '\r' && c != '\t') {
                return c & 0xff;
            }
            at++;
        }
        return -1;
    }

    /** Enters an object or array; returns false if it is empty, which ends it. */
    boolean begin(char open, char close) {
        expect(open);
        if (peek() == close) {
            at++;
            return false;
        }
        return true;
    }

    /** Goes on after an element; returns false at the end of the object or array. */
    boolean next(char close) {
        int c = peek();
        if (c != ',' && c != close) {
            throw unexpected();
        }
        at++;
        return c == ',';
    }

    void expect(char c) {
        if (peek() != c) {
            throw unexpected();
        }
        at++;
    }

    char[] text() {
        return text;
    }

    String string() {
        // In this order: the chars may move when there are more of them.
        int end = string(0);
        return new String(text, 0, end);
    }

    /** Reads a string into {@link #text} from a place on; returns where it ends there. */
    int string(int from) {
        expect('"');
        int to = from;
        while (at < limit || fill()) {
            if (to + 2 > text.length) {
                text = Arrays.copyOf(text, 2 * text.length);
            }
            int c = in[at++];
            if (c == '"') {
                return to;
            } else if (c == '\\') {
                to = escape(to);
            } else if (c >= ' ') {
                text[to++] = (char) c;
            } else if (c < 0) {
                to = multibyte(c & 0xff, to);
            } else {
                at--;
                throw unexpected();
            }
        }
        throw unexpected();
    }

    private int escape(int to) {
        switch (take()) {
            case '"' -> text[to] = '"';
            case '\\' -> text[to] = '\\';
            case '/' -> text[to] = '/';
            case 'b' -> text[to] = '\b';
            case 'f' -> text[to] = '\f';
            case 'n' -> text[to] = '\n';
            case 'r' -> text[to] = '\r';
            case 't' -> text[to] = '\t';
            case 'u' -> {
                text[to] = unit();
                if (Character.isHighSurrogate(text[to]) && take() == '\\' && take() == 'u') {
                    text[to + 1] = unit();
                    if (Character.isLowSurrogate(text[to + 1])) {
                        return to + 2;
                    }
                }
                if (Character.isSurrogate(text[to])) {
                    throw new IllegalArgumentException("half of a character at byte " + place());
                }
            }
            default -> throw unexpected();
        }
        return to + 1;
    }

    private char unit() {
        int value = 0;
        for (int i = 0; i < 4; i++) {
            int c = take();
            int digit = c < 0x80 ? Character.digit(c, 16) : -1;
            if (digit < 0) {
                throw unexpected();
            }
            value = value << 4 | digit;
        }
        return (char) value;
    }

    private int multibyte(int first, int to) {
        int more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
        int point = first & 0x3f >> more;
        int least = more == 1 ? 0x80 : more == 2 ? 0x800 : 0x10000;
        boolean valid = first >= 0xc2 && first <= 0xf4;
        for (int i = 0; valid && i < more; i++) {
            int c = take();
            valid = (c & 0xc0) == 0x80 && c >= 0;
            point = point << 6 | c & 0x3f;
        }
        if (!valid || point < least || point > Character.MAX_CODE_POINT || point >= 0xd800 && point < 0xe000) {
            throw new IllegalArgumentException("not UTF-8 at byte " + place());
        }
        return to + Character.toChars(point, text, to);
    }

    /**
     * Reads a whole number without a sign, or returns -1 and goes nowhere if there is something else or more than 18
     * digits.
     */
    long integer() {
        peek();
        ahead(NUMBER);
        int end = at;
        long value = 0;
        while (end < limit && in[end] >= '0' && in[end] <= '9' && end - at < 18) {
            value = 10 * value + in[end++] - '0';
        }
        boolean more = end < limit && "0123456789.eE".indexOf(in[end]) >= 0;
        if (end == at || more || in[at] == '0' && end > at + 1) {
            return -1;
        }
        at = end;
        return value;
    }

    /** Reads a number, or returns one that is not finite if there is something else. */
    double number() {
        peek();
        ahead(NUMBER);
        int start = at;
        while (at < limit && "+-.0123456789eE".indexOf(in[at]) >= 0) {
            at++;
        }
        try {
            return Double.parseDouble(new String(in, start, at - start, StandardCharsets.ISO_8859_1));
        } catch (NumberFormatException e) {
            return Double.NaN;
        }
    }

    /** Takes a value of any kind, of which only strings and brackets are looked at. */
    byte[] value() {
        peek();
        mark = at;
        int depth = 0;
        do {
            int c = peek();
            switch (c) {
                case -1, ',', ':' -> {
                    if (c < 0 || depth == 0) {
                        throw unexpected();
                    }
                    at++;
                }
                case '"' -> string(0);
                case '{', '[' -> {
                    depth++;
                    at++;
                }
                case '}', ']' -> {
                    if (--depth < 0) {
                        throw unexpected();
                    }
                    at++;
                }
                default -> {
                    while ((at < limit || fill()) && ",:{}[]\" \n\r\t".indexOf(in[at]) < 0) {
                        at++;
                    }
                }
            }
        } while (depth > 0);
        byte[] value = Arrays.copyOfRange(in, mark, at);
        mark = -1;
        return value;
    }

    private long place() {
        return before + at;
    }

    IllegalArgumentException unexpected() {
        int c = peek();
        String found = c > ' ' && c < 0x7f ? "'" + (char) c + "'" : "0x%02x".formatted(c);
        return new IllegalArgumentException(
                c < 0 ? "it ends early" : found + " at byte " + place() + " is not expected there");
    }
}
