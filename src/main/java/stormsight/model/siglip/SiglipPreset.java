package stormsight.model.siglip;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import stormsight.model.Preset;
import stormsight.tokenizer.SyntheticTokenizer;

/**
 * A published size of SigLIP, or a tiny one, with the files that describe it: what a checkpoint of random weights is
 * made from. Both towers have the same width. The tokenizer is of SigLIP 2's kind in all of them.
 *
 * @param name as users name it: {@code siglip-base-patch16-224}
 * @param vocabulary rows of the text table
 */
record SiglipPreset(
        String name, int width, int mlp, int layers, int heads, int imageSize, int patchSize, int vocabulary)
        implements Preset {
    /** What the synthetic tokenizer has behind its text: 1024 locations, 128 codes, an image token. */
    private static final int BEHIND_TEXT = 1024 + 128 + 1;

    /** The smallest first. */
    static List<Preset> all() {
        return List.of(
                new SiglipPreset("tiny-siglip", 48, 96, 2, 3, 56, 14, 2304),
                new SiglipPreset("siglip-base-patch16-224", 768, 3072, 12, 12, 224, 16, 32000),
                new SiglipPreset("siglip2-base-patch16-224", 768, 3072, 12, 12, 224, 16, SiglipText.GEMMA_VOCABULARY),
                new SiglipPreset("siglip-so400m-patch14-384", 1152, 4304, 27, 16, 384, 14, 32000));
    }

    @Override
    public Map<String, Map<String, Object>> files(String dtype) {
        Map<String, Map<String, Object>> files = new LinkedHashMap<>();
        files.put("config.json", config(dtype));
        files.put("preprocessor_config.json", preprocessorConfig());
        files.put(
                "tokenizer_config.json",
                Map.of("eos_token", "<eos>", "pad_token", "<pad>", "tokenizer_class", "GemmaTokenizer"));
        files.put("tokenizer.json", SyntheticTokenizer.gemma(vocabulary - BEHIND_TEXT));
        return files;
    }

    private Map<String, Object> tower(String modelType) {
        Map<String, Object> tower = new LinkedHashMap<>();
        tower.put("model_type", modelType);
        tower.put("hidden_size", width);
        tower.put("intermediate_size", mlp);
        tower.put("num_hidden_layers", layers);
        tower.put("num_attention_heads", heads);
        return tower;
    }

    private Map<String, Object> config(String dtype) {
        Map<String, Object> text = tower("siglip_text_model");
        text.put("vocab_size", vocabulary);
        text.put("max_position_embeddings", 64);
        Map<String, Object> vision = tower("siglip_vision_model");
        vision.put("image_size", imageSize);
        vision.put("patch_size", patchSize);
        Map<String, Object> config = new LinkedHashMap<>();
        config.put("architectures", List.of("SiglipModel"));
        config.put("model_type", Siglip.FAMILY.modelType());
        config.put("torch_dtype", dtype);
        config.put("text_config", text);
        config.put("vision_config", vision);
        return config;
    }

    private Map<String, Object> preprocessorConfig() {
        Map<String, Object> config = new LinkedHashMap<>();
        config.put("do_normalize", true);
        config.put("do_rescale", true);
        config.put("do_resize", true);
        config.put("image_mean", List.of(0.5, 0.5, 0.5));
        config.put("image_std", List.of(0.5, 0.5, 0.5));
        config.put("image_processor_type", "SiglipImageProcessor");
        config.put("resample", 3);
        config.put("rescale_factor", 1 / 255.0);
        config.put("size", Map.of("height", imageSize, "width", imageSize));
        return config;
    }
}
