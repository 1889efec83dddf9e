package stormsight;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.SafetensorsWriter;
import stormsight.checkpoint.StoredType;
import stormsight.checkpoint.TensorInfo;
import stormsight.program.Shape;

/**
 * The files of a golden checkpoint in another folder, with its tensors and texts changed as converters and trainers
 * change them.
 */
public final class EditedCheckpoint {
    /** The embedding table, in which the goldens have their head, too. */
    public static final String TABLE = "language_model.model.embed_tokens.weight";
    public static final String HEAD = "language_model.lm_head.weight";

    /** A tensor. */
    public record Stored(StoredType type, Shape shape, byte[] bytes) {
        /** Numbers as F32. */
        public static Stored floats(float[] values, int... shape) {
            ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
            bytes.asFloatBuffer().put(values);
            return new Stored(StoredType.F32, Shape.of(shape), bytes.array());
        }

        /** The numbers of an F32 tensor. */
        public float[] floats() {
            float[] values = new float[bytes.length / 4];
            ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
            return values;
        }

        /** An F32 tensor as F64. */
        public Stored doubles() {
            float[] values = floats();
            ByteBuffer wide = ByteBuffer.allocate(8 * values.length).order(ByteOrder.LITTLE_ENDIAN);
            for (float value : values) {
                wide.putDouble(value);
            }
            return new Stored(StoredType.F64, shape, wide.array());
        }
    }

    private final Path folder;
    /** Under their stored names; to be changed at will before {@link #write}. */
    public final Map<String, Stored> tensors;

    private EditedCheckpoint(Path folder, Map<String, Stored> tensors) {
        this.folder = folder;
        this.tensors = tensors;
    }

    /** Copies a golden folder and reads its tensors. */
    public static EditedCheckpoint of(String golden, Path folder) throws IOException {
        Goldens.copy(golden, folder);
        return new EditedCheckpoint(folder, tensors(golden));
    }

    /** All tensors of a golden. */
    public static Map<String, Stored> tensors(String golden) {
        return tensors(Goldens.folder(golden).resolve("model.safetensors"));
    }

    /** All tensors of a file. */
    public static Map<String, Stored> tensors(Path file) {
        Map<String, Stored> tensors = new LinkedHashMap<>();
        try (Checkpoint checkpoint = Checkpoint.openFile(file)) {
            for (String name : checkpoint.names()) {
                TensorInfo info = checkpoint.info(name);
                tensors.put(
                        name,
                        new Stored(
                                info.type(), info.shape(), checkpoint.data(name).toArray(ValueLayout.JAVA_BYTE)));
            }
        }
        return tensors;
    }

    /** Changes a text file of the folder; the change must change it. */
    public EditedCheckpoint text(String file, UnaryOperator<String> change) throws IOException {
        String before = Files.readString(folder.resolve(file));
        String after = change.apply(before);
        if (after.equals(before)) {
            throw new IllegalArgumentException(file + " stays as it is");
        }
        Files.writeString(folder.resolve(file), after);
        return this;
    }

    /** Writes the tensors to one file. */
    public void write() throws IOException {
        write(Long.MAX_VALUE);
    }

    /** Writes the tensors to shards of at most so many bytes with an index, or to one file. */
    public void write(long maxFileBytes) throws IOException {
        Files.delete(folder.resolve("model.safetensors"));
        SafetensorsWriter.write(folder, entries(tensors), maxFileBytes, content(tensors));
    }

    /** Writes tensors to a file in place of what it held. */
    public static void write(Path file, Map<String, Stored> tensors) throws IOException {
        Files.deleteIfExists(file);
        SafetensorsWriter.writeFile(file, entries(tensors), content(tensors));
    }

    private static List<SafetensorsWriter.Entry> entries(Map<String, Stored> tensors) {
        return tensors.entrySet().stream()
                .map(entry -> new SafetensorsWriter.Entry(
                        entry.getKey(), entry.getValue().type(), entry.getValue().shape()))
                .toList();
    }

    private static SafetensorsWriter.Content content(Map<String, Stored> tensors) {
        return (entry, first, piece) -> MemorySegment.copy(
                tensors.get(entry.name()).bytes(),
                Math.toIntExact(first),
                piece,
                ValueLayout.JAVA_BYTE,
                0,
                Math.toIntExact(piece.byteSize()));
    }
}
