package stormsight.model.paligemma;

import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import stormsight.checkpoint.ConfigFile;
import stormsight.model.nn.GemmaConfig;
import stormsight.model.nn.VisionConfig;
import stormsight.model.nn.VisionTower;

/**
 * config.json of a PaliGemma 1 or 2 checkpoint, with the defaults of transformers for what it leaves out.
 *
 * @param imageTokenId id that stands for an image row in a prompt; no text has it
 * @param padId id that pads a batch; no text has it
 * @param endIds ids that end an answer
 */
record PaliGemmaConfig(VisionTower.Config vision, GemmaConfig text, int imageTokenId, int padId, Set<Integer> endIds) {
    PaliGemmaConfig {
        endIds = Set.copyOf(endIds);
    }

    /**
     * Reads config.json and, if there is one, generation_config.json.
     *
     * @param config of the directory
     * @throws stormsight.checkpoint.CheckpointException if they are broken or describe something that is not supported
     */
    static PaliGemmaConfig read(Path directory, ConfigFile config) {
        if (!config.hasObject("vision_config")) {
            throw config.invalid("vision_config", "missing: it tells how large the vision tower is; "
                    + "download config.json again");
        }
        VisionTower.Config vision = VisionConfig.siglip(config, "vision_config.");
        GemmaConfig text = GemmaConfig.read(config, "text_config.");
        // May lie beyond the embedding table: image rows are not looked up there.
        int imageTokenId = config.integer("image_token_index", config.integer("image_token_id", 256000));
        if (imageTokenId < 1) {
            throw config.invalid("image_token_index", imageTokenId + " is no id of an image token");
        }
        int padId = config.integer("pad_token_id", config.integer("text_config.pad_token_id", 0));
        return new PaliGemmaConfig(vision, text, imageTokenId, padId, endIds(directory, config));
    }

    private static Set<Integer> endIds(Path directory, ConfigFile config) {
        List<Integer> ids = ConfigFile.readIfPresent(directory.resolve("generation_config.json"))
                .filter(generation -> generation.has("eos_token_id"))
                .orElse(config)
                .integers("eos_token_id");
        return ids.isEmpty() ? Set.of(1) : Set.copyOf(ids);
    }

    /** The same with a head that is the embedding table, or is not. */
    PaliGemmaConfig withTied(boolean tied) {
        return new PaliGemmaConfig(vision, text.withTied(tied), imageTokenId, padId, endIds);
    }

    /** Such as {@code PaliGemma 2, 224 px}. */
    String family() {
        return (text.version() == GemmaConfig.Version.GEMMA2 ? "PaliGemma 2" : "PaliGemma 1") + ", "
                + vision.imageSize() + " px";
    }
}
