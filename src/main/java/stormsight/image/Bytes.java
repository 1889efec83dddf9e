package stormsight.image;

import java.io.EOFException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Bytes of a file; reading past the end is an EOFException.
 *
 * @param data not copied
 */
record Bytes(byte[] data) {
    static final String ENDS_EARLY = "it ends too early: pixels are missing";

    int length() {
        return data.length;
    }

    void require(int at, long count) throws EOFException {
        if (at < 0 || at + count > data.length) {
            throw new EOFException(ENDS_EARLY);
        }
    }

    int at(int index) throws EOFException {
        require(index, 1);
        return data[index] & 0xff;
    }

    int bigShort(int at) throws EOFException {
        return at(at) << 8 | at(at + 1);
    }

    int bigInt(int at) throws EOFException {
        return bigShort(at) << 16 | bigShort(at + 2);
    }

    int littleShort(int at) throws EOFException {
        return at(at) | at(at + 1) << 8;
    }

    int littleInt(int at) throws EOFException {
        return littleShort(at) | littleShort(at + 2) << 16;
    }

    /** Four characters. */
    String name(int at) throws EOFException {
        require(at, 4);
        return new String(data, at, 4, StandardCharsets.ISO_8859_1);
    }

    byte[] part(int from, int length) {
        return Arrays.copyOfRange(data, from, from + length);
    }

    boolean startsWith(String magic) {
        return is(0, magic);
    }

    boolean is(int at, String magic) {
        return at >= 0 && at <= data.length - magic.length()
                && new String(data, at, magic.length(), StandardCharsets.ISO_8859_1).equals(magic);
    }
}
