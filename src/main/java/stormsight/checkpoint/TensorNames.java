package stormsight.checkpoint;

import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;

/**
 * Brings the names under which different versions of transformers store a model to one form: that of the published
 * PaliGemma and LLaVA files, and that of ViT's. Names of other models stay as they are.
 *
 * <pre>
 * part    published                  4.52 to 4.57                     5.x in memory       5.18 saved    bare model
 * decoder language_model.model.      model.language_model.            as 4.52             published     language_model.
 * head    language_model.lm_head.    lm_head.                         as 4.52             published     -
 * tower   vision_tower.vision_model. model.vision_tower.vision_model. model.vision_tower. vision_tower. either
 * proj.   multi_modal_projector.     model.multi_modal_projector.     as 4.52             published     published
 * newline image_newline              model.image_newline              as 4.52             published     published
 * ViT     vit.encoder.layer.         published                        vit.layers.         published     -
 * </pre>
 */
final class TensorNames {
    private record Rule(String prefix, String published) {}

    /** What SigLIP's and CLIP's towers consist of: another model's vision_tower may have parts of other names. */
    private static final List<String> TOWER = List.of(
            "embeddings.patch_embedding.",
            "embeddings.position_embedding.",
            "embeddings.position_ids",
            "embeddings.class_embedding",
            "pre_layrnorm.",
            "encoder.layers.",
            "post_layernorm.",
            "head.");

    /** The longest prefix wins. */
    private static final List<Rule> RULES = Stream.concat(Stream.of(
                    new Rule("model.vision_tower.vision_model.", "vision_tower.vision_model."),
                    new Rule("model.multi_modal_projector.", "multi_modal_projector."),
                    new Rule("model.image_newline", "image_newline"),
                    new Rule("model.language_model.", "language_model.model."),
                    // Only these three: another model's language_model may have parts of other names.
                    new Rule("language_model.layers.", "language_model.model.layers."),
                    new Rule("language_model.embed_tokens.", "language_model.model.embed_tokens."),
                    new Rule("language_model.norm.", "language_model.model.norm."),
                    new Rule("lm_head.", "language_model.lm_head.")),
            TOWER.stream().flatMap(part -> Stream.of(
                    new Rule("model.vision_tower." + part, "vision_tower.vision_model." + part),
                    new Rule("vision_tower." + part, "vision_tower.vision_model." + part))))
            .sorted(Comparator.comparingInt((Rule rule) -> rule.prefix().length()).reversed())
            .toList();

    /** ViT's layers as 5.x has them in memory, and the names of their parts in files. */
    private static final String VIT_LAYERS = "vit.layers.";
    /** In such a file alone: another family may have layers of that name with parts of other ones. */
    private static final String VIT_IN_MEMORY = "vit.layers.0.attention.q_proj.weight";
    private static final Map<String, String> VIT_PARTS = Map.of(
            ".attention.q_proj.", ".attention.attention.query.",
            ".attention.k_proj.", ".attention.attention.key.",
            ".attention.v_proj.", ".attention.attention.value.",
            ".attention.o_proj.", ".attention.output.dense.",
            ".mlp.fc1.", ".intermediate.dense.",
            ".mlp.fc2.", ".output.dense.");

    /** The head, which many files leave out: where it is tied it is the embedding table. */
    static final String HEAD = "language_model.lm_head.weight";

    private TensorNames() {}

    /** What brings the names of a checkpoint to that form. @param stored all of its names */
    static UnaryOperator<String> of(Set<String> stored) {
        return stored.contains(VIT_IN_MEMORY) ? TensorNames::publishedVit : TensorNames::published;
    }

    private static String publishedVit(String stored) {
        if (!stored.startsWith(VIT_LAYERS)) {
            return stored;
        }
        String name = "vit.encoder.layer." + stored.substring(VIT_LAYERS.length());
        return VIT_PARTS.entrySet().stream()
                .filter(part -> name.contains(part.getKey()))
                .findFirst()
                .map(part -> name.replace(part.getKey(), part.getValue()))
                .orElse(name);
    }

    static String published(String stored) {
        for (Rule rule : RULES) {
            if (stored.startsWith(rule.prefix())) {
                return rule.published() + stored.substring(rule.prefix().length());
            }
        }
        return stored;
    }
}
