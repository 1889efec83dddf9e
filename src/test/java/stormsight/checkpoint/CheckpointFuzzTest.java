package stormsight.checkpoint;

import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.Mutator;
import stormsight.Mutator.Outcome;
import stormsight.program.DType;
import stormsight.program.Shape;

/**
 * Broken files end in a {@link CheckpointException}, whatever is broken about them, at once and without taking much
 * memory.
 */
class CheckpointFuzzTest {
    private static final int CASES = 3000;

    /** Beside what a header takes: buffers of the parser. Classes are loaded by reading the intact file first. */
    private static final long ALLOCATION_LIMIT = 8 << 20;

    /** Of the processor, so that other programs do not count. */
    private static final long MILLISECONDS_LIMIT = 5000;

    private static final ThreadMXBean THREAD = (ThreadMXBean) ManagementFactory.getThreadMXBean();

    @TempDir
    Path directory;

    @Test
    void mutatedFiles() throws IOException {
        SafetensorsWriter.write(directory, tensors(), Long.MAX_VALUE, (tensor, first, piece) -> piece.fill((byte) 1));
        Path file = directory.resolve("model.safetensors");
        byte[] original = Files.readAllBytes(file);
        int headerBytes = (int) ByteBuffer.wrap(original).order(ByteOrder.LITTLE_ENDIAN).getLong();
        String header = new String(original, 8, headerBytes, StandardCharsets.UTF_8);
        byte[] data = Arrays.copyOfRange(original, 8 + headerBytes, original.length);
        touch(Checkpoint.open(directory));
        Mutator.Counts counts = Mutator.fuzz("safetensors", 1_000_000, CASES, mutator -> {
            byte[] mutated = switch (mutator.random().nextInt(4)) {
                case 0 -> mutator.flipped(original, 8 + headerBytes);
                case 1 -> mutator.cut(original);
                case 2 -> withNumber(original, 1, mutator);
                default -> concatenated(mutator.json(header), data);
            };
            replace(file, mutated);
            return check(mutated.length, () -> touch(Checkpoint.open(directory)));
        });
        counts.assertRefused(0.5);
    }

    @Test
    void mutatedGguf() throws IOException {
        GgufFiles.Content tower = new GgufFiles.Content();
        tower.keys.put("general.architecture", "clip");
        tower.keys.put("clip.projector_type", "paligemma");
        tower.tensors.add(new GgufFiles.Entry("v.blk.0.ffn_down.weight", 1, List.of(4, 2), new byte[16]));
        GgufFiles.write(directory.resolve("mmproj.gguf"), tower);
        GgufFiles.Content text = new GgufFiles.Content();
        text.keys.put("general.architecture", "gemma");
        text.keys.put("general.alignment", 32);
        text.keys.put("tokenizer.ggml.tokens", List.of("<pad>", "<eos>"));
        text.tensors.add(new GgufFiles.Entry("token_embd.weight", 14, List.of(2, 256), new byte[420]));
        text.tensors.add(new GgufFiles.Entry("output_norm.weight", 0, List.of(3), new byte[12]));
        text.tensors.add(new GgufFiles.Entry("blk.0.attn_q.weight", 2, List.of(2, 32), new byte[36]));
        text.tensors.add(new GgufFiles.Entry("blk.0.attn_k.weight", 8, List.of(1, 32), new byte[34]));
        byte[] original = GgufFiles.bytes(text);
        // Of data, four tensors take 608 bytes with what is between them.
        int headerBytes = original.length - 608;
        Path file = directory.resolve("model.gguf");
        Files.write(file, original);
        touch(Checkpoint.open(directory));
        Mutator.Counts counts = Mutator.fuzz("gguf", 5_000_000, CASES, mutator -> {
            byte[] mutated = switch (mutator.random().nextInt(3)) {
                case 0 -> mutator.flipped(original, headerBytes);
                case 1 -> mutator.cut(original);
                default -> withNumber(original, headerBytes, mutator);
            };
            replace(file, mutated);
            return check(mutated.length, () -> touch(Checkpoint.open(directory)));
        });
        counts.assertRefused(0.3);
    }

    @Test
    void mutatedIndexes() throws IOException {
        SafetensorsWriter.write(directory, tensors(), 200, (tensor, first, piece) -> piece.fill((byte) 1));
        Path index = directory.resolve("model.safetensors.index.json");
        byte[] original = Files.readAllBytes(index);
        String json = new String(original, StandardCharsets.UTF_8);
        touch(Checkpoint.open(directory));
        Mutator.Counts counts = Mutator.fuzz("safetensors.index.json", 2_000_000, CASES, mutator -> {
            byte[] mutated = switch (mutator.random().nextInt(3)) {
                case 0 -> mutator.flipped(original, original.length);
                case 1 -> mutator.cut(original);
                default -> mutator.json(json).getBytes(StandardCharsets.UTF_8);
            };
            replace(index, mutated);
            return check(mutated.length, () -> touch(Checkpoint.open(directory)));
        });
        counts.assertRefused(0.5);
    }

    @Test
    void mutatedConfigs() throws IOException {
        Path file = directory.resolve("config.json");
        String json = Files.readString(CheckpointTest.golden("paligemma-gqa").resolve("config.json"));
        byte[] original = json.getBytes(StandardCharsets.UTF_8);
        Files.write(file, original);
        touch(ConfigFile.read(file));
        Mutator.Counts counts = Mutator.fuzz("config.json", 3_000_000, CASES, mutator -> {
            byte[] mutated = switch (mutator.random().nextInt(3)) {
                case 0 -> mutator.flipped(original, original.length);
                case 1 -> mutator.cut(original);
                default -> mutator.json(json).getBytes(StandardCharsets.UTF_8);
            };
            replace(file, mutated);
            return check(mutated.length, () -> touch(ConfigFile.read(file)));
        });
        counts.assertRefused(0.5);
    }

    /** Archives of arrays, stored and compressed. */
    @Test
    void mutatedArchives() throws IOException {
        Path file = directory.resolve("arrays.npz");
        List<byte[]> originals = List.of(archive(ZipOutputStream.STORED), archive(ZipOutputStream.DEFLATED));
        Mutator.Counts counts = Mutator.fuzz("npz", 4_000_000, CASES, mutator -> {
            byte[] original = originals.get(mutator.random().nextInt(2));
            byte[] mutated = switch (mutator.random().nextInt(3)) {
                case 0 -> mutator.flipped(original, original.length);
                case 1 -> mutator.bytes(original);
                default -> mutator.cut(original);
            };
            Files.deleteIfExists(file);
            Files.write(file, mutated);
            return check(mutated.length, () -> {
                try (Npz npz = Npz.open(file)) {
                    npz.array("a.weight", 2, 0);
                    npz.array("a.bias", 3);
                }
            });
        });
        counts.assertRefused(0.5);
    }

    private static byte[] archive(int method) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (ZipOutputStream zip = new ZipOutputStream(bytes)) {
            zip.setMethod(method);
            for (String array : List.of("a.weight 2, 3", "a.bias 3,", "unused 1,")) {
                String name = array.substring(0, array.indexOf(' '));
                String header = "{'descr': '<f4', 'fortran_order': False, 'shape': ("
                        + array.substring(array.indexOf(' ') + 1) + "), }\n";
                int numbers = array.startsWith("a.weight") ? 6 : array.startsWith("a.bias") ? 3 : 1;
                byte[] content = ("\u0093NUMPY\1\0" + (char) header.length() + "\0" + header
                                + "\0\0\u0080\u003f".repeat(numbers))
                        .getBytes(StandardCharsets.ISO_8859_1);
                ZipEntry entry = new ZipEntry(name + ".npy");
                CRC32 sum = new CRC32();
                sum.update(content);
                entry.setSize(content.length);
                entry.setCrc(sum.getValue());
                zip.putNextEntry(entry);
                zip.write(content);
                zip.closeEntry();
            }
        }
        return bytes.toByteArray();
    }

    private static List<SafetensorsWriter.Entry> tensors() {
        return List.of(
                new SafetensorsWriter.Entry(
                        "vision_tower.embeddings.patch_embedding.weight", DType.F32, Shape.of(2, 3, 2, 2)),
                new SafetensorsWriter.Entry("vision_tower.embeddings.patch_embedding.bias", DType.F32, Shape.of(2)),
                new SafetensorsWriter.Entry(
                        "model.language_model.layers.0.mlp.up_proj.weight", DType.BF16, Shape.of(8, 5)),
                new SafetensorsWriter.Entry("model.language_model.norm.weight", DType.F16, Shape.of(5)),
                new SafetensorsWriter.Entry("lm_head.weight", DType.F16, Shape.of(7, 5)),
                new SafetensorsWriter.Entry("position_ids", StoredType.I64, Shape.of(1, 9)),
                new SafetensorsWriter.Entry("scalar", DType.F32, Shape.of()),
                new SafetensorsWriter.Entry("empty", DType.U8, Shape.of(0, 3)));
    }

    private Outcome check(long fileBytes, Runnable open) {
        long allocated = THREAD.getCurrentThreadAllocatedBytes();
        long start = THREAD.getCurrentThreadCpuTime();
        Outcome outcome = Outcome.READ;
        try {
            open.run();
        } catch (CheckpointException e) {
            outcome = Outcome.refused(e, directory);
        }
        long milliseconds = (THREAD.getCurrentThreadCpuTime() - start) / 1_000_000;
        assertTrue(milliseconds < MILLISECONDS_LIMIT, "it took " + milliseconds + " ms");
        allocated = THREAD.getCurrentThreadAllocatedBytes() - allocated;
        assertTrue(
                allocated < ALLOCATION_LIMIT + fileBytes,
                "it allocated " + allocated + " bytes for a file of " + fileBytes);
        return outcome;
    }

    /** Reads every byte that a checkpoint that opened says it has. */
    private static void touch(Checkpoint opened) {
        try (Checkpoint checkpoint = opened) {
            for (String name : checkpoint.names()) {
                checkpoint.data(name).mismatch(checkpoint.data(name));
                if (checkpoint.weightType(name).isPresent()) {
                    checkpoint.f32(List.of(name), w -> 1 + w);
                }
            }
        }
    }

    private static void touch(ConfigFile config) {
        config.integer("text_config.head_dim", 256);
        config.number("text_config.rope_parameters.rope_theta", 1);
        config.bool("text_config.attention_bias", false);
        config.text("model_type", "");
    }

    /** Some file systems wait for the disk when a file is truncated and written again. */
    private static void replace(Path file, byte[] bytes) throws IOException {
        Files.delete(file);
        Files.write(file, bytes);
    }

    /** Eight bytes replaced that begin within the first ones. */
    private static byte[] withNumber(byte[] original, int limit, Mutator mutator) {
        byte[] mutated = original.clone();
        ByteBuffer.wrap(mutated).order(ByteOrder.LITTLE_ENDIAN)
                .putLong(mutator.random().nextInt(limit), mutator.hostileNumber(original.length));
        return mutated;
    }

    private static byte[] concatenated(String header, byte[] data) {
        byte[] text = header.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(8 + text.length + data.length)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(text.length)
                .put(text)
                .put(data)
                .array();
    }
}
