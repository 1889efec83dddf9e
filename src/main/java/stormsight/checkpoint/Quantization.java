package stormsight.checkpoint;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;
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
 * "quantization_config": {"quant_method": "stormsight", "format": "q8", "block_size": 32}}. The format is q8 or q4
 * where all matrices are as above, and {@code mixed} where each may be in either. Another one is a later version's.
 */
public final class Quantization {
    /** What {@code config.json} names as the method. */
    static final String METHOD = "stormsight";

    /** Where a config.json tells how weights are quantized. */
    static final List<String> KEYS = List.of("quantization_config", "text_config.quantization_config");

    /** The format of matrices in several types. */
    private static final String MIXED = "mixed";

    /**
     * Names, in small letters, of what a model's directory holds beside weights: settings, tokenizers, cards, licences
     * and the decoder of masks. All else, which may be many gigabytes, is for other programs.
     */
    private static final Pattern BESIDES = Pattern.compile(
            "[^.]+|.*\\.(json|jinja|model|txt|md|tiktoken|py)|(licen[cs]e|notice).*|"
                    + Pattern.quote(ModelFiles.MASK_DECODER));

    /** Bytes that are copied at a time. */
    private static final int PIECE = 1 << 16;

    private Quantization() {}

    /**
     * What was written.
     *
     * @param blocked how many matrices there are of each type
     * @param untouched of them, those of GGUF that are not of the type that was asked for
     * @param kept tensors that stayed as they were
     * @param bytes of all weight files
     */
    public record Result(Map<DType, Integer> blocked, int untouched, int kept, long bytes) {}

    /** A matrix of a blocked type. */
    private record Matrix(String name, DType type, Shape shape) {
        boolean isOf(DType format) {
            return Quantization.type(format, shape) == type;
        }
    }

    /**
     * Writes the directory of a model anew.
     *
     * @param from its weights, with what an {@link Checkpoint#adapt adapter} makes of them
     * @param matrices the names of what is turned; a tensor that is blocked already is refused, unless it is of GGUF:
     *     then it is written in the type that it has here
     * @param type blocked; a matrix gets it as {@link DType#forRows} says
     * @param to an empty directory
     * @param maxFileBytes of a shard
     * @throws CheckpointException if something cannot be read, or the checkpoint is quantized already
     * @throws UncheckedIOException if something cannot be written
     */
    public static Result write(
            Checkpoint from, Set<String> matrices, DType type, Path to, long maxFileBytes) {
        from.willBeWritten();
        Map<String, HostTensor> sources = new HashMap<>();
        List<Matrix> written = new ArrayList<>();
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
                add(new Matrix(stored, held.get(), info.shape()), written, entries);
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
            add(new Matrix(stored, type(type, info.shape()), info.shape()), written, entries);
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
        copyOthers(from, to);
        writeConfig(format(written), to.resolve("config.json"));
        Map<DType, Integer> types = new EnumMap<>(DType.class);
        written.forEach(matrix -> types.merge(matrix.type, 1, Integer::sum));
        int untouched = (int) written.stream().filter(matrix -> !matrix.isOf(type)).count();
        return new Result(types, untouched, known.size() - written.size(), size(files));
    }

    private static void add(Matrix matrix, List<Matrix> matrices, List<SafetensorsWriter.Entry> entries) {
        matrices.add(matrix);
        entries.add(new SafetensorsWriter.Entry(
                matrix.name, Blocks.levels(matrix.type), Blocks.levels(matrix.type, matrix.shape)));
        entries.add(new SafetensorsWriter.Entry(
                Blocks.scales(matrix.name), Blocks.scales(matrix.type), Blocks.scales(matrix.type, matrix.shape)));
    }

    /** What config.json calls the form of these matrices. */
    private static String format(List<Matrix> matrices) {
        return DType.blocked().stream()
                .filter(type -> matrices.stream().allMatch(matrix -> matrix.isOf(type)))
                .findFirst()
                .map(DType::label)
                .orElse(MIXED);
    }

    /**
     * Holds what config.json says of its weights against those that are there. Weights in GGUF have their own types.
     *
     * @throws CheckpointException if it names a format that is not known here; if the weights have another one than it
     *     says, and odd things are refused
     */
    public static void check(ConfigFile config, Checkpoint checkpoint, Strictness strictness) {
        if (checkpoint.isGguf()) {
            return;
        }
        List<Matrix> matrices = checkpoint.names().stream()
                .filter(name -> checkpoint.weightType(name).filter(DType::isBlocked).isPresent())
                .map(name -> new Matrix(
                        checkpoint.info(name).label(),
                        checkpoint.weightType(name).orElseThrow(),
                        checkpoint.info(name).shape()))
                .toList();
        Optional<String> key = KEYS.stream().filter(config::has).findFirst();
        if (key.isEmpty()) {
            if (!matrices.isEmpty()) {
                strictness.odd(config.file(), "no quantization_config, but " + matrices.getFirst().name + " is in "
                        + matrices.getFirst().type.label() + ": it is used so");
            }
            return;
        }
        requireKnown(config, key.get());
        String format = config.text(key.get() + ".format");
        Optional<DType> type = named(format);
        if (matrices.isEmpty()) {
            strictness.odd(config.file(), key.get() + ".format: " + format + ", but no matrix has blocks: weights are "
                    + "used as they are stored");
        }
        type.flatMap(one -> matrices.stream().filter(matrix -> !matrix.isOf(one)).findFirst())
                .ifPresent(other -> strictness.odd(config.file(), key.get() + ".format: " + format + ", but "
                        + other.name + " is in " + other.type.label() + ": it is used so"));
    }

    private static Optional<DType> named(String format) {
        return DType.blocked().stream().filter(type -> type.label().equals(format)).findFirst();
    }

    /** Tensors of a later version's may look like some of these. */
    private static void requireKnown(ConfigFile config, String key) {
        String format = config.text(key + ".format");
        if (named(format).isEmpty() && !format.equals(MIXED)) {
            throw config.invalid(key + ".format", StrictJson.printable(format) + " is not known here, q8, q4 and mixed "
                    + "are: it may be that of a later version of Stormsight");
        }
        int block = config.integer(key + ".block_size");
        if (DType.blocked().stream().anyMatch(type -> type.block() != block)) {
            throw config.invalid(key + ".block_size", block + " is not known here, " + DType.Q8_BLOCK
                    + " is: it may be that of a later version of Stormsight");
        }
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

    private static void copyOthers(Checkpoint from, Path to) {
        Map<String, Path> others = new LinkedHashMap<>();
        try (DirectoryStream<Path> files = Files.newDirectoryStream(from.directory(), Files::isRegularFile)) {
            for (Path file : files) {
                String name = file.getFileName().toString();
                if (!GgufBesides.NAMES.contains(name) && isBeside(name.toLowerCase(Locale.ROOT))) {
                    others.put(name, file);
                }
            }
        } catch (IOException e) {
            throw StrictJson.unreadable(from.directory(), e);
        }
        for (String name : GgufBesides.NAMES) {
            Path file = from.model().resolve(name);
            if (ModelFiles.exists(file)) {
                others.put(name, file);
            }
        }
        others.forEach((name, file) -> {
            // Its content alone: a copy of a file that nobody may write is one, too.
            try (InputStream in = opened(file);
                    OutputStream out = Files.newOutputStream(to.resolve(name), StandardOpenOption.CREATE_NEW)) {
                byte[] piece = new byte[PIECE];
                for (int read = read(in, piece, file); read >= 0; read = read(in, piece, file)) {
                    out.write(piece, 0, read);
                }
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        });
    }

    private static InputStream opened(Path file) {
        try {
            return ModelFiles.open(file, Long.MAX_VALUE);
        } catch (IOException e) {
            throw StrictJson.unreadable(file, e);
        }
    }

    private static int read(InputStream in, byte[] piece, Path file) {
        try {
            return in.read(piece);
        } catch (IOException e) {
            throw StrictJson.unreadable(file, e);
        }
    }

    private static boolean isBeside(String name) {
        return BESIDES.matcher(name).matches() && !name.endsWith(".index.json");
    }

    /** Says in a config.json how the weights are stored. */
    private static void writeConfig(String format, Path file) {
        JsonMapper json = JsonMapper.shared();
        try {
            ObjectNode config = (ObjectNode) json.readTree(Files.readAllBytes(file));
            config.set("quantization_config", json.createObjectNode()
                    .put("quant_method", METHOD)
                    .put("format", format)
                    .put("block_size", DType.Q8_BLOCK));
            Files.writeString(file, json.writerWithDefaultPrettyPrinter().writeValueAsString(config) + "\n");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
