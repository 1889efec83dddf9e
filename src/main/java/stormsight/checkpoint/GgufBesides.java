package stormsight.checkpoint;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.databind.json.JsonMapper;

/**
 * What Hugging Face has in files beside the weights, made from the keys of a PaliGemma in GGUF: sizes and constants of
 * decoder and tower, and the pieces of SentencePiece, from which the merges follow as transformers makes them.
 */
final class GgufBesides {
    private static final String CONFIG = "config.json";
    static final String PREPROCESSOR = "preprocessor_config.json";
    private static final String TOKENIZER = "tokenizer.json";

    /** What can be made. */
    static final Set<String> NAMES = Set.of(CONFIG, PREPROCESSOR, TOKENIZER);

    /** More than any vocabulary has. */
    private static final int MOST_TOKENS = 1 << 20;
    /** Gemma has 580,000. */
    private static final int MOST_MERGES = 1 << 22;
    /** Of a token; those of Gemma have up to 93. */
    private static final int MOST_BYTES = 1 << 9;
    private static final int CHANNELS = 3;

    private static final Pattern DECODER_LAYER = Pattern.compile("blk\\.(\\d+)\\.");
    private static final Pattern TOWER_LAYER = Pattern.compile("v\\.blk\\.(\\d+)\\.");

    private static final String IMAGE = "<image>";
    private static final String SPACE = "\u2581";
    private static final String TAB = "\t";
    private static final String TAB_BYTE = "<0x09>";

    /** Of SentencePiece. */
    private static final String KIND = "llama";
    private static final int UNKNOWN = 2;
    private static final int CONTROL = 3;
    private static final int USER_DEFINED = 4;
    private static final int UNUSED = 5;

    /** Of Gemma 2 with 27 billion parameters, whose scores are scaled by another size than that of a head. */
    private static final int LAYERS_27B = 46;

    /** What was read last: opening one model asks several times. */
    private static volatile Read last;

    private final GgufHeader decoder;
    private final GgufHeader tower;
    private final String architecture;

    private record Read(List<String> stamps, GgufBesides besides) {}

    /** Two tokens that become one piece, with their lengths in characters. */
    private record Merge(float score, int leftLength, int rightLength, int left, int right) {}

    private GgufBesides(GgufHeader decoder, GgufHeader tower) {
        this.decoder = decoder;
        this.tower = tower;
        architecture = decoder.architecture().orElseThrow();
    }

    /**
     * Looks at a folder.
     *
     * @return empty if its weights are not GGUF
     * @throws CheckpointException if they are, and not those of one PaliGemma
     */
    static Optional<GgufBesides> of(Path folder) {
        if (!Checkpoint.isGguf(folder)) {
            return Optional.empty();
        }
        List<Path> files = ModelPath.gguf(folder);
        List<String> stamps = files.stream().map(GgufBesides::stamp).toList();
        Read read = last;
        if (read == null || !read.stamps.equals(stamps)) {
            Gguf gguf = Gguf.read(folder, files).orElseThrow();
            read = new Read(stamps, new GgufBesides(gguf.decoder(), gguf.tower()));
            last = read;
        }
        return Optional.of(read.besides);
    }

    /** Another one when the file has changed. */
    private static String stamp(Path file) {
        try {
            return file.toAbsolutePath() + " " + Files.size(file) + " " + Files.getLastModifiedTime(file);
        } catch (IOException e) {
            throw StrictJson.unreadable(file, e);
        }
    }

    /** The content of one of {@link #NAMES}. */
    byte[] file(String name) {
        return switch (name) {
            case CONFIG -> json(config());
            case PREPROCESSOR -> json(preprocessor());
            case TOKENIZER -> tokenizer();
            default -> throw new IllegalArgumentException(name);
        };
    }

    private static byte[] json(Map<String, Object> object) {
        return (JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(object) + "\n")
                .getBytes(StandardCharsets.UTF_8);
    }

    private Map<String, Object> config() {
        Map<String, Object> config = new LinkedHashMap<>();
        config.put("model_type", "paligemma");
        config.put("image_token_index", imageToken());
        put(config, "bos_token_id", decoder, "tokenizer.ggml.bos_token_id");
        put(config, "eos_token_id", decoder, "tokenizer.ggml.eos_token_id");
        put(config, "pad_token_id", decoder, "tokenizer.ggml.padding_token_id");
        config.put("text_config", textConfig());
        config.put("vision_config", visionConfig());
        return config;
    }

    private int imageToken() {
        int id = tokens().indexOf(IMAGE);
        if (id < 0) {
            throw new CheckpointException(decoder.file(), "its tokens hold no " + IMAGE
                    + ": put config.json and tokenizer.json of the model as transformers has it beside it");
        }
        return id;
    }

    private Map<String, Object> textConfig() {
        String prefix = architecture + ".";
        if (!decoder.texts().getOrDefault(prefix + "rope.scaling.type", "none").equals("none")) {
            throw new CheckpointException(
                    decoder.file(), "key " + prefix + "rope.scaling.type: scaled positions are not supported");
        }
        int width = required(decoder, prefix + "embedding_length");
        int layers = layers(decoder, prefix + "block_count", DECODER_LAYER);
        int heads = required(decoder, prefix + "attention.head_count");
        int head = number(decoder, prefix + "attention.key_length", width / heads);
        if (number(decoder, prefix + "attention.value_length", head) != head) {
            throw new CheckpointException(
                    decoder.file(), "key " + prefix + "attention.value_length: not that of the keys, " + head);
        }
        Map<String, Object> text = new LinkedHashMap<>();
        text.put("model_type", architecture);
        text.put("hidden_size", width);
        text.put("intermediate_size", required(decoder, prefix + "feed_forward_length"));
        text.put("num_hidden_layers", layers);
        text.put("num_attention_heads", heads);
        text.put("num_key_value_heads", number(decoder, prefix + "attention.head_count_kv", heads));
        text.put("head_dim", head);
        text.put("vocab_size", rows());
        put(text, "max_position_embeddings", decoder, prefix + "context_length");
        put(text, "rms_norm_eps", decoder, prefix + "attention.layer_norm_rms_epsilon");
        put(text, "rope_theta", decoder, prefix + "rope.freq_base");
        if (architecture.equals("gemma2")) {
            put(text, "attn_logit_softcapping", decoder, prefix + "attn_logit_softcapping");
            put(text, "final_logit_softcapping", decoder, prefix + "final_logit_softcapping");
            put(text, "sliding_window", decoder, prefix + "attention.sliding_window");
            text.put("query_pre_attn_scalar", layers == LAYERS_27B ? width / heads : head);
        }
        return text;
    }

    /** Of the embedding table. */
    private int rows() {
        return decoder.tensors().stream()
                .filter(tensor -> tensor.name().equals("token_embd.weight"))
                .findFirst()
                .orElseThrow(() -> new CheckpointException(decoder.file(), "no tensor token_embd.weight"))
                .shape()
                .dimension(0);
    }

    private Map<String, Object> visionConfig() {
        String prefix = "clip.vision.";
        Map<String, Object> vision = new LinkedHashMap<>();
        vision.put("model_type", "siglip_vision_model");
        vision.put("hidden_size", required(tower, prefix + "embedding_length"));
        vision.put("intermediate_size", required(tower, prefix + "feed_forward_length"));
        vision.put("num_hidden_layers", layers(tower, prefix + "block_count", TOWER_LAYER));
        vision.put("num_attention_heads", required(tower, prefix + "attention.head_count"));
        vision.put("image_size", required(tower, prefix + "image_size"));
        vision.put("patch_size", required(tower, prefix + "patch_size"));
        put(vision, "layer_norm_eps", tower, prefix + "attention.layer_norm_epsilon");
        return vision;
    }

    private Map<String, Object> preprocessor() {
        Map<String, Object> preprocessor = new LinkedHashMap<>();
        for (String key : List.of("image_mean", "image_std")) {
            if (tower.arrays().containsKey("clip.vision." + key)) {
                List<Float> channels = new ArrayList<>();
                for (float channel : tower.reals("clip.vision." + key, CHANNELS)) {
                    channels.add(channel);
                }
                preprocessor.put(key, channels);
            }
        }
        return preprocessor;
    }

    private static int required(GgufHeader header, String key) {
        if (!header.numbers().containsKey(key)) {
            throw new CheckpointException(header.file(), "key " + key + ": missing");
        }
        return number(header, key, 0);
    }

    private static int number(GgufHeader header, String key, int absent) {
        Long number = header.numbers().get(key);
        if (number != null && (number < 1 || number > Integer.MAX_VALUE)) {
            throw new CheckpointException(header.file(), "key " + key + ": " + Long.toUnsignedString(number)
                    + ", a positive number of 31 bits expected");
        }
        return number == null ? absent : number.intValue();
    }

    /** As many as there are: of a file that is cut or patched, some would be left out. */
    private static int layers(GgufHeader header, String key, Pattern layer) {
        int layers = required(header, key);
        long held = header.tensors().stream()
                .map(tensor -> layer.matcher(tensor.name()))
                .filter(Matcher::lookingAt)
                .map(found -> found.group(1))
                .distinct()
                .count();
        if (held != layers) {
            throw new CheckpointException(
                    header.file(), "key " + key + ": " + layers + ", but its tensors are those of " + held + " layers");
        }
        return layers;
    }

    /** A token that a key names, if it does. */
    private Optional<Integer> token(String key, int tokens) {
        return Optional.ofNullable(decoder.numbers().get(key))
                .filter(id -> id >= 0 && id < tokens)
                .map(Long::intValue);
    }

    /** A number, if it is there: what config.json leaves out has a default. */
    private static void put(Map<String, Object> to, String name, GgufHeader header, String key) {
        Number number = header.numbers().get(key);
        number = number == null ? header.reals().get(key) : number;
        if (number != null) {
            // Constants are written in 32 bits, as which they have fewer digits.
            to.put(name, number instanceof Double real ? Double.valueOf(Float.toString(real.floatValue())) : number);
        }
    }

    private List<String> tokens() {
        String kind = decoder.texts().getOrDefault("tokenizer.ggml.model", "none");
        if (!kind.equals(KIND)) {
            throw new CheckpointException(decoder.file(), "its tokenizer is " + StrictJson.printable(kind) + ", not "
                    + KIND + " (SentencePiece): put tokenizer.json of the model as transformers has it beside it");
        }
        return decoder.texts("tokenizer.ggml.tokens", MOST_TOKENS, MOST_BYTES);
    }

    /** As transformers converts a Gemma's SentencePiece model. */
    private byte[] tokenizer() {
        List<String> tokens = tokens();
        int[] types = decoder.integers("tokenizer.ggml.token_type", MOST_TOKENS);
        float[] scores = decoder.reals("tokenizer.ggml.scores", MOST_TOKENS);
        if (types.length != tokens.size() || scores.length != tokens.size()) {
            throw new CheckpointException(decoder.file(), tokens.size() + " tokens have " + types.length
                    + " types and " + scores.length + " scores");
        }
        // As transformers mends old Gemmas, which have tabs as bytes alone.
        if (!tokens.contains(TAB)) {
            tokens.replaceAll(token -> token.equals(TAB_BYTE) ? TAB : token);
        }
        Map<String, Integer> ids = new LinkedHashMap<>();
        for (int id = 0; id < types.length; id++) {
            // Rows of the embedding table that stand for nothing are filled up so.
            boolean padding = types[id] == UNUSED && tokens.get(id).equals("[PAD" + id + "]");
            if (!padding && ids.putIfAbsent(tokens.get(id), id) != null) {
                throw new CheckpointException(
                        decoder.file(), "the token " + StrictJson.printable(tokens.get(id)) + " is there twice");
            }
        }
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (JsonGenerator json = StrictJson.FACTORY.createGenerator(ObjectWriteContext.empty(), bytes)) {
            json.writeStartObject();
            json.writeArrayPropertyStart("added_tokens");
            ids.forEach((token, id) -> {
                if (types[id] == UNKNOWN || types[id] == CONTROL || types[id] == USER_DEFINED) {
                    json.writeStartObject();
                    json.writeNumberProperty("id", id);
                    json.writeStringProperty("content", token);
                    json.writeBooleanProperty("normalized", false);
                    json.writeBooleanProperty("special", types[id] != USER_DEFINED);
                    json.writeEndObject();
                }
            });
            json.writeEndArray();
            json.writeName("normalizer");
            writeReplace(json, " ", SPACE);
            token("tokenizer.ggml.bos_token_id", tokens.size())
                    .ifPresent(first -> writeTemplate(json, tokens.get(first), first));
            json.writeObjectPropertyStart("decoder");
            json.writeStringProperty("type", "Sequence");
            json.writeArrayPropertyStart("decoders");
            writeReplace(json, SPACE, " ");
            writeTyped(json, "ByteFallback");
            writeTyped(json, "Fuse");
            json.writeEndArray();
            json.writeEndObject();
            json.writeObjectPropertyStart("model");
            json.writeStringProperty("type", "BPE");
            token("tokenizer.ggml.unknown_token_id", tokens.size())
                    .ifPresent(unknown -> json.writeStringProperty("unk_token", tokens.get(unknown)));
            json.writeBooleanProperty("fuse_unk", true);
            json.writeBooleanProperty("byte_fallback", true);
            json.writeObjectPropertyStart("vocab");
            ids.forEach(json::writeNumberProperty);
            json.writeEndObject();
            json.writeArrayPropertyStart("merges");
            for (Merge merge : merges(ids, scores)) {
                json.writeStartArray();
                json.writeString(tokens.get(merge.left));
                json.writeString(tokens.get(merge.right));
                json.writeEndArray();
            }
            json.writeEndArray();
            json.writeEndObject();
            json.writeEndObject();
        }
        return bytes.toByteArray();
    }

    private static void writeReplace(JsonGenerator json, String pattern, String content) {
        json.writeStartObject();
        json.writeStringProperty("type", "Replace");
        json.writeObjectPropertyStart("pattern");
        json.writeStringProperty("String", pattern);
        json.writeEndObject();
        json.writeStringProperty("content", content);
        json.writeEndObject();
    }

    /** A text behind a token. */
    private static void writeTemplate(JsonGenerator json, String token, int id) {
        json.writeObjectPropertyStart("post_processor");
        json.writeStringProperty("type", "TemplateProcessing");
        json.writeArrayPropertyStart("single");
        for (String[] part : new String[][] {{"SpecialToken", token}, {"Sequence", "A"}}) {
            json.writeStartObject();
            json.writeObjectPropertyStart(part[0]);
            json.writeStringProperty("id", part[1]);
            json.writeNumberProperty("type_id", 0);
            json.writeEndObject();
            json.writeEndObject();
        }
        json.writeEndArray();
        json.writeObjectPropertyStart("special_tokens");
        json.writeObjectPropertyStart(token);
        json.writeStringProperty("id", token);
        json.writeArrayPropertyStart("ids");
        json.writeNumber(id);
        json.writeEndArray();
        json.writeArrayPropertyStart("tokens");
        json.writeString(token);
        json.writeEndArray();
        json.writeEndObject();
        json.writeEndObject();
        json.writeEndObject();
    }

    private static void writeTyped(JsonGenerator json, String type) {
        json.writeStartObject();
        json.writeStringProperty("type", type);
        json.writeEndObject();
    }

    /** Each way to put a piece together from two others; by the piece's score, then the longer left part first. */
    private List<Merge> merges(Map<String, Integer> ids, float[] scores) {
        List<Merge> merges = new ArrayList<>();
        ids.forEach((piece, id) -> {
            int length = piece.codePointCount(0, piece.length());
            for (int left = 1; left < length; left++) {
                int at = piece.offsetByCodePoints(0, left);
                Integer first = ids.get(piece.substring(0, at));
                Integer second = first == null ? null : ids.get(piece.substring(at));
                if (second != null) {
                    merges.add(new Merge(scores[id], left, length - left, first, second));
                }
            }
            if (merges.size() > MOST_MERGES) {
                throw new CheckpointException(
                        decoder.file(), "its tokens can be put together in more than " + MOST_MERGES + " ways");
            }
        });
        merges.sort(Comparator.comparingDouble(Merge::score)
                .thenComparingInt(Merge::leftLength)
                .thenComparingInt(Merge::rightLength)
                .reversed());
        return merges;
    }
}
