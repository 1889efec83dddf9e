package stormsight.verify;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import stormsight.Goldens;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Stage;
import stormsight.model.family.Families;

class BackendComparisonTest {
    private static final String GOLDEN = "paligemma-mqa";

    @Test
    void bothPathsOfTheCpuAgree() {
        List<BackendComparison.Stage> stages = new ArrayList<>();
        try (ModelDirectory directory = Families.open(Goldens.folder(GOLDEN), Optional.empty())) {
            assertEquals(Optional.empty(), compare(directory, directory, stages));
            int layers = directory.describe().vision().layers() + directory.describe().decoder().layers();
            // Patch embedding, vision norm, projector, decoder embeddings, final norm, logits of the prompt and of
            // three more tokens, and of the prompt as it is read to be answered.
            assertEquals(layers + 10, stages.size());
        }
        assertTrue(stages.stream().allMatch(stage -> stage.scale() > 0));
    }

    /** One weight changed on one side: what comes before agrees. */
    @ParameterizedTest
    @CsvSource({
        "vision_tower.vision_model.embeddings.patch_embedding.bias, patch embedding",
        "vision_tower.vision_model.encoder.layers.1.mlp.fc2.weight, vision layer 1",
        "multi_modal_projector.linear.weight, projector",
        "language_model.model.layers.2.self_attn.o_proj.weight, decoder layer 2",
        "language_model.model.norm.weight, final norm"})
    void namesTheStageOfAChangedWeight(String tensor, String stage, @TempDir Path folder) throws IOException {
        Goldens.copy(GOLDEN, folder);
        Goldens.change(folder, tensor, 3);
        try (ModelDirectory directory = Families.open(Goldens.folder(GOLDEN), Optional.empty());
                ModelDirectory changed = Families.open(folder, Optional.empty())) {
            assertEquals(Optional.of(stage), compare(directory, changed, new ArrayList<>()));
        }
    }

    /** What rounds activations may be off by a percent; nothing else may. */
    @Test
    void roundedActivationsHaveLimitsOfTheirOwn() {
        float[] oracle = {1, -0.5f, 0.25f};
        float[] rounded = {1.005f, -0.503f, 0.251f};
        float[] wrong = {1.03f, -0.5f, 0.25f};
        assertFalse(BackendComparison.Stage.of("a stage", oracle, rounded, false).agrees());
        assertTrue(BackendComparison.Stage.of("a stage", oracle, rounded, true).agrees());
        assertFalse(BackendComparison.Stage.of("a stage", oracle, wrong, true).agrees());
    }

    private static Optional<String> compare(
            ModelDirectory oracle, ModelDirectory subject, List<BackendComparison.Stage> stages) {
        RgbImage image = new ImageDecoder().decode(Goldens.folder(GOLDEN).resolve("input.png"));
        try (Backend scalar = Backends.open("scalar", BackendOptions.DEFAULT);
                Backend vectors = Backends.open("cpu", BackendOptions.DEFAULT)) {
            return BackendComparison.run(
                    new BackendComparison.Side(oracle, scalar),
                    new BackendComparison.Side(subject, vectors),
                    Options.DEFAULT,
                    image,
                    "caption en",
                    4,
                    stages::add);
        }
    }
}
