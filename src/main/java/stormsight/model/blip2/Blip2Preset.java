package stormsight.model.blip2;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import stormsight.model.Preset;
import stormsight.tokenizer.SyntheticTokenizer;

/**
 * A published size of BLIP-2, or a tiny one, with the files that describe it: what a checkpoint of random weights is
 * made from.
 *
 * @param name as users name it: {@code blip2-opt-2.7b}
 * @param text OPT, or empty for the model that compares images with texts
 * @param newline id of the newline, which ends an answer
 * @param image id of {@code <image>}, behind all text; or how many tokens BERT's tokenizer has
 */
record Blip2Preset(
        String name,
        Map<String, Object> vision,
        Map<String, Object> qformer,
        Map<String, Object> text,
        int queries,
        int newline,
        int image)
        implements Preset {
    /** The published tables are padded to a multiple of it. */
    private static final int VOCABULARY_MULTIPLE = 64;

    /** As in the published tokenizers. */
    private static final int NEWLINE = 50118;

    private static final int IMAGE = 50265;

    /** With [DEC]. */
    private static final int BERT = 30523;

    /** The smallest first. */
    static List<Preset> all() {
        return List.of(
                new Blip2Preset(
                        "tiny-blip2",
                        vision(48, 96, 3, 4, 56),
                        qformer(36, 3, 4, 64),
                        text(64, 160, 3, 4),
                        8,
                        300,
                        500),
                new Blip2Preset(
                        "blip2-opt-2.7b",
                        vitG(),
                        qformer(768, 12, 12, 3072),
                        text(2560, 10240, 32, 32),
                        32,
                        NEWLINE,
                        IMAGE),
                new Blip2Preset(
                        "blip2-opt-6.7b",
                        vitG(),
                        qformer(768, 12, 12, 3072),
                        text(4096, 16384, 32, 32),
                        32,
                        NEWLINE,
                        IMAGE),
                new Blip2Preset(
                        "tiny-blip2-itm",
                        vision(48, 96, 3, 4, 56),
                        qformer(36, 3, 4, 64),
                        Map.of(),
                        8,
                        0,
                        640),
                new Blip2Preset(
                        "blip2-itm-vit-g", vitG(), qformer(768, 12, 12, 3072), Map.of(), 32, 0, BERT));
    }

    private boolean compares() {
        return text.isEmpty();
    }

    /** EVA's ViT-g/14 without its last layer. */
    private static Map<String, Object> vitG() {
        return vision(1408, 6144, 39, 16, 224);
    }

    private static Map<String, Object> vision(int width, int intermediate, int layers, int heads, int imageSize) {
        Map<String, Object> vision = new LinkedHashMap<>();
        vision.put("model_type", "blip_2_vision_model");
        vision.put("hidden_size", width);
        vision.put("intermediate_size", intermediate);
        vision.put("num_hidden_layers", layers);
        vision.put("num_attention_heads", heads);
        vision.put("image_size", imageSize);
        vision.put("patch_size", 14);
        return vision;
    }

    private static Map<String, Object> qformer(int width, int heads, int layers, int intermediate) {
        Map<String, Object> qformer = new LinkedHashMap<>();
        qformer.put("model_type", "blip_2_qformer");
        qformer.put("hidden_size", width);
        qformer.put("intermediate_size", intermediate);
        qformer.put("num_hidden_layers", layers);
        qformer.put("num_attention_heads", heads);
        return qformer;
    }

    private static Map<String, Object> text(int width, int intermediate, int layers, int heads) {
        Map<String, Object> text = new LinkedHashMap<>();
        text.put("model_type", "opt");
        text.put("hidden_size", width);
        text.put("word_embed_proj_dim", width);
        text.put("ffn_dim", intermediate);
        text.put("num_hidden_layers", layers);
        text.put("num_attention_heads", heads);
        text.put("prefix", "</s>");
        return text;
    }

    @Override
    public Map<String, Map<String, Object>> files(String dtype) {
        Map<String, Map<String, Object>> files = new LinkedHashMap<>();
        files.put("config.json", config(dtype));
        files.put("preprocessor_config.json", preprocessorConfig());
        if (compares()) {
            files.put("tokenizer.json", SyntheticTokenizer.bert(image));
            return files;
        }
        files.put("generation_config.json", Map.of("bos_token_id", 2, "eos_token_id", newline, "pad_token_id", 1));
        files.put("processor_config.json", Map.of("num_query_tokens", queries, "processor_class", "Blip2Processor"));
        files.put("tokenizer.json", SyntheticTokenizer.opt(newline, image));
        return files;
    }

    private Map<String, Object> config(String dtype) {
        Map<String, Object> config = new LinkedHashMap<>();
        config.put(
                "architectures",
                List.of(compares() ? "Blip2ForImageTextRetrieval" : "Blip2ForConditionalGeneration"));
        config.put("model_type", Blip2.FAMILY.modelType());
        config.put("num_query_tokens", queries);
        config.put("torch_dtype", dtype);
        config.put("use_decoder_only_language_model", true);
        config.put("vision_config", vision);
        Map<String, Object> qformerConfig = new LinkedHashMap<>(qformer);
        Map<String, Object> textConfig = new LinkedHashMap<>(text);
        if (compares()) {
            qformerConfig.put("use_qformer_text_input", true);
            qformerConfig.put("vocab_size", image);
            textConfig.put("model_type", "opt");
        } else {
            config.put("image_token_index", image);
            textConfig.put("eos_token_id", newline);
            textConfig.put("vocab_size", (image + VOCABULARY_MULTIPLE) / VOCABULARY_MULTIPLE * VOCABULARY_MULTIPLE);
        }
        config.put("qformer_config", qformerConfig);
        config.put("text_config", textConfig);
        return config;
    }

    private Map<String, Object> preprocessorConfig() {
        Map<String, Object> config = new LinkedHashMap<>();
        config.put("do_convert_rgb", true);
        config.put("do_normalize", true);
        config.put("do_rescale", true);
        config.put("do_resize", true);
        config.put("image_mean", List.of(0.48145466, 0.4578275, 0.40821073));
        config.put("image_std", List.of(0.26862954, 0.26130258, 0.27577711));
        config.put("image_processor_type", "BlipImageProcessor");
        config.put("processor_class", "Blip2Processor");
        config.put("resample", 3);
        config.put("rescale_factor", 1 / 255.0);
        int side = (int) vision.get("image_size");
        config.put("size", Map.of("height", side, "width", side));
        return config;
    }
}
