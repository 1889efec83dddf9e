package stormsight.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.checkpoint.SafetensorsWriter.Entry;
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
    @ValueSource(
            strings = {
                "paligemma-mqa",
                "paligemma-gqa",
                "paligemma-sharded",
                "paligemma-bf16",
                "paligemma2",
                "paligemma2-window"
            })
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
                "language_model.model.layers.0.self_attn.q_proj.weight",
                "language_model.model.layers.1.self_attn.q_proj.weight");
        try (Checkpoint checkpoint = Checkpoint.open(golden("paligemma-bf16"))) {
            HostTensor stack = checkpoint.stack(names, DType.BF16, Arena.global());
            assertEquals(DType.BF16, stack.dtype());
            assertEquals(Shape.of(60, 48), stack.shape());
            assertEquals(checkpoint.data(names.get(1)).address(), stack.layers().get(1).address());
        }
    }

    @Test
    void decodesHalfPrecisionWithSubnormals() throws IOException {
        short[] halves = {
            0x0001, 0x03ff, 0x0400, (short) 0x8001, (short) 0x8000, 0x3c00, 0x7bff, (short) 0xfc00, 0x3555,
        };
        float[] values = {
            0x1p-24f, 1023 * 0x1p-24f, 0x1p-14f, -0x1p-24f, -0f, 1, 65504, Float.NEGATIVE_INFINITY, 0x1.554p-2f,
        };
        write(new Entry("h", DType.F16, Shape.of(halves.length)), halves);
        try (Checkpoint checkpoint = Checkpoint.open(directory)) {
            HostTensor decoded = checkpoint.f32(List.of("h"));
            assertEquals(DType.F32, decoded.dtype());
            assertArrayEquals(values, decoded.layers().getFirst().toArray(ValueLayout.JAVA_FLOAT));
        }
    }

    @Test
    void decodesBf16AndFoldsAnOffsetInF32() throws IOException {
        short[] words = {0x3f80, (short) 0xbf80, 0x0001, (short) 0x8000, 0x7f7f, 0x3eaa};
        write(new Entry("b", DType.BF16, Shape.of(2, 3)), words);
        try (Checkpoint checkpoint = Checkpoint.open(directory)) {
            float[] plain = checkpoint.f32(List.of("b")).layers().getFirst().toArray(ValueLayout.JAVA_FLOAT);
            float[] folded = checkpoint
                    .f32(List.of("b", "b"), w -> 1 + w)
                    .layers()
                    .get(1)
                    .toArray(ValueLayout.JAVA_FLOAT);
            for (int i = 0; i < words.length; i++) {
                assertEquals(words[i] << 16, Float.floatToRawIntBits(plain[i]));
                assertEquals(1f + plain[i], folded[i]);
            }
        }
    }

    private void write(Entry tensor, short[] words) {
        SafetensorsWriter.write(directory, List.of(tensor), Long.MAX_VALUE,
                (entry, first, piece) -> piece.copyFrom(MemorySegment.ofArray(words)));
    }

    @Test
    void f32WeightsStayInPlace() {
        String name = "language_model.model.norm.weight";
        try (Checkpoint checkpoint = Checkpoint.open(golden("paligemma-mqa"))) {
            assertEquals(checkpoint.data(name).address(), checkpoint.f32(List.of(name)).layers().getFirst().address());
        }
    }

    @Test
    void stacksOnlyEqualTensors() {
        try (Checkpoint checkpoint = Checkpoint.open(golden("paligemma-mqa"))) {
            assertRefused(
                    () -> checkpoint.stack(
                            List.of(
                                    "language_model.model.layers.0.self_attn.q_proj.weight",
                                    "language_model.model.norm.weight"),
                            DType.F32,
                            Arena.global()),
                    "model.safetensors: tensor language_model.model.norm.weight is F32 [48], F32 [60, 48] as in");
            assertRefused(() -> checkpoint.tensor("x"), "model.safetensors: tensor x is missing");
        }
    }

    @Test
    void saysWhatItLookedFor() throws IOException {
        assertRefused(
                () -> Checkpoint.open(directory),
                directory + ": neither model.safetensors nor model.safetensors.index.json is there");
        assertRefused(
                () -> Checkpoint.open(directory.resolve("none")), directory.resolve("none") + ": no such directory");
        Path file = Files.createFile(directory.resolve("file"));
        assertRefused(() -> Checkpoint.open(file), file + ": not a directory");
        Files.createDirectory(directory.resolve("model.safetensors"));
        assertRefused(() -> Checkpoint.open(directory), "model.safetensors: not a file");
    }

    @Test
    void theSingleFileWinsOverAnIndex() throws IOException {
        write(new Entry("t", DType.F16, Shape.of(1)), new short[] {1});
        Files.writeString(directory.resolve("model.safetensors.index.json"), "broken");
        try (Checkpoint checkpoint = Checkpoint.open(directory)) {
            assertEquals(Set.of("t"), checkpoint.names());
        }
    }

    @Test
    void refusesATruncatedFile() throws IOException {
        byte[] bytes = Files.readAllBytes(golden("paligemma-bf16").resolve("model.safetensors"));
        Files.write(directory.resolve("model.safetensors"), Arrays.copyOf(bytes, bytes.length - 1));
        assertRefused(
                () -> Checkpoint.open(directory),
                "model.safetensors: tensor vision_tower.vision_model.post_layernorm.weight: its data ends");
    }

    @Test
    void oneWeightMayHaveTwoNamesOfOneValue() throws IOException {
        List<Entry> both = List.of(
                new Entry("lm_head.weight", DType.F32, Shape.of(1)),
                new Entry("language_model.lm_head.weight", DType.BF16, Shape.of(1)));
        String problem =
                "tensors language_model.lm_head.weight and lm_head.weight are both language_model.lm_head.weight";
        SafetensorsWriter.write(directory, both, Long.MAX_VALUE, (entry, first, piece) -> {});
        Checkpoint.open(directory).close();
        assertRefused(() -> Checkpoint.open(directory, Strictness.STRICT), problem + ", with the same values");
        Files.delete(directory.resolve("model.safetensors"));
        SafetensorsWriter.write(
                directory,
                both,
                Long.MAX_VALUE,
                (entry, first, piece) -> piece.fill((byte) entry.type().bits()));
        assertRefused(() -> Checkpoint.open(directory), problem + " and differ");
    }

    @Test
    void openFileKeepsStoredNames() {
        try (Checkpoint checkpoint = Checkpoint.openFile(golden("paligemma-gqa").resolve("model.safetensors"))) {
            assertTrue(checkpoint.names().contains("vision_tower.post_layernorm.bias"));
        }
    }

    @Test
    void closeMayBeRepeated() {
        Checkpoint checkpoint = Checkpoint.open(golden("paligemma-mqa"));
        checkpoint.close();
        checkpoint.close();
    }

    /** Shards of the tensors a and b under that index. */
    private void assertIndexRefused(String weightMap, String problem) throws IOException {
        Entry a = new Entry("a", DType.F32, Shape.of(2));
        Entry b = new Entry("b", DType.F32, Shape.of(2));
        Map.of("a", List.of(a), "copy", List.of(a), "b", List.of(b), "both", List.of(a, b))
                .forEach((name, tensors) -> SafetensorsWriter.writeFile(
                        directory.resolve(name + ".safetensors"), tensors, (entry, first, piece) -> {}));
        Files.writeString(
                directory.resolve("model.safetensors.index.json"),
                "{\"metadata\":{},\"weight_map\":" + weightMap + "}");
        if (problem.isEmpty()) {
            Checkpoint.open(directory).close();
        } else {
            assertRefused(() -> Checkpoint.open(directory), problem);
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "{'a':'a.safetensors','b':'b.safetensors'}|''",
        "{'a':'a.safetensors'}|''",
        "{'a':'a.safetensors','b':'a.safetensors'}|a.safetensors: tensor b is missing, although",
        "{'a':'a.safetensors','b':'b.safetensors','c':'b.safetensors'}|b.safetensors: tensor c is missing, although",
        "{'a':'b.safetensors','b':'b.safetensors'}|b.safetensors: tensor a is missing",
        "{'a':'a.safetensors','b':'copy.safetensors'}|copy.safetensors: tensor a is also in a.safetensors",
        "{'a':'a.safetensors','b':'both.safetensors'}|both.safetensors: tensor a is also in a.safetensors",
        "{'a':'both.safetensors'}|both.safetensors: tensor b is not listed in model.safetensors.index.json",
        "{'a':'none.safetensors'}|none.safetensors: no such file",
        "{'a':'../a.safetensors'}|tensor a: ../a.safetensors is not a plain file name",
        "{'a':'/a.safetensors'}|not a plain file name",
        "{'a':'x\\\\a.safetensors'}|not a plain file name",
        "{'a':'..'}|not a plain file name",
        "{'a':'.'}|not a plain file name",
        "{'a':''}|not a plain file name",
        "{'a':'a\\u0000b'}|not a plain file name",
        "{'a':1}|tensor a: its file is not a string",
        "{'a':null}|tensor a: its file is not a string",
        "{'a':'a.safetensors','a':'a.safetensors'}|not valid JSON",
        "{}|weight_map is empty",
        "[]|weight_map is not an object",
        "null|weight_map is not an object",
        "{}}|the index",
    }, quoteCharacter = '`')
    void refusesAnIndexThatDoesNotFit(String weightMap, String problem) throws IOException {
        assertIndexRefused(weightMap.replace('\'', '"'), problem.replace("''", ""));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {"[]|not an object", "{}|no weight_map", "1|not an object", "{|not valid JSON"})
    void refusesAnIndexThatIsNone(String index, String problem) throws IOException {
        Files.writeString(directory.resolve("model.safetensors.index.json"), index);
        assertRefused(() -> Checkpoint.open(directory), "model.safetensors.index.json: ");
        assertRefused(() -> Checkpoint.open(directory), problem);
    }

    private static void assertRefused(Executable action, String problem) {
        CheckpointException e = assertThrows(CheckpointException.class, action);
        assertTrue(e.getMessage().contains(problem), e.getMessage());
    }
}
