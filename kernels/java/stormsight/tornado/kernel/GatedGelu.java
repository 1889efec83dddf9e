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

/** {@code out = gelu(x . transpose(gate)) * (x . transpose(up))}, one item an element. */
public final class GatedGelu {
    private GatedGelu() {}

    public static void lower(Op.GatedGelu op, Tasks tasks) {
        Weight g = Weight.of(op.gate(), tasks);
        Weight u = Weight.of(op.up(), tasks);
        tasks.task("gatedGelu", Geometry.items(Math.multiplyExact(op.out().rows(), op.out().columns()), 64),
                (graph, name) -> graph.task(name, GatedGelu::gatedGelu, tasks.context(), tasks.step(), tasks.floats(op.x()), g.f32(),
                        g.half(), g.q8(), g.factors(), u.f32(), u.half(), u.q8(), u.factors(), tasks.floats(op.out()), g.type(),
                        g.stride(), g.factorStride(), op.gate().columns(), op.gate().rows(), op.out().rows()));
    }

    public static void gatedGelu(KernelContext context, IntArray step, FloatArray x, FloatArray f32, ShortArray half, ByteArray q8,
            FloatArray factors, FloatArray f32u, ShortArray halfu, ByteArray q8u, FloatArray factorsu, FloatArray out, int type,
            int stride, int factorStride, int columns, int outputs, int capacity) {
        int item = context.globalIdx;
        int row = item / outputs;
        int m = item % outputs;
        if (row < TornadoMath.min(step.get(StepBuffer.ROWS), capacity)) {
            int layer = step.get(StepBuffer.LAYER);
            int scalesPerRow = (columns + DType.Q8_BLOCK - 1) / DType.Q8_BLOCK;
            float a = 0;
            float b = 0;
            for (int k = 0; k < columns; k++) {
                int index = layer * stride + m * columns + k;
                int scale = layer * factorStride + m * scalesPerRow + k / DType.Q8_BLOCK;
                float v = x.get(row * columns + k);
                a += v * Weight.at(type, f32, half, q8, factors, index, scale);
                b += v * Weight.at(type, f32u, halfu, q8u, factorsu, index, scale);
            }
            out.set(item, 0.5f * a * (1 + TornadoMath.tanh(0.7978846f * (a + 0.044715f * a * a * a))) * b);
        }
    }
}
