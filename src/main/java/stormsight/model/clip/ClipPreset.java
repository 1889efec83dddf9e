package stormsight.model.clip;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import stormsight.model.Preset;
import stormsight.tokenizer.SyntheticTokenizer;

/**
 * A published size of CLIP, or a tiny one, with the files that describe it: what a checkpoint of random weights is made
 * from.
 *
 * @param name as users name it: {@code clip-vit-base-patch32}
 * @param columns numbers of an embedding
 */
record ClipPreset(String name, Tower vision, int imageSize, int patchSize, Tower text, int vocabulary, int columns)
        implements Preset {
    /** A tower, whose MLP is four times as wide. */
    private record Tower(int width, int layers, int heads) {
        Map<String, Object> config(String modelType) {
            Map<String, Object> config = new LinkedHashMap<>();
            config.put("model_type", modelType);
            config.put("hidden_size", width);
            config.put("intermediate_size", 4 * width);
            config.put("num_hidden_layers", layers);
            config.put("num_attention_heads", heads);
            return config;
        }
    }

    private static final int VOCABULARY = 49408;

    /** The smallest first. */
    static List<Preset> all() {
        return List.of(
                new ClipPreset("tiny-clip", new Tower(48, 2, 3), 56, 14, new Tower(32, 2, 2), 640, 24),
                new ClipPreset(
                        "clip-vit-base-patch32",
                        new Tower(768, 12, 12),
                        224,
                        32,
                        new Tower(512, 12, 8),
                        VOCABULARY,
                        512),
                new ClipPreset(
                        "clip-vit-large-patch14-336",
                        new Tower(1024, 24, 16),
                        336,
                        14,
                        new Tower(768, 12, 12),
                        VOCABULARY,
                        768));
    }

    @Override
    public Map<String, Map<String, Object>> files(String dtype) {
        Map<String, Map<String, Object>> files = new LinkedHashMap<>();
        files.put("config.json", config(dtype));
        files.put("preprocessor_config.json", preprocessorConfig());
        files.put("tokenizer.json", SyntheticTokenizer.clip(vocabulary));
        return files;
    }

    private Map<String, Object> config(String dtype) {
        Map<String, Object> textConfig = text.config("clip_text_model");
        textConfig.put("vocab_size", vocabulary);
        textConfig.put("max_position_embeddings", 77);
        textConfig.put("projection_dim", columns);
        textConfig.put("eos_token_id", vocabulary - 1);
        Map<String, Object> visionConfig = vision.config("clip_vision_model");
        visionConfig.put("image_size", imageSize);
        visionConfig.put("patch_size", patchSize);
        visionConfig.put("projection_dim", columns);
        Map<String, Object> config = new LinkedHashMap<>();
        config.put("architectures", List.of("CLIPModel"));
        config.put("model_type", Clip.FAMILY.modelType());
        config.put("projection_dim", columns);
        config.put("torch_dtype", dtype);
        config.put("text_config", textConfig);
        config.put("vision_config", visionConfig);
        return config;
    }

    private Map<String, Object> preprocessorConfig() {
        Map<String, Object> config = new LinkedHashMap<>();
        config.put("crop_size", Map.of("height", imageSize, "width", imageSize));
        config.put("do_center_crop", true);
        config.put("do_normalize", true);
        config.put("do_rescale", true);
        config.put("do_resize", true);
        config.put("image_mean", List.of(0.48145466, 0.4578275, 0.40821073));
        config.put("image_std", List.of(0.26862954, 0.26130258, 0.27577711));
        config.put("image_processor_type", "CLIPImageProcessor");
        config.put("resample", 3);
        config.put("rescale_factor", 1 / 255.0);
        config.put("size", Map.of("shortest_edge", imageSize));
        return config;
    }
}
