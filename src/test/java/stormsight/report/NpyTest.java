package stormsight.report;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.NumpyArray;
import stormsight.checkpoint.NumpyFiles;

class NpyTest {
    @TempDir
    private Path directory;

    /**
     * Byte for byte what the format says: magic, version, length, dictionary, spaces, a newline; then the data at a
     * multiple of 64.
     */
    @Test
    void writesTheHeaderOfTheFormat() throws IOException {
        Path file = directory.resolve("a.npy");
        Npy.write(file, new float[] {1, -2, 0.5f, 3, 4, 5}, 2, 3);
        byte[] bytes = Files.readAllBytes(file);
        assertEquals(128 + 24, bytes.length);
        assertArrayEquals(new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 118, 0}, Arrays.copyOf(bytes, 10));
        String dictionary = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
        assertEquals(
                dictionary + " ".repeat(117 - dictionary.length()) + "\n",
                new String(bytes, 10, 118, StandardCharsets.US_ASCII));
        // 1.0f and -2.0f, little-endian.
        assertArrayEquals(
                new byte[] {0, 0, (byte) 0x80, 0x3f, 0, 0, 0, (byte) 0xc0}, Arrays.copyOfRange(bytes, 128, 136));
    }

    @Test
    void oneDimensionKeepsItsCommaAndNoneIsEmpty() throws IOException {
        Path file = directory.resolve("a.npy");
        Npy.write(file, new float[3], 3);
        assertTrue(Files.readString(file, StandardCharsets.ISO_8859_1).contains("'shape': (3,), }"));
        Npy.write(file, new float[1]);
        assertTrue(Files.readString(file, StandardCharsets.ISO_8859_1).contains("'shape': (), }"));
        assertEquals(0, NumpyFiles.read(file).shape().length);
    }

    @Test
    void readsWhatItWrote() {
        Random random = new Random(1);
        // Around the size of a chunk, and arrays without elements.
        for (int[] shape :
                new int[][] {{}, {1}, {7, 11}, {65_536}, {65_537}, {3, 43_691}, {2, 0, 5}, {1, 2, 3, 4, 5}}) {
            float[] values = new float[Arrays.stream(shape).reduce(1, (a, b) -> a * b)];
            for (int i = 0; i < values.length; i++) {
                values[i] = Float.intBitsToFloat(random.nextInt());
            }
            Path file = directory.resolve("a.npy");
            Npy.write(file, values, shape);
            NumpyArray read = NumpyFiles.read(file);
            assertArrayEquals(shape, read.shape());
            assertArrayEquals(values, read.values());
        }
    }

    /** NumPy leaves out the space after the comma of a tuple of one, and pads to 16 in old versions. */
    @Test
    void readsOtherWritersOfTheFormat() throws IOException {
        Path file = directory.resolve("a.npy");
        String header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }            \n";
        byte[] bytes = ("\u0093NUMPY\1\0" + (char) header.length() + "\0" + header + "\0\0\u0080\u003f\0\0\0\u00c0")
                .getBytes(StandardCharsets.ISO_8859_1);
        Files.write(file, bytes);
        assertArrayEquals(new float[] {1, -2}, NumpyFiles.read(file).values());
    }

    @Test
    void refusesWhatIsNoSuchArray() throws IOException {
        Path file = directory.resolve("a.npy");
        Npy.write(file, new float[] {1, 2}, 2);
        byte[] good = Files.readAllBytes(file);
        for (int length : new int[] {0, 5, 9, 10, 100}) {
            refuses(Arrays.copyOf(good, length), "not a NumPy array of format 1.0");
        }
        for (int length : new int[] {good.length - 1, good.length - 4, good.length + 1, good.length + 4}) {
            refuses(Arrays.copyOf(good, length), (length - 128) + " bytes of data, shape [2] needs 4 x 2");
        }
        refuses(changed(good, "\1\0v", "\2\0v"), "not a NumPy array of format 1.0");
        for (String[] change : new String[][] {{"<f4", "<f8"}, {"False", "True "}, {"(2,)", "(-2)"}}) {
            refuses(changed(good, change[0], change[1]), "not an array of 32-bit floats in C order");
        }
        byte[] large = changed(changed(good, "(2,), }      ", "(9999999999,),"), "},", "}");
        assertThrows(CheckpointException.class, () -> NumpyArray.read(file, "", large));
    }

    private static byte[] changed(byte[] file, String before, String after) {
        return new String(file, StandardCharsets.ISO_8859_1)
                .replace(before, after)
                .getBytes(StandardCharsets.ISO_8859_1);
    }

    private static void refuses(byte[] bytes, String problem) {
        CheckpointException e = assertThrows(
                CheckpointException.class, () -> NumpyArray.read(Path.of("a.npz"), "array w: ", bytes));
        assertTrue(e.getMessage().startsWith("a.npz: array w: " + problem), e.getMessage());
    }

    @Test
    void refusesAShapeThatIsNotThatOfTheValues() {
        Path file = directory.resolve("a.npy");
        assertThrows(IllegalArgumentException.class, () -> Npy.write(file, new float[5], 2, 3));
        assertThrows(IllegalArgumentException.class, () -> Npy.write(file, new float[2], -1, -2));
        assertTrue(Files.notExists(file));
    }
}
