package stormsight.model.vit;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import stormsight.model.Preset;

/**
 * A published size of ViT, or a tiny one, with the files that describe it: what a checkpoint of random weights is made
 * from.
 *
 * @param name as users name it: {@code vit-base-patch16-224}
 */
record VitPreset(String name, int width, int layers, int heads, int imageSize, int patchSize, int labels)
        implements Preset {
    /** The smallest first. */
    static List<Preset> all() {
        return List.of(
                new VitPreset("tiny-vit", 48, 2, 3, 56, 14, 10),
                new VitPreset("vit-base-patch16-224", 768, 12, 12, 224, 16, 1000));
    }

    @Override
    public Map<String, Map<String, Object>> files(String dtype) {
        Map<String, Map<String, Object>> files = new LinkedHashMap<>();
        files.put("config.json", config(dtype));
        files.put("preprocessor_config.json", preprocessorConfig());
        return files;
    }

    private Map<String, Object> config(String dtype) {
        Map<String, Object> names = new LinkedHashMap<>();
        for (int label = 0; label < labels; label++) {
            names.put(String.valueOf(label), "LABEL_" + label);
        }
        Map<String, Object> config = new LinkedHashMap<>();
        config.put("architectures", List.of("ViTForImageClassification"));
        config.put("model_type", Vit.FAMILY.modelType());
        config.put("hidden_size", width);
        config.put("intermediate_size", 4 * width);
        config.put("num_hidden_layers", layers);
        config.put("num_attention_heads", heads);
        config.put("image_size", imageSize);
        config.put("patch_size", patchSize);
        config.put("hidden_act", "gelu");
        config.put("layer_norm_eps", 1e-12);
        config.put("qkv_bias", true);
        config.put("torch_dtype", dtype);
        config.put("id2label", names);
        return config;
    }

    private Map<String, Object> preprocessorConfig() {
        Map<String, Object> config = new LinkedHashMap<>();
        config.put("do_normalize", true);
        config.put("do_rescale", true);
        config.put("do_resize", true);
        config.put("image_mean", List.of(0.5, 0.5, 0.5));
        config.put("image_std", List.of(0.5, 0.5, 0.5));
        config.put("image_processor_type", "ViTImageProcessor");
        config.put("resample", 2);
        config.put("rescale_factor", 1 / 255.0);
        config.put("size", Map.of("height", imageSize, "width", imageSize));
        return config;
    }
}
