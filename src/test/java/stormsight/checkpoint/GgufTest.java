package stormsight.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeout;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import stormsight.Goldens;
import stormsight.program.DType;

class GgufTest {
    private static final Path SHAPES = Path.of("models/shapes");

    /** Of a norm that is stored as one more in F32. */
    private static final float ROUNDING = 0x1p-23f;
    @TempDir
    Path folder;

    @ParameterizedTest
    @CsvSource({
        "paligemma-mqa, gemma, false",
        "paligemma-bf16, gemma, false",
        "paligemma2, gemma2, false",
        "paligemma-mqa, gemma, true"
    })
    void plainWeightsAreUsedInPlaceUnderTheirNames(String golden, String architecture, boolean swapped)
            throws IOException {
        Map<String, float[]> written =
                GgufFiles.convert(Goldens.folder(golden), folder, architecture, "stored", swapped);
        try (Checkpoint stored = Checkpoint.open(Goldens.folder(golden)); Checkpoint read = Checkpoint.open(folder)) {
            assertEquals(stored.names(), read.names());
            for (String name : stored.names()) {
                assertEquals(stored.info(name).shape(), read.info(name).shape(), name);
                assertArrayEquals(written.get(name), read.decode(read.info(name)), ROUNDING, name);
                assertEquals(name.startsWith("language_model.") && name.endsWith("norm.weight"), read.isCopied(name));
                if (stored.info(name).shape().rank() > 1) {
                    assertEquals(stored.info(name).type(), read.info(name).type(), name);
                }
            }
        }
    }

    /** In q4, a scale is rounded to BF16, which has 8 bits. */
    @ParameterizedTest
    @CsvSource({"Q8_0, Q8, 0", "Q4_0, Q4, 0.00390625"})
    void blocksAreTakenApart(String stored, DType type, double tolerance) throws IOException {
        Map<String, float[]> written = GgufFiles.convert(SHAPES, folder, "gemma", stored);
        try (Checkpoint read = Checkpoint.open(folder)) {
            for (Map.Entry<String, float[]> each : written.entrySet()) {
                TensorInfo info = read.info(each.getKey());
                boolean blocks = each.getKey().startsWith("language_model.") && info.shape().rank() == 2;
                assertEquals(blocks, read.weightType(each.getKey()).orElseThrow() == type, info.label());
                float[] values = read.decode(info);
                for (int i = 0; i < values.length; i++) {
                    float wanted = each.getValue()[i];
                    double apart = blocks ? Math.abs(wanted) * tolerance : ROUNDING;
                    // A message is made only where it is needed.
                    if (!(Math.abs(wanted - values[i]) <= apart)) {
                        assertEquals(wanted, values[i], apart, info.label());
                    }
                }
            }
        }
    }

    /** Bytes that count up, and what llama.cpp's own reader in Python makes of them. */
    @Test
    void blocksOfKindKHaveTheValuesOfTheirReference() {
        int[] at = {0, 1, 31, 32, 63, 64, 100, 127, 128, 129, 160, 200, 223, 224, 255};
        float[] values = new float[256];
        Gguf.q4K(bytes(144).putShort(0, (short) 0x2C00).putShort(2, (short) 0x3000), 0, values);
        assertArrayEquals(
                new float[] {
                    14.9375f, -6.375f, 5.25f, -1.75f, 0.25f, 20.5625f, 2.75f, 1.875f, 25.3125f, -1.5f, 30, 7.0625f,
                    16.25f, -3.25f, -0.25f
                },
                picked(values, at));
        Gguf.q6K(bytes(210).putShort(208, (short) 0x2400), 0, values);
        assertArrayEquals(
                new float[] {
                    -22.359375f, 26.5f, -1.5f, 3.609375f, -9.0625f, -47.5f, 39.421875f, 23.4375f, -5.484375f, 6.5f,
                    10.484375f, 17.015625f, -15.75f, 13.21875f, -0.9375f
                },
                picked(values, at));
    }

    private static ByteBuffer bytes(int count) {
        ByteBuffer bytes = ByteBuffer.allocate(count).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < count; i++) {
            bytes.put(i, (byte) (i * 37 + 11));
        }
        return bytes;
    }

    private static float[] picked(float[] values, int[] at) {
        float[] picked = new float[at.length];
        for (int i = 0; i < at.length; i++) {
            picked[i] = values[at[i]];
        }
        return picked;
    }

    /** Of blocks that q8 has no like of, values are those of a block within half a step of its scale. */
    @ParameterizedTest
    @CsvSource({"12, 144", "14, 210"})
    void blocksOfKindKBecomeQ8(int type, int blockBytes) throws IOException {
        GgufFiles.convert(Goldens.folder("paligemma-mqa"), folder, "gemma", "stored");
        byte[] block = bytes(blockBytes).putShort(type == 12 ? 0 : 208, (short) 0x2400)
                .putShort(type == 12 ? 2 : 208, (short) 0x2400).array();
        byte[] both = Arrays.copyOf(block, 2 * blockBytes);
        System.arraycopy(block, 0, both, blockBytes, blockBytes);
        GgufFiles.Content content = new GgufFiles.Content();
        content.keys.put("general.architecture", "gemma");
        content.tensors.add(new GgufFiles.Entry("token_embd.weight", type, List.of(2, 256), both));
        GgufFiles.write(folder.resolve("model.gguf"), content);
        float[] expected = new float[256];
        ByteBuffer in = ByteBuffer.wrap(block).order(ByteOrder.LITTLE_ENDIAN);
        if (type == 12) {
            Gguf.q4K(in, 0, expected);
        } else {
            Gguf.q6K(in, 0, expected);
        }
        try (Checkpoint read = Checkpoint.open(folder)) {
            String name = "language_model.model.embed_tokens.weight";
            assertEquals(DType.Q8, read.weightType(name).orElseThrow());
            float[] values = read.decode(read.info(name));
            for (int start = 0; start < 256; start += 32) {
                float largest = 0;
                for (int i = start; i < start + 32; i++) {
                    largest = Math.max(largest, Math.abs(expected[i]));
                }
                for (int i = start; i < start + 32; i++) {
                    assertEquals(expected[i], values[i], largest / 127 * 0.501, "weight " + i);
                    assertEquals(values[i], values[256 + i], "the second row");
                }
            }
        }
    }

    private void refused(String said) {
        CheckpointException told = assertThrows(CheckpointException.class, () -> Checkpoint.open(folder).close());
        assertTrue(told.getMessage().contains(said), told.getMessage());
        assertEquals(1, told.getMessage().lines().count());
    }

    private static GgufFiles.Content content(String architecture) {
        GgufFiles.Content content = new GgufFiles.Content();
        content.keys.put("general.architecture", architecture);
        return content;
    }

    @Test
    void whatIsNotReadIsNamed() throws IOException {
        GgufFiles.convert(Goldens.folder("paligemma-mqa"), folder, "gemma", "stored");
        Path model = folder.resolve("model.gguf");
        byte[] good = Files.readAllBytes(model);
        GgufFiles.write(model, content("llama"));
        refused("model.gguf: is GGUF of architecture llama; of that format, decoders gemma and gemma2 are read");
        GgufFiles.Content split = content("gemma");
        split.keys.put("split.count", 3);
        GgufFiles.write(model, split);
        refused("is one of 3 parts");
        GgufFiles.Content other = content("gemma");
        other.tensors.add(new GgufFiles.Entry("token_embd.weight", 13, List.of(1, 256), new byte[176]));
        GgufFiles.write(model, other);
        refused("tensor token_embd.weight: is of type Q5_K; read are F32, F16, BF16, Q8_0, Q4_0, Q4_K and Q6_K");
        GgufFiles.Content odd = content("gemma");
        odd.tensors.add(new GgufFiles.Entry("token_embd.weight", 8, List.of(2, 33), new byte[70]));
        GgufFiles.write(model, odd);
        refused("rows of 33 are no whole blocks of Q8_0");
        GgufFiles.Content tower = content("clip");
        tower.keys.put("clip.projector_type", "mlp");
        GgufFiles.write(model, tower);
        refused("a vision tower whose projector is mlp");
        Files.write(model, good);
        Files.write(folder.resolve("model-2.gguf"), good);
        refused("holds 2 decoders in GGUF: model-2.gguf, model.gguf; name the one to take in place of the folder");
        Files.delete(folder.resolve("model-2.gguf"));
        Files.delete(folder.resolve("mmproj.gguf"));
        refused("holds GGUF without that of the vision tower");
    }

    /** llama.cpp scales positions by a factor that no type goes with, too. */
    @Test
    void scaledPositionsAreRefused() throws IOException {
        GgufFiles.convert(Goldens.folder("paligemma-mqa"), folder, "gemma", "stored");
        String scaled = ": scaled positions are not supported";
        for (Map.Entry<String, Object> each : Map.<String, Object>of(
                "scale_linear", 8, "scaling.factor", 2.5f, "scaling.type", "linear", "scaling.attn_factor", 0.5f)
                .entrySet()) {
            GgufFiles.Content content = content("gemma");
            content.keys.put("gemma.rope." + each.getKey(), each.getValue());
            GgufFiles.write(folder.resolve("model.gguf"), content);
            refused("model.gguf: key gemma.rope." + each.getKey() + scaled);
        }
        GgufFiles.Content array = content("gemma");
        array.keys.put("gemma.rope.scaling.factor", new float[] {1, 1});
        GgufFiles.write(folder.resolve("model.gguf"), array);
        refused("gemma.rope.scaling.factor" + scaled);
        GgufFiles.Content plain = content("gemma");
        plain.keys.put("gemma.rope.scaling.type", "none");
        plain.keys.put("gemma.rope.scaling.factor", 1f);
        plain.keys.put("gemma.rope.scale_linear", 0f);
        GgufFiles.write(folder.resolve("model.gguf"), plain);
        Checkpoint.open(folder).close();
    }

    /** Each tensor is looked for in one of the two files. */
    @Test
    void theFileIsNamedThatATensorIsMissingIn() throws IOException {
        GgufFiles.convert(Goldens.folder("paligemma-mqa"), folder, "gemma", "stored");
        GgufFiles.write(folder.resolve("model.gguf"), content("gemma"));
        try (Checkpoint read = Checkpoint.open(folder)) {
            for (String[] missing : new String[][] {
                {"language_model.model.norm.weight", "model.gguf"}, {"vision_tower.vision_model.x", "mmproj.gguf"}
            }) {
                String told = assertThrows(CheckpointException.class, () -> read.info(missing[0])).getMessage();
                assertEquals(folder.resolve(missing[1]) + ": tensor " + missing[0] + " is missing", told);
            }
        }
    }

    /** Within the last text of an array, and near the beginning of another array. */
    @Test
    void aHeaderThatWasCutIsCalledTruncated() throws IOException {
        GgufFiles.convert(Goldens.folder("paligemma-mqa"), folder, "gemma", "stored");
        Path model = folder.resolve("model.gguf");
        byte[] good = Files.readAllBytes(model);
        int scores = new String(good, StandardCharsets.ISO_8859_1).indexOf("tokenizer.ggml.scores");
        Files.write(model, Arrays.copyOf(good, scores - Long.BYTES - 1));
        refused("key tokenizer.ggml.tokens: a text of ");
        refused(" bytes, within which the file ends: it is truncated or broken");
        Files.write(model, Arrays.copyOf(good, scores + 60));
        refused("key tokenizer.ggml.scores: an array of ");
        refused(" values, within which the file ends: it is truncated or broken");
    }

    private void refused(String said, GgufFiles.Entry... tensors) throws IOException {
        GgufFiles.Content content = content("gemma");
        content.tensors.addAll(List.of(tensors));
        GgufFiles.write(folder.resolve("model.gguf"), content);
        refused(said);
    }

    /** What would be taken for something else, or would end in an exception once it is read. */
    @Test
    void namesAndShapesThatDeceiveAreRefused() throws IOException {
        GgufFiles.convert(Goldens.folder("paligemma-mqa"), folder, "gemma", "stored");
        GgufFiles.Entry matrix = new GgufFiles.Entry("blk.0.attn_q.weight", 8, List.of(1, 32), new byte[34]);
        refused("tensor blk.0.attn_q.weight.scales has the name of scales", matrix,
                new GgufFiles.Entry("blk.0.attn_q.weight.scales", 0, List.of(1), new byte[4]));
        refused("tensor v.patch_embd.bias is also in mmproj.gguf",
                new GgufFiles.Entry("v.patch_embd.bias", 0, List.of(1), new byte[4]));
        refused("tensor token_embd.weight: is there twice",
                new GgufFiles.Entry("token_embd.weight", 0, List.of(1), new byte[4]),
                new GgufFiles.Entry("token_embd.weight", 0, List.of(1), new byte[4]));
        refused("tensor token_embd.weight is Q8_0 [1, 1, 32]: only matrices have blocks",
                new GgufFiles.Entry("token_embd.weight", 8, List.of(1, 1, 32), new byte[34]));
        refused("tensor output_norm.weight is Q8_0 [32]: only matrices have blocks",
                new GgufFiles.Entry("output_norm.weight", 8, List.of(32), new byte[34]));
        byte[] bytes = GgufFiles.bytes(content("gemma"));
        System.arraycopy(new byte[] {0, 0, 0, 3}, 0, bytes, 4, 4);
        Files.write(folder.resolve("model.gguf"), bytes);
        refused("is big-endian GGUF of version 3; read are 2 and 3, little-endian");
    }

    /** Zeros that a file has without taking space are no reason to read for minutes. */
    @Test
    void whatIsSaidOfAHugeFileIsRefusedAtOnce() throws IOException {
        GgufFiles.convert(Goldens.folder("paligemma-mqa"), folder, "gemma", "stored");
        for (int of : new int[] {0, 8, 9, 12}) {
            ByteBuffer header = ByteBuffer.allocate(1 << 10).order(ByteOrder.LITTLE_ENDIAN);
            header.put("GGUF".getBytes(StandardCharsets.ISO_8859_1)).putInt(3).putLong(0).putLong(1);
            header.putLong(1).put((byte) 'k').putInt(9).putInt(of).putLong(1L << 33);
            try (RandomAccessFile file = new RandomAccessFile(folder.resolve("model.gguf").toFile(), "rw")) {
                file.setLength(0);
                file.write(header.array());
                file.setLength(1L << 37);
            }
            assertTimeout(Duration.ofSeconds(20), () -> refused("a header of more than 100000000 bytes"));
        }
    }

    @Test
    void manyTensorsOfATowerAreReadAtOnce() throws IOException {
        GgufFiles.convert(Goldens.folder("paligemma-mqa"), folder, "gemma", "stored");
        GgufFiles.Content tower = content("clip");
        tower.keys.put("clip.projector_type", "paligemma");
        for (int i = 0; i < 60_000; i++) {
            tower.tensors.add(new GgufFiles.Entry("v.blk." + i + ".ffn_up.bias", 0, List.of(1), new byte[4]));
        }
        GgufFiles.write(folder.resolve("mmproj.gguf"), tower);
        assertTimeout(Duration.ofSeconds(20), () -> Checkpoint.open(folder).close());
    }

    @Test
    void aFileThatWasCutAnywhereIsRefused() throws IOException {
        GgufFiles.convert(Goldens.folder("paligemma-mqa"), folder, "gemma", "stored");
        Path model = folder.resolve("model.gguf");
        byte[] good = Files.readAllBytes(model);
        for (int length = 0; length < good.length - 64; length += length < 600 ? 7 : 4099) {
            Files.write(model, Arrays.copyOf(good, length));
            assertThrows(CheckpointException.class, () -> Checkpoint.open(folder).close(), length + " bytes");
        }
        byte[] changed = good.clone();
        for (int at = 0; at < 600; at += 3) {
            changed[at] ^= (byte) 0x81;
            Files.write(model, changed);
            try (Checkpoint read = Checkpoint.open(folder)) {
                // A name, or a value of a key, may be anything.
                assertTrue(read.names().size() > 1);
            } catch (CheckpointException e) {
                assertEquals(1, e.getMessage().lines().count());
            }
            changed[at] = good[at];
        }
    }
}
