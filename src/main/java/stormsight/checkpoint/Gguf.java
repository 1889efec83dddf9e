package stormsight.checkpoint;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import stormsight.program.DType;
import stormsight.program.Shape;

/**
 * A PaliGemma as llama.cpp has it: a GGUF file of the Gemma decoder and one of the SigLIP tower with its projector.
 *
 * <p>F32, F16 and BF16 are used in place. Norms of the decoder are stored there as {@code 1 + w}, and are copied as
 * {@code w}. Blocks of quantized types are taken apart into the levels and scales of {@link Blocks}, once, when the
 * first of them is read: Q8_0 to q8, which changes no value; Q4_0 to q4, whose scales are BF16 in place of F16; Q4_K
 * and Q6_K, which have no like here, to q8.
 */
final class Gguf {
    private static final Logger LOG = LoggerFactory.getLogger(Gguf.class);

    /** Ends the names of files. */
    private static final String SUFFIX = ".gguf";

    /** The architecture of a file that holds a tower. */
    static final String TOWER = "clip";
    /** The kind of projector that is PaliGemma's, one linear layer. */
    private static final String PROJECTOR = "paligemma";
    private static final List<String> DECODERS = List.of("gemma", "gemma2");
    /** Keys of factors by which positions are scaled, with those that leave them as they are. */
    private static final Map<String, Set<Double>> UNSCALED = Map.of(
            "scaling.type", Set.of(),
            "scaling.factor", Set.of(0.0, 1.0),
            "scale_linear", Set.of(0.0, 1.0),
            "scaling.attn_factor", Set.of(1.0));

    /** What all of a decoder's published names begin with. */
    private static final String LANGUAGE_MODEL = "language_model.";
    private static final String DECODER_PREFIX = LANGUAGE_MODEL + "model.";
    private static final String TOWER_PREFIX = "vision_tower.vision_model.";
    private static final Pattern DECODER_LAYER = Pattern.compile("blk\\.(\\d+)\\.([a-z_]+)\\.weight");
    private static final Pattern TOWER_LAYER = Pattern.compile("v\\.blk\\.(\\d+)\\.([a-z0-9_]+)\\.(weight|bias)");

    /** What files of either decoder have beside their layers. */
    private static final Map<String, String> NAMES = Map.of(
            "token_embd.weight", DECODER_PREFIX + "embed_tokens.weight",
            "output_norm.weight", DECODER_PREFIX + "norm.weight",
            "output.weight", LANGUAGE_MODEL + "lm_head.weight",
            "v.patch_embd.weight", TOWER_PREFIX + "embeddings.patch_embedding.weight",
            "v.patch_embd.bias", TOWER_PREFIX + "embeddings.patch_embedding.bias",
            "v.position_embd.weight", TOWER_PREFIX + "embeddings.position_embedding.weight",
            "v.post_ln.weight", TOWER_PREFIX + "post_layernorm.weight",
            "v.post_ln.bias", TOWER_PREFIX + "post_layernorm.bias",
            "mm.input_projection.weight", "multi_modal_projector.linear.weight",
            "mm.input_projection.bias", "multi_modal_projector.linear.bias");

    private static final Map<String, String> LAYER_PARTS = Map.of(
            "attn_norm", "input_layernorm",
            "attn_q", "self_attn.q_proj",
            "attn_k", "self_attn.k_proj",
            "attn_v", "self_attn.v_proj",
            "attn_output", "self_attn.o_proj",
            "ffn_gate", "mlp.gate_proj",
            "ffn_up", "mlp.up_proj",
            "ffn_down", "mlp.down_proj");
    /** What Gemma 1 calls the norm before its feed-forward layer is that behind attention in Gemma 2. */
    private static final Map<String, String> GEMMA_NORMS = Map.of("ffn_norm", "post_attention_layernorm");
    private static final Map<String, String> GEMMA_2_NORMS = Map.of(
            "post_attention_norm", "post_attention_layernorm",
            "ffn_norm", "pre_feedforward_layernorm",
            "post_ffw_norm", "post_feedforward_layernorm");

    private static final Map<String, String> TOWER_PARTS = Map.of(
            "ln1", "layer_norm1",
            "ln2", "layer_norm2",
            "attn_q", "self_attn.q_proj",
            "attn_k", "self_attn.k_proj",
            "attn_v", "self_attn.v_proj",
            "attn_out", "self_attn.out_proj",
            "ffn_up", "mlp.fc1",
            "ffn_down", "mlp.fc2");

    /** A cache line. */
    private static final int ALIGNMENT = 64;

    /** Blocks, or values of a norm, that are read at a time. */
    private static final int PIECE = 1 << 11;

    /** A tensor that is used from memory. @param norm whether it is stored as one more than its values */
    private record Copied(GgufHeader header, GgufHeader.Tensor tensor, String name, boolean norm) {
        DType type() {
            return norm ? DType.F32 : tensor.type().becomes();
        }

        long bytes() {
            return type().bytes(tensor.shape().matrix());
        }
    }

    private final List<GgufHeader> headers;
    private final List<TensorInfo> tensors = new ArrayList<>();
    /** By the names in the files. */
    private final Map<String, Copied> copied = new LinkedHashMap<>();
    private volatile boolean written;
    /** Empty until all of them are there. */
    private Map<String, MemorySegment> copies = Map.of();

    private Gguf(List<GgufHeader> headers) {
        this.headers = headers;
        Map<String, Path> holders = new HashMap<>();
        for (GgufHeader header : headers) {
            Set<String> swapped = swapped(header);
            for (GgufHeader.Tensor tensor : header.tensors()) {
                Path other = holders.putIfAbsent(tensor.name(), header.file());
                if (other != null) {
                    throw refused(header, tensor, "is also in " + other.getFileName());
                }
                add(header, tensor, swapped);
            }
        }
    }

    private static CheckpointException refused(GgufHeader header, GgufHeader.Tensor tensor, String problem) {
        return new CheckpointException(
                header.file(), "tensor " + StrictJson.printable(tensor.name()) + " " + problem);
    }

    /**
     * Reads the headers of a model's files.
     *
     * @param model its folder, or the file of its decoder
     * @param files all of the model, none or more
     * @return empty if there are none
     * @throws CheckpointException if they are not one decoder and its tower
     */
    static Optional<Gguf> read(Path model, List<Path> files) {
        if (files.isEmpty()) {
            return Optional.empty();
        }
        List<GgufHeader> headers = files.stream().map(GgufHeader::read).toList();
        headers.forEach(Gguf::requireKnown);
        Map<Boolean, List<GgufHeader>> parts = headers.stream().collect(Collectors.partitioningBy(Gguf::isTower));
        Path folder = Files.isDirectory(model) ? model : model.toAbsolutePath().getParent();
        requireOne(folder, parts.get(false), "decoder, such as model-Q8_0.gguf",
                "decoders", "name the one to take in place of the folder");
        requireOne(folder, parts.get(true), "vision tower, such as mmproj-model-f16.gguf",
                "vision towers", "leave one of them here");
        return Optional.of(new Gguf(headers));
    }

    /** Whether a file has the name of one in this format. */
    static boolean isNamed(Path file) {
        Path name = file.getFileName();
        return name != null && name.toString().toLowerCase(Locale.ROOT).endsWith(SUFFIX);
    }

    private static boolean isTower(GgufHeader header) {
        return header.architecture().equals(Optional.of(TOWER));
    }

    private static void requireKnown(GgufHeader header) {
        String architecture = header.architecture().orElse("none that it names");
        if (header.numbers().getOrDefault("split.count", 1L) > 1) {
            throw new CheckpointException(header.file(), "is one of " + header.numbers().get("split.count")
                    + " parts, which are not read; join them with `llama-gguf-split --merge`");
        }
        if (isTower(header)) {
            String projector = header.texts().getOrDefault("clip.projector_type", "unknown");
            if (!projector.equals(PROJECTOR)) {
                throw unknown(header, "a vision tower whose projector is " + StrictJson.printable(projector));
            }
        } else if (!DECODERS.contains(architecture)) {
            throw unknown(header, "of architecture " + StrictJson.printable(architecture));
        } else {
            refuseScaledPositions(header, architecture + ".rope.");
        }
    }

    /** As llama.cpp takes them: a factor without a type scales, too, and 0 stands for none. */
    private static void refuseScaledPositions(GgufHeader header, String prefix) {
        UNSCALED.forEach((name, factors) -> {
            String key = prefix + name;
            double factor = header.numbers().containsKey(key)
                    ? header.numbers().get(key)
                    : header.reals().getOrDefault(key, Double.NaN);
            boolean harmless = factors.contains(factor) || header.texts().getOrDefault(key, "").equals("none");
            if (header.keys().contains(key) && !harmless) {
                throw new CheckpointException(
                        header.file(), "key " + key + ": scaled positions are not supported; " + ModelPath.CONVERTED);
            }
        });
    }

    private static CheckpointException unknown(GgufHeader header, String what) {
        return new CheckpointException(header.file(), "is GGUF " + what + "; of that format, decoders gemma and gemma2 "
                + "are read, with a tower whose projector is paligemma; " + ModelPath.CONVERTED);
    }

    private static void requireOne(
            Path folder, List<GgufHeader> headers, String one, String several, String instead) {
        if (headers.isEmpty()) {
            throw new CheckpointException(folder, "holds GGUF without that of the " + one + ": download it, too");
        }
        if (headers.size() > 1) {
            throw new CheckpointException(folder, "holds " + headers.size() + " " + several + " in GGUF: "
                    + headers.stream()
                            .map(header -> StrictJson.printable(header.file().getFileName().toString()))
                            .collect(Collectors.joining(", "))
                    + "; " + instead);
        }
    }

    private void add(GgufHeader header, GgufHeader.Tensor tensor, Set<String> swapped) {
        if (Blocks.isScales(tensor.name())) {
            // Else it would be taken for those of a matrix.
            throw refused(header, tensor, "has the name of scales, which are within the blocks of this format");
        }
        Path file = header.file();
        String name = name(tensor.name(), header.architecture().orElseThrow(), swapped);
        boolean norm = !isTower(header) && !name.equals(tensor.name()) && name.endsWith("norm.weight");
        Shape shape = tensor.shape();
        boolean blocks = tensor.type().plain().isEmpty();
        if (!blocks && !norm) {
            tensors.add(new TensorInfo(
                    name, tensor.name(), file, tensor.type().plain().get(), shape, tensor.offset(), tensor.bytes()));
            return;
        }
        if (norm ? blocks : shape.rank() != 2) {
            throw refused(header, tensor, "is " + tensor.type() + " " + shape + ": only matrices have blocks");
        }
        Copied copy = new Copied(header, tensor, name, norm);
        copied.put(tensor.name(), copy);
        DType type = copy.type();
        if (norm) {
            tensors.add(new TensorInfo(name, tensor.name(), file, StoredType.F32, shape, 0, copy.bytes()));
            return;
        }
        long scales = type.scalesOffset(shape.matrix());
        tensors.add(new TensorInfo(
                name, tensor.name(), file, Blocks.levels(type), Blocks.levels(type, shape), 0, scales));
        tensors.add(new TensorInfo(
                Blocks.scales(name),
                Blocks.scales(tensor.name()),
                file,
                Blocks.scales(type),
                Blocks.scales(type, shape),
                scales,
                copy.bytes() - scales));
    }

    /** The published name of a tensor; its own where nothing of the model has it. @param swapped layers */
    private static String name(String stored, String architecture, Set<String> swapped) {
        Matcher decoder = DECODER_LAYER.matcher(stored);
        if (decoder.matches() && DECODERS.contains(architecture)) {
            Map<String, String> norms = architecture.equals("gemma") ? GEMMA_NORMS : GEMMA_2_NORMS;
            String part = LAYER_PARTS.getOrDefault(decoder.group(2), norms.get(decoder.group(2)));
            return part == null ? stored : DECODER_PREFIX + "layers." + decoder.group(1) + "." + part + ".weight";
        }
        Matcher tower = TOWER_LAYER.matcher(stored);
        if (tower.matches() && architecture.equals(TOWER) && TOWER_PARTS.containsKey(tower.group(2))) {
            String part = swapped.contains(tower.group(1)) ? straight(tower.group(2)) : tower.group(2);
            return TOWER_PREFIX + "encoder.layers." + tower.group(1) + "." + TOWER_PARTS.get(part) + "."
                    + tower.group(3);
        }
        return NAMES.getOrDefault(stored, stored);
    }

    /**
     * Layers whose feed-forward parts have each other's names: converters of before 2025-04 call the first ffn_down and
     * the second ffn_up.
     */
    private static Set<String> swapped(GgufHeader header) {
        Set<String> layers = new HashSet<>();
        for (GgufHeader.Tensor tensor : header.tensors()) {
            Matcher part = TOWER_LAYER.matcher(tensor.name());
            if (part.matches()
                    && part.group(2).equals("ffn_down")
                    && part.group(3).equals("weight")
                    && tensor.shape().dimension(0) > tensor.shape().columns()) {
                layers.add(part.group(1));
            }
        }
        return layers;
    }

    private static String straight(String part) {
        return switch (part) {
            case "ffn_up" -> "ffn_down";
            case "ffn_down" -> "ffn_up";
            default -> part;
        };
    }

    List<GgufHeader> headers() {
        return headers;
    }

    GgufHeader decoder() {
        return headers.stream().filter(header -> !isTower(header)).findFirst().orElseThrow();
    }

    GgufHeader tower() {
        return headers.stream().filter(Gguf::isTower).findFirst().orElseThrow();
    }

    /** The file that a tensor of that published name is to be in. */
    Path holder(String name) {
        return (name.startsWith(LANGUAGE_MODEL) ? decoder() : tower()).file();
    }

    /** All tensors; offsets of those that are copied count from the beginning of the copy. */
    List<TensorInfo> tensors() {
        return tensors;
    }

    /** Bytes that are copied of the files. */
    long copiedBytes() {
        return copied.values().stream().mapToLong(Copied::bytes).sum();
    }

    /** Says that the copies are made to be written into a checkpoint: nobody needs the advice to do that. */
    void copiesAreWritten() {
        written = true;
    }

    /** Whether a tensor is among those that are copied. */
    boolean copies(TensorInfo tensor) {
        return copied.containsKey(matrix(tensor));
    }

    private static String matrix(TensorInfo tensor) {
        String stored = tensor.storedName();
        return Blocks.isScales(stored) ? Blocks.matrix(stored) : stored;
    }

    /** Reads a part of a file. */
    interface Source {
        /** @throws CheckpointException if it cannot be read any more */
        byte[] bytes(TensorInfo tensor, long first, int count);
    }

    /**
     * What a tensor's offset counts in, if that is no file. The first call copies all that is copied, as does the next
     * one where that failed.
     *
     * @param arena shared; owns the copies
     * @throws CheckpointException if a file cannot be read any more
     */
    synchronized Optional<MemorySegment> copy(TensorInfo tensor, Source source, Arena arena) {
        Copied copy = copied.get(matrix(tensor));
        if (copy == null) {
            return Optional.empty();
        }
        if (copies.isEmpty()) {
            copies = copyAll(source, arena);
        }
        return Optional.of(copies.get(copy.tensor.name()));
    }

    private Map<String, MemorySegment> copyAll(Source source, Arena arena) {
        long start = System.nanoTime();
        Map<String, MemorySegment> made = new ConcurrentHashMap<>();
        // The memory of several at a time: whoever gets it touches each page for the first time.
        copied.values().stream()
                .sorted(Comparator.comparingLong(Copied::bytes).reversed())
                .toList()
                .parallelStream()
                .forEach(copy -> made.put(copy.tensor.name(), copied(copy, source, arena)));
        Map<GgufType, DType> types = new EnumMap<>(GgufType.class);
        copied.values().stream()
                .filter(copy -> !copy.norm)
                .forEach(copy -> types.put(copy.tensor.type(), copy.type()));
        if (!types.isEmpty()) {
            LOG.warn(String.format(
                    Locale.ROOT,
                    "converted weights, %s: copies of %.2f GB in memory, made in %.1f s%s",
                    types.entrySet().stream()
                            .map(type -> type.getKey() + " to " + type.getValue().label())
                            .collect(Collectors.joining(", ")),
                    copiedBytes() / 1e9,
                    (System.nanoTime() - start) / 1e9,
                    written ? "" : "; `stormsight quantize` writes a checkpoint that is used as it is"));
        }
        return made;
    }

    private static MemorySegment copied(Copied copy, Source source, Arena arena) {
        MemorySegment to = arena.allocate(copy.bytes(), ALIGNMENT);
        TensorInfo stored = new TensorInfo(copy.name, copy.tensor.name(), copy.header.file(), StoredType.U8,
                copy.tensor.shape(), copy.tensor.offset(), copy.tensor.bytes());
        try {
            if (copy.norm) {
                lessOne(copy, stored, source, to);
            } else {
                takeApart(copy, stored, source, to);
            }
        } catch (InternalError e) {
            // Some JVMs tell of the fault only when the method that read has returned.
            throw Checkpoint.cut(stored, e);
        }
        return to;
    }

    /** In pieces, as a file may say that a norm has any size. */
    private static void lessOne(Copied copy, TensorInfo stored, Source source, MemorySegment to) {
        int width = copy.tensor.type().blockBytes();
        long elements = stored.bytes() / width;
        for (long first = 0; first < elements; first += PIECE) {
            int count = (int) Math.min(PIECE, elements - first);
            byte[] less = lessOne(copy, source.bytes(stored, first * width, count * width), count);
            MemorySegment.copy(less, 0, to, JAVA_BYTE, first * Float.BYTES, less.length);
        }
    }

    private static byte[] lessOne(Copied copy, byte[] stored, int count) {
        ByteBuffer values = ByteBuffer.wrap(stored).order(ByteOrder.LITTLE_ENDIAN);
        ByteBuffer less = ByteBuffer.allocate(count * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        while (values.hasRemaining()) {
            less.putFloat((float) (switch (copy.tensor.type()) {
                case F32 -> values.getFloat();
                case F64 -> values.getDouble();
                case F16 -> Float.float16ToFloat(values.getShort());
                case BF16 -> Float.intBitsToFloat(values.getShort() << Short.SIZE);
                default -> throw new IllegalStateException("a norm in " + copy.tensor.type());
            } - 1.0));
        }
        return less.array();
    }

    /** In pieces, shared among the machine's cores, from arrays to arrays: no compiler has seen this code yet. */
    private static void takeApart(Copied copy, TensorInfo stored, Source source, MemorySegment to) {
        GgufType type = copy.tensor.type();
        DType becomes = copy.type();
        int each = type.block() / becomes.block();
        long blocks = stored.bytes() / type.blockBytes();
        long scales = becomes.scalesOffset(stored.shape().matrix());
        LongStream.range(0, Math.ceilDiv(blocks, (long) PIECE)).parallel().forEach(piece -> {
            long first = piece * PIECE;
            int count = (int) Math.min(PIECE, blocks - first);
            byte[] from = source.bytes(stored, first * type.blockBytes(), count * type.blockBytes());
            ByteBuffer in = ByteBuffer.wrap(from).order(ByteOrder.LITTLE_ENDIAN);
            byte[] levels = new byte[Math.toIntExact(becomes.elementBytes((long) count * type.block()))];
            ByteBuffer scale = ByteBuffer.allocate(count * each * becomes.scaleType().elementBytes())
                    .order(ByteOrder.LITTLE_ENDIAN);
            float[] values = new float[type.block()];
            for (int i = 0; i < count; i++) {
                int at = i * type.blockBytes();
                switch (type) {
                    case Q8_0 -> {
                        scale.putFloat(Float.float16ToFloat(in.getShort(at)));
                        System.arraycopy(from, at + Short.BYTES, levels, i * type.block(), type.block());
                    }
                    case Q4_0 -> {
                        scale.putShort((short) RandomWeights.bf16(Float.float16ToFloat(in.getShort(at))));
                        for (int j = 0; j < type.block() / 2; j++) {
                            // Eight less in both halves, in two's complement.
                            levels[i * type.block() / 2 + j] = (byte) (from[at + Short.BYTES + j] ^ 0x88);
                        }
                    }
                    case Q4_K -> {
                        q4K(in, at, values);
                        q8(values, i, levels, scale);
                    }
                    case Q6_K -> {
                        q6K(in, at, values);
                        q8(values, i, levels, scale);
                    }
                    default -> throw new IllegalStateException(type + " has no blocks");
                }
            }
            MemorySegment.copy(
                    levels, 0, to, JAVA_BYTE, becomes.elementBytes(first * type.block()), levels.length);
            MemorySegment.copy(
                    scale.array(),
                    0,
                    to,
                    JAVA_BYTE,
                    scales + first * each * becomes.scaleType().elementBytes(),
                    scale.capacity());
        });
    }

    /** Turns the values of a block as {@link Blocks#quantize} does. */
    private static void q8(float[] values, int block, byte[] levels, ByteBuffer scales) {
        for (int start = 0; start < values.length; start += DType.Q8_BLOCK) {
            scales.putFloat(Blocks.q8(values, start, levels, block * values.length + start));
        }
    }

    /** {@code d * scale * level - dMin * minimum} of each 32 weights. */
    static void q4K(ByteBuffer in, int at, float[] values) {
        float d = Float.float16ToFloat(in.getShort(at));
        float dMin = Float.float16ToFloat(in.getShort(at + 2));
        for (int part = 0; part < 8; part++) {
            int here = in.get(at + 4 + part) & 255;
            int behind = in.get(at + 8 + part) & 255;
            int scale = here & 63;
            int minimum = behind & 63;
            if (part >= 4) {
                // The last four of each have their lower four bits in one byte, their upper two in the first eight.
                scale = behind & 15 | (in.get(at + part) & 255) >> 6 << 4;
                minimum = behind >> 4 | here >> 6 << 4;
            }
            for (int i = 0; i < 32; i++) {
                int pair = in.get(at + 16 + part / 2 * 32 + i) & 255;
                int level = part % 2 == 0 ? pair & 15 : pair >> 4;
                values[part * 32 + i] = d * scale * level - dMin * minimum;
            }
        }
    }

    /** {@code d * scale * (level - 32)} of each 16 weights. */
    static void q6K(ByteBuffer in, int at, float[] values) {
        float d = Float.float16ToFloat(in.getShort(at + 208));
        for (int i = 0; i < 256; i++) {
            int half = i / 128;
            int quarter = i % 128 / 32;
            int lower = in.get(at + half * 64 + quarter % 2 * 32 + i % 32) & 255;
            int upper = in.get(at + 128 + half * 32 + i % 32) & 255;
            int level = (quarter < 2 ? lower & 15 : lower >> 4) | (upper >> 2 * quarter & 3) << 4;
            values[i] = d * in.get(at + 192 + i / 16) * (level - 32);
        }
    }
}
