package stormsight.checkpoint;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** Writes the GGUF files of a PaliGemma as the converters of llama.cpp do. */
public final class GgufFiles {
    private static final int ALIGNMENT = 32;
    private static final int BLOCK = 32;

    private static final Map<String, String> NAMES = new LinkedHashMap<>();

    static {
        NAMES.put("language_model.model.embed_tokens", "token_embd");
        NAMES.put("language_model.model.norm", "output_norm");
        NAMES.put("language_model.model.layers.", "blk.");
        NAMES.put("vision_tower.vision_model.embeddings.patch_embedding", "v.patch_embd");
        NAMES.put("vision_tower.vision_model.embeddings.position_embedding", "v.position_embd");
        NAMES.put("vision_tower.vision_model.encoder.layers.", "v.blk.");
        NAMES.put("vision_tower.vision_model.post_layernorm", "v.post_ln");
        NAMES.put("multi_modal_projector.linear", "mm.input_projection");
        NAMES.put(".self_attn.q_proj", ".attn_q");
        NAMES.put(".self_attn.k_proj", ".attn_k");
        NAMES.put(".self_attn.v_proj", ".attn_v");
        NAMES.put(".self_attn.o_proj", ".attn_output");
        NAMES.put(".self_attn.out_proj", ".attn_out");
        NAMES.put(".mlp.gate_proj", ".ffn_gate");
        NAMES.put(".mlp.up_proj", ".ffn_up");
        NAMES.put(".mlp.down_proj", ".ffn_down");
        NAMES.put(".layer_norm", ".ln");
        NAMES.put(".input_layernorm", ".attn_norm");
    }

    private static final Map<String, String> GEMMA = Map.of(".post_attention_layernorm", ".ffn_norm");
    private static final Map<String, String> GEMMA_2 = Map.of(
            ".post_attention_layernorm", ".post_attention_norm",
            ".pre_feedforward_layernorm", ".ffn_norm",
            ".post_feedforward_layernorm", ".post_ffw_norm");

    /** What a file says of itself, and what it holds. */
    static final class Content {
        final Map<String, Object> keys = new LinkedHashMap<>();
        final List<Entry> tensors = new ArrayList<>();
    }

    /** @param type its number in the format @param shape row-major */
    record Entry(String name, int type, List<Integer> shape, byte[] data) {}

    private GgufFiles() {}

    /**
     * Writes a folder with {@code model.gguf}, {@code mmproj.gguf} and what lies beside the weights.
     *
     * @param decoder in what its matrices are written: stored, Q8_0 or Q4_0
     * @return what was written, by the names in safetensors
     */
    public static Map<String, float[]> convert(Path from, Path to, String architecture, String decoder)
            throws IOException {
        return convert(from, to, architecture, decoder, false);
    }

    /** @param swapped whether the layers of the tower's MLPs have each other's names, as in files of before 2025-04 */
    static Map<String, float[]> convert(Path from, Path to, String architecture, String decoder, boolean swapped)
            throws IOException {
        Files.createDirectories(to);
        try (Stream<Path> files = Files.list(from)) {
            for (Path file : files.filter(Files::isRegularFile)
                    .filter(file -> !file.toString().endsWith(".safetensors"))
                    .toList()) {
                Files.copy(file, to.resolve(file.getFileName().toString()));
            }
        }
        JsonRecord config = JsonRecord.read(from.resolve("config.json"));
        Content text = new Content();
        text.keys.putAll(decoderKeys(architecture, config));
        text.keys.putAll(tokenizerKeys(JsonRecord.read(from.resolve("tokenizer.json")), config));
        Content tower = new Content();
        tower.keys.putAll(towerKeys(config.get("vision_config")));
        Map<String, float[]> written = new HashMap<>();
        try (Checkpoint checkpoint = Checkpoint.open(from)) {
            for (String name : checkpoint.names()) {
                boolean inText = name.startsWith("language_model.");
                TensorInfo info = checkpoint.info(name);
                float[] values = checkpoint.decode(info);
                boolean norm = inText && name.endsWith("norm.weight");
                String type = norm || info.shape().rank() < 2
                        ? "F32"
                        : inText && !decoder.equals("stored") ? decoder : info.type().name();
                byte[] data = encoded(type, values, norm ? 1 : 0);
                written.put(name, values);
                (inText ? text : tower)
                        .tensors.add(new Entry(
                                name(name, architecture, swapped), number(type), info.shape().dimensions(), data));
            }
        }
        write(to.resolve("model.gguf"), text);
        write(to.resolve("mmproj.gguf"), tower);
        return written;
    }

    private static Map<String, Object> decoderKeys(String architecture, JsonRecord config) {
        JsonRecord text = config.get("text_config");
        Map<String, Object> keys = new LinkedHashMap<>();
        keys.put("general.architecture", architecture);
        keys.put(architecture + ".context_length", number(text, "max_position_embeddings", 8192));
        keys.put(architecture + ".embedding_length", number(text, "hidden_size"));
        keys.put(architecture + ".block_count", number(text, "num_hidden_layers"));
        keys.put(architecture + ".feed_forward_length", number(text, "intermediate_size"));
        keys.put(architecture + ".attention.head_count", number(text, "num_attention_heads"));
        keys.put(architecture + ".attention.head_count_kv", number(text, "num_key_value_heads"));
        keys.put(architecture + ".attention.key_length", number(text, "head_dim"));
        keys.put(architecture + ".attention.value_length", number(text, "head_dim"));
        keys.put(architecture + ".attention.layer_norm_rms_epsilon", 1e-6f);
        if (architecture.equals("gemma2")) {
            keys.put("gemma2.attn_logit_softcapping", 50f);
            keys.put("gemma2.final_logit_softcapping", 30f);
            keys.put("gemma2.attention.sliding_window", number(text, "sliding_window", 4096));
        }
        return keys;
    }

    private static Map<String, Object> towerKeys(JsonRecord vision) {
        Map<String, Object> keys = new LinkedHashMap<>();
        keys.put("general.architecture", "clip");
        keys.put("clip.has_vision_encoder", true);
        keys.put("clip.projector_type", "paligemma");
        keys.put("clip.vision.image_size", number(vision, "image_size"));
        keys.put("clip.vision.patch_size", number(vision, "patch_size"));
        keys.put("clip.vision.embedding_length", number(vision, "hidden_size"));
        keys.put("clip.vision.feed_forward_length", number(vision, "intermediate_size"));
        keys.put("clip.vision.projection_dim", number(vision, "projection_dim"));
        keys.put("clip.vision.block_count", number(vision, "num_hidden_layers"));
        keys.put("clip.vision.attention.head_count", number(vision, "num_attention_heads"));
        keys.put("clip.vision.attention.layer_norm_epsilon", 1e-6f);
        keys.put("clip.vision.image_mean", new float[] {0.5f, 0.5f, 0.5f});
        keys.put("clip.vision.image_std", new float[] {0.5f, 0.5f, 0.5f});
        keys.put("clip.use_gelu", true);
        return keys;
    }

    /** Pieces with types and scores: a merge that comes earlier makes a piece of a higher score. */
    private static Map<String, Object> tokenizerKeys(JsonRecord tokenizer, JsonRecord config) {
        int rows = number(config.get("text_config"), "vocab_size");
        String[] tokens = new String[rows];
        int[] types = new int[rows];
        float[] scores = new float[rows];
        for (int id = 0; id < rows; id++) {
            tokens[id] = "[PAD" + id + "]";
            types[id] = 5;
        }
        JsonRecord model = tokenizer.get("model");
        Map<String, Integer> ids = new HashMap<>();
        for (String token : model.get("vocab").names()) {
            int id = model.get("vocab").get(token).index(rows);
            ids.put(token, id);
            tokens[id] = token;
            types[id] = token.matches("<0x[0-9A-F]{2}>") ? 6 : 1;
            scores[id] = -rows;
        }
        List<JsonRecord> merges = model.get("merges").elements();
        for (int i = merges.size() - 1; i >= 0; i--) {
            List<JsonRecord> pair = merges.get(i).elements(2);
            scores[ids.get(pair.get(0).text() + pair.get(1).text())] = -i;
        }
        for (JsonRecord token : tokenizer.get("added_tokens").elements()) {
            int id = token.get("id").index(rows);
            tokens[id] = token.get("content").text();
            types[id] = tokens[id].equals("<unk>") ? 2 : token.get("special").node().asBoolean() ? 3 : 4;
        }
        Map<String, Object> keys = new LinkedHashMap<>();
        keys.put("tokenizer.ggml.model", "llama");
        keys.put("tokenizer.ggml.tokens", List.of(tokens));
        keys.put("tokenizer.ggml.scores", scores);
        keys.put("tokenizer.ggml.token_type", types);
        keys.put("tokenizer.ggml.bos_token_id", 2);
        keys.put("tokenizer.ggml.eos_token_id", 1);
        keys.put("tokenizer.ggml.unknown_token_id", 3);
        keys.put("tokenizer.ggml.padding_token_id", 0);
        return keys;
    }

    private static int number(JsonRecord object, String key) {
        return object.get(key).index(Integer.MAX_VALUE);
    }

    private static int number(JsonRecord object, String key, int absent) {
        return object.find(key).map(value -> value.index(Integer.MAX_VALUE)).orElse(absent);
    }

    private static String name(String published, String architecture, boolean swapped) {
        String name = published.replace(".mlp.fc1", swapped ? ".ffn_down" : ".ffn_up")
                .replace(".mlp.fc2", swapped ? ".ffn_up" : ".ffn_down");
        for (Map.Entry<String, String> each : NAMES.entrySet()) {
            name = name.replace(each.getKey(), each.getValue());
        }
        for (Map.Entry<String, String> each : (architecture.equals("gemma") ? GEMMA : GEMMA_2).entrySet()) {
            if (name.contains(each.getKey())) {
                return name.replace(each.getKey(), each.getValue());
            }
        }
        return name;
    }

    private static int number(String type) {
        return switch (type) {
            case "F32" -> 0;
            case "F16" -> 1;
            case "Q4_0" -> 2;
            case "Q8_0" -> 8;
            case "BF16" -> 30;
            default -> throw new IllegalArgumentException(type);
        };
    }

    /** @param values become what the bytes stand for */
    private static byte[] encoded(String type, float[] values, int more) {
        ByteBuffer bytes = ByteBuffer.allocate(values.length * 4).order(ByteOrder.LITTLE_ENDIAN);
        if (type.startsWith("Q")) {
            for (int i = 0; i < values.length; i += BLOCK) {
                block(type, values, i, bytes);
            }
        } else {
            for (float value : values) {
                switch (type) {
                    case "F32" -> bytes.putFloat(value + more);
                    case "F16" -> bytes.putShort(Float.floatToFloat16(value));
                    default -> bytes.putShort((short) (Float.floatToRawIntBits(value) >>> 16));
                }
            }
        }
        byte[] data = new byte[bytes.position()];
        bytes.flip().get(data);
        return data;
    }

    private static void block(String type, float[] values, int at, ByteBuffer to) {
        float largest = 0;
        for (int i = at; i < at + BLOCK; i++) {
            largest = Math.abs(values[i]) > Math.abs(largest) ? values[i] : largest;
        }
        boolean q8 = type.equals("Q8_0");
        short stored = Float.floatToFloat16(q8 ? Math.abs(largest) / 127 : largest / -8);
        float scale = Float.float16ToFloat(stored);
        int[] levels = new int[BLOCK];
        for (int i = 0; i < BLOCK; i++) {
            levels[i] = scale == 0 ? 0 : Math.clamp(Math.round(values[at + i] / scale), q8 ? -127 : -8, q8 ? 127 : 7);
            values[at + i] = levels[i] * scale;
        }
        to.putShort(stored);
        for (int i = 0; i < (q8 ? BLOCK : BLOCK / 2); i++) {
            to.put((byte) (q8 ? levels[i] : levels[i] + 8 | levels[i + BLOCK / 2] + 8 << 4));
        }
    }

    static void write(Path file, Content content) throws IOException {
        Files.write(file, bytes(content));
    }

    static byte[] bytes(Content content) {
        ByteArrayOutputStream header = new ByteArrayOutputStream();
        ByteArrayOutputStream data = new ByteArrayOutputStream();
        put(header, "GGUF".getBytes(StandardCharsets.ISO_8859_1));
        put(header, number(4, 3));
        put(header, number(8, content.tensors.size()));
        put(header, number(8, content.keys.size()));
        content.keys.forEach((key, value) -> {
            put(header, text(key));
            switch (value) {
                case String text -> put(header, number(4, 8), text(text));
                case Integer number -> put(header, number(4, 4), number(4, number));
                case Boolean flag -> put(header, number(4, 7), number(1, flag ? 1 : 0));
                case Float real -> put(header, number(4, 6), number(4, Float.floatToRawIntBits(real)));
                case int[] numbers -> {
                    put(header, number(4, 9), number(4, 5), number(8, numbers.length));
                    IntStream.of(numbers).forEach(each -> put(header, number(4, each)));
                }
                case float[] reals -> {
                    put(header, number(4, 9), number(4, 6), number(8, reals.length));
                    for (float each : reals) {
                        put(header, number(4, Float.floatToRawIntBits(each)));
                    }
                }
                case List<?> texts -> {
                    put(header, number(4, 9), number(4, 8), number(8, texts.size()));
                    texts.forEach(each -> put(header, text((String) each)));
                }
                default -> throw new IllegalArgumentException(value.toString());
            }
        });
        for (Entry entry : content.tensors) {
            put(header, text(entry.name), number(4, entry.shape.size()));
            List<Integer> dimensions = new ArrayList<>(entry.shape);
            Collections.reverse(dimensions);
            dimensions.forEach(dimension -> put(header, number(8, dimension)));
            put(header, number(4, entry.type), number(8, data.size()));
            put(data, entry.data, new byte[-entry.data.length & ALIGNMENT - 1]);
        }
        put(header, new byte[-header.size() & ALIGNMENT - 1], data.toByteArray());
        return header.toByteArray();
    }

    private static byte[] text(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(8 + bytes.length).order(ByteOrder.LITTLE_ENDIAN)
                .putLong(bytes.length).put(bytes).array();
    }

    private static byte[] number(int bytes, long number) {
        byte[] all = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(number).array();
        return Arrays.copyOf(all, bytes);
    }

    private static void put(ByteArrayOutputStream to, byte[]... parts) {
        try {
            for (byte[] part : parts) {
                to.write(part);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
