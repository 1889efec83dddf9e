package stormsight.tokenizer;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Walks through the bytes of a JSON text, for the vocabulary and the merges of a tokenizer: tens of megabytes of short strings, which a
 * parser that makes a string of each would take a second for. Whatever else a file holds is {@link #skip skipped} here and given to
 * Jackson.
 *
 * <p>All methods throw IllegalArgumentException where the text is not what they expect.
 */
final class JsonScanner {
    private final byte[] in;
    private int at;

    /** What {@link #string} has read. */
    private char[] text = new char[256];

    JsonScanner(byte[] in, int at) {
        this.in = in;
        this.at = at;
    }

    /** The next byte that is no white space, which stays the next; -1 at the end. */
    int peek() {
        while (at < in.length) {
            byte c = in[at];
            if (c > ' ' || c != ' ' && c != '\n' && c != '\r' && c != '\t') {
                return c & 0xff;
            }
            at++;
        }
        return -1;
    }

    /** Where the next byte is that is no white space. */
    int place() {
        peek();
        return at;
    }

    /** Where the part ends that has been read. */
    int end() {
        return at;
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
        return new String(text, 0, string(0));
    }

    /** Reads a string into {@link #text} from a place on; returns where it ends there. */
    int string(int from) {
        expect('"');
        int to = from;
        while (at < in.length) {
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
        int c = at < in.length ? in[at++] : -1;
        switch (c) {
            case '"', '\\', '/' -> text[to] = (char) c;
            case 'b' -> text[to] = '\b';
            case 'f' -> text[to] = '\f';
            case 'n' -> text[to] = '\n';
            case 'r' -> text[to] = '\r';
            case 't' -> text[to] = '\t';
            case 'u' -> {
                text[to] = unit();
                if (Character.isHighSurrogate(text[to]) && at + 1 < in.length && in[at] == '\\' && in[at + 1] == 'u') {
                    at += 2;
                    text[to + 1] = unit();
                    if (Character.isLowSurrogate(text[to + 1])) {
                        return to + 2;
                    }
                }
                if (Character.isSurrogate(text[to])) {
                    throw new IllegalArgumentException("half of a character at byte " + at);
                }
            }
            default -> throw unexpected();
        }
        return to + 1;
    }

    private char unit() {
        int value = 0;
        for (int i = 0; i < 4; i++) {
            int digit = at < in.length && in[at] > 0 ? Character.digit(in[at], 16) : -1;
            if (digit < 0) {
                throw unexpected();
            }
            value = value << 4 | digit;
            at++;
        }
        return (char) value;
    }

    private int multibyte(int first, int to) {
        int more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
        int point = first & 0x3f >> more;
        int least = more == 1 ? 0x80 : more == 2 ? 0x800 : 0x10000;
        boolean valid = first >= 0xc2 && first <= 0xf4 && at + more <= in.length;
        for (int i = 0; valid && i < more; i++) {
            valid = (in[at] & 0xc0) == 0x80;
            point = point << 6 | in[at++] & 0x3f;
        }
        if (!valid || point < least || point > Character.MAX_CODE_POINT || point >= 0xd800 && point < 0xe000) {
            throw new IllegalArgumentException("not UTF-8 at byte " + at);
        }
        return to + Character.toChars(point, text, to);
    }

    /** Reads a whole number without a sign, or returns -1 and goes nowhere if there is something else or more than 18 digits. */
    long integer() {
        peek();
        int end = at;
        long value = 0;
        while (end < in.length && in[end] >= '0' && in[end] <= '9' && end - at < 18) {
            value = 10 * value + in[end++] - '0';
        }
        boolean more = end < in.length && (in[end] >= '0' && in[end] <= '9' || in[end] == '.' || in[end] == 'e' || in[end] == 'E');
        if (end == at || more || in[at] == '0' && end > at + 1) {
            return -1;
        }
        at = end;
        return value;
    }

    /** Reads a number, or returns one that is not finite if there is something else. */
    double number() {
        int start = place();
        while (at < in.length && "+-.0123456789eE".indexOf(in[at]) >= 0) {
            at++;
        }
        try {
            return Double.parseDouble(new String(in, start, at - start, StandardCharsets.ISO_8859_1));
        } catch (NumberFormatException e) {
            return Double.NaN;
        }
    }

    /** Goes past a value, of which only strings and brackets are looked at. */
    void skip() {
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
                    while (at < in.length && ",:{}[]\" \n\r\t".indexOf(in[at]) < 0) {
                        at++;
                    }
                }
            }
        } while (depth > 0);
    }

    IllegalArgumentException unexpected() {
        int c = peek();
        return new IllegalArgumentException(c < 0 ? "it ends early" : (c > ' ' && c < 0x7f ? "'" + (char) c + "'" : "0x%02x".formatted(c))
                + " at byte " + at + " is not expected there");
    }
}
