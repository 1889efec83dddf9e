package stormsight.model.blip2;

import java.nio.file.Path;
import java.util.Set;
import stormsight.checkpoint.ConfigFile;
import stormsight.model.nn.OptConfig;
import stormsight.model.nn.VisionConfig;
import stormsight.model.nn.VisionTower;

/**
 * config.json of a BLIP-2 checkpoint that answers, with the defaults of transformers for what it leaves out.
 *
 * @param imageTokenId id that stands for a query in a prompt; -1 in the layout of early revisions, whose tokenizers do
 *     not have it
 * @param padId id that pads a batch
 * @param endIds ids that end an answer: the newline in published checkpoints
 */
record Blip2Config(
        VisionTower.Config vision,
        QFormer.Config qformer,
        OptConfig text,
        int imageTokenId,
        int padId,
        Set<Integer> endIds) {
    private static final String TEXT = "text_config.";

    /** Of OPT. */
    private static final int PAD = 1;

    private static final int END = 2;

    Blip2Config {
        endIds = Set.copyOf(endIds);
    }

    /**
     * Reads config.json and, if there is one, generation_config.json.
     *
     * @throws stormsight.checkpoint.CheckpointException if they are broken or describe something that is not supported
     */
    static Blip2Config read(Path directory, ConfigFile config) {
        String type = config.text(TEXT + "model_type", "opt");
        if (!type.equals("opt")) {
            throw config.invalid(
                    TEXT + "model_type",
                    "BLIP-2 with the language model '" + type + "' is not supported; supported is opt, as in "
                            + "Salesforce/blip2-opt-2.7b and blip2-opt-6.7b");
        }
        VisionTower.Config vision = VisionConfig.eva(config, "vision_config.");
        int imageTokenId = id(config, "image_token_index", id(config, "image_token_id", -1));
        return new Blip2Config(
                vision,
                qformer(config, vision),
                OptConfig.read(config, TEXT),
                imageTokenId,
                id(config, TEXT + "pad_token_id", PAD),
                endIds(directory, config));
    }

    /** The Q-Former over a tower. */
    static QFormer.Config qformer(ConfigFile config, VisionTower.Config vision) {
        QFormer.Config qformer = QFormer.Config.read(config, "qformer_config.");
        if (qformer.queries() > vision.rows()) {
            throw config.invalid("num_query_tokens",
                    qformer.queries() + " queries are more than the " + vision.rows() + " rows of an image");
        }
        return qformer;
    }

    private static int id(ConfigFile config, String key, int absent) {
        return config.isNull(key) ? absent : config.integer(key, absent);
    }

    private static Set<Integer> endIds(Path directory, ConfigFile config) {
        return ConfigFile.readIfPresent(directory.resolve("generation_config.json"))
                .filter(generation -> generation.has("eos_token_id"))
                .map(generation -> Set.copyOf(generation.integers("eos_token_id")))
                .orElseGet(() -> config.has(TEXT + "eos_token_id")
                        ? Set.copyOf(config.integers(TEXT + "eos_token_id"))
                        : Set.of(END));
    }

    Blip2Config withTied(boolean tied) {
        return new Blip2Config(vision, qformer, text.withTied(tied), imageTokenId, padId, endIds);
    }

    /** Such as {@code BLIP-2 (OPT), 224 px}. */
    String family() {
        return "BLIP-2 (OPT), " + vision.imageSize() + " px";
    }
}
