package stormsight.checkpoint;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import stormsight.program.DType;
import stormsight.program.Shape;
import tools.jackson.core.JsonEncoding;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.ObjectWriteContext;

/**
 * Writes safetensors files, with a fixed small amount of memory whatever their size. Existing files are never
 * overwritten: they might be mapped by a running model.
 *
 * @see <a href="https://github.com/huggingface/safetensors">safetensors</a>
 */
public final class SafetensorsWriter {
    /** Bytes that a {@link Content} fills at a time: a multiple of the size of every element. */
    private static final int CHUNK_BYTES = 1 << 22;

    /** Writers pad the header so that the data begins at a multiple of it. */
    private static final int HEADER_ALIGNMENT = 8;

    private SafetensorsWriter() {}

    /** A tensor to write. */
    public record Entry(String name, StoredType type, Shape shape) {
        /** A tensor of a type that programs use. */
        public Entry(String name, DType dtype, Shape shape) {
            this(name, StoredType.of(dtype), shape);
        }

        long bytes() {
            return type.bytes(shape);
        }
    }

    /** Gives the values of tensors, piece by piece. */
    @FunctionalInterface
    public interface Content {
        /**
         * Fills a piece of a tensor, little-endian. Called from several threads at once, for the pieces of a tensor in
         * any order.
         *
         * @param firstByte offset of the piece in the tensor, a multiple of 4 MiB
         * @param piece native, aligned to 64 bytes, a whole number of elements
         */
        void fill(Entry tensor, long firstByte, MemorySegment piece);
    }

    /**
     * Writes a checkpoint: {@code model.safetensors} or, where that would hold more than {@code maxFileBytes} of data,
     * shards of at most that size (unless one tensor alone is larger) and {@code model.safetensors.index.json}.
     *
     * @param directory exists
     * @param tensors with the names to store, in the order in which they are spread over shards
     * @return the files
     * @throws CheckpointException if a file exists already
     * @throws UncheckedIOException if one cannot be written; files begun are deleted
     */
    public static List<Path> write(Path directory, List<Entry> tensors, long maxFileBytes, Content content) {
        List<List<Entry>> shards = shards(tensors, maxFileBytes);
        if (shards.size() == 1) {
            Path file = directory.resolve(Checkpoint.SINGLE_FILE);
            writeFile(file, tensors, content);
            return List.of(file);
        }
        List<Path> files = new ArrayList<>();
        Map<String, String> weightMap = new LinkedHashMap<>();
        try {
            for (List<Entry> shard : shards) {
                Path file =
                        directory.resolve("model-%05d-of-%05d.safetensors".formatted(files.size() + 1, shards.size()));
                writeFile(file, shard, content);
                files.add(file);
                shard.forEach(tensor -> weightMap.put(tensor.name(), file.getFileName().toString()));
            }
            Path index = directory.resolve(Checkpoint.INDEX_FILE);
            writeIndex(index, tensors.stream().mapToLong(Entry::bytes).sum(), weightMap);
            files.add(index);
            return List.copyOf(files);
        } catch (RuntimeException e) {
            files.forEach(file -> delete(file, e));
            throw e;
        }
    }

    private static List<List<Entry>> shards(List<Entry> tensors, long maxFileBytes) {
        List<List<Entry>> shards = new ArrayList<>();
        shards.add(new ArrayList<>());
        long bytes = 0;
        for (Entry tensor : tensors) {
            // Scales stay beside their matrix, to be mapped as one.
            if (bytes > 0 && bytes + tensor.bytes() > maxFileBytes && !Blocks.isScales(tensor.name())) {
                shards.add(new ArrayList<>());
                bytes = 0;
            }
            shards.getLast().add(tensor);
            bytes += tensor.bytes();
        }
        return shards;
    }

    /**
     * Writes one file.
     *
     * @throws CheckpointException if it exists already
     * @throws UncheckedIOException if it cannot be written; what was begun is deleted
     */
    public static void writeFile(Path file, List<Entry> tensors, Content content) {
        List<Entry> sorted = tensors.stream()
                .sorted(Comparator.comparingInt((Entry tensor) ->
                                Blocks.isScales(tensor.name()) ? Blocks.LEVEL_BITS : tensor.type().bits())
                        .reversed()
                        .thenComparing(Entry::name))
                .toList();
        byte[] header = header(sorted);
        create(file, channel -> {
            ByteBuffer start = ByteBuffer.allocate(SafetensorsHeader.LENGTH_BYTES + header.length)
                    .order(ByteOrder.LITTLE_ENDIAN);
            start.putLong(header.length).put(header).flip();
            long position = start.limit();
            writeFully(channel, start, 0);
            List<Piece> pieces = new ArrayList<>();
            for (Entry tensor : sorted) {
                long bytes = tensor.bytes();
                for (long first = 0; first < bytes; first += CHUNK_BYTES) {
                    pieces.add(new Piece(tensor, first, (int) Math.min(CHUNK_BYTES, bytes - first), position + first));
                }
                position += bytes;
            }
            writePieces(channel, pieces, content);
        });
    }

    private record Piece(Entry tensor, long firstByte, int bytes, long position) {}

    private static void writePieces(FileChannel channel, List<Piece> pieces, Content content) throws IOException {
        AtomicInteger next = new AtomicInteger();
        int threads = Math.clamp(pieces.size(), 1, Runtime.getRuntime().availableProcessors());
        List<Future<Void>> workers = new ArrayList<>();
        try (ExecutorService pool = Executors.newFixedThreadPool(threads)) {
            for (int i = 0; i < threads; i++) {
                workers.add(pool.submit(() -> {
                    try (Arena arena = Arena.ofConfined()) {
                        MemorySegment buffer = arena.allocate(CHUNK_BYTES, 64);
                        for (int p = next.getAndIncrement(); p < pieces.size(); p = next.getAndIncrement()) {
                            Piece piece = pieces.get(p);
                            MemorySegment part = buffer.asSlice(0, piece.bytes());
                            content.fill(piece.tensor(), piece.firstByte(), part);
                            writeFully(channel, part.asByteBuffer(), piece.position());
                        }
                        return null;
                    } catch (Exception e) {
                        // The other workers stop as well.
                        next.set(pieces.size());
                        throw e;
                    }
                }));
            }
        }
        for (Future<Void> worker : workers) {
            try {
                worker.get();
            } catch (ExecutionException e) {
                switch (e.getCause()) {
                    case IOException cause -> throw cause;
                    case RuntimeException cause -> throw cause;
                    case Error cause -> throw cause;
                    default -> throw new IllegalStateException(e.getCause());
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new IOException("interrupted", e);
            }
        }
    }

    private static byte[] header(List<Entry> tensors) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        Set<String> names = new HashSet<>();
        try (JsonGenerator json = generator(bytes)) {
            json.writeStartObject();
            json.writeObjectPropertyStart("__metadata__");
            // Older versions of transformers refuse a file without it.
            json.writeStringProperty("format", "pt");
            json.writeEndObject();
            long offset = 0;
            for (Entry tensor : tensors) {
                if (!names.add(tensor.name()) || tensor.name().equals("__metadata__")) {
                    throw new IllegalArgumentException(
                            "tensor " + tensor.name() + " occurs twice or has a reserved name");
                }
                json.writeObjectPropertyStart(tensor.name());
                json.writeStringProperty("dtype", tensor.type().name());
                json.writeArrayPropertyStart("shape");
                tensor.shape().dimensions().forEach(json::writeNumber);
                json.writeEndArray();
                json.writeArrayPropertyStart("data_offsets");
                json.writeNumber(offset);
                offset = Math.addExact(offset, tensor.bytes());
                json.writeNumber(offset);
                json.writeEndArray();
                json.writeEndObject();
            }
            json.writeEndObject();
        }
        while (bytes.size() % HEADER_ALIGNMENT != 0) {
            bytes.write(' ');
        }
        return bytes.toByteArray();
    }

    private static void writeIndex(Path index, long totalBytes, Map<String, String> weightMap) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (JsonGenerator json = generator(bytes)) {
            json.writeStartObject();
            json.writeObjectPropertyStart("metadata");
            json.writeNumberProperty("total_size", totalBytes);
            json.writeEndObject();
            json.writeObjectPropertyStart("weight_map");
            weightMap.forEach(json::writeStringProperty);
            json.writeEndObject();
            json.writeEndObject();
        }
        create(index, channel -> writeFully(channel, ByteBuffer.wrap(bytes.toByteArray()), 0));
    }

    private static JsonGenerator generator(ByteArrayOutputStream bytes) {
        return StrictJson.FACTORY.createGenerator(ObjectWriteContext.empty(), bytes, JsonEncoding.UTF8);
    }

    private interface Writing {
        void to(FileChannel channel) throws IOException;
    }

    private static void create(Path file, Writing writing) {
        FileChannel opened;
        try {
            opened = FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
        } catch (FileAlreadyExistsException e) {
            throw new CheckpointException(file, "exists already", e);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        try (FileChannel channel = opened) {
            writing.to(channel);
        } catch (IOException e) {
            delete(file, e);
            throw new UncheckedIOException(e);
        } catch (RuntimeException e) {
            delete(file, e);
            throw e;
        }
    }

    private static void delete(Path file, Exception reason) {
        try {
            Files.deleteIfExists(file);
        } catch (IOException e) {
            reason.addSuppressed(e);
        }
    }

    private static void writeFully(FileChannel channel, ByteBuffer bytes, long position) throws IOException {
        while (bytes.hasRemaining()) {
            position += channel.write(bytes, position);
        }
    }
}
