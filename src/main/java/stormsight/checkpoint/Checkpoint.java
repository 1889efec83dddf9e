package stormsight.checkpoint;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.DoubleUnaryOperator;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import stormsight.program.DType;
import stormsight.program.Shape;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;

/**
 * The weights of a model, memory-mapped from one safetensors file, from shards, or from GGUF. Every header is checked
 * before its data is mapped.
 *
 * <p>Tensors go by the names of the published PaliGemma files ({@code language_model.model.*}, {@code
 * language_model.lm_head.weight}, {@code vision_tower.vision_model.*}, {@code multi_modal_projector.*}), whichever
 * layout of transformers the files have. All segments handed out live until {@link #close}.
 */
public final class Checkpoint implements AutoCloseable {
    static final String SINGLE_FILE = "model.safetensors";
    static final String INDEX_FILE = "model.safetensors.index.json";

    // The format does not promise alignment.
    private static final ValueLayout.OfShort SHORT =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfDouble DOUBLE =
            ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfFloat FLOAT =
            ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    /** A cache line, so that decoded weights suit any vector load. */
    private static final int ALIGNMENT = 64;
    /** Elements that are decoded at a time. */
    private static final int PIECE = 1 << 16;

    /** Of common file systems. */
    private static final int MAX_FILE_NAME = 255;
    private static final int PAGE = 4096;
    /** Of a matrix whose zeros say something. */
    private static final int SMALLEST_CHECKED = 8 * PAGE;
    /** Rows of an embedding table that no token has come after it. */
    private static final double LATE = 0.875;

    private final Path source;
    private final Map<String, TensorInfo> tensors;
    /** Of matrices of a blocked type, by the stored name of the matrix. */
    private final Map<String, Scales> scales;
    private final Map<Path, MemorySegment> files;
    private final Map<Path, FileTime> times;
    private final Arena arena;
    /** Where the files are GGUF. */
    private final Optional<Gguf> gguf;
    private Optional<Adapter> adapter = Optional.empty();

    private Checkpoint(
            Path source,
            Map<String, TensorInfo> tensors,
            Map<Path, MemorySegment> files,
            Map<Path, FileTime> times,
            Arena arena,
            Optional<Gguf> gguf) {
        this.source = source;
        this.tensors = tensors;
        this.scales = takeScales(tensors);
        this.files = files;
        this.times = times;
        this.arena = arena;
        this.gguf = gguf;
    }

    /**
     * Opens {@code model.safetensors} or, if there is none, the shards that {@code model.safetensors.index.json} lists,
     * or, if there is neither, the GGUF files that are there.
     *
     * @param directory or, in a directory, the GGUF file of the decoder that is meant
     * @param strictness what becomes of a weight that is stored under two names with the same values, and of an index
     *     that is wrong about the head alone: a tied one comes and goes when checkpoints are converted
     * @throws CheckpointException naming file and tensor, if a file is missing or invalid, the index and the shards
     *     disagree, or two tensors of different values stand for the same weight
     */
    public static Checkpoint open(Path directory, Strictness strictness) {
        boolean decoder = Gguf.isNamed(directory) && Files.isRegularFile(directory);
        if (!decoder) {
            StrictJson.requireDirectory(directory);
        }
        Path single = directory.resolve(SINGLE_FILE);
        Path index = directory.resolve(INDEX_FILE);
        // As in transformers, which looks for the single file first and for GGUF only where it is named.
        if (Files.exists(single)) {
            return open(single, List.of(single), Map.of(), TensorNames::of, strictness);
        }
        if (Files.exists(index)) {
            Map<String, Path> shards = shards(index);
            return open(index, new LinkedHashSet<>(shards.values()), shards, TensorNames::of, strictness);
        }
        return Gguf.read(directory, ModelPath.gguf(directory))
                .map(Checkpoint::open)
                .orElseThrow(() -> ModelPath.withoutWeights(directory));
    }

    /**
     * Looks whether a file of safetensors ends in zeros: a download that stopped leaves them in a file that got its
     * size beforehand. Vectors may be zero, and so may the last rows of an embedding table. Three pages of each file
     * are read at most.
     */
    public void checkEnds(Strictness strictness) {
        if (isGguf()) {
            return;
        }
        Map<Path, TensorInfo> last = new HashMap<>();
        Map<Path, TensorInfo> lastMatrix = new HashMap<>();
        for (TensorInfo tensor : tensors.values()) {
            last.merge(tensor.file(), tensor, Checkpoint::later);
            if (tensor.shape().rank() > 1 && tensor.bytes() >= SMALLEST_CHECKED) {
                lastMatrix.merge(tensor.file(), tensor, Checkpoint::later);
            }
        }
        lastMatrix.forEach((file, matrix) -> {
            if (isZero(last.get(file), 1) && isZero(matrix, 1) && isZero(matrix, LATE)) {
                strictness.odd(file, "tensor " + matrix.label() + " and all behind it end in zeros, as a download that "
                        + "stopped leaves them: download the file again");
            }
        });
    }

    private static TensorInfo later(TensorInfo a, TensorInfo b) {
        return a.offset() > b.offset() ? a : b;
    }

    /** Whether a page of a tensor that ends at that part of it, or all before if that is less, is zero. */
    private boolean isZero(TensorInfo tensor, double part) {
        long end = (long) (tensor.bytes() * part);
        long first = Math.max(0, end - PAGE);
        for (byte each : bytes(tensor, first, (int) (end - first))) {
            if (each != 0) {
                return false;
            }
        }
        return true;
    }

    /** Whether a path is a directory whose weights are GGUF; no file is read. */
    static boolean isGguf(Path directory) {
        return Files.isDirectory(directory)
                && Files.isReadable(directory)
                && !Files.exists(directory.resolve(SINGLE_FILE))
                && !Files.exists(directory.resolve(INDEX_FILE))
                && !ModelPath.gguf(directory).isEmpty();
    }

    private static Checkpoint open(Gguf gguf) {
        Map<String, TensorInfo> tensors = new LinkedHashMap<>();
        for (TensorInfo tensor : gguf.tensors()) {
            TensorInfo other = tensors.putIfAbsent(tensor.name(), tensor);
            if (other != null) {
                throw new CheckpointException(
                        tensor.file(), "tensor " + tensor.label() + " is also in " + other.file().getFileName());
            }
        }
        Map<Path, Long> sizes = new HashMap<>();
        Map<Path, FileTime> times = new HashMap<>();
        for (GgufHeader header : gguf.headers()) {
            sizes.put(header.file(), header.fileBytes());
            times.put(header.file(), lastModified(header.file()));
        }
        return mapped(gguf.decoder().file(), tensors, sizes, times, Optional.of(gguf), _ -> {});
    }

    /** The same, and odd things are logged. */
    public static Checkpoint open(Path directory) {
        return open(directory, Strictness.LENIENT);
    }

    /** Opens one safetensors file, with the names as they are stored. */
    public static Checkpoint openFile(Path file) {
        return open(file, List.of(file), Map.of(), _ -> UnaryOperator.identity(), Strictness.STRICT);
    }

    /**
     * @param shards the file of each stored tensor; empty without an index
     * @param namings what becomes of the names, by all that are stored
     */
    private static Checkpoint open(
            Path source,
            Collection<Path> files,
            Map<String, Path> shards,
            Function<Set<String>, UnaryOperator<String>> namings,
            Strictness strictness) {
        Map<Path, Long> sizes = new HashMap<>();
        Map<Path, FileTime> times = new HashMap<>();
        List<SafetensorsHeader> headers = files.stream().map(file -> {
            SafetensorsHeader header = SafetensorsHeader.read(file);
            sizes.put(file, header.fileBytes());
            times.put(file, lastModified(file));
            return header;
        }).toList();
        Map<String, TensorInfo> stored = stored(headers);
        UnaryOperator<String> naming = namings.apply(stored.keySet());
        if (!shards.isEmpty()) {
            checkIndex(source, shards, stored, naming, strictness);
        }
        Map<String, TensorInfo> tensors = new LinkedHashMap<>();
        List<TensorInfo> again = new ArrayList<>();
        for (TensorInfo tensor : stored.values()) {
            String name = naming.apply(tensor.storedName());
            if (tensors.putIfAbsent(name, tensor.as(name)) != null) {
                again.add(tensor.as(name));
            }
        }
        return mapped(source, tensors, sizes, times, Optional.empty(), checkpoint ->
                again.forEach(tensor -> checkpoint.requireSame(tensor, strictness)));
    }

    /**
     * Maps files whose headers are read.
     *
     * @param sizes bytes of each, as its header was read
     * @param check of the values, before anybody has the checkpoint
     */
    private static Checkpoint mapped(
            Path source,
            Map<String, TensorInfo> tensors,
            Map<Path, Long> sizes,
            Map<Path, FileTime> times,
            Optional<Gguf> gguf,
            Consumer<Checkpoint> check) {
        Arena arena = Arena.ofShared();
        try {
            Map<Path, MemorySegment> mapped = new HashMap<>();
            sizes.forEach((file, bytes) -> mapped.put(file, map(file, bytes, arena)));
            Checkpoint checkpoint = new Checkpoint(source, tensors, mapped, times, arena, gguf);
            check.accept(checkpoint);
            return checkpoint;
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    /** @param type of the matrix */
    private record Scales(DType type, TensorInfo tensor) {}

    /** Moves the scales of matrices of a blocked type out of the other tensors. */
    private static Map<String, Scales> takeScales(Map<String, TensorInfo> tensors) {
        Map<String, Scales> taken = new HashMap<>();
        for (TensorInfo levels : List.copyOf(tensors.values())) {
            TensorInfo found = tensors.get(Blocks.scales(levels.name()));
            if (found != null) {
                Blocks.type(levels, found).ifPresent(type -> {
                    taken.put(levels.storedName(), new Scales(type, found));
                    tensors.remove(found.name());
                    tensors.put(levels.name(),
                            levels.of(Blocks.weight(type, levels.shape()).orElseThrow()));
                });
            }
        }
        return taken;
    }

    /**
     * A weight under a second name, as some converters leave it, may only be there if nobody can tell which of the two
     * is meant.
     */
    private void requireSame(TensorInfo tensor, Strictness strictness) {
        TensorInfo first = info(tensor.name());
        String both = "tensors " + StrictJson.printable(tensor.storedName()) + " and "
                + StrictJson.printable(first.storedName())
                + (first.file().equals(tensor.file())
                        ? ""
                        : " of " + first.file().getFileName()) + " are both "
                + StrictJson.printable(tensor.name());
        if (!sameValues(first, tensor)) {
            throw new CheckpointException(tensor.file(), both + " and differ");
        }
        strictness.odd(tensor.file(), both + ", with the same values: the second one is used");
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

    private static void checkIndex(
            Path index,
            Map<String, Path> shards,
            Map<String, TensorInfo> stored,
            UnaryOperator<String> naming,
            Strictness strictness) {
        shards.forEach((name, file) -> {
            TensorInfo tensor = stored.get(name);
            if (tensor == null || !tensor.file().equals(file)) {
                disagrees(
                        file,
                        naming.apply(name),
                        "tensor " + StrictJson.printable(name) + " is missing, although " + index.getFileName()
                                + " lists it there",
                        strictness);
            }
        });
        for (TensorInfo tensor : stored.values()) {
            if (!shards.containsKey(tensor.storedName())) {
                disagrees(tensor.file(), naming.apply(tensor.storedName()),
                        "tensor " + tensor.label() + " is not listed in " + index.getFileName(), strictness);
            }
        }
    }

    private static void disagrees(Path file, String name, String problem, Strictness strictness) {
        if (!name.equals(TensorNames.HEAD)) {
            throw new CheckpointException(file, problem);
        }
        strictness.odd(file, problem + "; it is looked for in all shards");
    }

    private static FileTime lastModified(Path file) {
        try {
            return Files.getLastModifiedTime(file);
        } catch (IOException e) {
            throw StrictJson.unreadable(file, e);
        }
    }

    /**
     * Looks whether the files still are what was opened. One that was deleted or is gone with its disk is as it was:
     * what was mapped stays.
     *
     * @throws CheckpointException if one has another size or was written since
     */
    public void requireUnchanged() {
        adapter.ifPresent(taken -> taken.file().requireUnchanged());
        files.forEach((file, mapped) -> {
            if (!Files.exists(file)) {
                return;
            }
            try {
                long size = Files.size(file);
                if (size != mapped.byteSize()) {
                    throw changed(file, "it had " + mapped.byteSize() + " bytes and has " + size);
                }
                if (!lastModified(file).equals(times.get(file))) {
                    throw changed(file, "it was written again");
                }
            } catch (IOException e) {
                throw StrictJson.unreadable(file, e);
            }
        });
    }

    /**
     * What to throw where something failed that read the weights: if the files were changed that explains it.
     *
     * @return the failure, or what {@link #requireUnchanged} throws with the failure as suppressed
     */
    public RuntimeException explained(RuntimeException failure) {
        try {
            requireUnchanged();
            return failure;
        } catch (CheckpointException e) {
            e.addSuppressed(failure);
            return e;
        }
    }

    private static CheckpointException changed(Path file, String how) {
        return new CheckpointException(
                file, "was changed while it was used (" + how + "): results may be wrong, run it again");
    }

    private static MemorySegment map(Path file, long bytes, Arena arena) {
        try (FileChannel channel = FileChannel.open(file)) {
            return channel.map(FileChannel.MapMode.READ_ONLY, 0, bytes, arena);
        } catch (IOException e) {
            throw StrictJson.unreadable(file, e);
        }
    }

    /**
     * Reads where an index says each stored tensor is. Its metadata is not used: total sizes stated there are wrong at
     * times.
     */
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
                throw new CheckpointException(
                        index, "tensor " + StrictJson.printable(tensor) + ": its file is not a string");
            }
            map.put(tensor, paths.computeIfAbsent(parser.getString(), shard -> shard(index, tensor, shard)));
        }
        return map;
    }

    /** A shard lies beside the index and nowhere else. */
    private static Path shard(Path index, String tensor, String name) {
        try {
            boolean plain =
                    name.chars().noneMatch(c -> c == '/' || c == '\\') && !name.equals(".") && !name.equals("..");
            if (plain && !name.isEmpty() && name.length() <= MAX_FILE_NAME) {
                return index.resolveSibling(name);
            }
        } catch (InvalidPathException e) {
            // Refused with the others.
        }
        throw new CheckpointException(
                index,
                "tensor " + StrictJson.printable(tensor) + ": " + StrictJson.printable(name)
                        + " is not a plain file name");
    }

    /** The directory of the files. */
    public Path directory() {
        return source.toAbsolutePath().getParent();
    }

    /** Of what {@link ModelFiles} are asked for: the decoder's file of GGUF, or the directory. */
    Path model() {
        return gguf.isPresent() ? source : directory();
    }

    /** The single file, the index, or the decoder's file of GGUF. */
    public Path source() {
        return source;
    }

    /** Bytes of all weight files together. */
    public long fileBytes() {
        return files.values().stream().mapToLong(MemorySegment::byteSize).sum();
    }

    /** Bytes of weights that are not used in place: what an adapter changes, and what files have in other blocks. */
    public long copiedBytes() {
        return adaptedBytes() + otherBlocksBytes();
    }

    /** Bytes of the copies of what files have in other blocks than are computed with, or as another number. */
    public long otherBlocksBytes() {
        return gguf.map(Gguf::copiedBytes).orElse(0L);
    }

    /** Tells that all is read to be written again. */
    void willBeWritten() {
        gguf.ifPresent(Gguf::copiesAreWritten);
    }

    /** Whether the files are GGUF. */
    boolean isGguf() {
        return gguf.isPresent();
    }

    /** Whether a tensor is a copy of what its file has in another form. */
    boolean isCopied(String name) {
        return gguf.isPresent() && gguf.get().copies(info(name));
    }

    /** What safetensors with this tensor call it. */
    String nameToWrite(String name) {
        return gguf.isPresent() ? name : info(name).storedName();
    }

    /** A copy of a part of the scales of a matrix of a blocked type. */
    byte[] scales(String name, long first, int count) {
        return bytes(scales(info(name)).orElseThrow().tensor, first, count);
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
            throw new CheckpointException(
                    gguf.map(files -> files.holder(name)).orElse(source),
                    "tensor " + StrictJson.printable(name) + " is missing");
        }
        return info;
    }

    /**
     * The bytes of a tensor of any type, in place: little-endian, row-major, of any alignment.
     *
     * @throws CheckpointException if there is no such tensor
     */
    public MemorySegment data(String name) {
        return data(info(name));
    }

    private MemorySegment data(TensorInfo info) {
        return holder(info).asSlice(info.offset(), info.bytes());
    }

    /** What a tensor's offset counts in: its file, or a copy that was made of a part. */
    private MemorySegment holder(TensorInfo info) {
        return gguf.flatMap(weights -> weights.copy(info, this::stored, arena))
                .orElseGet(() -> files.get(info.file()));
    }

    /** Bytes of a file. */
    private byte[] stored(TensorInfo info, long first, int count) {
        return bytes(files.get(info.file()).asSlice(info.offset(), info.bytes()), info, first, count);
    }

    /**
     * Lets a weight be known by another name, in place of its own.
     *
     * @throws CheckpointException if there is no such tensor
     * @throws IllegalArgumentException if there is one of the new name
     */
    public void rename(String name, String newName) {
        TensorInfo info = info(name);
        if (tensors.putIfAbsent(newName, info.as(newName)) != null) {
            throw new IllegalArgumentException(newName + " is there, too");
        }
        tensors.remove(name);
    }

    /**
     * Lets weights be what an adapter makes of them wherever they are bound; the values that can be read here stay
     * those of the files. Owns the adapter from here on.
     *
     * @param matrices names of the weights that the model multiplies with
     * @throws CheckpointException if it changes others, or of other shapes: it was made for another model
     */
    public void adapt(Adapter taken, Set<String> matrices) {
        taken.requireFor(this, matrices);
        adapter = Optional.of(taken);
    }

    public Optional<Adapter> adapter() {
        return adapter;
    }

    /** Bytes of the weights that an adapter changes, each of which is a copy once it is bound. */
    public long adaptedBytes() {
        return adapter.map(Adapter::weights).orElse(Set.of()).stream()
                .map(this::info)
                .mapToLong(weight -> weight(weight).orElseThrow().bytes(weight.shape().matrix()))
                .sum();
    }

    private boolean isAdapted(String name) {
        return adapter.isPresent() && adapter.get().changes(name);
    }

    /**
     * Whether two weights are equal in shape and in every value, whatever their types. Reads both, as far as they are
     * equal.
     *
     * @throws CheckpointException if one is missing
     */
    public boolean sameValues(String name, String other) {
        return sameValues(info(name), info(other));
    }

    private boolean sameValues(TensorInfo first, TensorInfo second) {
        if (!first.shape().equals(second.shape())) {
            return false;
        }
        if (first.type() == second.type() && scales(first).isEmpty() && scales(second).isEmpty()) {
            for (long from = 0; from < first.bytes(); from += PIECE) {
                int count = (int) Math.min(PIECE, first.bytes() - from);
                if (!Arrays.equals(bytes(first, from, count), bytes(second, from, count))) {
                    return false;
                }
            }
            return true;
        }
        if (weight(first).isEmpty() || weight(second).isEmpty()) {
            return false;
        }
        long elements = first.shape().elements();
        for (long from = 0; from < elements; from += PIECE) {
            int count = (int) Math.min(PIECE, elements - from);
            if (!Arrays.equals(decode(first, from, count), decode(second, from, count))) {
                return false;
            }
        }
        return true;
    }

    /**
     * The type in which weights can be read as one stack, or by one operation: theirs, or F32 where they differ in type
     * or are F64. A matrix of integers that has scales beside it is of a blocked type.
     *
     * @throws CheckpointException if one is missing or is not of weights
     */
    public DType weightType(List<String> names) {
        DType common = null;
        for (String name : names) {
            TensorInfo info = info(name);
            DType type = weight(info).orElseThrow(() -> notOfWeights(info));
            common = common == null || common == type ? type : DType.F32;
        }
        return common;
    }

    /** The type that a tensor has as a weight of a program; empty if it cannot be one. */
    public Optional<DType> weightType(String name) {
        return weight(info(name));
    }

    /**
     * A weight, in place unless it is F64, which becomes F32.
     *
     * @throws CheckpointException if there is no such tensor, or it is not F32, F16, BF16 or F64
     */
    public HostTensor tensor(String name) {
        return stack(List.of(name), weightType(List.of(name)), arena);
    }

    /**
     * Weights of identical layers as one stack, in place if all are stored in the type. One that an adapter changes is
     * a copy of its own.
     *
     * @param names the tensor of each layer
     * @param type of the stack: {@link #weightType} of these layers, or F32
     * @param merged owns what an adapter changes; allows access by other threads
     * @throws CheckpointException if one is missing, is not F32, F16, BF16 or F64, or differs from the first in shape
     */
    public HostTensor stack(List<String> names, DType type, Arena merged) {
        requireEqualShapes(names);
        if (names.stream().noneMatch(this::isAdapted)) {
            return stack(names, type);
        }
        List<MemorySegment> layers = names.stream()
                .map(name -> isAdapted(name)
                        ? adapter.orElseThrow().merged(this, name, type, merged)
                        : stack(List.of(name), type).layers().getFirst())
                .toList();
        Shape shape = info(names.getFirst()).shape();
        return new HostTensor(type, type.isBlocked() ? shape.matrix() : shape, layers);
    }

    private HostTensor stack(List<String> names, DType type) {
        if (type.isBlocked()) {
            Shape matrix = info(names.getFirst()).shape().matrix();
            return new HostTensor(type, matrix, names.stream().map(name -> blocks(info(name), matrix)).toList());
        }
        boolean stored = names.stream().allMatch(name -> StoredType.of(type) == info(name).type());
        return stored ? new HostTensor(type, info(names.getFirst()).shape(), names.stream().map(this::data).toList())
                : decoded(names, _ -> {});
    }

    /**
     * Weights of identical layers as one F32 stack, decoded into memory that lives as long as this checkpoint.
     *
     * @param names the tensor of each layer, F32, F16, BF16 or F64, of equal shapes
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
        return stored ? stack(names, DType.F32) : decoded(names, _ -> {});
    }

    /** A matrix and its scales, in place where the file has the one behind the other, else as a copy. */
    private MemorySegment blocks(TensorInfo levels, Shape matrix) {
        Scales of = scales(levels).orElseThrow();
        long offset = of.type.scalesOffset(matrix);
        boolean together = of.tensor.file().equals(levels.file()) && of.tensor.offset() == levels.offset() + offset;
        if (together) {
            return holder(levels).asSlice(levels.offset(), of.type.bytes(matrix));
        }
        MemorySegment copy = arena.allocate(of.type.bytes(matrix), ALIGNMENT);
        copy(levels, copy, 0);
        copy(of.tensor, copy, offset);
        return copy;
    }

    private void copy(TensorInfo tensor, MemorySegment to, long at) {
        for (long from = 0; from < tensor.bytes(); from += PIECE) {
            int count = (int) Math.min(PIECE, tensor.bytes() - from);
            MemorySegment.copy(bytes(tensor, from, count), 0, to, JAVA_BYTE, at + from, count);
        }
    }

    private Optional<Scales> scales(TensorInfo tensor) {
        return Optional.ofNullable(scales.get(tensor.storedName()));
    }

    private HostTensor decoded(List<String> names, Consumer<float[]> change) {
        requireEqualShapes(names);
        Shape shape = info(names.getFirst()).shape();
        long elements = shape.elements();
        List<MemorySegment> layers = new ArrayList<>();
        // In one block: to ask for memory takes longer than to fill that of a vector.
        long bytes = DType.F32.bytes(shape);
        long stride = Math.ceilDiv(bytes, ALIGNMENT) * ALIGNMENT;
        MemorySegment all = arena.allocate(Math.multiplyExact(stride, (long) names.size()), ALIGNMENT);
        for (String name : names) {
            MemorySegment to = all.asSlice(layers.size() * stride, bytes);
            try {
                for (long from = 0; from < elements; from += PIECE) {
                    float[] values = decode(info(name), from, (int) Math.min(PIECE, elements - from));
                    change.accept(values);
                    MemorySegment.copy(values, 0, to, FLOAT, from * Float.BYTES, values.length);
                }
            } catch (InternalError e) {
                // Some JVMs tell of the fault only when the method that read has returned.
                throw cut(info(name), e);
            }
            layers.add(to);
        }
        return new HostTensor(DType.F32, shape, layers);
    }

    /**
     * Into arrays, as no compiler has seen this code when a model is opened: an interpreted access to a segment takes
     * some hundred nanoseconds.
     */
    float[] decode(TensorInfo tensor, long first, int count) {
        Optional<Scales> scaled = scales(tensor);
        if (scaled.isPresent()) {
            return decode(tensor, scaled.get(), first, count);
        }
        MemorySegment stored = MemorySegment.ofArray(bytes(
                tensor,
                first * tensor.type().bits() / 8,
                Math.toIntExact((long) count * tensor.type().bits() / 8)));
        float[] values = new float[count];
        switch (tensor.type()) {
            case F32 -> MemorySegment.copy(stored, FLOAT, 0, values, 0, count);
            case F64 -> {
                double[] wide = new double[count];
                MemorySegment.copy(stored, DOUBLE, 0, wide, 0, count);
                for (int i = 0; i < count; i++) {
                    values[i] = (float) wide[i];
                }
            }
            default -> {
                short[] halves = new short[count];
                MemorySegment.copy(stored, SHORT, 0, halves, 0, count);
                if (tensor.type() == StoredType.BF16) {
                    bf16(halves, values);
                } else {
                    f16(halves, values);
                }
            }
        }
        return values;
    }

    private static void bf16(short[] halves, float[] values) {
        for (int i = 0; i < values.length; i++) {
            values[i] = Float.intBitsToFloat(halves[i] << Short.SIZE);
        }
    }

    private static void f16(short[] halves, float[] values) {
        for (int i = 0; i < values.length; i++) {
            values[i] = Float.float16ToFloat(halves[i]);
        }
    }

    private float[] decode(TensorInfo tensor, Scales of, long first, int count) {
        long columns = tensor.shape().matrix().columns();
        long perRow = of.type.scalesPerRow(tensor.shape().matrix());
        int block = of.type.block();
        long begin = scaleOf(first, columns, perRow, block);
        int held = (int) (scaleOf(first + count - 1, columns, perRow, block) - begin + 1);
        float[] scale = decode(of.tensor, begin, held);
        int skipped = (int) (first % block);
        long from = of.type.elementBytes(first - skipped);
        long to = of.type.elementBytes(Math.ceilDiv(first + count, (long) block) * block);
        byte[] levels = bytes(tensor, from, (int) (Math.min(to, tensor.bytes()) - from));
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = scale[(int) (scaleOf(first + i, columns, perRow, block) - begin)]
                    * Blocks.level(of.type, levels, skipped + i);
        }
        return values;
    }

    /** All values of a tensor of weights. */
    float[] decode(TensorInfo tensor) {
        return decode(tensor, 0, Math.toIntExact(tensor.shape().elements()));
    }

    private static long scaleOf(long element, long columns, long perRow, int block) {
        return element / columns * perRow + element % columns / block;
    }

    /**
     * A copy of a part of a tensor's bytes. Nothing else reads a mapping here: native code of the JDK that is given one
     * ends the whole process where the file was cut short meanwhile.
     *
     * @throws CheckpointException if there is no such tensor, or the file was cut short or its disk failed
     */
    public byte[] bytes(String name, long first, int count) {
        return bytes(info(name), first, count);
    }

    private byte[] bytes(TensorInfo tensor, long first, int count) {
        return bytes(data(tensor), tensor, first, count);
    }

    private static byte[] bytes(MemorySegment data, TensorInfo tensor, long first, int count) {
        byte[] copy = new byte[count];
        try {
            MemorySegment.copy(data, JAVA_BYTE, first, copy, 0, count);
            // The JVM tells of a fault when a method returns or calls another one, if this one is compiled: here. A
            // call that gave the processor away would wait for its next turn, for each of hundreds of tensors.
            Thread.holdsLock(copy);
        } catch (InternalError e) {
            throw cut(tensor, e);
        }
        return copy;
    }

    static CheckpointException cut(TensorInfo tensor, InternalError fault) {
        return new CheckpointException(
                tensor.file(),
                "tensor " + tensor.label()
                        + " cannot be read: the file was cut short while it was used, or its disk failed",
                fault);
    }

    private void requireEqualShapes(List<String> names) {
        if (names.isEmpty()) {
            throw new IllegalArgumentException("no tensors to stack");
        }
        TensorInfo first = info(names.getFirst());
        for (String name : names) {
            TensorInfo info = info(name);
            if (weight(info).isEmpty()) {
                throw notOfWeights(info);
            }
            if (!info.shape().equals(first.shape())) {
                throw new CheckpointException(
                        info.file(),
                        "tensor " + info.label() + " is " + info.type() + " " + info.shape() + ", " + first.type() + " "
                                + first.shape() + " as in " + first.label() + " expected");
            }
        }
    }

    private Optional<DType> weight(TensorInfo info) {
        return scales(info).map(Scales::type).or(() -> info.type().weightType());
    }

    private static CheckpointException notOfWeights(TensorInfo info) {
        return new CheckpointException(
                info.file(), "tensor " + info.label() + " is " + info.type() + ": F32, F16, BF16 or F64 expected");
    }

    /** Unmaps the files. No segment of this checkpoint may be used afterwards. */
    @Override
    public void close() {
        adapter.ifPresent(Adapter::close);
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}
