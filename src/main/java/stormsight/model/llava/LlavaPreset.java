package stormsight.model.llava;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import stormsight.model.Preset;
import stormsight.tokenizer.SyntheticTokenizer;

/**
 * A published size of LLaVA, or a tiny one, with the files that describe it: what a checkpoint of random weights is
 * made from.
 *
 * @param name as users name it: {@code llava-1.5-7b}
 * @param next whether it is LLaVA-NeXT
 * @param textVocabulary tokens before {@code <image>}
 */
record LlavaPreset(String name, boolean next, Map<String, Object> text, Map<String, Object> vision, int textVocabulary)
        implements Preset {
    /** The published tables are padded to a multiple of it. */
    private static final int VOCABULARY_MULTIPLE = 64;

    private static final int LLAMA_VOCABULARY = 32000;

    private static final String VICUNA =
            "{% for message in messages %}{{ message['role'].upper() + ': ' }}{% for part in message['content'] %}"
                    + "{{ '<image>\\n' if part['type'] == 'image' else part['text'] + ' ' }}{% endfor %}{% endfor %}"
                    + "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}";
    private static final String MISTRAL =
            "{% for message in messages %}{{ '[INST] ' }}{% for part in message['content'] %}"
                    + "{{ '<image>\\n' if part['type'] == 'image' else part['text'] }}{% endfor %}{{ ' [/INST]' }}{% "
                    + "endfor %}";

    /** LLaVA-1.5, the smallest first. */
    static List<Preset> llava() {
        return List.of(
                new LlavaPreset(
                        "tiny-llava", false, text("llama", 64, 160, 3, 4, 4), vision(48, 96, 3, 4, 56, 14), 1024),
                new LlavaPreset(
                        "llava-1.5-7b", false, text("llama", 4096, 11008, 32, 32, 32), clipLarge(), LLAMA_VOCABULARY),
                new LlavaPreset(
                        "llava-1.5-13b", false, text("llama", 5120, 13824, 40, 40, 40), clipLarge(), LLAMA_VOCABULARY));
    }

    /** LLaVA-NeXT, the smallest first. */
    static List<Preset> llavaNext() {
        return List.of(
                new LlavaPreset(
                        "tiny-llava-next", true, text("mistral", 64, 160, 3, 4, 2), vision(48, 96, 3, 4, 56, 14), 1024),
                new LlavaPreset(
                        "llava-v1.6-vicuna-7b",
                        true,
                        text("llama", 4096, 11008, 32, 32, 32),
                        clipLarge(),
                        LLAMA_VOCABULARY),
                new LlavaPreset(
                        "llava-v1.6-mistral-7b",
                        true,
                        text("mistral", 4096, 14336, 32, 32, 8),
                        clipLarge(),
                        LLAMA_VOCABULARY),
                new LlavaPreset(
                        "llava-v1.6-vicuna-13b",
                        true,
                        text("llama", 5120, 13824, 40, 40, 40),
                        clipLarge(),
                        LLAMA_VOCABULARY));
    }

    private static Map<String, Object> text(
            String type, int width, int intermediate, int layers, int heads, int keyValueHeads) {
        Map<String, Object> text = new LinkedHashMap<>();
        text.put("model_type", type);
        text.put("hidden_size", width);
        text.put("intermediate_size", intermediate);
        text.put("num_hidden_layers", layers);
        text.put("num_attention_heads", heads);
        text.put("num_key_value_heads", keyValueHeads);
        text.put("rms_norm_eps", 1e-5);
        if (type.equals("mistral")) {
            text.put("max_position_embeddings", 32768);
            text.put("rope_theta", 1e6);
            text.put("sliding_window", null);
        } else {
            text.put("max_position_embeddings", 4096);
        }
        return text;
    }

    /** CLIP ViT-L/14 at 336 pixels. */
    private static Map<String, Object> clipLarge() {
        return vision(1024, 4096, 24, 16, 336, 14);
    }

    private static Map<String, Object> vision(
            int width, int intermediate, int layers, int heads, int imageSize, int patchSize) {
        Map<String, Object> vision = new LinkedHashMap<>();
        vision.put("model_type", "clip_vision_model");
        vision.put("hidden_size", width);
        vision.put("intermediate_size", intermediate);
        vision.put("num_hidden_layers", layers);
        vision.put("num_attention_heads", heads);
        vision.put("image_size", imageSize);
        vision.put("patch_size", patchSize);
        return vision;
    }

    @Override
    public Map<String, Map<String, Object>> files(String dtype) {
        Map<String, Map<String, Object>> files = new LinkedHashMap<>();
        files.put("config.json", config(dtype));
        files.put(
                "generation_config.json",
                Map.of("bos_token_id", 1, "eos_token_id", 2, "pad_token_id", textVocabulary + 1));
        files.put("preprocessor_config.json", preprocessorConfig());
        files.put(
                "chat_template.json",
                Map.of("chat_template", text.get("model_type").equals("mistral") ? MISTRAL : VICUNA));
        files.put("tokenizer.json", SyntheticTokenizer.llama(textVocabulary));
        return files;
    }

    private int tile() {
        return (int) vision.get("image_size");
    }

    private List<List<Integer>> pinpoints() {
        int tile = tile();
        return List.of(
                List.of(tile, 2 * tile),
                List.of(2 * tile, tile),
                List.of(2 * tile, 2 * tile),
                List.of(3 * tile, tile),
                List.of(tile, 3 * tile));
    }

    private Map<String, Object> config(String dtype) {
        int vocabulary = (textVocabulary + 2 + VOCABULARY_MULTIPLE - 1) / VOCABULARY_MULTIPLE * VOCABULARY_MULTIPLE;
        Map<String, Object> textConfig = new LinkedHashMap<>(text);
        textConfig.put("torch_dtype", dtype);
        textConfig.put("vocab_size", vocabulary);
        Map<String, Object> config = new LinkedHashMap<>();
        config.put(
                "architectures", List.of(next ? "LlavaNextForConditionalGeneration" : "LlavaForConditionalGeneration"));
        config.put("model_type", next ? Llava.NEXT.modelType() : Llava.FAMILY.modelType());
        config.put("ignore_index", -100);
        config.put("image_token_index", textVocabulary);
        config.put("pad_token_id", textVocabulary + 1);
        config.put("projector_hidden_act", "gelu");
        config.put("vision_feature_layer", -2);
        config.put("vision_feature_select_strategy", "default");
        config.put("tie_word_embeddings", false);
        config.put("vocab_size", vocabulary);
        config.put("torch_dtype", dtype);
        if (next) {
            config.put("image_grid_pinpoints", pinpoints());
            config.put("use_image_newline_parameter", true);
        }
        config.put("text_config", textConfig);
        config.put("vision_config", vision);
        return config;
    }

    private Map<String, Object> preprocessorConfig() {
        Map<String, Object> config = new LinkedHashMap<>();
        config.put("crop_size", Map.of("height", tile(), "width", tile()));
        config.put("do_center_crop", true);
        config.put("do_convert_rgb", true);
        config.put("do_normalize", true);
        config.put("do_rescale", true);
        config.put("do_resize", true);
        config.put("image_mean", List.of(0.48145466, 0.4578275, 0.40821073));
        config.put("image_std", List.of(0.26862954, 0.26130258, 0.27577711));
        config.put("image_processor_type", next ? "LlavaNextImageProcessor" : "CLIPImageProcessor");
        config.put("resample", 3);
        config.put("rescale_factor", 1 / 255.0);
        config.put("size", Map.of("shortest_edge", tile()));
        return config;
    }
}
