package stormsight.model.llava;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import stormsight.checkpoint.ConfigFile;
import stormsight.model.nn.Activations;
import stormsight.model.nn.LlamaConfig;
import stormsight.model.nn.VisionConfig;
import stormsight.model.nn.VisionTower;
import stormsight.program.Op.Activation;

/**
 * config.json of a LLaVA-1.5 or LLaVA-NeXT checkpoint, with the defaults of transformers for what it leaves out.
 *
 * @param vision with the layers that run alone
 * @param storedLayers of the tower in the file
 * @param projector function between the two products of the projector
 * @param tiles how an image is cut into tiles; absent in LLaVA-1.5
 * @param imageTokenId id that stands for an image row in a prompt; no text has it
 * @param padId id that pads a batch, -1 for none
 * @param endIds ids that end an answer
 */
record LlavaConfig(
        VisionTower.Config vision,
        int storedLayers,
        LlamaConfig text,
        Activation projector,
        boolean projectorBias,
        Optional<AnyResolution> tiles,
        int imageTokenId,
        int padId,
        Set<Integer> endIds) {
    /** As published; height before width. */
    private static final List<List<Integer>> PINPOINTS =
            List.of(List.of(336, 672), List.of(672, 336), List.of(672, 672), List.of(1008, 336), List.of(336, 1008));

    LlavaConfig {
        endIds = Set.copyOf(endIds);
    }

    /**
     * Reads config.json and, if there is one, generation_config.json.
     *
     * @param next whether it is LLaVA-NeXT
     * @throws stormsight.checkpoint.CheckpointException if they are broken or describe something that is not supported
     */
    static LlavaConfig read(Path directory, ConfigFile config, boolean next) {
        VisionTower.Config tower = VisionConfig.clip(config, "vision_config.");
        int layers = layers(config, tower.layers());
        String selected = config.text("vision_feature_select_strategy", "default");
        if (!selected.equals("default")) {
            throw config.invalid("vision_feature_select_strategy", "'" + selected + "' is not supported, only default");
        }
        LlamaConfig text = LlamaConfig.read(config, "text_config.");
        int imageTokenId = config.integer("image_token_index", config.integer("image_token_id", 32000));
        if (imageTokenId < 1) {
            throw config.invalid("image_token_index", imageTokenId + " is no id of an image token");
        }
        Optional<AnyResolution> tiles = next
                ? Optional.of(new AnyResolution(tower.imageSize(), tower.patchSize(), pinpoints(config, tower)))
                : Optional.empty();
        int padId = config.isNull("pad_token_id") ? -1 : config.integer("pad_token_id", -1);
        return new LlavaConfig(
                tower.withLayers(layers),
                tower.layers(),
                text,
                Activations.read(config, "projector_hidden_act", "gelu"),
                config.bool("multimodal_projector_bias", true),
                tiles,
                imageTokenId,
                padId,
                endIds(directory, config));
    }

    /**
     * Layers that run until the state that config.json chooses: 0 is the state before the first layer, -1 the one after
     * the last.
     */
    private static int layers(ConfigFile config, int stored) {
        int chosen = config.integer("vision_feature_layer", -2);
        int layers = chosen < 0 ? stored + 1 + chosen : chosen;
        if (layers < 1 || layers > stored) {
            throw config.invalid("vision_feature_layer", chosen + ": the tower has " + stored + " layers");
        }
        return layers;
    }

    private static List<AnyResolution.Resolution> pinpoints(ConfigFile config, VisionTower.Config tower) {
        List<List<Integer>> pinpoints =
                config.has("image_grid_pinpoints") ? config.pairs("image_grid_pinpoints") : PINPOINTS;
        List<AnyResolution.Resolution> resolutions = new ArrayList<>();
        for (List<Integer> pinpoint : pinpoints) {
            if (pinpoint.stream().anyMatch(side -> side < 1 || side % tower.imageSize() != 0)) {
                throw config.invalid(
                        "image_grid_pinpoints",
                        pinpoint + " are no multiples of the " + tower.imageSize() + " pixels of a tile");
            }
            resolutions.add(new AnyResolution.Resolution(pinpoint.get(0), pinpoint.get(1)));
        }
        if (resolutions.isEmpty()) {
            throw config.invalid("image_grid_pinpoints", "is empty");
        }
        return resolutions;
    }

    private static Set<Integer> endIds(Path directory, ConfigFile config) {
        List<Integer> ids = ConfigFile.readIfPresent(directory.resolve("generation_config.json"))
                .filter(generation -> generation.has("eos_token_id"))
                .map(generation -> generation.integers("eos_token_id"))
                .orElseGet(() -> config.has("eos_token_id") ? config.integers("eos_token_id") : List.of());
        // Of Llama and Mistral.
        return ids.isEmpty() ? Set.of(2) : Set.copyOf(ids);
    }

    LlavaConfig withTied(boolean tied) {
        return new LlavaConfig(
                vision,
                storedLayers,
                text.withTied(tied),
                projector,
                projectorBias,
                tiles,
                imageTokenId,
                padId,
                endIds);
    }

    /** Such as {@code LLaVA-NeXT (Mistral), 336 px}. */
    String family() {
        return (tiles.isPresent() ? "LLaVA-NeXT" : "LLaVA-1.5") + (text.mistral() ? " (Mistral), " : ", ")
                + vision.imageSize() + " px";
    }
}
