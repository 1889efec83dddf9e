package stormsight.checkpoint;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import stormsight.program.DType;
import stormsight.program.Shape;

/** Broken files end in a {@link CheckpointException}, whatever is broken about them, at once and without taking much memory. */
@Timeout(value = 60, unit = TimeUnit.SECONDS, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class CheckpointFuzzTest {
    private static final int CASES = 3000;

    /** Beside what a header takes: buffers of the parser. Classes are loaded by reading the intact file first. */
    private static final long ALLOCATION_LIMIT = 8 << 20;

    private static final long MILLISECONDS_LIMIT = 5000;

    private static final ThreadMXBean THREAD = (ThreadMXBean) ManagementFactory.getThreadMXBean();

    private static final List<String> HOSTILE = List.of(
            "-1", "-0", "0", "1", "1.5", "1e3", "1e999999999", "2147483647", "2147483648", "4294967296", "9223372036854775807",
            "9223372036854775808", "18446744073709551615", "18446744073709551616", "9".repeat(300), "9".repeat(5000), "null", "true", "NaN",
            "Infinity", "\"\"", "\"\\u0000\"", "\"\\ud800\"", "\"../x\"", "{}", "[]", "[[]]", "[0,0]", "[0,9223372036854775807]",
            "[9223372036854775807,9223372036854775807]", "[-1,-1]", "[2147483647,2147483647,4]", "[0,2147483648]",
            "[".repeat(1000) + "]".repeat(1000), "[".repeat(50_000), "{\"a\":".repeat(1000), "\"" + "x".repeat(20_000) + "\"",
            "{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}");

    @TempDir
    Path directory;

    private int refused;

    @Test
    void mutatedFiles() throws IOException {
        SafetensorsWriter.write(directory, tensors(), Long.MAX_VALUE, (tensor, first, piece) -> piece.fill((byte) 1));
        Path file = directory.resolve("model.safetensors");
        byte[] original = Files.readAllBytes(file);
        int headerBytes = (int) ByteBuffer.wrap(original).order(ByteOrder.LITTLE_ENDIAN).getLong();
        String header = new String(original, 8, headerBytes, StandardCharsets.UTF_8);
        byte[] data = Arrays.copyOfRange(original, 8 + headerBytes, original.length);
        touch(Checkpoint.open(directory));
        Random random = new Random(1);
        for (int i = 0; i < CASES; i++) {
            byte[] mutated = switch (i % 4) {
                case 0 -> flipped(original, 8 + headerBytes, random);
                case 1 -> Arrays.copyOf(original, random.nextInt(original.length + 40));
                case 2 -> withLength(original, random);
                default -> concatenated(mutatedJson(header, random), data);
            };
            replace(file, mutated);
            check("case " + i, mutated.length, () -> touch(Checkpoint.open(directory)));
        }
        assertTrue(refused > CASES / 2, refused + " refused");
        assertTrue(refused < CASES, "no mutation is harmless");
    }

    @Test
    void mutatedIndexes() throws IOException {
        SafetensorsWriter.write(directory, tensors(), 200, (tensor, first, piece) -> piece.fill((byte) 1));
        Path index = directory.resolve("model.safetensors.index.json");
        byte[] original = Files.readAllBytes(index);
        String json = new String(original, StandardCharsets.UTF_8);
        touch(Checkpoint.open(directory));
        Random random = new Random(2);
        for (int i = 0; i < CASES; i++) {
            byte[] mutated = switch (i % 3) {
                case 0 -> flipped(original, original.length, random);
                case 1 -> Arrays.copyOf(original, random.nextInt(original.length + 1));
                default -> mutatedJson(json, random).getBytes(StandardCharsets.UTF_8);
            };
            replace(index, mutated);
            check("case " + i, mutated.length, () -> touch(Checkpoint.open(directory)));
        }
        assertTrue(refused > CASES / 2, refused + " refused");
        assertTrue(refused < CASES, "no mutation is harmless");
    }

    @Test
    void mutatedConfigs() throws IOException {
        Path file = directory.resolve("config.json");
        String json = Files.readString(CheckpointTest.golden("paligemma-gqa").resolve("config.json"));
        byte[] original = json.getBytes(StandardCharsets.UTF_8);
        Files.write(file, original);
        touch(ConfigFile.read(file));
        Random random = new Random(3);
        for (int i = 0; i < CASES; i++) {
            byte[] mutated = switch (i % 3) {
                case 0 -> flipped(original, original.length, random);
                case 1 -> Arrays.copyOf(original, random.nextInt(original.length + 1));
                default -> mutatedJson(json, random).getBytes(StandardCharsets.UTF_8);
            };
            replace(file, mutated);
            check("case " + i, mutated.length, () -> touch(ConfigFile.read(file)));
        }
        assertTrue(refused > CASES / 2, refused + " refused");
        assertTrue(refused < CASES, "no mutation is harmless");
    }

    private static List<SafetensorsWriter.Entry> tensors() {
        return List.of(
                new SafetensorsWriter.Entry("vision_tower.embeddings.patch_embedding.weight", DType.F32, Shape.of(2, 3, 2, 2)),
                new SafetensorsWriter.Entry("vision_tower.embeddings.patch_embedding.bias", DType.F32, Shape.of(2)),
                new SafetensorsWriter.Entry("model.language_model.layers.0.mlp.up_proj.weight", DType.BF16, Shape.of(8, 5)),
                new SafetensorsWriter.Entry("model.language_model.norm.weight", DType.F16, Shape.of(5)),
                new SafetensorsWriter.Entry("lm_head.weight", DType.F16, Shape.of(7, 5)),
                new SafetensorsWriter.Entry("position_ids", StoredType.I64, Shape.of(1, 9)),
                new SafetensorsWriter.Entry("scalar", DType.F32, Shape.of()),
                new SafetensorsWriter.Entry("empty", DType.U8, Shape.of(0, 3)));
    }

    private void check(String name, long fileBytes, Runnable open) {
        long allocated = THREAD.getCurrentThreadAllocatedBytes();
        long start = System.nanoTime();
        try {
            open.run();
        } catch (CheckpointException e) {
            refused++;
            assertTrue(e.getMessage().startsWith(directory.toString()), e.getMessage());
            assertFalse(e.getMessage().contains("\n"), e.getMessage());
            assertTrue(e.getMessage().length() < 2000, e.getMessage());
        } catch (RuntimeException e) {
            throw new AssertionError(name, e);
        }
        long milliseconds = (System.nanoTime() - start) / 1_000_000;
        assertTrue(milliseconds < MILLISECONDS_LIMIT, name + " took " + milliseconds + " ms");
        allocated = THREAD.getCurrentThreadAllocatedBytes() - allocated;
        assertTrue(allocated < ALLOCATION_LIMIT + fileBytes, name + " allocated " + allocated + " bytes for a file of " + fileBytes);
    }

    /** Reads every byte that a checkpoint that opened says it has. */
    private static void touch(Checkpoint opened) {
        try (Checkpoint checkpoint = opened) {
            for (String name : checkpoint.names()) {
                checkpoint.data(name).mismatch(checkpoint.data(name));
                if (checkpoint.info(name).type().weightType().isPresent()) {
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

    private static byte[] flipped(byte[] original, int limit, Random random) {
        byte[] mutated = original.clone();
        for (int flips = 1 + random.nextInt(3); flips > 0; flips--) {
            mutated[random.nextInt(limit)] ^= (byte) (1 << random.nextInt(8));
        }
        return mutated;
    }

    private static byte[] withLength(byte[] original, Random random) {
        long length = switch (random.nextInt(6)) {
            case 0 -> random.nextLong();
            case 1 -> random.nextInt(original.length);
            case 2 -> original.length - 8 - random.nextInt(4);
            case 3 -> 100_000_000 + random.nextInt(2);
            case 4 -> Long.MAX_VALUE - random.nextInt(16);
            default -> 1L << random.nextInt(64);
        };
        byte[] mutated = original.clone();
        ByteBuffer.wrap(mutated).order(ByteOrder.LITTLE_ENDIAN).putLong(length);
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

    /** Replaces, removes, repeats or swaps pieces between the structural characters of a JSON text. */
    private static String mutatedJson(String json, Random random) {
        List<String> pieces = new ArrayList<>(Arrays.asList(json.split("(?<=[{}\\[\\]:,])|(?=[{}\\[\\]:,])")));
        for (int edits = 1 + random.nextInt(2); edits > 0; edits--) {
            int at = random.nextInt(pieces.size());
            switch (random.nextInt(6)) {
                case 0 -> pieces.remove(at);
                case 1 -> pieces.add(at, pieces.get(at));
                case 2 -> pieces.set(at, pieces.get(random.nextInt(pieces.size())));
                case 3 -> pieces.add(at, HOSTILE.get(random.nextInt(HOSTILE.size())));
                default -> {
                    // Only what stands between structural characters, so that the text stays JSON more often.
                    for (int i = at; i < pieces.size(); i++) {
                        if (!"{}[]:,".contains(pieces.get(i).strip())) {
                            pieces.set(i, HOSTILE.get(random.nextInt(HOSTILE.size())));
                            break;
                        }
                    }
                }
            }
        }
        return String.join("", pieces);
    }
}
