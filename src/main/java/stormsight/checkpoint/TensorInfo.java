package stormsight.checkpoint;

import java.nio.file.Path;
import stormsight.program.Shape;

/**
 * What a header says of a tensor.
 *
 * @param name under which {@link Checkpoint} knows it
 * @param storedName its name in the file
 * @param offset of its first byte in the file
 * @param bytes that it takes there
 */
public record TensorInfo(
        String name, String storedName, Path file, StoredType type, Shape shape, long offset, long bytes) {
    TensorInfo as(String otherName) {
        return new TensorInfo(otherName, storedName, file, type, shape, offset, bytes);
    }

    TensorInfo of(Shape otherShape) {
        return new TensorInfo(name, storedName, file, type, otherShape, offset, bytes);
    }

    /** The name for a message, with the stored one where that differs. */
    public String label() {
        return StrictJson.printable(name)
                + (name.equals(storedName) ? "" : " (stored as " + StrictJson.printable(storedName) + ")");
    }
}
