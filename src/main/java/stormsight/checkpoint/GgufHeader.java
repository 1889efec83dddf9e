package stormsight.checkpoint;

import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import stormsight.program.Shape;

/**
 * The header of a GGUF file of version 2 or 3, little-endian: {@code GGUF}, version, numbers of tensors and of keys,
 * the keys with their values, then name, dimensions, type and place of each tensor, whose data follow at the next
 * multiple of the alignment.
 *
 * @param texts values of the keys that are text
 * @param numbers values of the keys that are whole numbers, or true (1) or false (0)
 * @param reals values of the keys that are fractions
 * @param arrays where those of the keys that are arrays stand
 * @param tensors in the order of their data
 * @see <a href="https://github.com/ggml-org/ggml/blob/master/docs/gguf.md">GGUF</a>
 */
record GgufHeader(
        Path file,
        long fileBytes,
        Map<String, String> texts,
        Map<String, Long> numbers,
        Map<String, Double> reals,
        Map<String, Array> arrays,
        List<Tensor> tensors) {
    /** Begins each file. */
    static final String MAGIC = "GGUF";

    private static final String CUT = ", within which the file ends: it is truncated or broken";

    private static final String ARCHITECTURE = "general.architecture";

    /** Of texts that are kept. */
    private static final int MOST_BYTES_KEPT = 1 << 12;
    private static final int MOST_NAME_BYTES = 1 << 12;
    private static final int MOST_KEYS = 1 << 16;
    private static final int MOST_TENSORS = 200_000;
    private static final int MOST_DIMENSIONS = 4;
    private static final int DEPTH = 4;
    private static final int DEFAULT_ALIGNMENT = 32;
    /** Of a header. That of a vocabulary of 256,000 tokens takes some 6 MB. */
    private static final long MOST_BYTES = StrictJson.MAX_BYTES;
    private static final int TEXT = 8;
    private static final int INT32 = 5;
    private static final int FLOAT32 = 6;

    /**
     * @param type what its bytes are
     * @param shape row-major, the file's dimensions in reverse
     * @param offset of its first byte in the file
     */
    record Tensor(String name, GgufType type, Shape shape, long offset, long bytes) {}

    /**
     * The values of a key.
     *
     * @param type of each, a number of the format
     * @param offset of the first one in the file
     */
    record Array(int type, long length, long offset) {}

    /**
     * Reads a header.
     *
     * @throws CheckpointException if it is none, says what cannot be, or names a type that is not read
     */
    static GgufHeader read(Path file) {
        StrictJson.requireFile(file);
        return read(file, 0, Reader::read);
    }

    /** What a file says of itself, which is read alone; empty if it is nothing, or the file is none that is read. */
    static Optional<String> architecture(Path file) {
        if (!Files.isRegularFile(file)) {
            return Optional.empty();
        }
        try {
            return read(file, 0, Reader::architecture);
        } catch (CheckpointException e) {
            // Whoever needs the file reads all of its header.
            return Optional.empty();
        }
    }

    private interface Reading<T> {
        T from(Reader reader) throws IOException;
    }

    private static <T> T read(Path file, long start, Reading<T> reading) {
        try (DataInputStream in = new DataInputStream(new BufferedInputStream(Files.newInputStream(file), 1 << 16))) {
            in.skipNBytes(start);
            return reading.from(new Reader(file, Files.size(file), in));
        } catch (EOFException e) {
            throw new CheckpointException(file, "ends within its header: the file is truncated", e);
        } catch (IOException e) {
            throw StrictJson.unreadable(file, e);
        }
    }

    /**
     * The texts of an array.
     *
     * @param most of them
     * @param mostBytes of each
     * @throws CheckpointException if there is no such array, or it is longer
     */
    List<String> texts(String key, int most, int mostBytes) {
        Array array = array(key, TEXT, most);
        return read(file, array.offset, reader -> {
            List<String> texts = new ArrayList<>();
            for (long i = 0; i < array.length; i++) {
                texts.add(reader.text(0, mostBytes, "a text of " + StrictJson.printable(key)));
            }
            return texts;
        });
    }

    /** The same of whole numbers of 32 bits. */
    int[] integers(String key, int most) {
        Array array = array(key, INT32, most);
        return read(file, array.offset, reader -> {
            int[] numbers = new int[(int) array.length];
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] = reader.int32();
            }
            return numbers;
        });
    }

    /** The same of fractions of 32 bits. */
    float[] reals(String key, int most) {
        Array array = array(key, FLOAT32, most);
        return read(file, array.offset, reader -> {
            float[] numbers = new float[(int) array.length];
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] = Float.intBitsToFloat(reader.int32());
            }
            return numbers;
        });
    }

    private Array array(String key, int type, int most) {
        Array array = arrays.get(key);
        if (array == null || array.type != type || array.length > most) {
            throw new CheckpointException(file, "key " + StrictJson.printable(key)
                    + (array == null ? ": missing" : " is an array of " + array.length + " values of type " + array.type
                            + ", at most " + most + " of type " + type + " expected"));
        }
        return array;
    }

    /** The keys of all values but long texts. */
    Set<String> keys() {
        Set<String> keys = new HashSet<>(texts.keySet());
        keys.addAll(numbers.keySet());
        keys.addAll(reals.keySet());
        keys.addAll(arrays.keySet());
        return keys;
    }

    /** What the file says of itself: {@code gemma}, {@code clip}. */
    Optional<String> architecture() {
        return Optional.ofNullable(texts.get(ARCHITECTURE));
    }

    private static final class Reader {
        private final Path file;
        private final long size;
        private final DataInputStream in;
        private final Map<String, String> texts = new HashMap<>();
        private final Map<String, Long> numbers = new HashMap<>();
        private final Map<String, Double> reals = new HashMap<>();
        private final Map<String, Array> arrays = new HashMap<>();
        private long at;

        Reader(Path file, long size, DataInputStream in) {
            this.file = file;
            this.size = size;
            this.in = in;
        }

        /** Reads up to the number of tensors. */
        private void version() throws IOException {
            if (!new String(bytes(MAGIC.length()), StandardCharsets.ISO_8859_1).equals(MAGIC)) {
                throw broken("does not begin with " + MAGIC);
            }
            int version = int32();
            if (version != 2 && version != 3) {
                int other = Integer.reverseBytes(version);
                throw broken((other >= 1 && other <= 3
                                ? "is big-endian GGUF of version " + other
                                : "is GGUF of version " + Integer.toUnsignedString(version))
                        + "; read are 2 and 3, little-endian: convert the model anew");
            }
        }

        /** Keys are in any order; this one is the first that writers write. */
        Optional<String> architecture() throws IOException {
            version();
            count("tensors", MOST_TENSORS);
            long keyCount = count("keys", MOST_KEYS);
            for (long i = 0; i < keyCount && !texts.containsKey(ARCHITECTURE); i++) {
                value(text(1, MOST_NAME_BYTES, "the name of a key"), int32(), 0);
            }
            return Optional.ofNullable(texts.get(ARCHITECTURE));
        }

        GgufHeader read() throws IOException {
            version();
            long tensorCount = count("tensors", MOST_TENSORS);
            long keyCount = count("keys", MOST_KEYS);
            Set<String> keys = new HashSet<>();
            for (long i = 0; i < keyCount; i++) {
                String key = text(1, MOST_NAME_BYTES, "the name of a key");
                if (!keys.add(key)) {
                    throw broken("key " + StrictJson.printable(key) + " is there twice");
                }
                value(key, int32(), 0);
            }
            long alignment = numbers.getOrDefault("general.alignment", (long) DEFAULT_ALIGNMENT);
            if (alignment < 1 || alignment > 1 << 20 || Long.bitCount(alignment) != 1) {
                throw broken("general.alignment is " + alignment + ", a power of two expected");
            }
            List<Tensor> tensors = new ArrayList<>();
            Set<String> names = new HashSet<>();
            for (long i = 0; i < tensorCount; i++) {
                Tensor tensor = tensor(alignment);
                if (!names.add(tensor.name)) {
                    throw broken(tensor.name, "is there twice");
                }
                tensors.add(tensor);
            }
            long start = (at + alignment - 1) & -alignment;
            List<Tensor> placed = tensors.stream()
                    .map(tensor -> placed(tensor, start))
                    .sorted(Comparator.comparingLong(Tensor::offset).thenComparingLong(Tensor::bytes))
                    .toList();
            checkLayout(placed);
            return new GgufHeader(
                    file,
                    size,
                    Map.copyOf(texts),
                    Map.copyOf(numbers),
                    Map.copyOf(reals),
                    Map.copyOf(arrays),
                    placed);
        }

        private long count(String what, int most) throws IOException {
            long count = int64();
            if (count < 0 || count > most) {
                throw broken(Long.toUnsignedString(count) + " " + what + ", at most " + most + " expected");
            }
            return count;
        }

        /** Keeps a value; of what is within an array, nothing. */
        private void value(String key, int type, int depth) throws IOException {
            switch (type) {
                case 0 -> numbers.put(key, (long) Byte.toUnsignedInt(int8()));
                case 1, 7 -> numbers.put(key, (long) int8());
                case 2 -> numbers.put(key, (long) Short.toUnsignedInt(int16()));
                case 3 -> numbers.put(key, (long) int16());
                case 4 -> numbers.put(key, Integer.toUnsignedLong(int32()));
                case INT32 -> numbers.put(key, (long) int32());
                case 10, 11 -> numbers.put(key, int64());
                case FLOAT32 -> reals.put(key, (double) Float.intBitsToFloat(int32()));
                case 12 -> reals.put(key, Double.longBitsToDouble(int64()));
                case TEXT -> {
                    long length = int64();
                    if (length < 0 || length > size - at) {
                        throw broken("key " + StrictJson.printable(key) + ": a text of "
                                + Long.toUnsignedString(length) + " bytes" + CUT);
                    }
                    if (length > MOST_BYTES_KEPT || depth > 0) {
                        skip(length);
                    } else {
                        texts.put(key, new String(bytes((int) length), StandardCharsets.UTF_8));
                    }
                }
                case 9 -> {
                    int of = int32();
                    long length = int64();
                    long width = width(of);
                    if (depth == DEPTH) {
                        throw broken("key " + StrictJson.printable(key) + ": arrays within arrays, more than " + DEPTH
                                + " deep");
                    }
                    if (length < 0 || length > (size - at) / Math.max(width, 1)) {
                        throw broken("key " + StrictJson.printable(key) + ": an array of "
                                + Long.toUnsignedString(length) + " values" + CUT);
                    }
                    if (depth == 0) {
                        arrays.put(key, new Array(of, length, at));
                    }
                    if (width > 0) {
                        skip(length * width);
                    } else {
                        for (long i = 0; i < length; i++) {
                            value(key, of, depth + 1);
                        }
                    }
                }
                default -> throw broken("key " + StrictJson.printable(key) + " is of type "
                        + Integer.toUnsignedString(type) + ", which is unknown");
            }
        }

        /** Bytes of a value of that type; 0 if they differ, or there is no such type. */
        private static int width(int type) {
            return switch (type) {
                case 0, 1, 7 -> Byte.BYTES;
                case 2, 3 -> Short.BYTES;
                case 4, 5, 6 -> Integer.BYTES;
                case 10, 11, 12 -> Long.BYTES;
                default -> 0;
            };
        }

        /** With an offset from the first byte of all data. */
        private Tensor tensor(long alignment) throws IOException {
            String name = text(1, MOST_NAME_BYTES, "the name of a tensor");
            int rank = int32();
            if (rank < 1 || rank > MOST_DIMENSIONS) {
                throw broken(name, Integer.toUnsignedString(rank) + " dimensions, 1 to " + MOST_DIMENSIONS
                        + " expected");
            }
            int[] dimensions = new int[rank];
            for (int i = rank - 1; i >= 0; i--) {
                long dimension = int64();
                if (dimension < 1 || dimension > Integer.MAX_VALUE) {
                    throw broken(name, "a dimension of " + Long.toUnsignedString(dimension));
                }
                dimensions[i] = (int) dimension;
            }
            int id = int32();
            long offset = int64();
            GgufType type = GgufType.of(id).orElseThrow(() -> broken(name, "is of type " + GgufType.name(id)
                    + "; read are F32, F16, BF16, Q8_0, Q4_0, Q4_K and Q6_K: download such a file of the model"));
            int columns = dimensions[rank - 1];
            if (columns % type.block() != 0) {
                throw broken(name, "rows of " + columns + " are no whole blocks of " + type);
            }
            if (offset < 0 || offset > size || offset % alignment != 0) {
                throw broken(name, "begins at byte " + Long.toUnsignedString(offset)
                        + " of the data, which is not in the file or no multiple of " + alignment);
            }
            try {
                Shape shape = Shape.of(dimensions);
                long bytes = Math.multiplyExact(shape.elements() / type.block(), (long) type.blockBytes());
                Math.addExact(bytes, size + offset);
                return new Tensor(name, type, shape, offset, bytes);
            } catch (ArithmeticException e) {
                throw broken(name, type + " " + Arrays.toString(dimensions) + " has no valid size in bytes");
            }
        }

        private static Tensor placed(Tensor tensor, long start) {
            return new Tensor(tensor.name, tensor.type, tensor.shape, start + tensor.offset, tensor.bytes);
        }

        private void checkLayout(List<Tensor> tensors) {
            long end = 0;
            for (Tensor tensor : tensors) {
                if (tensor.offset < end) {
                    throw broken(tensor.name, "overlaps the tensor before it");
                }
                end = tensor.offset + tensor.bytes;
                if (end > size) {
                    throw broken(tensor.name, "its data ends at byte " + end + ", the file at " + size
                            + ": the file is truncated");
                }
            }
        }

        private String text(int least, int most, String what) throws IOException {
            long length = int64();
            if (length < least || length > most) {
                throw broken(what + " has " + Long.toUnsignedString(length) + " bytes");
            }
            return new String(bytes((int) length), StandardCharsets.UTF_8);
        }

        private byte[] bytes(int count) throws IOException {
            advance(count);
            byte[] bytes = new byte[count];
            in.readFully(bytes);
            return bytes;
        }

        private byte int8() throws IOException {
            advance(Byte.BYTES);
            return in.readByte();
        }

        private short int16() throws IOException {
            advance(Short.BYTES);
            return Short.reverseBytes(in.readShort());
        }

        private int int32() throws IOException {
            advance(Integer.BYTES);
            return Integer.reverseBytes(in.readInt());
        }

        private long int64() throws IOException {
            advance(Long.BYTES);
            return Long.reverseBytes(in.readLong());
        }

        private void skip(long count) throws IOException {
            advance(count);
            in.skipNBytes(count);
        }

        /** Counts what is read next. A file takes no space for zeros: what it could hold bounds no work. */
        private void advance(long count) {
            at += count;
            if (at > MOST_BYTES) {
                throw broken("a header of more than " + MOST_BYTES + " bytes");
            }
        }

        private CheckpointException broken(String problem) {
            return new CheckpointException(file, problem);
        }

        private CheckpointException broken(String tensor, String problem) {
            return new CheckpointException(file, "tensor " + StrictJson.printable(tensor) + ": " + problem);
        }
    }
}
