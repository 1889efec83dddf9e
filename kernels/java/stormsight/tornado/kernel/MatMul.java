package stormsight.tornado.kernel;

import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.tornado.Geometry;
import stormsight.tornado.StepBuffer;
import stormsight.tornado.Tasks;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.arrays.ByteArray;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.ShortArray;

/** {@code out = residual + activation(x . transpose(w) + bias)}, one item an element. */
public final class MatMul {
    private MatMul() {}

    public static void lower(Op.MatMul op, Tasks tasks) {
        Weight w = Weight.of(op.w(), tasks);
        int flags = (op.bias().isPresent() ? 1 : 0) | (op.residual().isPresent() ? 2 : 0)
                | (op.activation() == Op.Activation.GELU_TANH ? 4 : 0);
        FloatArray bias = op.bias().map(tasks::floats).orElse(tasks.none());
        int biasStride = op.bias().map(tasks::stride).orElse(0);
        FloatArray residual = op.residual().map(tasks::floats).orElse(tasks.none());
        int outStride = tasks.stride(op.out());
        tasks.task("matMul", Geometry.items(Math.multiplyExact(op.out().rows(), op.out().columns()), 64),
                (graph, name) -> graph.task(name, MatMul::matMul, tasks.context(), tasks.step(), tasks.floats(op.x()), w.f32(), w.half(),
                        w.q8(), w.factors(), bias, residual, tasks.floats(op.out()), w.type(), w.stride(), w.factorStride(), biasStride,
                        outStride, op.out().rows(), op.w().columns(), op.w().rows(), flags));
    }

    public static void matMul(KernelContext context, IntArray step, FloatArray x, FloatArray f32, ShortArray half, ByteArray q8,
            FloatArray factors, FloatArray bias, FloatArray residual, FloatArray out, int type, int stride, int factorStride,
            int biasStride, int outStride, int capacity, int columns, int outputs, int flags) {
        int item = context.globalIdx;
        int row = item / outputs;
        int m = item % outputs;
        if (row < TornadoMath.min(step.get(StepBuffer.ROWS), capacity)) {
            int layer = step.get(StepBuffer.LAYER);
            int scalesPerRow = (columns + DType.Q8_BLOCK - 1) / DType.Q8_BLOCK;
            float sum = 0;
            for (int k = 0; k < columns; k++) {
                sum += x.get(row * columns + k) * Weight.at(type, f32, half, q8, factors, layer * stride + m * columns + k,
                        layer * factorStride + m * scalesPerRow + k / DType.Q8_BLOCK);
            }
            if ((flags & 1) != 0) {
                sum += bias.get(layer * biasStride + m);
            }
            if ((flags & 4) != 0) {
                sum = 0.5f * sum * (1 + TornadoMath.tanh(0.7978846f * (sum + 0.044715f * sum * sum * sum)));
            }
            if ((flags & 2) != 0) {
                sum += residual.get(item);
            }
            out.set(layer * outStride + item, sum);
        }
    }
}
