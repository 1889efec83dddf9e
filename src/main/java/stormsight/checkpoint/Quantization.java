package stormsight.checkpoint;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import stormsight.program.DType;
import stormsight.program.Shape;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * Writes a checkpoint whose matrices are of a {@link DType#isBlocked blocked} type, so that a model is opened without
 * converting them.
 *
 * <p>A matrix {@code NAME} becomes two tensors: {@code NAME}, the levels, and {@code NAME.scales}, one for every block
 * of a row: [rows, ceil(columns / block)], where a tensor of more than two dimensions counts as [first, product of the
 * others]. A weight is its level times its scale. In q8 levels are I8, of the matrix's shape, and scales F32. In q4
 * they are U8, of half as many in the last dimension, and BF16: of the 16 bytes of a block of 32, byte i holds weight i
 * in its lower four bits and weight 16 + i in its upper ones, each a two's complement from -8 to 7. A matrix whose rows
 * are no whole blocks is in q8 there.
 *
 * <p>Scales lie directly behind their matrix, so that both are mapped as one; a file that another program wrote in
 * another order is copied when it is opened. All other tensors stay as they were. {@code config.json} says {@code
 * "quantization_config": {"quant_method": "stormsight", "format": "q8", "block_size": 32}}.
 */
public final class Quantization {
    /** What {@code config.json} names as the method. */
    static final String METHOD = "stormsight";

    private Quantization() {}

    /**
     * What was written.
     *
     * @param quantized how many tensors were turned into each type
     * @param kept tensors that stayed as they were
     * @param bytes of all weight files
     */
    public record Result(Map<DType, Integer> quantized, int kept, long bytes) {}

    /**
     * Writes the directory of a model anew.
     *
     * @param from its weights, with what an {@link Checkpoint#adapt adapter} makes of them
     * @param matrices the names of what is turned; a tensor that is blocked already is refused, unless it is of GGUF:
     *     then it is written in the type that it has here
     * @param type blocked; a matrix gets it as {@link DType#forRows} says
     * @param to an empty directory
     * @param maxFileBytes of a shard
     * @throws CheckpointException if something cannot be read or written, or the checkpoint is quantized already
     */
    public static Result write(
            Checkpoint from, Set<String> matrices, DType type, Path to, long maxFileBytes) {
        Map<String, HostTensor> sources = new HashMap<>();
        Map<DType, Integer> quantized = new EnumMap<>(DType.class);
        Map<String, String> known = new HashMap<>();
        Map<String, String> blocked = new HashMap<>();
        List<SafetensorsWriter.Entry> entries = new ArrayList<>();
        for (String name : from.names()) {
            TensorInfo info = from.info(name);
            String stored = from.nameToWrite(name);
            known.put(stored, name);
            Optional<DType> held = from.weightType(name);
            if (from.isCopied(name) && held.filter(DType::isBlocked).isPresent()) {
                blocked.put(Blocks.scales(stored), name);
                add(stored, held.get(), info.shape(), entries, quantized);
                continue;
            }
            if (!matrices.contains(name) || info.shape().rank() < 2) {
                entries.add(new SafetensorsWriter.Entry(stored, info.type(), info.shape()));
                continue;
            }
            if (held.isEmpty() || held.get().isBlocked()) {
                throw new CheckpointException(info.file(), "tensor " + info.label() + " is quantized already");
            }
            sources.put(stored, from.tensor(name));
            add(stored, type(type, info.shape()), info.shape(), entries, quantized);
        }
        List<Path> files = SafetensorsWriter.write(to, entries, maxFileBytes, (tensor, firstByte, piece) -> {
            String name = tensor.name();
            if (sources.containsKey(name)) {
                HostTensor source = sources.get(name);
                Blocks.levels(source, type(type, source.shape()), firstByte, piece);
            } else if (known.containsKey(name)) {
                put(from.bytes(known.get(name), firstByte, Math.toIntExact(piece.byteSize())), piece);
            } else if (blocked.containsKey(name)) {
                put(from.scales(blocked.get(name), firstByte, Math.toIntExact(piece.byteSize())), piece);
            } else {
                HostTensor source = sources.get(Blocks.matrix(name));
                Blocks.scales(source, type(type, source.shape()), firstByte, piece);
            }
        });
        copyOthers(from.directory(), type, to);
        return new Result(quantized, known.size() - sources.size() - blocked.size(), size(files));
    }

    private static void add(
            String name,
            DType type,
            Shape shape,
            List<SafetensorsWriter.Entry> entries,
            Map<DType, Integer> quantized) {
        quantized.merge(type, 1, Integer::sum);
        entries.add(new SafetensorsWriter.Entry(name, Blocks.levels(type), Blocks.levels(type, shape)));
        entries.add(new SafetensorsWriter.Entry(
                Blocks.scales(name), Blocks.scales(type), Blocks.scales(type, shape)));
    }

    private static void put(byte[] bytes, MemorySegment piece) {
        MemorySegment.copy(MemorySegment.ofArray(bytes), 0, piece, 0, bytes.length);
    }

    private static DType type(DType type, Shape shape) {
        return type.forRows(shape.matrix().columns());
    }

    private static long size(List<Path> files) {
        long bytes = 0;
        for (Path file : files) {
            try {
                bytes += Files.size(file);
            } catch (IOException e) {
                throw StrictJson.unreadable(file, e);
            }
        }
        return bytes;
    }

    /** Everything that is not weights: tokenizer, configuration, card. */
    private static void copyOthers(Path from, DType type, Path to) {
        try (DirectoryStream<Path> files = Files.newDirectoryStream(from, Files::isRegularFile)) {
            for (Path file : files) {
                String name = file.getFileName().toString();
                if (!GgufBesides.NAMES.contains(name) && !name.toLowerCase(Locale.ROOT)
                        .matches(".*\\.(safetensors|index\\.json|bin|pt|pth|ckpt|h5|msgpack|gguf|onnx)")) {
                    Files.copy(file, to.resolve(name));
                }
            }
            for (String name : GgufBesides.NAMES) {
                // Written, not copied: a copy of a file that nobody may write is one, too.
                if (ModelFiles.exists(from.resolve(name))) {
                    Files.write(to.resolve(name), ModelFiles.bytes(from.resolve(name)));
                }
            }
            writeConfig(type, to.resolve("config.json"));
        } catch (IOException e) {
            throw new CheckpointException(to, "cannot be written: " + e.getMessage(), e);
        }
    }

    /** Says in a config.json how the weights are stored. */
    private static void writeConfig(DType type, Path file) throws IOException {
        JsonMapper json = JsonMapper.shared();
        ObjectNode config = (ObjectNode) json.readTree(Files.readAllBytes(file));
        config.set("quantization_config", json.createObjectNode()
                .put("quant_method", METHOD)
                .put("format", type.label())
                .put("block_size", type.block()));
        Files.writeString(file, json.writerWithDefaultPrettyPrinter().writeValueAsString(config) + "\n");
    }
}
