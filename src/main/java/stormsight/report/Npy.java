package stormsight.report;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Collectors;

/**
 * Arrays in files of NumPy's format 1.0, as {@code numpy.load} reads it: 32-bit floating point, little-endian, in C
 * order.
 *
 * @see <a href="https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html">the format</a>
 */
public final class Npy {
    private static final byte[] MAGIC = {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};

    /** Magic and version, then 16 bits that give the length of the header. */
    private static final int PREAMBLE = MAGIC.length + 2;

    /** The data begins at a multiple of it. */
    private static final int ALIGNMENT = 64;
    private static final int CHUNK_FLOATS = 1 << 16;

    private Npy() {}

    /**
     * Writes an array.
     *
     * @param values row-major
     * @throws IllegalArgumentException if the shape is not that of the values
     * @throws FigureException if the file cannot be written; an older one is then left as it was
     */
    public static void write(Path file, float[] values, int... shape) {
        long elements = 1;
        for (int dimension : shape) {
            if (dimension < 0) {
                throw new IllegalArgumentException("a shape of " + Arrays.toString(shape));
            }
            elements = Math.multiplyExact(elements, (long) dimension);
        }
        if (elements != values.length) {
            throw new IllegalArgumentException(
                    values.length + " values, shape " + Arrays.toString(shape) + " has " + elements);
        }
        OutputFile.write(file, out -> write(out, values, shape));
    }

    private static void write(OutputStream out, float[] values, int... shape) throws IOException {
        String dimensions = Arrays.stream(shape).mapToObj(Integer::toString).collect(Collectors.joining(", "))
                + (shape.length == 1 ? "," : "");
        String header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + dimensions + "), }";
        int padding = ALIGNMENT - 1 - (PREAMBLE + header.length()) % ALIGNMENT;
        header += " ".repeat(padding) + "\n";
        out.write(MAGIC);
        out.write(header.length() & 0xff);
        out.write(header.length() >> 8);
        out.write(header.getBytes(StandardCharsets.US_ASCII));
        ByteBuffer chunk = ByteBuffer.allocate(Float.BYTES * CHUNK_FLOATS).order(ByteOrder.LITTLE_ENDIAN);
        for (int from = 0; from < values.length; from += CHUNK_FLOATS) {
            int count = Math.min(CHUNK_FLOATS, values.length - from);
            chunk.asFloatBuffer().put(values, from, count);
            out.write(chunk.array(), 0, Float.BYTES * count);
        }
    }
}
