package stormsight.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.program.DType;
import stormsight.program.Shape;

class CheckpointTest {
    @TempDir
    Path directory;

    static Path golden(String name) {
        try {
            return Path.of(Objects.requireNonNull(CheckpointTest.class.getResource("/goldens/" + name), name).toURI());
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"paligemma-mqa", "paligemma-gqa", "paligemma-sharded", "paligemma-bf16", "paligemma2", "paligemma2-window"})
    void everyGoldenHasThePublishedNames(String golden) {
        try (Checkpoint checkpoint = Checkpoint.open(golden(golden))) {
            Set<String> names = checkpoint.names();
            assertTrue(names.contains("language_model.model.norm.weight"));
            assertTrue(names.contains("vision_tower.vision_model.encoder.layers.1.mlp.fc2.bias"));
            assertTrue(names.contains("multi_modal_projector.linear.weight"));
            ConfigFile config = ConfigFile.read(checkpoint.directory().resolve("config.json"));
            assertEquals(
                    Shape.of(config.integer("text_config.vocab_size"), config.integer("text_config.hidden_size")),
                    checkpoint.info("language_model.model.embed_tokens.weight").shape());
        }
    }

    @Test
    void shardsEqualTheSingleFile() {
        try (Checkpoint single = Checkpoint.open(golden("paligemma-mqa"));
                Checkpoint sharded = Checkpoint.open(golden("paligemma-sharded"))) {
            assertEquals(new HashSet<>(single.names()), new HashSet<>(sharded.names()));
            for (String name : single.names()) {
                assertEquals(single.info(name).shape(), sharded.info(name).shape());
                assertEquals(-1, single.data(name).mismatch(sharded.data(name)), name);
            }
        }
    }

    @Test
    void stacksLayersInPlace() {
        List<String> names = List.of(
                "language_model.model.layers.0.self_attn.q_proj.weight", "language_model.model.layers.1.self_attn.q_proj.weight");
        try (Checkpoint checkpoint = Checkpoint.open(golden("paligemma-bf16"))) {
            HostTensor stack = checkpoint.stack(names);
            assertEquals(DType.BF16, stack.dtype());
            assertEquals(Shape.of(60, 48), stack.shape());
            assertEquals(checkpoint.data(names.get(1)).address(), stack.layers().get(1).address());
        }
    }
}
