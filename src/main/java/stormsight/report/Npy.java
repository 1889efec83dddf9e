package stormsight.report;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * An array in a file of NumPy's format 1.0, as {@code numpy.load} reads it: 32-bit floating point, little-endian, in C
 * order.
 *
 * @param shape its dimensions, none for a single number
 * @param values row-major
 * @see <a href="https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html">the format</a>
 */
public record Npy(int[] shape, float[] values) {
    private static final byte[] MAGIC = {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};

    /** Magic and version, then 16 bits that give the length of the header. */
    private static final int PREAMBLE = MAGIC.length + 2;

    /** The data begins at a multiple of it. */
    private static final int ALIGNMENT = 64;
    private static final int CHUNK_FLOATS = 1 << 16;

    private static final Pattern HEADER = Pattern.compile(
            "\\{'descr': '<f4', 'fortran_order': False, 'shape': \\(((?:\\d{1,10}(?:, ?\\d{1,10})*)?),?\\),? *\\} "
                    + "*\\n?");

    /** @throws IllegalArgumentException if a dimension is negative or the shape is not that of the values */
    public Npy {
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
    }

    /**
     * Writes an array.
     *
     * @param values row-major
     * @throws IllegalArgumentException if the shape is not that of the values
     * @throws FigureException if the file cannot be written; an older one is then left as it was
     */
    public static void write(Path file, float[] values, int... shape) {
        Npy array = new Npy(shape, values);
        OutputFile.write(file, array::writeTo);
    }

    private void writeTo(OutputStream out) throws IOException {
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

    /**
     * Reads what {@link #write} or NumPy wrote.
     *
     * @throws FigureException naming the file if it cannot be read or is anything but such an array: another version,
     *     another type of numbers, Fortran order, too short or too long
     */
    public static Npy read(Path file) {
        try (FileChannel channel = FileChannel.open(file)) {
            ByteBuffer preamble = read(file, channel, PREAMBLE);
            for (byte expected : MAGIC) {
                if (preamble.get() != expected) {
                    throw new FigureException(file, "not a NumPy array of format 1.0", null);
                }
            }
            int length = preamble.order(ByteOrder.LITTLE_ENDIAN).getShort() & 0xffff;
            String header = StandardCharsets.ISO_8859_1.decode(read(file, channel, length)).toString();
            Matcher matcher = HEADER.matcher(header);
            if (!matcher.matches()) {
                throw new FigureException(
                        file, "not an array of 32-bit floats in C order: its header is " + header.strip(), null);
            }
            int[] shape = Arrays.stream(matcher.group(1).split(", ?")).filter(dimension -> !dimension.isEmpty())
                    .mapToInt(Integer::parseInt).toArray();
            long elements = 1;
            for (int dimension : shape) {
                elements = Math.multiplyExact(elements, (long) dimension);
            }
            long bytes = channel.size() - channel.position();
            if (bytes / Float.BYTES != elements || bytes % Float.BYTES != 0) {
                throw new FigureException(
                        file,
                        bytes + " bytes of data, shape " + Arrays.toString(shape) + " needs 4 x " + elements,
                        null);
            }
            float[] values = new float[Math.toIntExact(elements)];
            for (int from = 0; from < values.length; from += CHUNK_FLOATS) {
                int count = Math.min(CHUNK_FLOATS, values.length - from);
                read(file, channel, Float.BYTES * count)
                        .order(ByteOrder.LITTLE_ENDIAN)
                        .asFloatBuffer()
                        .get(values, from, count);
            }
            return new Npy(shape, values);
        } catch (NoSuchFileException e) {
            throw new FigureException(file, "no such file", e);
        } catch (ArithmeticException | NumberFormatException e) {
            throw new FigureException(file, "an array too large to read", e);
        } catch (IOException e) {
            throw new FigureException(file, "cannot be read: " + e.getMessage(), e);
        }
    }

    private static ByteBuffer read(Path file, FileChannel channel, int bytes) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(bytes);
        while (buffer.hasRemaining()) {
            if (channel.read(buffer) < 0) {
                throw new FigureException(
                        file, "not a NumPy array of format 1.0: it ends after " + channel.size() + " bytes", null);
            }
        }
        return buffer.flip();
    }
}
