package stormsight.tornado.kernel;

import stormsight.backend.DeviceInfo;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.tornado.Geometry;
import stormsight.tornado.Scratch;
import stormsight.tornado.StepBuffer;
import stormsight.tornado.Tasks;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.LongArray;

/**
 * {@code out = activation(x . transpose(gate)) * (x . transpose(up))}: both products run side by side, so that x is read once and neither product is stored. The
 * variants are those of {@link MatMul}.
 */
public final class GatedMatMul {
    private static final int TILE = 64;
    private static final int TILE_LANES = 256;
    private static final int DEPTH = 32;
    private static final int PITCH = TILE + 4;

    /** Rows of each weight that a group of {@link #panel} handles, and of both together. */
    private static final int PANEL = 8;
    private static final int WIDTH = 2 * PANEL;
    private static final int PANEL_ROWS = 320;
    private static final int PANEL_DEPTH = 256;

    private static final int VECTOR_ROWS = 2;

    private static final int CPU_ITEMS = 8;

    private GatedMatMul() {}

    /** What the kernels of an operation leave to each other. */
    public static Scratch scratch(Op.GatedMatMul op, DeviceInfo device, boolean tensorCores) {
        return MmaMatMul.fits(op.out().rows(), op.gate(), tensorCores) ? MmaMatMul.scratch(op, device.computeUnits()) : Scratch.NONE;
    }

    public static void lower(Op.GatedMatMul op, Tasks tasks) {
        Weight gate = Weight.of(op.gate(), tasks);
        Weight up = Weight.of(op.up(), tasks);
        if (gate.stride() != up.stride()) {
            throw new IllegalArgumentException(op.gate() + " and " + op.up() + " differ in layers");
        }
        if (MmaMatMul.fits(op.out().rows(), op.gate(), tasks.tensorCores())) {
            MmaMatMul.lower(op, gate, up, tasks);
            return;
        }
        int capacity = op.out().rows();
        int columns = op.gate().columns();
        int outputs = op.gate().rows();
        int activation = MatMul.activation(op.activation());
        KernelContext context = tasks.context();
        IntArray step = tasks.step();
        FloatArray x = tasks.floats(op.x());
        FloatArray out = tasks.floats(op.out());
        boolean cpu = tasks.cpuKernels();
        String type = Weight.suffix(op.gate().dtype());
        if (capacity == 1 && cpu) {
            tasks.task("GatedMatMul.vectorOnCpu" + type, Geometry.items(outputs, CPU_ITEMS),
                    (graph, name) -> graph.task(name, GatedMatMul::vectorOnCpu, context, step, x, gate.f32(), gate.words(),
                            gate.factors(), up.f32(), up.words(), up.factors(), out, gate.type(), gate.stride(),
                            gate.factorStride(), columns, outputs, activation));
        } else if (capacity == 1) {
            int lanes = MatMul.vectorLanes(2 * outputs, columns, tasks.mostLanes());
            tasks.task("GatedMatMul.vector" + type,
                    Geometry.groups(Math.ceilDiv(outputs, VECTOR_ROWS), lanes, 2 * VECTOR_ROWS * lanes * Float.BYTES),
                    (graph, name) -> graph.task(name, GatedMatMul::vector, context, step, x, gate.f32(), gate.words(),
                            gate.factors(), up.f32(), up.words(), up.factors(), out, gate.type(), gate.stride(),
                            gate.factorStride(), columns, outputs, activation, lanes));
        } else if (cpu) {
            int groups = Math.multiplyExact(Math.ceilDiv(outputs, PANEL), Math.ceilDiv(capacity, PANEL_ROWS));
            tasks.task("GatedMatMul.panel" + type, Geometry.groups(groups, 1, (PANEL_DEPTH + PANEL_ROWS) * WIDTH * Float.BYTES),
                    (graph, name) -> graph.task(name, GatedMatMul::panel, context, step, x, gate.f32(), gate.words(),
                            gate.factors(), up.f32(), up.words(), up.factors(), out, gate.type(), gate.stride(),
                            gate.factorStride(), capacity, columns, outputs, activation));
        } else {
            int groups = Math.multiplyExact(Math.ceilDiv(outputs, TILE), Math.ceilDiv(capacity, TILE));
            tasks.task("GatedMatMul.tile" + type, Geometry.groups(groups, TILE_LANES, 3 * DEPTH * PITCH * Float.BYTES),
                    (graph, name) -> graph.task(name, GatedMatMul::tile, context, step, x, gate.f32(), gate.words(),
                            gate.factors(), up.f32(), up.words(), up.factors(), out, gate.type(), gate.stride(),
                            gate.factorStride(), capacity, columns, outputs, activation));
        }
    }

    /**
     * {@code out[i, m] = activation(sum over k of x[i, k] gate[m, k]) * (sum over k of x[i, k] up[m, k])}. A group of 16 x 16 lanes handles 64 rows i and 64
     * columns m; groups of the same columns follow one another.
     */
    public static void tile(KernelContext context, IntArray step, FloatArray x, FloatArray gateF32, LongArray gateWords,
            FloatArray gateFactors, FloatArray upF32, LongArray upWords, FloatArray upFactors, FloatArray out,
            int type, int stride, int factorStride, int capacity, int columns, int outputs, int activation) {
        int rows = TornadoMath.min(step.get(StepBuffer.ROWS), capacity);
        int layer = step.get(StepBuffer.LAYER);
        int lane = context.localIdx;
        int rowBlocks = (capacity + TILE - 1) / TILE;
        int firstRow = (context.groupIdx % rowBlocks) * TILE;
        int firstOut = (context.groupIdx / rowBlocks) * TILE;
        float[] xs = context.allocateFloatLocalArray(DEPTH * PITCH);
        float[] gates = context.allocateFloatLocalArray(DEPTH * PITCH);
        float[] ups = context.allocateFloatLocalArray(DEPTH * PITCH);
        // As in MatMul.tile: surplus rows must not return.
        int end = firstRow < rows ? columns : 0;
        float[] gateSums = new float[16];
        float[] upSums = new float[16];
        for (int s = 0; s < 16; s++) {
            gateSums[s] = 0;
            upSums[s] = 0;
        }
        int laneColumn = lane & (DEPTH - 1);
        int laneRow = lane / DEPTH;
        int tx = (lane & 15) * 4;
        int ty = (lane / 16) * 4;
        int scalesPerRow = (columns + DType.Q8_BLOCK - 1) / DType.Q8_BLOCK;
        for (int k = 0; k < end; k += DEPTH) {
            int column = k + laneColumn;
            for (int t = 0; t < TILE; t += TILE_LANES / DEPTH) {
                int row = firstRow + laneRow + t;
                float value = 0;
                if (row < rows && column < columns) {
                    value = x.get(row * columns + column);
                }
                xs[laneColumn * PITCH + laneRow + t] = value;
                int output = firstOut + laneRow + t;
                float gate = 0;
                float up = 0;
                if (output < outputs && column < columns) {
                    int index = layer * stride + output * columns + column;
                    int scale = layer * factorStride + output * scalesPerRow + column / DType.Q8_BLOCK;
                    gate = Weight.at(type, gateF32, gateWords, gateFactors, index, scale);
                    up = Weight.at(type, upF32, upWords, upFactors, index, scale);
                }
                gates[laneColumn * PITCH + laneRow + t] = gate;
                ups[laneColumn * PITCH + laneRow + t] = up;
            }
            context.localBarrier();
            for (int d = 0; d < DEPTH; d++) {
                float x0 = xs[d * PITCH + ty];
                float x1 = xs[d * PITCH + ty + 1];
                float x2 = xs[d * PITCH + ty + 2];
                float x3 = xs[d * PITCH + ty + 3];
                for (int c = 0; c < 4; c++) {
                    float gate = gates[d * PITCH + tx + c];
                    float up = ups[d * PITCH + tx + c];
                    gateSums[c] += x0 * gate;
                    gateSums[4 + c] += x1 * gate;
                    gateSums[8 + c] += x2 * gate;
                    gateSums[12 + c] += x3 * gate;
                    upSums[c] += x0 * up;
                    upSums[4 + c] += x1 * up;
                    upSums[8 + c] += x2 * up;
                    upSums[12 + c] += x3 * up;
                }
            }
            context.localBarrier();
        }
        for (int r = 0; r < 4; r++) {
            for (int c = 0; c < 4; c++) {
                int row = firstRow + ty + r;
                int output = firstOut + tx + c;
                if (row < rows && output < outputs) {
                    out.set(row * outputs + output, MatMul.activate(gateSums[r * 4 + c], activation) * upSums[r * 4 + c]);
                }
            }
        }
    }

    /**
     * {@code out[i, m] = activation(sum over k of x[i, k] gate[m, k]) * (sum over k of x[i, k] up[m, k])}. A group is one item and handles 8 columns m for up to 320
     * rows i, as in {@link MatMul#panel}: a vector holds one column of 8 rows of gate, then of the same rows of up.
     */
    public static void panel(KernelContext context, IntArray step, FloatArray x, FloatArray gateF32, LongArray gateWords,
            FloatArray gateFactors, FloatArray upF32, LongArray upWords, FloatArray upFactors, FloatArray out,
            int type, int stride, int factorStride, int capacity, int columns, int outputs, int activation) {
        int rows = TornadoMath.min(step.get(StepBuffer.ROWS), capacity);
        int layer = step.get(StepBuffer.LAYER);
        int rowBlocks = (capacity + PANEL_ROWS - 1) / PANEL_ROWS;
        int firstRow = (context.groupIdx % rowBlocks) * PANEL_ROWS;
        int firstOut = (context.groupIdx / rowBlocks) * PANEL;
        int count = TornadoMath.min(rows - firstRow, PANEL_ROWS);
        int end = count > 0 ? columns : 0;
        float[] ws = context.allocateFloatLocalArray(PANEL_DEPTH * WIDTH);
        float[] totals = context.allocateFloatLocalArray(PANEL_ROWS * WIDTH);
        int scalesPerRow = (columns + DType.Q8_BLOCK - 1) / DType.Q8_BLOCK;
        float[] sums = new float[64];
        for (int k = 0; k < end; k += PANEL_DEPTH) {
            int depth = TornadoMath.min(columns - k, PANEL_DEPTH);
            for (int m = 0; m < PANEL; m++) {
                // Rows past the last are computed again and never stored.
                int output = TornadoMath.min(firstOut + m, outputs - 1);
                int index = layer * stride + output * columns + k;
                int scale = layer * factorStride + output * scalesPerRow + k / DType.Q8_BLOCK;
                for (int d = 0; d < depth; d++) {
                    ws[d * WIDTH + m] = Weight.at(type, gateF32, gateWords, gateFactors, index + d,
                            scale + d / DType.Q8_BLOCK);
                }
                for (int d = 0; d < depth; d++) {
                    ws[d * WIDTH + PANEL + m] = Weight.at(type, upF32, upWords, upFactors, index + d,
                            scale + d / DType.Q8_BLOCK);
                }
            }
            for (int row = 0; row < count; row += 4) {
                int r0 = (firstRow + row) * columns + k;
                int r1 = (firstRow + TornadoMath.min(row + 1, count - 1)) * columns + k;
                int r2 = (firstRow + TornadoMath.min(row + 2, count - 1)) * columns + k;
                int r3 = (firstRow + TornadoMath.min(row + 3, count - 1)) * columns + k;
                for (int s = 0; s < 64; s++) {
                    sums[s] = 0;
                }
                for (int d = 0; d < depth; d++) {
                    float x0 = x.get(r0 + d);
                    float x1 = x.get(r1 + d);
                    float x2 = x.get(r2 + d);
                    float x3 = x.get(r3 + d);
                    for (int m = 0; m < WIDTH; m++) {
                        float wm = ws[d * WIDTH + m];
                        sums[m] += x0 * wm;
                        sums[16 + m] += x1 * wm;
                        sums[32 + m] += x2 * wm;
                        sums[48 + m] += x3 * wm;
                    }
                }
                if (k == 0) {
                    for (int s = 0; s < 64; s++) {
                        totals[row * WIDTH + s] = sums[s];
                    }
                } else {
                    for (int s = 0; s < 64; s++) {
                        totals[row * WIDTH + s] += sums[s];
                    }
                }
            }
        }
        int valid = TornadoMath.min(outputs - firstOut, PANEL);
        for (int row = 0; row < count; row++) {
            for (int m = 0; m < valid; m++) {
                out.set((firstRow + row) * outputs + firstOut + m,
                        MatMul.activate(totals[row * WIDTH + m], activation) * totals[row * WIDTH + PANEL + m]);
            }
        }
    }

    /**
     * {@code out[m] = activation(sum over k of x[k] gate[m, k]) * (sum over k of x[k] up[m, k])}. A group handles 2 rows m of both weights; consecutive lanes read
     * consecutive words.
     */
    public static void vector(KernelContext context, IntArray step, FloatArray x, FloatArray gateF32, LongArray gateWords,
            FloatArray gateFactors, FloatArray upF32, LongArray upWords, FloatArray upFactors, FloatArray out,
            int type, int stride, int factorStride, int columns, int outputs, int activation, int lanes) {
        int layer = step.get(StepBuffer.LAYER);
        int lane = context.localIdx;
        int first = context.groupIdx * VECTOR_ROWS;
        float[] parts = context.allocateFloatLocalArray(2 * VECTOR_ROWS * lanes);
        int run = TornadoMath.min(step.get(StepBuffer.ROWS), 1);
        int limit = run * outputs;
        int scalesPerRow = (columns + DType.Q8_BLOCK - 1) / DType.Q8_BLOCK;
        int w = layer * stride + first * columns;
        int scale = layer * factorStride + first * scalesPerRow;
        // As in MatMul.vector.
        long[] gateRow = new long[VECTOR_ROWS];
        long[] upRow = new long[VECTOR_ROWS];
        float[] xs = new float[4];
        float[] sums = new float[2 * VECTOR_ROWS];
        for (int r = 0; r < 2 * VECTOR_ROWS; r++) {
            sums[r] = 0;
        }
        if (Weight.fours(type, columns)) {
            int end = run * (columns / 4);
            for (int j = lane; j < end; j += lanes) {
                for (int e = 0; e < 4; e++) {
                    xs[e] = x.get(4 * j + e);
                }
                for (int r = 0; r < VECTOR_ROWS; r++) {
                    int at = w / 4 + j + MatMul.distance(first, r, outputs, VECTOR_ROWS) * (columns / 4);
                    gateRow[r] = gateWords.get(at);
                    upRow[r] = upWords.get(at);
                }
                for (int r = 0; r < VECTOR_ROWS; r++) {
                    for (int e = 0; e < 4; e++) {
                        sums[r] += xs[e] * Weight.half(type, (int) (gateRow[r] >> (16 * e)), gateFactors);
                        sums[VECTOR_ROWS + r] += xs[e] * Weight.half(type, (int) (upRow[r] >> (16 * e)), upFactors);
                    }
                }
            }
        } else if (Weight.eights(type, columns)) {
            int end = run * (columns / 4);
            for (int j = lane; j < end; j += lanes) {
                for (int e = 0; e < 4; e++) {
                    xs[e] = x.get(4 * j + e);
                }
                int shift = (j & 1) << 5;
                int b = scale + j / (DType.Q8_BLOCK / 4);
                for (int r = 0; r < VECTOR_ROWS; r++) {
                    int at = w / 8 + j / 2 + MatMul.distance(first, r, outputs, VECTOR_ROWS) * (columns / 8);
                    gateRow[r] = gateWords.get(at);
                    upRow[r] = upWords.get(at);
                }
                for (int r = 0; r < VECTOR_ROWS; r++) {
                    int at = b + MatMul.distance(first, r, outputs, VECTOR_ROWS) * scalesPerRow;
                    float gate = 0;
                    float up = 0;
                    for (int e = 0; e < 4; e++) {
                        gate += xs[e] * Weight.q8((int) (gateRow[r] >> shift) >> (8 * e));
                        up += xs[e] * Weight.q8((int) (upRow[r] >> shift) >> (8 * e));
                    }
                    sums[r] += gateFactors.get(at) * gate;
                    sums[VECTOR_ROWS + r] += upFactors.get(at) * up;
                }
            }
        } else {
            int end = run * columns;
            for (int k = lane; k < end; k += lanes) {
                float xk = x.get(k);
                int b = scale + k / DType.Q8_BLOCK;
                for (int r = 0; r < VECTOR_ROWS; r++) {
                    int d = MatMul.distance(first, r, outputs, VECTOR_ROWS);
                    sums[r] += xk * Weight.at(type, gateF32, gateWords, gateFactors, w + k + d * columns, b + d * scalesPerRow);
                    sums[VECTOR_ROWS + r] += xk * Weight.at(type, upF32, upWords, upFactors, w + k + d * columns, b + d * scalesPerRow);
                }
            }
        }
        for (int r = 0; r < 2 * VECTOR_ROWS; r++) {
            parts[r * lanes + lane] = sums[r];
        }
        for (int reach = lanes / 2; reach > 0; reach /= 2) {
            context.localBarrier();
            if (lane < reach) {
                for (int r = 0; r < 2 * VECTOR_ROWS; r++) {
                    parts[r * lanes + lane] += parts[r * lanes + lane + reach];
                }
            }
        }
        context.localBarrier();
        int output = first + lane;
        if (lane < VECTOR_ROWS && output < limit) {
            out.set(output, MatMul.activate(parts[lane * lanes], activation) * parts[(VECTOR_ROWS + lane) * lanes]);
        }
    }

    /** {@code out[m] = activation(sum over k of x[k] gate[m, k]) * (sum over k of x[k] up[m, k])}. An item handles one row m of both weights. */
    public static void vectorOnCpu(KernelContext context, IntArray step, FloatArray x, FloatArray gateF32, LongArray gateWords,
            FloatArray gateFactors, FloatArray upF32, LongArray upWords, FloatArray upFactors, FloatArray out, int type, int stride,
            int factorStride, int columns, int outputs, int activation) {
        int layer = step.get(StepBuffer.LAYER);
        int output = context.globalIdx;
        int limit = TornadoMath.min(step.get(StepBuffer.ROWS), 1) * outputs;
        if (output < limit) {
            int scalesPerRow = (columns + DType.Q8_BLOCK - 1) / DType.Q8_BLOCK;
            int w = layer * stride + output * columns;
            int scale = layer * factorStride + output * scalesPerRow;
            float[] sums = new float[16];
            for (int j = 0; j < 16; j++) {
                sums[j] = 0;
            }
            int whole = columns / 8 * 8;
            for (int k = 0; k < whole; k += 8) {
                float gateScale = 1;
                float upScale = 1;
                if (type == Weight.Q8) {
                    gateScale = gateFactors.get(scale + k / DType.Q8_BLOCK);
                    upScale = upFactors.get(scale + k / DType.Q8_BLOCK);
                }
                for (int j = 0; j < 8; j++) {
                    float xk = x.get(k + j);
                    float gate = xk * Weight.unscaled(type, gateF32, gateWords, gateFactors, w + k + j);
                    float up = xk * Weight.unscaled(type, upF32, upWords, upFactors, w + k + j);
                    sums[j] += gateScale * gate;
                    sums[8 + j] += upScale * up;
                }
            }
            float gateSum = 0;
            float upSum = 0;
            for (int j = 0; j < 8; j++) {
                gateSum += sums[j];
                upSum += sums[8 + j];
            }
            for (int k = whole; k < columns; k++) {
                float xk = x.get(k);
                gateSum += xk * Weight.at(type, gateF32, gateWords, gateFactors, w + k, scale + k / DType.Q8_BLOCK);
                upSum += xk * Weight.at(type, upF32, upWords, upFactors, w + k, scale + k / DType.Q8_BLOCK);
            }
            out.set(output, MatMul.activate(gateSum, activation) * upSum);
        }
    }
}
