package stormsight.tornado.kernel;

import stormsight.program.Op;
import stormsight.tornado.Geometry;
import stormsight.tornado.StepBuffer;
import stormsight.tornado.Tasks;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.arrays.ByteArray;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;

/** Attention, one item a row and head. */
public final class Attention {
    private Attention() {}

    public static void lower(Op.Attention op, Tasks tasks) {
        lower(op, tasks, tasks.noBytes(), 0, tasks.noInts());
    }

    public static void lower(Op.BlockedAttention op, Tasks tasks) {
        lower(op.attention(), tasks, tasks.bytes(op.blocked()), op.blocked().columns(), tasks.ints(op.layerFlags()));
    }

    private static void lower(Op.Attention op, Tasks tasks, ByteArray blocked, int tokens, IntArray flags) {
        Op.Heads heads = op.heads();
        int window = op.window().map(Op.SlidingWindow::size).orElse(0);
        int period = op.window().map(Op.SlidingWindow::period).orElse(1);
        tasks.task("attention", Geometry.items(op.out().rows() * heads.queryHeads(), 8),
                (graph, name) -> graph.task(name, Attention::attention, tasks.context(), tasks.step(), tasks.floats(op.q()),
                        tasks.floats(op.k()), tasks.floats(op.v()), blocked, flags, tasks.floats(op.out()), tasks.stride(op.k()),
                        tasks.stride(op.out()), op.out().rows(), heads.queryHeads(), heads.queryHeads() / heads.keyValueHeads(),
                        heads.headDim(), op.scale(), op.softCap(), window, period, tokens));
    }

    public static void lower(Op.AttentionWeights weights, Tasks tasks) {
        Op.Attention op = weights.attention();
        Op.Heads heads = op.heads();
        int window = op.window().map(Op.SlidingWindow::size).orElse(0);
        int period = op.window().map(Op.SlidingWindow::period).orElse(1);
        int capacity = weights.out().shape().dimension(1);
        tasks.task("attentionWeights", Geometry.items(capacity * heads.queryHeads(), 8),
                (graph, name) -> graph.task(name, Attention::weights, tasks.context(), tasks.step(), tasks.floats(op.q()),
                        tasks.floats(op.k()), tasks.floats(weights.out()), tasks.stride(op.k()), tasks.stride(weights.out()),
                        capacity, weights.out().columns(), heads.queryHeads(), heads.queryHeads() / heads.keyValueHeads(),
                        heads.headDim(), op.scale(), op.softCap(), window, period));
    }

    public static void attention(KernelContext context, IntArray step, FloatArray q, FloatArray k, FloatArray v, ByteArray blocked,
            IntArray flags, FloatArray out, int stride, int outStride, int capacity, int heads, int group, int dim, float scale,
            float cap, int window, int period, int tokens) {
        int row = context.globalIdx / heads;
        int head = context.globalIdx % heads;
        if (row < TornadoMath.min(step.get(StepBuffer.ROWS), capacity)) {
            int layer = step.get(StepBuffer.LAYER);
            int number = step.get(StepBuffer.LAYER_NUMBER);
            int position = step.get(StepBuffer.POSITION);
            int prefix = step.get(StepBuffer.PREFIX);
            int keys = position + step.get(StepBuffer.ROWS);
            int i = position + row;
            int qStart = (row * heads + head) * dim;
            int oStart = layer * outStride + qStart;
            int columns = heads / group * dim;
            int kStart = layer * stride + head / group * dim;
            // Lowest key that the window leaves, and end of the keys that may be blocked: a condition that is changed in a branch is miscompiled.
            int first = 0;
            if (window > 0 && number % period == 0 && i >= prefix) {
                first = i - window + 1;
            }
            int blockedEnd = 0;
            if (tokens > 0 && i < tokens) {
                if (flags.get(number) != 0) {
                    blockedEnd = tokens;
                }
            }
            int end = TornadoMath.max(prefix, i + 1);
            for (int d = 0; d < dim; d++) {
                out.set(oStart + d, 0);
            }
            float max = -3e38f;
            float sum = 0;
            int last = TornadoMath.min(keys, end);
            for (int j = TornadoMath.max(first, 0); j < last; j++) {
                int hidden = 0;
                if (j < blockedEnd) {
                    hidden = blocked.get(i * tokens + j);
                }
                if (hidden == 0) {
                    float s = 0;
                    for (int d = 0; d < dim; d++) {
                        s += q.get(qStart + d) * k.get(kStart + j * columns + d);
                    }
                    s = s * scale;
                    if (cap > 0) {
                        s = cap * TornadoMath.tanh(s / cap);
                    }
                    float larger = TornadoMath.max(max, s);
                    float old = TornadoMath.exp(max - larger);
                    float p = TornadoMath.exp(s - larger);
                    for (int d = 0; d < dim; d++) {
                        out.set(oStart + d, out.get(oStart + d) * old + p * v.get(kStart + j * columns + d));
                    }
                    sum = sum * old + p;
                    max = larger;
                }
            }
            if (sum > 0) {
                for (int d = 0; d < dim; d++) {
                    out.set(oStart + d, out.get(oStart + d) / sum);
                }
            }
        }
    }

    public static void weights(KernelContext context, IntArray step, FloatArray q, FloatArray k, FloatArray out, int stride,
            int outStride, int capacity, int capacityKeys, int heads, int group, int dim, float scale, float cap, int window, int period) {
        int row = context.globalIdx % capacity;
        int head = context.globalIdx / capacity;
        if (head < heads && row < step.get(StepBuffer.ROWS)) {
            int layer = step.get(StepBuffer.LAYER);
            int position = step.get(StepBuffer.POSITION);
            int prefix = step.get(StepBuffer.PREFIX);
            int keys = position + TornadoMath.min(step.get(StepBuffer.ROWS), capacity);
            int i = position + row;
            int qStart = (row * heads + head) * dim;
            int oStart = layer * outStride + (head * capacity + row) * capacityKeys;
            int columns = heads / group * dim;
            int kStart = layer * stride + head / group * dim;
            int first = 0;
            if (window > 0 && step.get(StepBuffer.LAYER_NUMBER) % period == 0 && i >= prefix) {
                first = i - window + 1;
            }
            int end = TornadoMath.max(prefix, i + 1);
            float max = -3e38f;
            float sum = 0;
            for (int j = 0; j < keys; j++) {
                float s = -3e38f;
                if (j >= first && j < end) {
                    s = 0;
                    for (int d = 0; d < dim; d++) {
                        s += q.get(qStart + d) * k.get(kStart + j * columns + d);
                    }
                    s = s * scale;
                    if (cap > 0) {
                        s = cap * TornadoMath.tanh(s / cap);
                    }
                    float larger = TornadoMath.max(max, s);
                    sum = sum * TornadoMath.exp(max - larger) + TornadoMath.exp(s - larger);
                    max = larger;
                }
                out.set(oStart + j, s);
            }
            for (int j = 0; j < keys; j++) {
                float s = out.get(oStart + j);
                float p = 0;
                if (s > -2e38f) {
                    p = TornadoMath.exp(s - max) / sum;
                }
                out.set(oStart + j, p);
            }
        }
    }
}
