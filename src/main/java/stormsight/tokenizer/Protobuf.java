package stormsight.tokenizer;

import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * Reads a message of Protocol Buffers field by field.
 *
 * <p>All methods throw IllegalArgumentException where the message is cut short or a field is of another kind.
 *
 * @see <a href="https://protobuf.dev/programming-guides/encoding/">Encoding</a>
 */
final class Protobuf {
    private static final int VARINT = 0;
    private static final int FIXED_64 = 1;
    private static final int BYTES = 2;
    private static final int FIXED_32 = 5;

    private final byte[] in;
    private final int end;
    private int at;
    private int field;
    private int kind;

    /** The value of a number; the length of bytes, which begin at {@link #start}. */
    private long value;

    private int start;

    Protobuf(byte[] in) {
        this(in, 0, in.length);
    }

    private Protobuf(byte[] in, int at, int end) {
        this.in = in;
        this.at = at;
        this.end = end;
    }

    /** Goes to the next field; returns false at the end. */
    boolean next() {
        if (at == end) {
            return false;
        }
        long tag = varint();
        field = (int) (tag >>> 3);
        kind = (int) tag & 7;
        if (tag < 0 || tag > 0xffffffffL || field == 0) {
            throw new IllegalArgumentException("no field at byte " + at);
        }
        switch (kind) {
            case VARINT -> value = varint();
            case FIXED_64 -> value = fixed(8);
            case FIXED_32 -> value = fixed(4);
            case BYTES -> {
                value = varint();
                if (value < 0 || value > end - at) {
                    throw new IllegalArgumentException("field " + field + " has " + Long.toUnsignedString(value)
                            + " bytes, " + (end - at) + " are left");
                }
                start = at;
                at += (int) value;
            }
            default -> throw new IllegalArgumentException("no field at byte " + at);
        }
        return true;
    }

    /** The number of the field. */
    int field() {
        return field;
    }

    long number() {
        return require(VARINT);
    }

    boolean flag() {
        return require(VARINT) != 0;
    }

    float real() {
        return Float.intBitsToFloat((int) require(FIXED_32));
    }

    Protobuf message() {
        require(BYTES);
        return new Protobuf(in, start, start + (int) value);
    }

    byte[] bytes() {
        require(BYTES);
        return Arrays.copyOfRange(in, start, start + (int) value);
    }

    String text() {
        require(BYTES);
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(in, start, (int) value)).toString();
        } catch (CharacterCodingException e) {
            throw new IllegalArgumentException("field " + field + " is not UTF-8", e);
        }
    }

    private long require(int expected) {
        if (kind != expected) {
            throw new IllegalArgumentException("field " + field + " is of another kind");
        }
        return value;
    }

    private long fixed(int bytes) {
        if (bytes > end - at) {
            throw new IllegalArgumentException("cut short");
        }
        long result = 0;
        for (int i = 0; i < bytes; i++) {
            result |= (in[at++] & 0xffL) << 8 * i;
        }
        return result;
    }

    private long varint() {
        long result = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            if (at == end) {
                throw new IllegalArgumentException("cut short");
            }
            byte next = in[at++];
            result |= (next & 0x7fL) << shift;
            if (next >= 0) {
                return result;
            }
        }
        throw new IllegalArgumentException("a number without end at byte " + at);
    }
}
