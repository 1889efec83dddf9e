package stormsight.checkpoint;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.databind.json.JsonMapper;

/**
 * What Hugging Face has in files beside the weights, made from the keys of a PaliGemma in GGUF: sizes and constants of
 * decoder and tower, and the tokenizer.
 */
final class GgufBesides {
    private static final String CONFIG = "config.json";
    static final String PREPROCESSOR = "preprocessor_config.json";
    private static final String TOKENIZER = "tokenizer.json";

    /** What can be made. */
    static final Set<String> NAMES = Set.of(CONFIG, PREPROCESSOR, TOKENIZER);

    private static final int CHANNELS = 3;

    private static final Pattern DECODER_LAYER = Pattern.compile("blk\\.(\\d+)\\.");
    private static final Pattern TOWER_LAYER = Pattern.compile("v\\.blk\\.(\\d+)\\.");

    private static final String IMAGE = "<image>";

    /** Of Gemma 2 with 27 billion parameters, whose scores are scaled by another size than that of a head. */
    private static final int LAYERS_27B = 46;

    /** What was read last: opening one model asks several times. */
    private static volatile Read last;

    private final GgufHeader decoder;
    private final GgufHeader tower;
    private final GgufTokenizer tokenizer;
    private final String architecture;

    private record Read(List<String> stamps, GgufBesides besides) {}

    private GgufBesides(GgufHeader decoder, GgufHeader tower) {
        this.decoder = decoder;
        this.tower = tower;
        tokenizer = new GgufTokenizer(decoder);
        architecture = decoder.architecture().orElseThrow();
    }

    /**
     * Looks at a model.
     *
     * @param model a folder, or the file of a decoder in one
     * @return empty if its weights are not GGUF
     * @throws CheckpointException if they are, and not those of one PaliGemma
     */
    static Optional<GgufBesides> of(Path model) {
        if (!Files.isRegularFile(model) && !Checkpoint.isGguf(model)) {
            return Optional.empty();
        }
        List<Path> files = ModelPath.gguf(model);
        List<String> stamps = files.stream().map(GgufBesides::stamp).toList();
        Read read = last;
        if (read == null || !read.stamps.equals(stamps)) {
            Gguf gguf = Gguf.read(model, files).orElseThrow();
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
            case TOKENIZER -> JsonMapper.shared().writeValueAsBytes(tokenizer.json());
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
        return tokenizer.id(IMAGE).orElseThrow(() -> new CheckpointException(decoder.file(), "its tokens hold no "
                + IMAGE + ": put config.json and tokenizer.json of the model as transformers has it beside it"));
    }

    private Map<String, Object> textConfig() {
        String prefix = architecture + ".";
        int width = required(decoder, prefix + "embedding_length");
        int layers = layers(decoder, prefix + "block_count", DECODER_LAYER);
        int heads = required(decoder, prefix + "attention.head_count");
        int head = number(decoder, prefix + "attention.key_length", width / heads);
        if (number(decoder, prefix + "attention.value_length", head) != head) {
            throw new CheckpointException(
                    decoder.file(), "key " + prefix + "attention.value_length: not that of the keys, " + head);
        }
        if (number(decoder, prefix + "rope.dimension_count", head) != head) {
            throw new CheckpointException(
                    decoder.file(), "key " + prefix + "rope.dimension_count: not all of a head, " + head);
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
        if (!header.keys().contains(key)) {
            throw new CheckpointException(header.file(), "key " + key + ": missing");
        }
        return number(header, key, 0);
    }

    private static int number(GgufHeader header, String key, int absent) {
        Long number = header.numbers().get(key);
        if (number == null) {
            requireAbsent(header, key, "a whole number");
            return absent;
        }
        if (number < 1 || number > Integer.MAX_VALUE) {
            throw new CheckpointException(header.file(), "key " + key + ": " + Long.toUnsignedString(number)
                    + ", a positive number of 31 bits expected");
        }
        return number.intValue();
    }

    /** What a key holds in place of one number, such as an array with one for each layer, is not passed over. */
    private static void requireAbsent(GgufHeader header, String key, String expected) {
        if (header.keys().contains(key)) {
            String found = header.arrays().containsKey(key)
                    ? "an array of " + header.arrays().get(key).length() + " values"
                    : header.reals().containsKey(key) ? String.valueOf(header.reals().get(key)) : "a text";
            throw new CheckpointException(
                    header.file(), "key " + key + ": " + found + " found, " + expected + " expected");
        }
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

    /** A number, if it is there: what config.json leaves out has a default. */
    private static void put(Map<String, Object> to, String name, GgufHeader header, String key) {
        Number number = header.numbers().get(key);
        number = number == null ? header.reals().get(key) : number;
        if (number == null) {
            requireAbsent(header, key, "a number");
        } else {
            // Constants are written in 32 bits, as which they have fewer digits.
            to.put(name, number instanceof Double real ? Double.valueOf(Float.toString(real.floatValue())) : number);
        }
    }
}
