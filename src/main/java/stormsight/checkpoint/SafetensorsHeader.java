package stormsight.checkpoint;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import stormsight.program.Shape;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;

/**
 * The header of a safetensors file: 8 bytes of little-endian length n, n bytes of JSON, then the data of all tensors
 * without a gap.
 *
 * @param fileBytes size of the file
 * @param tensors under their stored names, in the order of their data
 * @see <a href="https://github.com/huggingface/safetensors">safetensors</a>
 */
record SafetensorsHeader(Path file, long fileBytes, List<TensorInfo> tensors) {
    static final int LENGTH_BYTES = 8;

    /** As in NumPy; the bound keeps shapes in messages short. */
    private static final int MAX_RANK = 64;

    /**
     * Reads a header. Everything that the reference implementation refuses is refused.
     *
     * @throws CheckpointException if the header and the file's size do not agree in every byte
     */
    static SafetensorsHeader read(Path file) {
        StrictJson.requireFile(file);
        try (FileChannel channel = FileChannel.open(file)) {
            return new Reader(file).read(channel);
        } catch (IOException e) {
            throw StrictJson.unreadable(file, e);
        }
    }

    private record Reader(Path file) {
        private SafetensorsHeader read(FileChannel channel) throws IOException {
            long size = channel.size();
            if (size < LENGTH_BYTES) {
                throw broken(size + " bytes are too few for a safetensors file");
            }
            long length = ByteBuffer.wrap(bytes(channel, 0, LENGTH_BYTES)).order(ByteOrder.LITTLE_ENDIAN).getLong();
            if (Long.compareUnsigned(length, StrictJson.MAX_BYTES) > 0) {
                throw broken("a header of " + Long.toUnsignedString(length) + " bytes, at most " + StrictJson.MAX_BYTES
                        + " expected");
            }
            if (length > size - LENGTH_BYTES) {
                throw broken("a header of " + length + " bytes in a file of " + size + " bytes: the file is truncated");
            }
            byte[] header = bytes(channel, LENGTH_BYTES, (int) length);
            if (length == 0 || header[0] != '{') {
                throw broken("the header does not begin with {");
            }
            long dataStart = LENGTH_BYTES + length;
            List<TensorInfo> tensors = StrictJson.read(
                    file, "the header", new ByteArrayInputStream(header), parser -> tensors(parser, dataStart));
            checkLayout(tensors, dataStart, size);
            return new SafetensorsHeader(file, size, List.copyOf(tensors));
        }

        private byte[] bytes(FileChannel channel, long position, int count) throws IOException {
            ByteBuffer buffer = ByteBuffer.allocate(count);
            while (buffer.hasRemaining()) {
                if (channel.read(buffer, position + buffer.position()) < 0) {
                    throw broken("ends at byte " + (position + buffer.position()) + ", within the header");
                }
            }
            return buffer.array();
        }

        private List<TensorInfo> tensors(JsonParser parser, long dataStart) {
            List<TensorInfo> tensors = new ArrayList<>();
            parser.nextToken();
            while (parser.nextToken() == JsonToken.PROPERTY_NAME) {
                String name = parser.currentName();
                parser.nextToken();
                if (name.equals("__metadata__")) {
                    skipMetadata(parser);
                } else {
                    tensors.add(tensor(name, parser, dataStart));
                }
            }
            tensors.sort(Comparator.comparingLong(TensorInfo::offset).thenComparingLong(TensorInfo::bytes));
            return tensors;
        }

        private void skipMetadata(JsonParser parser) {
            if (parser.currentToken() != JsonToken.START_OBJECT) {
                throw broken("__metadata__ is not an object");
            }
            while (parser.nextToken() == JsonToken.PROPERTY_NAME) {
                if (parser.nextToken() != JsonToken.VALUE_STRING) {
                    throw broken("__metadata__ holds a value that is not a string");
                }
            }
        }

        private TensorInfo tensor(String name, JsonParser parser, long dataStart) {
            if (parser.currentToken() != JsonToken.START_OBJECT) {
                throw broken(name, "its entry is not an object");
            }
            StoredType type = null;
            List<Integer> dimensions = null;
            List<Long> offsets = null;
            while (parser.nextToken() == JsonToken.PROPERTY_NAME) {
                String key = parser.currentName();
                JsonToken value = parser.nextToken();
                switch (key) {
                    case "dtype" -> type = type(name, parser);
                    case "shape" -> dimensions =
                            naturals(name, parser, key, MAX_RANK).stream().map(d -> dimension(name, d)).toList();
                    case "data_offsets" -> offsets = naturals(name, parser, key, 2);
                    // Readers of the format pass over keys that they do not know.
                    default -> parser.skipChildren();
                }
            }
            if (type == null || dimensions == null || offsets == null) {
                throw broken(name, "no " + (type == null ? "dtype" : dimensions == null ? "shape" : "data_offsets"));
            }
            if (offsets.size() != 2 || offsets.get(1) < offsets.get(0)) {
                throw broken(name, "data_offsets " + offsets + " are not a beginning and an end");
            }
            long bytes = offsets.get(1) - offsets.get(0);
            Shape shape;
            long expected;
            try {
                shape = new Shape(dimensions);
                expected = type.bytes(shape);
            } catch (ArithmeticException e) {
                throw broken(name, type + " " + dimensions + " has no valid size in bytes: " + e.getMessage());
            }
            if (bytes != expected) {
                throw broken(
                        name, "data_offsets span " + bytes + " bytes, " + type + " " + shape + " takes " + expected);
            }
            try {
                return new TensorInfo(name, name, file, type, shape, Math.addExact(dataStart, offsets.get(0)), bytes);
            } catch (ArithmeticException e) {
                throw broken(name, "data_offsets " + offsets + " overflow");
            }
        }

        private StoredType type(String tensor, JsonParser parser) {
            if (parser.currentToken() != JsonToken.VALUE_STRING) {
                throw broken(tensor, "dtype is not a string");
            }
            String type = parser.getString();
            return StoredType.named(type)
                    .orElseThrow(() -> broken(tensor, "unknown dtype " + StrictJson.printable(type)));
        }

        private List<Long> naturals(String tensor, JsonParser parser, String key, int limit) {
            if (parser.currentToken() != JsonToken.START_ARRAY) {
                throw broken(tensor, key + " is not an array");
            }
            List<Long> values = new ArrayList<>();
            while (parser.nextToken() != JsonToken.END_ARRAY) {
                if (parser.currentToken() != JsonToken.VALUE_NUMBER_INT
                        || parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER || parser.getLongValue() < 0) {
                    throw broken(tensor, key + " holds " + StrictJson.printable(parser.getString())
                            + ", which is not an integer from 0 to " + Long.MAX_VALUE);
                }
                if (values.size() == limit) {
                    throw broken(tensor, key + " has more than " + limit + " numbers");
                }
                values.add(parser.getLongValue());
            }
            return values;
        }

        private int dimension(String tensor, long dimension) {
            if (dimension > Integer.MAX_VALUE) {
                throw broken(
                        tensor, "a dimension of " + dimension + ", at most " + Integer.MAX_VALUE + " is supported");
            }
            return (int) dimension;
        }

        private void checkLayout(List<TensorInfo> tensors, long dataStart, long size) {
            long end = dataStart;
            for (TensorInfo tensor : tensors) {
                if (tensor.offset() != end) {
                    throw broken(
                            tensor.name(),
                            "its data begins at byte " + (tensor.offset() - dataStart) + ", "
                                    + (tensor.offset() < end
                                            ? "overlapping data that ends"
                                            : "leaving a hole behind data that ends")
                                    + " at " + (end - dataStart));
                }
                try {
                    end = Math.addExact(end, tensor.bytes());
                } catch (ArithmeticException e) {
                    throw broken(tensor.name(), "data_offsets overflow");
                }
            }
            if (end > size) {
                TensorInfo cut = tensors.stream().filter(t -> t.offset() + t.bytes() > size).findFirst().orElseThrow();
                throw broken(
                        cut.name(),
                        "its data ends at byte " + (cut.offset() + cut.bytes()) + ", the file at " + size
                                + ": the file is truncated");
            }
            if (end < size) {
                throw broken(size - end + " bytes follow the last tensor");
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
