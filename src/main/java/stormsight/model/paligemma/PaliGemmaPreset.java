package stormsight.model.paligemma;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import stormsight.model.Preset;
import stormsight.tokenizer.SyntheticTokenizer;

/**
 * A published size of PaliGemma, or a tiny one, with the files that describe it: what a checkpoint of random weights is
 * made from.
 *
 * @param name as users name it: {@code paligemma2-10b-448}
 * @param textVocabulary tokens before {@code <loc0000>}
 */
record PaliGemmaPreset(String name, Map<String, Object> text, Map<String, Object> vision, int textVocabulary)
        implements Preset {
    /** Tokens behind those of the text: 1024 {@code <loc>}, 128 {@code <seg>}. */
    private static final int LOCATIONS_AND_SEGMENTS = 1024 + 128;
    /** Conversion pads the table of the published checkpoints to a multiple of it. */
    private static final int VOCABULARY_MULTIPLE = 64;

    private static final int GEMMA_VOCABULARY = 256000;

    /** All presets, the smallest first. */
    static List<Preset> all() {
        List<Preset> all = new ArrayList<>();
        all.add(new PaliGemmaPreset("tiny",
                text("gemma", 64, 160, 3, 4, 1, 24),
                vision(48, 96, 2, 3, 56, 14), 1024));
        for (int resolution : List.of(224, 448, 896)) {
            Map<String, Object> so400m = vision(1152, 4304, 27, 16, resolution, 14);
            all.add(new PaliGemmaPreset("paligemma-3b-" + resolution, text("gemma", 2048, 16384, 18, 8, 1, 256), so400m,
                    GEMMA_VOCABULARY));
            all.add(new PaliGemmaPreset("paligemma2-3b-" + resolution, gemma2(2304, 9216, 26, 8, 4, 256, 256), so400m,
                    GEMMA_VOCABULARY));
            all.add(new PaliGemmaPreset(
                    "paligemma2-10b-" + resolution,
                    gemma2(3584, 14336, 42, 16, 8, 256, 256),
                    so400m,
                    GEMMA_VOCABULARY));
            all.add(new PaliGemmaPreset(
                    "paligemma2-28b-" + resolution,
                    gemma2(4608, 36864, 46, 32, 16, 128, 144),
                    so400m,
                    GEMMA_VOCABULARY));
        }
        return List.copyOf(all);
    }

    private static Map<String, Object> text(
            String type, int width, int intermediate, int layers, int heads, int keyValueHeads, int headDim) {
        Map<String, Object> text = new LinkedHashMap<>();
        text.put("model_type", type);
        text.put("hidden_size", width);
        text.put("intermediate_size", intermediate);
        text.put("num_hidden_layers", layers);
        text.put("num_attention_heads", heads);
        text.put("num_key_value_heads", keyValueHeads);
        text.put("head_dim", headDim);
        return text;
    }

    private static Map<String, Object> gemma2(
            int width, int intermediate, int layers, int heads, int keyValueHeads, int headDim, int queryScalar) {
        Map<String, Object> text = text("gemma2", width, intermediate, layers, heads, keyValueHeads, headDim);
        text.put("query_pre_attn_scalar", queryScalar);
        text.put("sliding_window", 4096);
        return text;
    }

    private static Map<String, Object> vision(
            int width, int intermediate, int layers, int heads, int imageSize, int patchSize) {
        Map<String, Object> vision = new LinkedHashMap<>();
        vision.put("model_type", "siglip_vision_model");
        vision.put("hidden_size", width);
        vision.put("intermediate_size", intermediate);
        vision.put("num_hidden_layers", layers);
        vision.put("num_attention_heads", heads);
        vision.put("image_size", imageSize);
        vision.put("patch_size", patchSize);
        vision.put("vision_use_head", false);
        return vision;
    }

    @Override
    public Map<String, Map<String, Object>> files(String dtype) {
        Map<String, Map<String, Object>> files = new LinkedHashMap<>();
        files.put("config.json", config(dtype));
        files.put("generation_config.json", Map.of("bos_token_id", 2, "eos_token_id", 1, "pad_token_id", 0));
        files.put("preprocessor_config.json", preprocessorConfig());
        files.put("tokenizer.json", SyntheticTokenizer.gemma(textVocabulary));
        return files;
    }

    private int imageTokenId() {
        return textVocabulary + LOCATIONS_AND_SEGMENTS;
    }

    private int imageTokens() {
        int grid = (int) vision.get("image_size") / (int) vision.get("patch_size");
        return grid * grid;
    }

    private Map<String, Object> config(String dtype) {
        int vocabulary = (imageTokenId() + VOCABULARY_MULTIPLE) / VOCABULARY_MULTIPLE * VOCABULARY_MULTIPLE;
        Map<String, Object> textConfig = new LinkedHashMap<>(text);
        textConfig.put("num_image_tokens", imageTokens());
        textConfig.put("torch_dtype", dtype);
        textConfig.put("vocab_size", vocabulary);
        Map<String, Object> visionConfig = new LinkedHashMap<>(vision);
        visionConfig.put("num_image_tokens", imageTokens());
        visionConfig.put("projection_dim", text.get("hidden_size"));
        Map<String, Object> config = new LinkedHashMap<>();
        config.put("architectures", List.of("PaliGemmaForConditionalGeneration"));
        config.put("model_type", PaliGemma.FAMILY.modelType());
        config.put("bos_token_id", 2);
        config.put("eos_token_id", 1);
        config.put("pad_token_id", 0);
        config.put("hidden_size", text.get("hidden_size"));
        config.put("projection_dim", text.get("hidden_size"));
        config.put("ignore_index", -100);
        config.put("image_token_index", imageTokenId());
        config.put("vocab_size", vocabulary);
        config.put("torch_dtype", dtype);
        config.put("text_config", textConfig);
        config.put("vision_config", visionConfig);
        return config;
    }

    private Map<String, Object> preprocessorConfig() {
        Map<String, Object> config = new LinkedHashMap<>();
        config.put("do_normalize", true);
        config.put("do_rescale", true);
        config.put("do_resize", true);
        config.put("image_mean", List.of(0.5, 0.5, 0.5));
        config.put("image_processor_type", "SiglipImageProcessor");
        config.put("image_seq_length", imageTokens());
        config.put("image_std", List.of(0.5, 0.5, 0.5));
        config.put("processor_class", "PaliGemmaProcessor");
        config.put("resample", 3);
        config.put("rescale_factor", 1 / 255.0);
        config.put("size", Map.of("height", vision.get("image_size"), "width", vision.get("image_size")));
        return config;
    }
}
