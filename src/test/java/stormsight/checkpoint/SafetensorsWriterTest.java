package stormsight.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import stormsight.checkpoint.RandomWeights.Distribution;
import stormsight.checkpoint.SafetensorsWriter.Entry;
import stormsight.program.DType;
import stormsight.program.Shape;

class SafetensorsWriterTest {
    /** More than two pieces, and no multiple of a piece or of four elements. */
    private static final Shape LARGE = Shape.of(3, 1_000_001);

    private static final List<Entry> TENSORS = List.of(
            new Entry("a", DType.U8, Shape.of(5)),
            new Entry("b", DType.F16, LARGE),
            new Entry("z", DType.F32, Shape.of(7)),
            new Entry("c", DType.F32, LARGE),
            new Entry("empty", DType.F32, Shape.of(0)),
            new Entry("scalar", StoredType.I64, Shape.of()));

    @TempDir
    Path directory;

    /** Byte i of a tensor is i % 251. */
    private static void count(Entry tensor, long firstByte, MemorySegment piece) {
        for (long i = 0; i < piece.byteSize(); i++) {
            piece.set(ValueLayout.JAVA_BYTE, i, (byte) ((firstByte + i) % 251));
        }
    }

    @Test
    void writesWhatCheckpointReads() throws IOException {
        assertEquals(
                List.of(directory.resolve("model.safetensors")),
                SafetensorsWriter.write(directory, TENSORS, Long.MAX_VALUE, SafetensorsWriterTest::count));
        byte[] start = Files.readAllBytes(directory.resolve("model.safetensors"));
        assertEquals(0, start[0] % 8);
        try (Checkpoint checkpoint = Checkpoint.open(directory)) {
            assertEquals(List.of("scalar", "c", "empty", "z", "b", "a"), List.copyOf(checkpoint.names()));
            for (Entry tensor : TENSORS) {
                assertEquals(tensor.shape(), checkpoint.info(tensor.name()).shape());
                assertEquals(tensor.type(), checkpoint.info(tensor.name()).type());
                MemorySegment data = checkpoint.data(tensor.name());
                for (long i = 0; i < data.byteSize(); i += 1009) {
                    assertEquals((byte) (i % 251), data.get(ValueLayout.JAVA_BYTE, i), tensor.name());
                }
            }
        }
    }

    @Test
    void shardsEqualTheSingleFile() throws IOException {
        Path single = Files.createDirectory(directory.resolve("single"));
        Path sharded = Files.createDirectory(directory.resolve("sharded"));
        RandomWeights random = new RandomWeights(7, tensor -> new Distribution(0, 0.02f));
        List<Entry> tensors = TENSORS.stream().filter(tensor -> tensor.type().weightType().isPresent()).toList();
        SafetensorsWriter.write(single, tensors, Long.MAX_VALUE, random);
        List<Path> files = SafetensorsWriter.write(sharded, tensors, 7_000_000, random);
        assertEquals(
                List.of(
                        "model-00001-of-00003.safetensors",
                        "model-00002-of-00003.safetensors",
                        "model-00003-of-00003.safetensors",
                        "model.safetensors.index.json"),
                files.stream().map(file -> file.getFileName().toString()).toList());
        try (Checkpoint a = Checkpoint.open(single); Checkpoint b = Checkpoint.open(sharded)) {
            for (Entry tensor : tensors) {
                assertEquals(-1, a.data(tensor.name()).mismatch(b.data(tensor.name())), tensor.name());
            }
        }
        assertEquals(tensors.stream().mapToLong(Entry::bytes).sum(),
                ConfigFile.read(sharded.resolve("model.safetensors.index.json")).integer("metadata.total_size"));
    }

    @ParameterizedTest
    @EnumSource(value = DType.class, names = {"F32", "F16", "BF16"})
    void randomValuesAreNormalAndDependOnSeedAndName(DType dtype) throws IOException {
        Distribution distribution = new Distribution(1, 0.25f);
        Shape shape = Shape.of(1_000_003);
        List<Entry> tensors = List.of(new Entry("a", dtype, shape), new Entry("b", dtype, shape));
        float[][] values = new float[3][];
        for (int seed = 0; seed < 2; seed++) {
            Path file = directory.resolve(seed + ".safetensors");
            SafetensorsWriter.writeFile(file, tensors, new RandomWeights(seed, tensor -> distribution));
            try (Checkpoint checkpoint = Checkpoint.openFile(file)) {
                values[seed] = floats(checkpoint, "a");
                values[2] = floats(checkpoint, "b");
            }
        }
        double sum = 0;
        double squares = 0;
        double product = 0;
        int within = 0;
        for (int i = 0; i < values[0].length; i++) {
            double x = (values[0][i] - 1) / 0.25;
            sum += x;
            squares += x * x;
            product += x * (i == 0 ? 0 : (values[0][i - 1] - 1) / 0.25);
            within += Math.abs(x) < 1 ? 1 : 0;
        }
        double n = values[0].length;
        // Ten deviations of a mean of a million values; rounding to BF16 adds less.
        assertEquals(0, sum / n, 0.01);
        assertEquals(1, squares / n, 0.015);
        assertEquals(0, product / n, 0.01);
        assertEquals(0.6827, within / n, 0.01);
        assertTrue(differing(values[0], values[1]) > 0.9);
        assertTrue(differing(values[1], values[2]) > 0.9);
    }

    private static double differing(float[] a, float[] b) {
        int differing = 0;
        for (int i = 0; i < a.length; i++) {
            differing += a[i] == b[i] ? 0 : 1;
        }
        return (double) differing / a.length;
    }

    private static float[] floats(Checkpoint checkpoint, String name) {
        return checkpoint.f32(List.of(name)).layers().getFirst().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
    }

    @Test
    void neverOverwrites() throws IOException {
        Path file = Files.writeString(directory.resolve("model.safetensors"), "precious");
        CheckpointException e = assertThrows(CheckpointException.class,
                () -> SafetensorsWriter.write(directory, TENSORS, Long.MAX_VALUE, SafetensorsWriterTest::count));
        assertEquals(file + ": exists already", e.getMessage());
        assertEquals("precious", Files.readString(file));
    }

    @Test
    void leavesNothingBehindWhenContentFails() throws IOException {
        assertThrows(
                IllegalStateException.class,
                () -> SafetensorsWriter.write(directory, TENSORS, 7_000_000, (tensor, first, piece) -> {
                    if (tensor.name().equals("c")) {
                        throw new IllegalStateException("no more");
                    }
                }));
        try (Stream<Path> files = Files.list(directory)) {
            assertFalse(files.findAny().isPresent());
        }
    }

    @Test
    void refusesEqualNames() {
        Entry a = new Entry("a", DType.F32, Shape.of(1));
        assertThrows(IllegalArgumentException.class,
                () -> SafetensorsWriter.write(directory, List.of(a, a), Long.MAX_VALUE, SafetensorsWriterTest::count));
    }

    @Test
    void theSameSeedGivesTheSameBytes() throws IOException {
        byte[][] bytes = new byte[2][];
        for (int i = 0; i < 2; i++) {
            Path file = directory.resolve(i + ".safetensors");
            SafetensorsWriter.writeFile(
                    file,
                    List.of(new Entry("a", DType.BF16, LARGE)),
                    new RandomWeights(3, t -> new Distribution(0, 1)));
            bytes[i] = Files.readAllBytes(file);
        }
        assertArrayEquals(bytes[0], bytes[1]);
    }
}
