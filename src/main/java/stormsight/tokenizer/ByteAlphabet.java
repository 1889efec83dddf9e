package stormsight.tokenizer;

/**
 * GPT-2's way to write bytes as printable characters: those that Latin-1 prints stand for themselves, the others for
 * U+0100 and up.
 *
 * @see <a href="https://github.com/openai/gpt-2/blob/master/src/encoder.py">bytes_to_unicode</a>
 */
final class ByteAlphabet {
    private static final char[] CHARS = new char[256];
    private static final short[] BYTES = new short[256 + 68];

    static {
        java.util.Arrays.fill(BYTES, (short) -1);
        int next = 256;
        for (int i = 0; i < 256; i++) {
            boolean prints = i >= '!' && i <= '~' || i >= 0xa1 && i <= 0xac || i >= 0xae;
            CHARS[i] = (char) (prints ? i : next++);
            BYTES[CHARS[i]] = (short) i;
        }
    }

    private ByteAlphabet() {}

    static char charOf(int value) {
        return CHARS[value];
    }

    /** The byte that a char stands for, or -1. */
    static int byteOf(char c) {
        return c < BYTES.length ? BYTES[c] : -1;
    }
}
