package stormsight.model.family;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import stormsight.EditedCheckpoint;
import stormsight.EditedCheckpoint.Stored;
import stormsight.Goldens;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.HostTensor;
import stormsight.checkpoint.Blocks;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.program.DType;

/** LoRA adapters beside what the goldens say of them: types of weights, and what is refused. */
class AdapterTest {
    private static final String QUERY = "language_model.model.layers.{i}.self_attn.q_proj.weight";
    private static final String FACTOR = "base_model.model.model.language_model.layers.1.self_attn.q_proj.lora_";

    @TempDir
    private Path folder;

    @BeforeEach
    void copy() throws IOException {
        Goldens.copy("paligemma-lora/adapter", folder);
    }

    private Path weights() {
        return folder.resolve("adapter_model.safetensors");
    }

    private static HostTensor query(ModelDirectory directory, Arena arena, Optional<DType> type) {
        Options options = Options.DEFAULT.withWeights(type);
        return directory.bind(arena, new Limits(40, 4), options).weights().entrySet().stream()
                .filter(weight -> weight.getKey().name().equals(QUERY))
                .findFirst()
                .orElseThrow()
                .getValue();
    }

    private static ModelDirectory base(String golden) {
        return Families.open(Goldens.folder(golden), Optional.empty());
    }

    /** Each number is the sum, rounded once. */
    @Test
    void mergesIntoBf16() {
        Map<String, Stored> factors = EditedCheckpoint.tensors(weights());
        float[] a = factors.get(FACTOR + "A.weight").floats();
        float[] b = factors.get(FACTOR + "B.weight").floats();
        int rank = factors.get(FACTOR + "A.weight").shape().dimension(0);
        try (Arena arena = Arena.ofShared();
                ModelDirectory base = base("paligemma-bf16");
                ModelDirectory adapted = base("paligemma-bf16").withAdapter(folder)) {
            HostTensor before = query(base, arena, Optional.empty());
            HostTensor after = query(adapted, arena, Optional.empty());
            assertEquals(DType.BF16, after.dtype());
            int columns = after.shape().columns();
            int different = 0;
            for (int i = 0; i < after.shape().elements(); i++) {
                double delta = 0;
                for (int k = 0; k < rank; k++) {
                    delta += (double) b[i / columns * rank + k] * a[k * columns + i % columns];
                }
                double wanted = bf16(before.layers().get(1), i) + 2 * delta;
                double found = bf16(after.layers().get(1), i);
                // Half of the distance of two neighbours, and what a sum in F32 is off.
                assertEquals(wanted, found, Math.abs(wanted) * 0x1.01p-8 + 1e-7, "element " + i);
                different += found == bf16(before.layers().get(1), i) ? 0 : 1;
            }
            assertTrue(different > after.shape().elements() / 2, different + " changed");
        }
    }

    private static float bf16(MemorySegment values, int i) {
        return Float.intBitsToFloat(values.getAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i) << Short.SIZE);
    }

    /** As if the adapted model had been saved and then been opened in 8 bits. */
    @Test
    void quantizesWhatWasMerged() {
        try (Arena arena = Arena.ofShared();
                ModelDirectory adapted = base("paligemma-bf16").withAdapter(folder);
                ModelDirectory quantized = base("paligemma-bf16").withAdapter(folder)) {
            HostTensor wanted = Blocks.quantize(query(adapted, arena, Optional.empty()), DType.Q8, arena);
            HostTensor found = query(quantized, arena, Optional.of(DType.Q8));
            for (int layer = 0; layer < wanted.layers().size(); layer++) {
                assertArrayEquals(
                        wanted.layers().get(layer).toArray(ValueLayout.JAVA_BYTE),
                        found.layers().get(layer).toArray(ValueLayout.JAVA_BYTE));
            }
        }
    }

    /** What it does not change stays where the file is mapped. */
    @Test
    void copiesOnlyWhatItChanges() throws IOException {
        Map<String, Stored> factors = EditedCheckpoint.tensors(weights());
        factors.keySet().removeIf(name -> !name.startsWith(FACTOR));
        EditedCheckpoint.write(weights(), factors);
        try (Arena arena = Arena.ofShared(); ModelDirectory adapted = base("paligemma-mqa").withAdapter(folder)) {
            HostTensor query = query(adapted, arena, Optional.empty());
            for (int layer = 0; layer < query.layers().size(); layer++) {
                MemorySegment mapped = adapted.checkpoint().data(QUERY.replace("{i}", String.valueOf(layer)));
                assertEquals(layer == 1, mapped.address() != query.layers().get(layer).address(), "layer " + layer);
            }
            assertEquals(query.dtype().bytes(query.shape()), adapted.checkpoint().adaptedBytes());
        }
    }

    @Test
    void isPartOfTheFingerprint() throws IOException {
        Files.createDirectory(folder.resolve("other"));
        Goldens.copy("paligemma-lora/adapter-rslora", folder.resolve("other"));
        try (ModelDirectory base = base("paligemma-mqa");
                ModelDirectory adapted = base("paligemma-mqa").withAdapter(folder);
                ModelDirectory other = base("paligemma-mqa").withAdapter(folder.resolve("other"))) {
            assertNotEquals(base.fingerprint(), adapted.fingerprint());
            assertNotEquals(other.fingerprint(), adapted.fingerprint());
        }
    }

    private void refused(String golden, String... said) {
        CheckpointException e =
                assertThrows(CheckpointException.class, () -> base(golden).withAdapter(folder).close());
        for (String part : said) {
            assertTrue(e.getMessage().contains(part), e.getMessage());
        }
        assertEquals(1, e.getMessage().lines().count(), e.getMessage());
    }

    private void config(String before, String after) throws IOException {
        Path file = folder.resolve("adapter_config.json");
        String text = Files.readString(file);
        assertTrue(text.contains(before), before);
        Files.writeString(file, text.replace(before, after));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "\"peft_type\": \"LORA\" | \"peft_type\": \"IA3\" | peft_type: IA3 is not read here, only LORA",
                "\"use_dora\": false | \"use_dora\": true | use_dora: DoRA is not read here",
                "\"use_qalora\": false | \"use_qalora\": true | use_qalora: this variant of LoRA is not read here",
                "\"bias\": \"none\" | \"bias\": \"all\" | bias: adapters that change biases",
                "\"lora_bias\": false | \"lora_bias\": true | lora_bias: adapters that change biases",
                "\"fan_in_fan_out\": false | \"fan_in_fan_out\": true | fan_in_fan_out: matrices",
                "\"modules_to_save\": null | \"modules_to_save\": [\"lm_head\"] | modules_to_save: adapters that",
                "\"init_lora_weights\": true | \"init_lora_weights\": \"pissa\" | init_lora_weights: pissa changes",
            })
    void refusesOtherKinds(String before, String after, String said) throws IOException {
        config(before, after);
        refused("paligemma-mqa", "adapter_config.json: " + said, "merge_and_unload", "--model");
    }

    @Test
    void takesOneThatSavesNoModules() throws IOException {
        config("\"modules_to_save\": null", "\"modules_to_save\": []");
        base("paligemma-mqa").withAdapter(folder).close();
    }

    @Test
    void refusesWhatConfigurationAndFactorsDisagreeAbout() throws IOException {
        config("\"r\": 4", "\"r\": 5");
        refused("paligemma-mqa", "lora_A.weight is [4, ", "of rank 5 expected, as adapter_config.json says");
        config("\"r\": 5", "\"r\": 0");
        refused("paligemma-mqa", "r: the rank of", "a positive integer expected");
        config("\"r\": 0", "\"r\": 4");
        config("\"rank_pattern\": {}", "\"rank_pattern\": {\"(\": 3}");
        refused("paligemma-mqa", "rank_pattern: \"(\" is no regular expression");
    }

    private void edited(Consumer<Map<String, Stored>> change, String... said) throws IOException {
        Map<String, Stored> factors = EditedCheckpoint.tensors(weights());
        change.accept(factors);
        EditedCheckpoint.write(weights(), factors);
        refused("paligemma-mqa", said);
        Files.delete(weights());
        Files.copy(Goldens.folder("paligemma-lora/adapter").resolve("adapter_model.safetensors"), weights());
    }

    @Test
    void refusesOtherTensors() throws IOException {
        String a = FACTOR + "A.weight";
        edited(all -> all.remove(a), FACTOR + "B.weight is there without its lora_A");
        edited(all -> all.put(FACTOR + "magnitude_vector", all.get(a)), "is of DoRA");
        edited(
                all -> all.put("base_model.model.lm_head.weight", all.get(a)),
                "tensor base_model.model.lm_head.weight is neither lora_A.weight nor lora_B.weight");
        edited(
                all -> all.put(FACTOR.replace("lora_", "lora_embedding_") + "A", all.get(a)),
                "lora_embedding_A is neither");
        edited(all -> all.put(FACTOR + "A.default.weight", all.get(a)), "are the same factor");
        edited(Map::clear, "no tensors: the adapter changes nothing");
        edited(
                all -> {
                    all.put("base_model.model.lm_head.lora_A.weight", all.get(a));
                    all.put("base_model.model.lm_head.lora_B.weight", all.get(FACTOR + "B.weight"));
                },
                "base_model.model.lm_head.lora_A.weight is of the head, which is tied to the embeddings");
        edited(
                all -> {
                    all.put("base_model.model.model.language_model.layers.9.mlp.up_proj.lora_A.weight", all.get(a));
                    all.put(
                            "base_model.model.model.language_model.layers.9.mlp.up_proj.lora_B.weight",
                            all.get(FACTOR + "B.weight"));
                },
                "is of language_model.model.layers.9.mlp.up_proj.weight, which this model does not have",
                "the adapter was made for google/paligemma-3b-pt-224: name that model with --model");
    }

    @Test
    void refusesAnotherBase() {
        refused("paligemma-gqa", "is of a matrix [", "more); the adapter was made for google/paligemma-3b-pt-224");
        refused("zeroshot-clip", "which this model does not have");
    }

    /** An adapter of a program that gave it a name keeps that in the names of its tensors. */
    @Test
    void readsNamedAdapters() throws IOException {
        Map<String, Stored> factors = EditedCheckpoint.tensors(weights());
        Map<String, Stored> named = new LinkedHashMap<>();
        factors.forEach((name, value) -> named.put(name.replaceFirst("\\.weight$", ".default.weight"), value));
        try (Arena arena = Arena.ofShared();
                ModelDirectory adapted = base("paligemma-mqa").withAdapter(folder)) {
            float[] wanted =
                    query(adapted, arena, Optional.empty()).layers().get(1).toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
            EditedCheckpoint.write(folder.resolve("named.safetensors"), named);
            Path other = Files.createDirectory(folder.resolve("named"));
            Files.copy(folder.resolve("adapter_config.json"), other.resolve("adapter_config.json"));
            Files.move(folder.resolve("named.safetensors"), other.resolve("adapter_model.safetensors"));
            try (ModelDirectory again = base("paligemma-mqa").withAdapter(other)) {
                assertArrayEquals(
                        wanted,
                        query(again, arena, Optional.empty())
                                .layers()
                                .get(1)
                                .toArray(ValueLayout.JAVA_FLOAT_UNALIGNED));
            }
        }
    }

    @Test
    void saysWhatAFolderIsThatIsNone() throws IOException {
        Files.delete(weights());
        refused("paligemma-mqa", "adapter_model.safetensors is missing; download it, too");
        Files.writeString(folder.resolve("adapter_model.bin"), "");
        refused("paligemma-mqa", "holds adapter_model.bin: weights of PyTorch", "safe_serialization=True");
        Files.delete(folder.resolve("adapter_config.json"));
        refused("paligemma-mqa", "is no adapter as PEFT saves it: adapter_config.json is missing");
        Files.writeString(folder.resolve("config.json"), "{}");
        refused("paligemma-mqa", "; a model is named with --model");
    }
}
