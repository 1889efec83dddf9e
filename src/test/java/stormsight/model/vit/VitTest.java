package stormsight.model.vit;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.EditedCheckpoint;
import stormsight.Goldens;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.RunListener;
import stormsight.checkpoint.CheckpointException;
import stormsight.image.ImageDecoder;
import stormsight.match.Towers;
import stormsight.model.Classifier;
import stormsight.model.Encoding;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Weights;
import stormsight.model.family.Families;

/** ViT's files as they vary: biases that are not there, and names as transformers has them in memory. */
class VitTest {
    private static final List<String> PROJECTIONS = List.of("query", "key", "value");

    private static float[] logits(Path folder) {
        try (ModelDirectory directory = Families.open(folder, Optional.empty());
                Backend backend = Backends.open("cpu", BackendOptions.DEFAULT);
                Arena arena = Arena.ofShared()) {
            Classifier model = directory.classifier();
            Weights weights = Weights.bound(directory.checkpoint(), arena, Options.DEFAULT);
            Encoding encoding = model.build(weights);
            try (Towers towers = new Towers(weights, List.of(encoding), backend, RunListener.NONE)) {
                return towers.image(
                        encoding,
                        model.views(new ImageDecoder().decode(Goldens.folder("vit").resolve("input_0.png"))));
            }
        }
    }

    private static String bias(int layer, String projection) {
        return "vit.encoder.layer." + layer + ".attention.attention." + projection + ".bias";
    }

    /** Without biases of q, k and v all is as if they were 0; those of the output stay. */
    @Test
    void biasesOfTheProjectionsMayBeMissing(@TempDir Path zero, @TempDir Path without) throws IOException {
        EditedCheckpoint zeroed = EditedCheckpoint.of("vit", zero);
        EditedCheckpoint removed = EditedCheckpoint.of("vit", without);
        for (int layer = 0; layer < 3; layer++) {
            for (String projection : PROJECTIONS) {
                String name = bias(layer, projection);
                int size = (int) zeroed.tensors.get(name).shape().elements();
                zeroed.tensors.put(name, EditedCheckpoint.Stored.floats(new float[size], size));
                assertTrue(removed.tensors.remove(name) != null, name);
            }
        }
        zeroed.write();
        removed.text("config.json", config -> config.replace("\"qkv_bias\": true", "\"qkv_bias\": false")).write();
        float[] found = logits(without);
        assertArrayEquals(logits(zero), found);
        assertFalse(Arrays.equals(logits(Goldens.folder("vit")), found), "the biases change nothing");
    }

    /** A configuration that says otherwise than the files is told of. */
    @Test
    void missingBiasesThatAreConfiguredAreAnError(@TempDir Path folder) throws IOException {
        EditedCheckpoint edited = EditedCheckpoint.of("vit", folder);
        edited.tensors.remove(bias(1, "key"));
        edited.write();
        String said = assertThrows(CheckpointException.class, () -> Families.open(folder, Optional.empty()))
                .getMessage();
        assertTrue(said.contains(bias(1, "key")), said);
    }

    /** transformers 5 writes the published names; whoever writes its state by hand has those in memory. */
    @Test
    void namesAsTransformersHasThemInMemoryAreRead(@TempDir Path folder) throws IOException {
        EditedCheckpoint edited = EditedCheckpoint.of("vit", folder);
        int renamed = 0;
        for (String name : List.copyOf(edited.tensors.keySet())) {
            String inMemory = name.replace("vit.encoder.layer.", "vit.layers.")
                    .replace(".attention.attention.query.", ".attention.q_proj.")
                    .replace(".attention.attention.key.", ".attention.k_proj.")
                    .replace(".attention.attention.value.", ".attention.v_proj.")
                    .replace(".attention.output.dense.", ".attention.o_proj.")
                    .replace(".intermediate.dense.", ".mlp.fc1.")
                    .replace(".output.dense.", ".mlp.fc2.");
            edited.tensors.put(inMemory, edited.tensors.remove(name));
            renamed += inMemory.equals(name) ? 0 : 1;
        }
        assertEquals(3 * 16, renamed);
        edited.write();
        assertArrayEquals(logits(Goldens.folder("vit")), logits(folder));
    }

    /** As transformers names them. */
    @Test
    void labelsWithoutNamesAreNumbered(@TempDir Path folder) throws IOException {
        EditedCheckpoint edited = EditedCheckpoint.of("vit", folder);
        int labels = edited.tensors.get("classifier.bias").shape().dimension(0);
        edited.text("config.json", config -> config.replaceAll("\"(id2label|label2id)\"", "\"other_$1\"")
                .replaceFirst("\\{", "{\"num_labels\": " + labels + ","));
        try (ModelDirectory directory = Families.open(folder, Optional.empty())) {
            assertEquals(
                    IntStream.range(0, labels).mapToObj(id -> "LABEL_" + id).toList(),
                    directory.classifier().labels());
        }
    }
}
