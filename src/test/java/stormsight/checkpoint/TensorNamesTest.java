package stormsight.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TensorNamesTest {
    @ParameterizedTest
    @CsvSource({
        // transformers 4.52 to 4.57, in memory
        "model.language_model.layers.0.mlp.up_proj.weight, language_model.model.layers.0.mlp.up_proj.weight",
        "model.language_model.embed_tokens.weight, language_model.model.embed_tokens.weight",
        "lm_head.weight, language_model.lm_head.weight",
        "model.vision_tower.vision_model.post_layernorm.bias, vision_tower.vision_model.post_layernorm.bias",
        "model.multi_modal_projector.linear.weight, multi_modal_projector.linear.weight",
        // 5.x, in memory
        "model.vision_tower.encoder.layers.3.mlp.fc1.bias, vision_tower.vision_model.encoder.layers.3.mlp.fc1.bias",
        // 5.18, saved
        "vision_tower.embeddings.patch_embedding.weight, vision_tower.vision_model.embeddings.patch_embedding.weight",
        // bare model
        "language_model.layers.1.input_layernorm.weight, language_model.model.layers.1.input_layernorm.weight",
        "language_model.norm.weight, language_model.model.norm.weight",
        "language_model.embed_tokens.weight, language_model.model.embed_tokens.weight",
    })
    void everyLayoutBecomesThePublishedOne(String stored, String published) {
        assertEquals(published, TensorNames.published(stored));
        assertEquals(published, TensorNames.published(published));
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "language_model.model.norm.weight",
        "language_model.lm_head.weight",
        "vision_tower.vision_model.embeddings.patch_embedding.weight",
        "multi_modal_projector.linear.bias",
        "multi_modal_projector.linear_1.weight",
        "vision_model.post_layernorm.weight",
        "text_model.head.weight",
        "logit_scale",
        "language_model.decoder.block.0.layer.0.layer_norm.weight",
        "vision_towers.x",
        "vision_tower.embeddings.patch_embeddings.projection.weight",
        "vision_tower.encoder.layer.0.output.dense.bias",
        "model.vision_tower.layernorm.weight",
        ""
    })
    void otherNamesStay(String name) {
        assertEquals(name, TensorNames.published(name));
    }

    @ParameterizedTest
    @CsvSource({
        // decoder, tower, projector
        "model.language_model., model.vision_tower.vision_model., model.multi_modal_projector.",
        "model.language_model., model.vision_tower., model.multi_modal_projector.",
        "language_model.model., vision_tower., multi_modal_projector.",
        "language_model., vision_tower.vision_model., multi_modal_projector.",
        "language_model., vision_tower., multi_modal_projector.",
    })
    void aWholeModelOfEveryLayoutHasThePublishedNames(String decoder, String tower, String projector) {
        try (Checkpoint checkpoint = Checkpoint.open(CheckpointTest.golden("paligemma-mqa"))) {
            for (String name : checkpoint.names()) {
                String stored = name.replaceFirst("^language_model\\.model\\.", decoder)
                        .replaceFirst("^vision_tower\\.vision_model\\.", tower)
                        .replaceFirst("^multi_modal_projector\\.", projector);
                assertEquals(name, TensorNames.published(stored));
            }
        }
    }
}
