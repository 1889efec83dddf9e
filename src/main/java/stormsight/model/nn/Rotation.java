package stormsight.model.nn;

import java.util.List;
import stormsight.checkpoint.ConfigFile;
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
     * As config.json has it: transformers 5 writes rope_parameters, older files rope_theta.
     *
     * @param prefix of the decoder's keys, with the dot
     * @throws stormsight.checkpoint.CheckpointException if positions are scaled
     */
    public static Rotation read(ConfigFile config, String prefix) {
        for (String key : List.of("rope_parameters.rope_type", "rope_scaling.rope_type", "rope_scaling.type")) {
            String type = config.text(prefix + key, "default");
            if (!type.equals("default")) {
                throw config.invalid(prefix + key, "'" + type + "' is not supported");
            }
        }
        String key = config.has(prefix + "rope_parameters.rope_theta") ? "rope_parameters.rope_theta" : "rope_theta";
        return new Rotation(Sizes.positiveNumber(config, prefix + key, 10000));
    }

    /**
     * The table that {@link stormsight.program.Op.Rope} takes, [positions, headDim] F32: row p holds cos and then sin
     * of {@code (firstPosition + p) * theta^(-2 c / headDim)} for c in 0 .. headDim/2 - 1.
     */
    Tensor table(Weights weights, int positions, int headDim, int firstPosition) {
        return weights.computed(
                "rope", Shape.of(positions, headDim), List.of(), _ -> angles(positions, headDim, firstPosition));
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
