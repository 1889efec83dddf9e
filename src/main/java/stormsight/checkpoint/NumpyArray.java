package stormsight.checkpoint;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * An array in NumPy's format 1.0: 32-bit floating point, little-endian, in C order.
 *
 * @param shape its dimensions, none for a single number
 * @param values row-major
 * @see <a href="https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html">the format</a>
 */
public record NumpyArray(int[] shape, float[] values) {
    private static final byte[] MAGIC = {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};

    /** Magic and version, then 16 bits that give the length of the header. */
    private static final int PREAMBLE = MAGIC.length + 2;

    private static final Pattern HEADER = Pattern.compile(
            "\\{'descr': '<f4', 'fortran_order': False, 'shape': \\(((?:\\d{1,10}(?:, ?\\d{1,10})*)?),?\\),? *\\} "
                    + "*\\n?");

    /**
     * Reads what NumPy wrote.
     *
     * @param file that the bytes are of, and {@code what} they are in it, for messages
     * @throws CheckpointException if they are anything but such an array: another version, another type of numbers,
     *     Fortran order, too short or too long
     */
    public static NumpyArray read(Path file, String what, byte[] bytes) {
        boolean begins = bytes.length >= PREAMBLE && Arrays.equals(bytes, 0, MAGIC.length, MAGIC, 0, MAGIC.length);
        ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        int header = begins ? buffer.getShort(MAGIC.length) & 0xffff : 0;
        if (!begins || PREAMBLE + header > bytes.length) {
            throw new CheckpointException(file, what + "not a NumPy array of format 1.0");
        }
        String text = new String(bytes, PREAMBLE, header, StandardCharsets.ISO_8859_1);
        Matcher matcher = HEADER.matcher(text);
        if (!matcher.matches()) {
            throw new CheckpointException(file, what + "not an array of 32-bit floats in C order: its header is "
                    + StrictJson.printable(text.strip()));
        }
        int[] shape;
        long elements = 1;
        try {
            shape = Arrays.stream(matcher.group(1).split(", ?"))
                    .filter(dimension -> !dimension.isEmpty())
                    .mapToInt(Integer::parseInt)
                    .toArray();
            for (int dimension : shape) {
                elements = Math.multiplyExact(elements, (long) dimension);
            }
        } catch (ArithmeticException | NumberFormatException e) {
            throw new CheckpointException(file, what + "an array too large to read", e);
        }
        int data = bytes.length - PREAMBLE - header;
        if (data / Float.BYTES != elements || data % Float.BYTES != 0) {
            throw new CheckpointException(file,
                    what + data + " bytes of data, shape " + Arrays.toString(shape) + " needs 4 x " + elements);
        }
        float[] values = new float[(int) elements];
        buffer.position(PREAMBLE + header).slice().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
        return new NumpyArray(shape, values);
    }
}
