package stormsight.checkpoint;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;

/**
 * The arrays of an {@code .npz} file, as {@code numpy.savez} and {@code numpy.savez_compressed} write it: a ZIP archive
 * with an entry {@code NAME.npy} for each.
 */
public final class Npz implements AutoCloseable {
    /** Of one array: some ten times the largest that is read here. */
    private static final int MOST_BYTES = 1 << 24;

    private final Path file;
    private final ZipFile zip;

    private Npz(Path file, ZipFile zip) {
        this.file = file;
        this.zip = zip;
    }

    /** @throws CheckpointException if there is no such file, or it is no ZIP archive */
    public static Npz open(Path file) {
        if (!Files.isRegularFile(file)) {
            throw new CheckpointException(file, Files.exists(file) ? "not a file" : "no such file");
        }
        try {
            return new Npz(file, new ZipFile(file.toFile()));
        } catch (IOException | IllegalArgumentException e) {
            throw broken(file, e);
        }
    }

    private static CheckpointException broken(Path file, Exception e) {
        return new CheckpointException(file, "not an .npz file of NumPy that can be read: "
                + StrictJson.printable(String.valueOf(e.getMessage())), e);
    }

    /**
     * An array of that many dimensions.
     *
     * @param shape its dimensions; 0 for one that may have any size
     * @throws CheckpointException if it is not there, is not of 32-bit floats in C order, or has another shape
     */
    public NumpyArray array(String name, int... shape) {
        ZipEntry entry = zip.getEntry(name + ".npy");
        if (entry == null) {
            throw new CheckpointException(file, "no array " + name);
        }
        NumpyArray array = NumpyArray.read(file, "array " + name + ": ", bytes(entry));
        boolean same = array.shape().length == shape.length;
        for (int i = 0; same && i < shape.length; i++) {
            same = shape[i] == 0 ? array.shape()[i] > 0 : array.shape()[i] == shape[i];
        }
        if (!same) {
            throw new CheckpointException(file, "array " + name + " is " + Arrays.toString(array.shape()) + ", "
                    + Arrays.toString(shape).replace("[0", "[any").replace(" 0", " any") + " expected");
        }
        return array;
    }

    /** No more than is said to be there: an archive may unfold to any size. */
    private byte[] bytes(ZipEntry entry) {
        long size = entry.getSize();
        if (size < 0 || size > MOST_BYTES) {
            throw new CheckpointException(
                    file, "array " + StrictJson.printable(entry.getName()) + " of " + size + " bytes is too large");
        }
        try (InputStream in = zip.getInputStream(entry)) {
            byte[] bytes = in.readNBytes((int) size + 1);
            if (bytes.length != size) {
                throw new CheckpointException(
                        file, "array " + StrictJson.printable(entry.getName()) + " is not of " + size + " bytes");
            }
            return bytes;
        } catch (IOException | IllegalStateException e) {
            throw broken(file, e);
        }
    }

    @Override
    public void close() {
        try {
            zip.close();
        } catch (IOException e) {
            throw broken(file, e);
        }
    }
}
