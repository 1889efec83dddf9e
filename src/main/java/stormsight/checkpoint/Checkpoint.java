package stormsight.checkpoint;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.DoubleUnaryOperator;
import java.util.function.UnaryOperator;
import stormsight.program.DType;
import stormsight.program.Shape;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;

/**
 * The weights of a model, memory-mapped from one safetensors file or from shards. Every header is checked before its data is mapped.
 *
 * <p>Tensors go by the names of the published PaliGemma files ({@code language_model.model.*}, {@code language_model.lm_head.weight},
 * {@code vision_tower.vision_model.*}, {@code multi_modal_projector.*}), whichever layout of transformers the files have. All segments
 * handed out live until {@link #close}.
 */
public final class Checkpoint implements AutoCloseable {
    static final String SINGLE_FILE = "model.safetensors";
    static final String INDEX_FILE = "model.safetensors.index.json";

    // The format does not promise alignment.
    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    /** A cache line, so that decoded weights suit any vector load. */
    private static final int ALIGNMENT = 64;
    /** Of common file systems. */
    private static final int MAX_FILE_NAME = 255;

    private final Path source;
    private final Map<String, TensorInfo> tensors;
    private final Map<Path, MemorySegment> files;
    private final Arena arena;

    private Checkpoint(Path source, Map<String, TensorInfo> tensors, Map<Path, MemorySegment> files, Arena arena) {
        this.source = source;
        this.tensors = tensors;
        this.files = files;
        this.arena = arena;
    }

    /**
     * Opens {@code model.safetensors} or, if there is none, the shards that {@code model.safetensors.index.json} lists.
     *
     * @throws CheckpointException naming file and tensor, if a file is missing or invalid, the index and the shards disagree, or two
     *     tensors stand for the same weight
     */
    public static Checkpoint open(Path directory) {
        StrictJson.requireDirectory(directory);
        Path single = directory.resolve(SINGLE_FILE);
        Path index = directory.resolve(INDEX_FILE);
        // As in transformers, which looks for the single file first.
        if (Files.exists(single)) {
            return open(single, List.of(single), Map.of(), TensorNames::published);
        }
        if (Files.exists(index)) {
            Map<String, Path> shards = shards(index);
            return open(index, new LinkedHashSet<>(shards.values()), shards, TensorNames::published);
        }
        throw new CheckpointException(directory, "neither " + SINGLE_FILE + " nor " + INDEX_FILE + " is there");
    }

    /** Opens one safetensors file, with the names as they are stored. */
    public static Checkpoint openFile(Path file) {
        return open(file, List.of(file), Map.of(), UnaryOperator.identity());
    }

    /** @param shards the file of each stored tensor; empty without an index */
    private static Checkpoint open(Path source, Collection<Path> files, Map<String, Path> shards, UnaryOperator<String> naming) {
        List<SafetensorsHeader> headers = files.stream().map(SafetensorsHeader::read).toList();
        Map<String, TensorInfo> stored = stored(headers);
        if (!shards.isEmpty()) {
            checkIndex(source, shards, stored);
        }
        Map<String, TensorInfo> tensors = new LinkedHashMap<>();
        for (TensorInfo tensor : stored.values()) {
            String name = naming.apply(tensor.storedName());
            TensorInfo other = tensors.putIfAbsent(name, tensor.as(name));
            if (other != null) {
                throw new CheckpointException(tensor.file(), "tensors " + StrictJson.printable(tensor.storedName()) + " and "
                        + StrictJson.printable(other.storedName())
                        + (other.file().equals(tensor.file()) ? "" : " of " + other.file().getFileName())
                        + " are both " + StrictJson.printable(name));
            }
        }
        Arena arena = Arena.ofShared();
        try {
            Map<Path, MemorySegment> mapped = new HashMap<>();
            headers.forEach(header -> mapped.put(header.file(), map(header, arena)));
            return new Checkpoint(source, tensors, mapped, arena);
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    private static Map<String, TensorInfo> stored(List<SafetensorsHeader> headers) {
        Map<String, TensorInfo> stored = new LinkedHashMap<>();
        for (SafetensorsHeader header : headers) {
            for (TensorInfo tensor : header.tensors()) {
                TensorInfo other = stored.putIfAbsent(tensor.storedName(), tensor);
                if (other != null) {
                    throw new CheckpointException(header.file(),
                            "tensor " + tensor.label() + " is also in " + other.file().getFileName());
                }
            }
        }
        return stored;
    }

    private static void checkIndex(Path index, Map<String, Path> shards, Map<String, TensorInfo> stored) {
        shards.forEach((name, file) -> {
            TensorInfo tensor = stored.get(name);
            if (tensor == null || !tensor.file().equals(file)) {
                throw new CheckpointException(file, "tensor " + StrictJson.printable(name) + " is missing, although "
                        + index.getFileName() + " lists it there");
            }
        });
        for (TensorInfo tensor : stored.values()) {
            if (!shards.containsKey(tensor.storedName())) {
                throw new CheckpointException(tensor.file(),
                        "tensor " + tensor.label() + " is not listed in " + index.getFileName());
            }
        }
    }

    private static MemorySegment map(SafetensorsHeader header, Arena arena) {
        try (FileChannel channel = FileChannel.open(header.file())) {
            return channel.map(FileChannel.MapMode.READ_ONLY, 0, header.fileBytes(), arena);
        } catch (IOException e) {
            throw StrictJson.unreadable(header.file(), e);
        }
    }

    /** Reads where an index says each stored tensor is. Its metadata is not used: total sizes stated there are wrong at times. */
    private static Map<String, Path> shards(Path index) {
        Map<String, Path> shards = StrictJson.readFile(index, "the index", StrictJson.MAX_BYTES, parser -> {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                throw new CheckpointException(index, "the index is not an object");
            }
            Map<String, Path> map = null;
            while (parser.nextToken() == JsonToken.PROPERTY_NAME) {
                boolean weightMap = parser.currentName().equals("weight_map");
                parser.nextToken();
                if (weightMap) {
                    map = weightMap(index, parser);
                } else {
                    parser.skipChildren();
                }
            }
            return map;
        });
        if (shards == null) {
            throw new CheckpointException(index, "no weight_map");
        }
        if (shards.isEmpty()) {
            throw new CheckpointException(index, "weight_map is empty");
        }
        return shards;
    }

    private static Map<String, Path> weightMap(Path index, JsonParser parser) {
        if (parser.currentToken() != JsonToken.START_OBJECT) {
            throw new CheckpointException(index, "weight_map is not an object");
        }
        Map<String, Path> paths = new HashMap<>();
        Map<String, Path> map = new LinkedHashMap<>();
        while (parser.nextToken() == JsonToken.PROPERTY_NAME) {
            String tensor = parser.currentName();
            if (parser.nextToken() != JsonToken.VALUE_STRING) {
                throw new CheckpointException(index, "tensor " + StrictJson.printable(tensor) + ": its file is not a string");
            }
            map.put(tensor, paths.computeIfAbsent(parser.getString(), shard -> shard(index, tensor, shard)));
        }
        return map;
    }

    /** A shard lies beside the index and nowhere else. */
    private static Path shard(Path index, String tensor, String name) {
        try {
            boolean plain = name.chars().noneMatch(c -> c == '/' || c == '\\') && !name.equals(".") && !name.equals("..");
            if (plain && !name.isEmpty() && name.length() <= MAX_FILE_NAME) {
                return index.resolveSibling(name);
            }
        } catch (InvalidPathException e) {
            // Refused with the others.
        }
        throw new CheckpointException(index,
                "tensor " + StrictJson.printable(tensor) + ": " + StrictJson.printable(name) + " is not a plain file name");
    }

    /** The directory of the files. */
    public Path directory() {
        return source.toAbsolutePath().getParent();
    }

    /** The single file or the index. */
    public Path source() {
        return source;
    }

    /** Bytes of all weight files together. */
    public long fileBytes() {
        return files.values().stream().mapToLong(MemorySegment::byteSize).sum();
    }

    /** Names of all tensors, in the order of the files and of the data in them. */
    public Set<String> names() {
        return Collections.unmodifiableSet(tensors.keySet());
    }

    /**
     * What is known of a tensor without touching its data.
     *
     * @throws CheckpointException if there is no such tensor
     */
    public TensorInfo info(String name) {
        TensorInfo info = tensors.get(name);
        if (info == null) {
            throw new CheckpointException(source, "tensor " + StrictJson.printable(name) + " is missing");
        }
        return info;
    }

    /**
     * The bytes of a tensor of any type, in place: little-endian, row-major, of any alignment.
     *
     * @throws CheckpointException if there is no such tensor
     */
    public MemorySegment data(String name) {
        TensorInfo info = info(name);
        return files.get(info.file()).asSlice(info.offset(), info.bytes());
    }

    /**
     * A weight, in place.
     *
     * @throws CheckpointException if there is no such tensor, or it is not F32, F16 or BF16
     */
    public HostTensor tensor(String name) {
        return stack(List.of(name));
    }

    /**
     * Weights of identical layers as one stack, in place.
     *
     * @param names the tensor of each layer
     * @throws CheckpointException if one is missing, is not F32, F16 or BF16, or differs from the first in type or shape
     */
    public HostTensor stack(List<String> names) {
        requireEqualShapes(names, true);
        TensorInfo first = info(names.getFirst());
        return new HostTensor(weightType(first), first.shape(), names.stream().map(this::data).toList());
    }

    /**
     * Weights of identical layers as one F32 stack, decoded into memory that lives as long as this checkpoint.
     *
     * @param names the tensor of each layer, F32, F16 or BF16, of equal shapes
     * @param map applied to each element, in double precision, such as {@code w -> 1 + w}; the result is rounded to F32
     * @throws CheckpointException if one is missing, is of another type, or differs from the first in shape
     */
    public HostTensor f32(List<String> names, DoubleUnaryOperator map) {
        return decoded(names, values -> {
            for (int i = 0; i < values.length; i++) {
                values[i] = (float) map.applyAsDouble(values[i]);
            }
        });
    }

    /** The same without a change of values: in place where all are F32 already. */
    public HostTensor f32(List<String> names) {
        boolean stored = names.stream().allMatch(name -> info(name).type() == StoredType.F32);
        return stored ? stack(names) : decoded(names, _ -> {});
    }

    private HostTensor decoded(List<String> names, Consumer<float[]> change) {
        requireEqualShapes(names, false);
        Shape shape = info(names.getFirst()).shape();
        List<MemorySegment> layers = new ArrayList<>();
        for (String name : names) {
            // An array, as no compiler has seen this code when a model is opened: an interpreted access to a segment takes some hundred nanoseconds.
            float[] values = decode(weightType(info(name)), data(name));
            change.accept(values);
            MemorySegment to = arena.allocate(DType.F32.bytes(shape), ALIGNMENT);
            MemorySegment.copy(values, 0, to, FLOAT, 0, values.length);
            layers.add(to);
        }
        return new HostTensor(DType.F32, shape, layers);
    }

    private static float[] decode(DType dtype, MemorySegment from) {
        if (dtype == DType.F32) {
            return from.toArray(FLOAT);
        }
        short[] stored = from.toArray(SHORT);
        float[] values = new float[stored.length];
        for (int i = 0; i < values.length; i++) {
            values[i] = dtype == DType.BF16 ? Float.intBitsToFloat(stored[i] << Short.SIZE) : Float.float16ToFloat(stored[i]);
        }
        return values;
    }

    private void requireEqualShapes(List<String> names, boolean equalTypes) {
        if (names.isEmpty()) {
            throw new IllegalArgumentException("no tensors to stack");
        }
        TensorInfo first = info(names.getFirst());
        for (String name : names) {
            TensorInfo info = info(name);
            weightType(info);
            if (!info.shape().equals(first.shape()) || equalTypes && info.type() != first.type()) {
                throw new CheckpointException(info.file(), "tensor " + info.label() + " is " + info.type() + " " + info.shape()
                        + ", " + first.type() + " " + first.shape() + " as in " + first.label() + " expected");
            }
        }
    }

    private static DType weightType(TensorInfo info) {
        return info.type().weightType().orElseThrow(() -> new CheckpointException(info.file(),
                "tensor " + info.label() + " is " + info.type() + ": F32, F16 or BF16 expected"));
    }

    /** Unmaps the files. No segment of this checkpoint may be used afterwards. */
    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}
