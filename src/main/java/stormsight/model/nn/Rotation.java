package stormsight.model.nn;

import java.util.List;
import stormsight.model.Weights;
import stormsight.program.Shape;
import stormsight.program.Tensor;

/**
 * Rotary position embeddings, whose angles are computed once in double precision and shared by all backends.
 *
 * @param theta base of the frequencies
 * @see <a href="https://arxiv.org/abs/2104.09864">RoFormer</a>
 */
public record Rotation(double theta) {
    /**
     * The table that {@link stormsight.program.Op.Rope} takes, [positions, headDim] F32: row p holds cos and then sin of
     * {@code (firstPosition + p) * theta^(-2 c / headDim)} for c in 0 .. headDim/2 - 1.
     */
    Tensor table(Weights weights, int positions, int headDim, int firstPosition) {
        return weights.computed("rope", Shape.of(positions, headDim), List.of(), _ -> angles(positions, headDim, firstPosition));
    }

    private float[] angles(int positions, int headDim, int firstPosition) {
        float[] values = new float[Math.multiplyExact(positions, headDim)];
        int half = headDim / 2;
        for (int c = 0; c < half; c++) {
            double frequency = Math.pow(theta, -2.0 * c / headDim);
            for (int p = 0; p < positions; p++) {
                double angle = (firstPosition + p) * frequency;
                values[p * headDim + c] = (float) Math.cos(angle);
                values[p * headDim + half + c] = (float) Math.sin(angle);
            }
        }
        return values;
    }
}
