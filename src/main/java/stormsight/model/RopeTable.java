package stormsight.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import stormsight.checkpoint.HostTensor;
import stormsight.program.DType;
import stormsight.program.Shape;

/** The angles of rotary position embeddings, computed once in double precision and shared by all backends. */
final class RopeTable {
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(java.nio.ByteOrder.LITTLE_ENDIAN);

    private RopeTable() {}

    /**
     * Row p holds cos and then sin of {@code (firstPosition + p) * theta^(-2 c / headDim)} for c in 0 .. headDim/2 - 1.
     *
     * @return [positions, headDim] F32
     */
    static HostTensor of(Arena arena, int positions, int headDim, double theta, int firstPosition) {
        Shape shape = Shape.of(positions, headDim);
        // An array, as no compiler has seen this code when a model is opened: an interpreted access to a segment takes some hundred nanoseconds.
        float[] values = new float[Math.toIntExact(shape.elements())];
        int half = headDim / 2;
        for (int c = 0; c < half; c++) {
            double frequency = Math.pow(theta, -2.0 * c / headDim);
            for (int p = 0; p < positions; p++) {
                double angle = (firstPosition + p) * frequency;
                values[p * headDim + c] = (float) Math.cos(angle);
                values[p * headDim + half + c] = (float) Math.sin(angle);
            }
        }
        MemorySegment table = arena.allocate(DType.F32.bytes(shape), 64);
        MemorySegment.copy(values, 0, table, FLOAT, 0, values.length);
        return HostTensor.of(DType.F32, shape, table);
    }
}
