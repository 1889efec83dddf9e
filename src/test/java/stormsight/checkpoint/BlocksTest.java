package stormsight.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import stormsight.program.DType;
import stormsight.program.Shape;

class BlocksTest {
    private final Arena arena = Arena.ofAuto();

    private HostTensor floats(Shape shape, float... values) {
        MemorySegment data = arena.allocate(4L * values.length, 4);
        MemorySegment.copy(values, 0, data, ValueLayout.JAVA_FLOAT, 0, values.length);
        return HostTensor.of(DType.F32, shape, data);
    }

    private static float scale(HostTensor tensor, int index) {
        return tensor.layers()
                .get(0)
                .get(ValueLayout.JAVA_FLOAT_UNALIGNED, DType.Q8.scalesOffset(tensor.shape()) + 4L * index);
    }

    private static int value(HostTensor tensor, int index) {
        return tensor.layers().get(0).get(ValueLayout.JAVA_BYTE, index);
    }

    @Test
    void roundsHalfToEven() {
        // The scale is 1, so that values show as they are rounded.
        HostTensor q8 = Blocks.quantize(
                floats(Shape.of(1, 7), 127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -126.6f), DType.Q8, arena);
        assertEquals(1f, scale(q8, 0));
        int[] expected = {127, 0, 2, 2, 0, -2, -127};
        for (int i = 0; i < expected.length; i++) {
            assertEquals(expected[i], value(q8, i));
        }
    }

    @Test
    void zerosStayZeros() {
        HostTensor q8 = Blocks.quantize(floats(Shape.of(1, 3), 0, -0f, 0), DType.Q8, arena);
        assertEquals(0f, scale(q8, 0));
        assertEquals(0, value(q8, 0));
    }

    @Test
    void aBlockWithoutNumbersBecomesNaN() {
        HostTensor q8 = Blocks.quantize(
                floats(Shape.of(2, 2), 1, Float.NaN, Float.POSITIVE_INFINITY, 1), DType.Q8, arena);
        assertEquals(Float.NaN, scale(q8, 0));
        assertEquals(Float.NaN, scale(q8, 1));
    }

    /** Rows of 70 have blocks of 32, 32 and 6; every value is within half a scale. */
    @ParameterizedTest
    @EnumSource(value = DType.class, names = {"F32", "F16", "BF16"})
    void isWithinHalfAScale(DType dtype) {
        Shape shape = Shape.of(5, 70);
        SplittableRandom random = new SplittableRandom(1);
        MemorySegment data = arena.allocate(dtype.bytes(shape));
        float[] values = new float[350];
        for (int i = 0; i < values.length; i++) {
            float value = (float) random.nextDouble(-3, 3);
            if (dtype == DType.F32) {
                data.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i, value);
                values[i] = value;
            } else if (dtype == DType.F16) {
                data.setAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i, Float.floatToFloat16(value));
                values[i] = Float.float16ToFloat(Float.floatToFloat16(value));
            } else {
                data.setAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i, (short) (Float.floatToRawIntBits(value) >>> 16));
                values[i] = Float.intBitsToFloat(Float.floatToRawIntBits(value) & 0xFFFF0000);
            }
        }
        HostTensor q8 = Blocks.quantize(HostTensor.of(dtype, shape, data), DType.Q8, arena);
        for (int i = 0; i < values.length; i++) {
            float scale = scale(q8, i / 70 * 3 + i % 70 / 32);
            assertEquals(values[i], scale * value(q8, i), 0.5001 * scale);
        }
    }

    /** Level i of a block lies in the lower half of byte i, level 16 + i in the upper one; then come scales in BF16. */
    @Test
    void fourBitsLieAsDocumented() {
        float[] values = new float[64];
        for (int i = 0; i < 64; i++) {
            values[i] = (i * 5 % 16 - 8) * (i < 32 ? 0.5f : -4);
        }
        HostTensor q4 = Blocks.quantize(floats(Shape.of(2, 32), values), DType.Q4, arena);
        MemorySegment data = q4.layers().getFirst();
        assertEquals(2 * (16 + 2), data.byteSize());
        for (int row = 0; row < 2; row++) {
            assertEquals(row == 0 ? 0x3F00 : (short) 0xC080, data.get(ValueLayout.JAVA_SHORT_UNALIGNED, 32 + 2L * row));
            for (int i = 0; i < 16; i++) {
                int low = (row * 32 + i) * 5 % 16 - 8;
                int high = (row * 32 + i + 16) * 5 % 16 - 8;
                assertEquals((byte) (low & 15 | high << 4), data.get(ValueLayout.JAVA_BYTE, row * 16L + i));
            }
        }
    }

    /** Every level is the nearest one that there is, and the block's error is not above that of the plainest scale. */
    @Test
    void fourBitsAreNoWorseThanThePlainScale() {
        Shape shape = Shape.of(50, 96);
        SplittableRandom random = new SplittableRandom(4);
        float[] values = new float[50 * 96];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (random.nextGaussian() * Math.exp(random.nextDouble(-2, 2)));
        }
        MemorySegment data = Blocks.quantize(floats(shape, values), DType.Q4, arena).layers().getFirst();
        for (int block = 0; block < values.length / 32; block++) {
            short bits = data.get(ValueLayout.JAVA_SHORT_UNALIGNED, DType.Q4.scalesOffset(shape) + 2L * block);
            float scale = Float.intBitsToFloat(bits << 16);
            float largest = 0;
            for (int i = 0; i < 32; i++) {
                float value = values[32 * block + i];
                largest = Math.abs(value) > Math.abs(largest) ? value : largest;
            }
            float plain = Float.intBitsToFloat(Float.floatToRawIntBits(largest / -8) + 0x8000 & 0xFFFF0000);
            double error = 0;
            double plainError = 0;
            for (int i = 0; i < 32; i++) {
                int pair = data.get(ValueLayout.JAVA_BYTE, 16L * block + i % 16);
                int level = i < 16 ? (pair & 15) - (pair << 1 & 16) : pair >> 4;
                float value = values[32 * block + i];
                assertEquals(nearest(value, scale), Math.abs(value - scale * level), 1e-6 * Math.abs(largest));
                error += Math.pow(value - scale * level, 2);
                plainError += Math.pow(nearest(value, plain), 2);
            }
            assertTrue(error <= plainError * 1.00001, block + ": " + error + ", plainly " + plainError);
        }
    }

    private static double nearest(float value, float scale) {
        return IntStream.rangeClosed(-8, 7).mapToDouble(level -> Math.abs(value - scale * level)).min().getAsDouble();
    }

    @Test
    void fourBitsOfNothingAndOfNoNumbers() {
        float[] values = new float[64];
        values[40] = Float.NaN;
        MemorySegment data = Blocks.quantize(floats(Shape.of(1, 64), values), DType.Q4, arena).layers().getFirst();
        for (int i = 0; i < 16; i++) {
            assertEquals(0, data.get(ValueLayout.JAVA_BYTE, i));
        }
        assertEquals(0, data.get(ValueLayout.JAVA_SHORT_UNALIGNED, 32));
        assertTrue(Float.isNaN(Float.intBitsToFloat(data.get(ValueLayout.JAVA_SHORT_UNALIGNED, 34) << 16)));
    }

    @Test
    void rowsThatAreNoWholeBlocksStayInEightBits() {
        assertEquals(DType.Q8, DType.Q4.forRows(4304));
        assertEquals(DType.Q4, DType.Q4.forRows(1152));
        assertThrows(
                IllegalArgumentException.class,
                () -> Blocks.quantize(floats(Shape.of(1, 33), new float[33]), DType.Q4, arena));
    }

    /** A tensor of bytes is a matrix of four bits if the other one has the shape and the type of its scales. */
    @ParameterizedTest
    @CsvSource({
        "U8, 3, 32, BF16, 3, 2, true",
        "U8, 3, 32, F32, 3, 2, false",
        "U8, 3, 32, BF16, 3, 1, false",
        "U8, 3, 32, BF16, 2, 3, false",
        "U8, 3, 32, BF16, 3, 3, false",
        "I8, 3, 32, BF16, 3, 2, false",
        "U8, 3, 24, BF16, 3, 2, false",
        "U8, 3, 0, BF16, 3, 0, true",
        "U8, 0, 16, BF16, 0, 1, true"
    })
    void takesWhatFitsTogether(
            StoredType type, int rows, int bytes, StoredType scaleType, int scaleRows, int scales, boolean fits,
            @TempDir Path folder) {
        Path file = folder.resolve("a.safetensors");
        SafetensorsWriter.writeFile(file, List.of(
                        new SafetensorsWriter.Entry("w", type, Shape.of(rows, bytes)),
                        new SafetensorsWriter.Entry("w.scales", scaleType, Shape.of(scaleRows, scales))),
                (tensor, _, piece) -> piece.fill((byte) (tensor.type() == StoredType.U8 ? 0x2F : 0x40)));
        try (Checkpoint checkpoint = Checkpoint.openFile(file)) {
            if (!fits) {
                assertEquals(Set.of("w", "w.scales"), checkpoint.names());
                assertEquals(Optional.empty(), checkpoint.weightType("w"));
                assertThrows(CheckpointException.class, () -> checkpoint.tensor("w"));
                return;
            }
            assertEquals(Set.of("w"), checkpoint.names());
            assertEquals(Optional.of(DType.Q4), checkpoint.weightType("w"));
            assertEquals(Shape.of(rows, 2 * bytes), checkpoint.info("w").shape());
            assertEquals(DType.Q4.bytes(Shape.of(rows, 2 * bytes)),
                    checkpoint.tensor("w").layers().getFirst().byteSize());
            if (rows * bytes > 0) {
                // 0x4040 is 3; a lower half is -1, an upper one 2.
                float[] values = checkpoint.decode(checkpoint.info("w"), 70, 64);
                for (int i = 0; i < values.length; i++) {
                    assertEquals((70 + i) % 32 < 16 ? -3 : 6, values[i]);
                }
            }
        }
    }

    @Test
    void quantisesOnlyFloats() {
        HostTensor q8 = Blocks.quantize(floats(Shape.of(1, 1), 1), DType.Q8, arena);
        assertThrows(IllegalArgumentException.class, () -> Blocks.quantize(q8, DType.Q8, arena));
    }
}
