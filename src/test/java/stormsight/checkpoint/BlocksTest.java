package stormsight.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
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

    @Test
    void quantisesOnlyFloats() {
        HostTensor q8 = Blocks.quantize(floats(Shape.of(1, 1), 1), DType.Q8, arena);
        assertThrows(IllegalArgumentException.class, () -> Blocks.quantize(q8, DType.Q8, arena));
    }
}
