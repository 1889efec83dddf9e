package stormsight.tornado.kernel;

import static uk.ac.manchester.tornado.api.common.TaskPackage.createPackage;

import stormsight.program.Op;
import stormsight.program.Tensor;
import stormsight.tornado.Geometry;
import stormsight.tornado.StepBuffer;
import stormsight.tornado.Tasks;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.LongArray;

/** {@link Norm} of what tensor cores multiply next, see {@link Result}; TornadoVM's CUDA backend only. */
final class MmaNorm {
    private MmaNorm() {}

    static void lower(Op.LayerNorm op, int lanes, Tasks tasks) {
        lower(op.x(), op.w(), tasks.floats(op.bias()), tasks.stride(op.bias()), op.epsilon(), 1, op.out(), lanes,
                tasks);
    }

    static void lower(Op.RmsNorm op, int lanes, Tasks tasks) {
        lower(op.x(), op.w(), tasks.none(), 0, op.epsilon(), 0, op.out(), lanes, tasks);
    }

    private static void lower(Tensor x, Tensor w, FloatArray bias, int biasStride, float epsilon, int centred,
            Tensor out, int lanes, Tasks tasks) {
        int result = tasks.result().bits(tasks);
        tasks.task("MmaNorm.splitNorm", Geometry.groups(out.rows(), lanes, lanes * Float.BYTES),
                name -> createPackage(name, MmaNorm::splitNorm, tasks.context(), tasks.step(), tasks.floats(x),
                        tasks.floats(w), bias, tasks.floats(out), tasks.parts(0), tasks.stride(x), tasks.stride(w),
                        biasStride, out.columns(), epsilon, centred, result, lanes));
        tasks.setParts(out, 0);
    }

    /**
     * {@code out = (x - mean) / sqrt(variance + epsilon) * w + bias}, or, if not centred, {@code x / sqrt(mean(x^2) +
     * epsilon) * w}. Group g handles row g, a lane four columns at a time.
     *
     * @param result bits of {@link Result}
     */
    public static void splitNorm(KernelContext context, IntArray step, FloatArray x, FloatArray w, FloatArray bias,
            FloatArray out, LongArray parts, int xStride, int wStride, int biasStride, int columns, float epsilon,
            int centred, int result, int lanes) {
        int row = context.groupIdx;
        int lane = context.localIdx;
        float[] sums = context.allocateFloatLocalArray(lanes);
        float[] values = new float[4];
        if (row < step.get(StepBuffer.ROWS)) {
            int layer = step.get(StepBuffer.LAYER);
            int from = layer * xStride + row * columns;
            float mean = 0;
            if (centred == 1) {
                float sum = 0;
                for (int c = lane; c < columns; c += lanes) {
                    sum += x.get(from + c);
                }
                sums[lane] = sum;
                for (int reach = lanes / 2; reach > 0; reach /= 2) {
                    context.localBarrier();
                    if (lane < reach) {
                        sums[lane] += sums[lane + reach];
                    }
                }
                context.localBarrier();
                mean = sums[0] / columns;
                context.localBarrier();
            }
            float squares = 0;
            for (int c = lane; c < columns; c += lanes) {
                float difference = x.get(from + c) - mean;
                squares += difference * difference;
            }
            sums[lane] = squares;
            for (int reach = lanes / 2; reach > 0; reach /= 2) {
                context.localBarrier();
                if (lane < reach) {
                    sums[lane] += sums[lane + reach];
                }
            }
            context.localBarrier();
            float inverse = Norm.inverse(sums[0], columns, epsilon);
            for (int c = 4 * lane; c < columns; c += 4 * lanes) {
                for (int e = 0; e < 4; e++) {
                    values[e] = (x.get(from + c + e) - mean) * inverse * w.get(layer * wStride + c + e);
                    if (centred == 1) {
                        values[e] += bias.get(layer * biasStride + c + e);
                    }
                }
                if ((result & Result.STORED) != 0) {
                    for (int e = 0; e < 4; e++) {
                        out.set(row * columns + c + e, values[e]);
                    }
                }
                MmaMatMul.put(parts, row, c, columns, result, values[0], values[1], values[2], values[3]);
            }
        }
    }
}
