package stormsight.tornado.kernel;

import static uk.ac.manchester.tornado.api.common.TaskPackage.createPackage;

import stormsight.program.Op;
import stormsight.tornado.Geometry;
import stormsight.tornado.StepBuffer;
import stormsight.tornado.Tasks;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;

/** LayerNorm and RMSNorm: a group a row, whose lanes share the sums through local memory. */
public final class Norm {
    /** Lanes of a group on devices that allow as many. */
    private static final int MOST_LANES = 128;

    private Norm() {}

    public static void lower(Op.LayerNorm op, Tasks tasks) {
        int lanes = Math.min(MOST_LANES, tasks.mostLanes());
        if (tasks.result().isSplit()) {
            MmaNorm.lower(op, lanes, tasks);
            return;
        }
        tasks.task("layerNorm", Geometry.groups(op.out().rows(), lanes, lanes * Float.BYTES),
                name -> createPackage(name, Norm::layerNorm, tasks.context(), tasks.step(), tasks.floats(op.x()),
                        tasks.floats(op.w()), tasks.floats(op.bias()), tasks.floats(op.out()), tasks.stride(op.x()),
                        tasks.stride(op.w()), tasks.stride(op.bias()), tasks.stride(op.out()), op.out().columns(),
                        op.epsilon(), lanes));
    }

    public static void lower(Op.RmsNorm op, Tasks tasks) {
        int lanes = Math.min(MOST_LANES, tasks.mostLanes());
        if (tasks.result().isSplit()) {
            MmaNorm.lower(op, lanes, tasks);
            return;
        }
        FloatArray residual = op.residual().map(tasks::floats).orElse(tasks.none());
        int residualStride = op.residual().map(tasks::stride).orElse(0);
        tasks.task("rmsNorm", Geometry.groups(op.out().rows(), lanes, lanes * Float.BYTES),
                name -> createPackage(name, Norm::rmsNorm, tasks.context(), tasks.step(), tasks.floats(op.x()),
                        tasks.floats(op.w()), residual, tasks.floats(op.out()), tasks.stride(op.x()),
                        tasks.stride(op.w()), residualStride, tasks.stride(op.out()), op.out().columns(), op.epsilon(),
                        op.residual().isPresent() ? 1 : 0, lanes));
    }

    /** {@code 1 / sqrt(squares / columns + epsilon)}: what a row is multiplied by, from the sum of its squares. */
    static float inverse(float squares, int columns, float epsilon) {
        return 1 / TornadoMath.sqrt(squares / columns + epsilon);
    }

    /** {@code out = (x - mean) / sqrt(variance + epsilon) * w + bias}; group g handles row g. */
    public static void layerNorm(KernelContext context, IntArray step, FloatArray x, FloatArray w, FloatArray bias,
            FloatArray out, int xStride, int wStride, int biasStride, int outStride, int columns, float epsilon,
            int lanes) {
        int row = context.groupIdx;
        int lane = context.localIdx;
        float[] sums = context.allocateFloatLocalArray(lanes);
        if (row < step.get(StepBuffer.ROWS)) {
            int layer = step.get(StepBuffer.LAYER);
            int from = layer * xStride + row * columns;
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
            float mean = sums[0] / columns;
            context.localBarrier();
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
            float inverse = inverse(sums[0], columns, epsilon);
            int to = layer * outStride + row * columns;
            for (int c = lane; c < columns; c += lanes) {
                out.set(to + c, (x.get(from + c) - mean) * inverse * w.get(layer * wStride + c)
                        + bias.get(layer * biasStride + c));
            }
        }
    }

    /** {@code out = residual + x / sqrt(mean(x^2) + epsilon) * w}; group g handles row g. */
    public static void rmsNorm(KernelContext context, IntArray step, FloatArray x, FloatArray w, FloatArray residual,
            FloatArray out, int xStride, int wStride, int residualStride, int outStride, int columns, float epsilon,
            int hasResidual, int lanes) {
        int row = context.groupIdx;
        int lane = context.localIdx;
        float[] sums = context.allocateFloatLocalArray(lanes);
        if (row < step.get(StepBuffer.ROWS)) {
            int layer = step.get(StepBuffer.LAYER);
            int from = layer * xStride + row * columns;
            float squares = 0;
            for (int c = lane; c < columns; c += lanes) {
                float value = x.get(from + c);
                squares += value * value;
            }
            sums[lane] = squares;
            for (int reach = lanes / 2; reach > 0; reach /= 2) {
                context.localBarrier();
                if (lane < reach) {
                    sums[lane] += sums[lane + reach];
                }
            }
            context.localBarrier();
            float inverse = inverse(sums[0], columns, epsilon);
            int to = layer * outStride + row * columns;
            for (int c = lane; c < columns; c += lanes) {
                float value = x.get(from + c) * inverse * w.get(layer * wStride + c);
                if (hasResidual != 0) {
                    value += residual.get(layer * residualStride + row * columns + c);
                }
                out.set(to + c, value);
            }
        }
    }
}
