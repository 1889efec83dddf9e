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
 * {@code out = residual + activation(x . transpose(w) + bias)}: for many rows by blocks whose operands are shared through local memory, for one row
 * as a matrix-vector product. GPUs read consecutive weights with consecutive lanes; on a CPU, where a lane is an iteration of a loop, each lane reads
 * its own consecutive weights instead. {@link MmaMatMul} is for tensor cores.
 */
public final class MatMul {
    /** Bits of the constant {@code epilogue}. */
    static final int BIAS = 1;
    static final int RESIDUAL = 2;
    /** From this bit on: a number of {@link #activation}. */
    static final int ACTIVATION = 5;

    private static final int GELU_TANH = 1;
    private static final int GELU_ERF = 2;
    private static final int QUICK_GELU = 3;
    private static final int SILU = 4;
    private static final int RELU = 5;

    /** Rows of x, and rows of w, of a block of {@link #tile}; each of its 16 x 16 lanes holds 4 x 4 sums. */
    private static final int TILE = 64;
    private static final int TILE_LANES = 256;
    /** Columns of x and w that are in local memory at a time. */
    private static final int DEPTH = 32;
    /** Distance of columns in local memory: 4 more than the tile spreads stores over the banks and keeps rows aligned to 16 bytes. */
    private static final int PITCH = TILE + 4;

    /** Rows of w that a group of {@link #panel} handles: the floats of one or two vector registers. */
    private static final int PANEL = 16;
    /** Rows of x of a group of {@link #panel}: enough for an image of 256 patches and a prompt beside it. */
    private static final int PANEL_ROWS = 320;
    private static final int PANEL_DEPTH = 256;

    /** Rows of w of a group of {@link #vector}. */
    private static final int VECTOR_ROWS = 4;

    /**
     * Rows of w of an item of {@link #vectorOnCpu}, and such items in a group. Compilers keep its 2 x 8 sums in vectors; with 2 x 16 of them the
     * decoding of bfloat16 was not vectorised and took 6 times as long.
     */
    private static final int CPU_ROWS = 2;
    private static final int CPU_ITEMS = 8;

    private MatMul() {}

    /** What the kernels of an operation leave to each other. */
    public static Scratch scratch(Op.MatMul op, DeviceInfo device, boolean tensorCores) {
        return MmaMatMul.fits(op.out().rows(), op.w(), tensorCores) ? MmaMatMul.scratch(op, device.computeUnits()) : Scratch.NONE;
    }

    /** The constant {@code epilogue}. */
    static int epilogue(Op.MatMul op) {
        return (op.bias().isPresent() ? BIAS : 0) | (op.residual().isPresent() ? RESIDUAL : 0)
                | activation(op.activation()) << ACTIVATION;
    }

    public static void lower(Op.MatMul op, Tasks tasks) {
        if (MmaMatMul.fits(op.out().rows(), op.w(), tasks.tensorCores())) {
            MmaMatMul.lower(op, tasks);
            return;
        }
        Weight w = Weight.of(op.w(), tasks);
        int capacity = op.out().rows();
        int columns = op.w().columns();
        int outputs = op.w().rows();
        int biasStride = op.bias().map(tasks::stride).orElse(0);
        int outStride = tasks.stride(op.out());
        int epilogue = epilogue(op);
        KernelContext context = tasks.context();
        IntArray step = tasks.step();
        FloatArray x = tasks.floats(op.x());
        FloatArray bias = op.bias().map(tasks::floats).orElse(tasks.none());
        FloatArray residual = op.residual().map(tasks::floats).orElse(tasks.none());
        FloatArray out = tasks.floats(op.out());
        boolean cpu = tasks.cpuKernels();
        String type = Weight.suffix(op.w().dtype());
        if (capacity == 1 && cpu) {
            tasks.task("MatMul.vectorOnCpu" + type, Geometry.items(Math.ceilDiv(outputs, CPU_ROWS), CPU_ITEMS),
                    (graph, name) -> graph.task(name, MatMul::vectorOnCpu, context, step, x, w.f32(), w.words(), w.factors(),
                            bias, residual, out, w.type(), w.stride(), w.factorStride(), biasStride, outStride, columns, outputs,
                            epilogue));
        } else if (capacity == 1) {
            int lanes = vectorLanes(outputs, columns, tasks.mostLanes());
            tasks.task("MatMul.vector" + type,
                    Geometry.groups(Math.ceilDiv(outputs, VECTOR_ROWS), lanes, VECTOR_ROWS * lanes * Float.BYTES),
                    (graph, name) -> graph.task(name, MatMul::vector, context, step, x, w.f32(), w.words(), w.factors(),
                            bias, residual, out, w.type(), w.stride(), w.factorStride(), biasStride, outStride, columns, outputs,
                            epilogue, lanes));
        } else if (cpu) {
            int groups = Math.multiplyExact(Math.ceilDiv(outputs, PANEL), Math.ceilDiv(capacity, PANEL_ROWS));
            tasks.task("MatMul.panel" + type, Geometry.groups(groups, 1, (PANEL_DEPTH + PANEL_ROWS) * PANEL * Float.BYTES),
                    (graph, name) -> graph.task(name, MatMul::panel, context, step, x, w.f32(), w.words(), w.factors(),
                            bias, residual, out, w.type(), w.stride(), w.factorStride(), biasStride, outStride, capacity, columns,
                            outputs, epilogue));
        } else {
            int groups = Math.multiplyExact(Math.ceilDiv(outputs, TILE), Math.ceilDiv(capacity, TILE));
            tasks.task("MatMul.tile" + type, Geometry.groups(groups, TILE_LANES, 2 * DEPTH * PITCH * Float.BYTES),
                    (graph, name) -> graph.task(name, MatMul::tile, context, step, x, w.f32(), w.words(), w.factors(),
                            bias, residual, out, w.type(), w.stride(), w.factorStride(), biasStride, outStride, capacity, columns,
                            outputs, epilogue));
        }
    }

    /**
     * Lanes of a group of {@link #vector}. Memory is read at full speed only while enough of it is under way, some megabytes on a large GPU: few rows take many
     * lanes each, as far as there are columns for them.
     *
     * @return a power of two, at most {@code most} if that is one
     */
    static int vectorLanes(int outputs, int columns, int most) {
        int lanes = Math.min(most, outputs > 8192 ? 128 : outputs > 1024 ? 256 : 512);
        while (lanes > 64 && lanes * 4 > columns) {
            lanes /= 2;
        }
        return lanes;
    }

    /** How kernels number the activations. */
    static int activation(Op.Activation activation) {
        return switch (activation) {
            case NONE -> 0;
            case GELU_TANH -> GELU_TANH;
            case GELU_ERF -> GELU_ERF;
            case QUICK_GELU -> QUICK_GELU;
            case SILU -> SILU;
            case RELU -> RELU;
        };
    }

    /** The activation of that number. It is a constant, so the generated code has one branch of these. */
    static float activate(float v, int activation) {
        float value = v;
        if (activation == GELU_ERF) {
            value = geluErf(v);
        } else if (activation == RELU) {
            value = v < 0 ? 0 : v;
        } else if (activation != 0) {
            // sqrt(2 / pi), as in the definition: 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2u)) neither cancels for negative v nor needs a tanh.
            float u = -v;
            if (activation == GELU_TANH) {
                u = -2 * 0.7978846f * (v + 0.044715f * v * v * v);
            } else if (activation == QUICK_GELU) {
                u = -1.702f * v;
            }
            // The bound keeps exp finite; beyond it the result is 0 in any case.
            value = v / (1 + TornadoMath.exp(TornadoMath.min(u, 80f)));
        }
        return value;
    }

    /**
     * {@code max(v, 0) - |v| q} with q = erfc(|v| / sqrt(2)) / 2, which cancels nowhere. For z from 0 on, erfc(z) is (A1 t + .. + A5 t^5) exp(-z^2) with
     * t = 1 / (1 + P z), to 1.5e-7: Abramowitz and Stegun 7.1.26.
     */
    static float geluErf(float v) {
        float size = TornadoMath.abs(v);
        float t = 1 / (1 + 0.3275911f * 0.70710678f * size);
        float q = 0.5f * t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
        return TornadoMath.max(v, 0f) - size * q * TornadoMath.exp(-0.5f * v * v);
    }

    /** What follows the product for one element. */
    static float finish(float sum, FloatArray bias, FloatArray residual, int biasIndex, int outIndex, int epilogue) {
        float value = sum;
        if ((epilogue & BIAS) != 0) {
            value += bias.get(biasIndex);
        }
        value = activate(value, epilogue >> ACTIVATION);
        if ((epilogue & RESIDUAL) != 0) {
            value += residual.get(outIndex);
        }
        return value;
    }

    /**
     * {@code out[i, m] = finish(sum over k of x[i, k] w[m, k])}. A group of 16 x 16 lanes handles 64 rows i and 64 columns m; groups of the same columns follow
     * one another, so that w is read from memory once.
     */
    public static void tile(KernelContext context, IntArray step, FloatArray x, FloatArray f32, LongArray words,
            FloatArray factors, FloatArray bias, FloatArray residual, FloatArray out, int type, int stride, int factorStride,
            int biasStride, int outStride, int capacity, int columns, int outputs, int epilogue) {
        int rows = TornadoMath.min(step.get(StepBuffer.ROWS), capacity);
        int layer = step.get(StepBuffer.LAYER);
        int lane = context.localIdx;
        int rowBlocks = (capacity + TILE - 1) / TILE;
        int firstRow = (context.groupIdx % rowBlocks) * TILE;
        int firstOut = (context.groupIdx / rowBlocks) * TILE;
        float[] xs = context.allocateFloatLocalArray(DEPTH * PITCH);
        float[] ws = context.allocateFloatLocalArray(DEPTH * PITCH);
        // A block of surplus rows has nothing to add. It must not return: PoCL then loses stores to local memory before barriers.
        int end = firstRow < rows ? columns : 0;
        float[] sums = new float[16];
        for (int s = 0; s < 16; s++) {
            sums[s] = 0;
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
                value = 0;
                if (output < outputs && column < columns) {
                    value = Weight.at(type, f32, words, factors, layer * stride + output * columns + column,
                            layer * factorStride + output * scalesPerRow + column / DType.Q8_BLOCK);
                }
                ws[laneColumn * PITCH + laneRow + t] = value;
            }
            context.localBarrier();
            for (int d = 0; d < DEPTH; d++) {
                float x0 = xs[d * PITCH + ty];
                float x1 = xs[d * PITCH + ty + 1];
                float x2 = xs[d * PITCH + ty + 2];
                float x3 = xs[d * PITCH + ty + 3];
                for (int c = 0; c < 4; c++) {
                    float wc = ws[d * PITCH + tx + c];
                    sums[c] += x0 * wc;
                    sums[4 + c] += x1 * wc;
                    sums[8 + c] += x2 * wc;
                    sums[12 + c] += x3 * wc;
                }
            }
            context.localBarrier();
        }
        for (int r = 0; r < 4; r++) {
            for (int c = 0; c < 4; c++) {
                int row = firstRow + ty + r;
                int output = firstOut + tx + c;
                if (row < rows && output < outputs) {
                    int index = row * outputs + output;
                    out.set(layer * outStride + index,
                            finish(sums[r * 4 + c], bias, residual, layer * biasStride + output, index, epilogue));
                }
            }
        }
    }

    /**
     * {@code out[i, m] = finish(sum over k of x[i, k] w[m, k])}. A group is one item and handles 16 columns m for up to 320 rows i: it decodes 256 columns
     * of those rows of w at a time, transposed, so that a vector holds one column of 16 rows, and adds them to the sums of all rows i.
     */
    public static void panel(KernelContext context, IntArray step, FloatArray x, FloatArray f32, LongArray words,
            FloatArray factors, FloatArray bias, FloatArray residual, FloatArray out, int type, int stride, int factorStride,
            int biasStride, int outStride, int capacity, int columns, int outputs, int epilogue) {
        int rows = TornadoMath.min(step.get(StepBuffer.ROWS), capacity);
        int layer = step.get(StepBuffer.LAYER);
        int rowBlocks = (capacity + PANEL_ROWS - 1) / PANEL_ROWS;
        int firstRow = (context.groupIdx % rowBlocks) * PANEL_ROWS;
        int firstOut = (context.groupIdx / rowBlocks) * PANEL;
        int count = TornadoMath.min(rows - firstRow, PANEL_ROWS);
        int end = count > 0 ? columns : 0;
        float[] ws = context.allocateFloatLocalArray(PANEL_DEPTH * PANEL);
        float[] totals = context.allocateFloatLocalArray(PANEL_ROWS * PANEL);
        int scalesPerRow = (columns + DType.Q8_BLOCK - 1) / DType.Q8_BLOCK;
        float[] sums = new float[64];
        for (int k = 0; k < end; k += PANEL_DEPTH) {
            int depth = TornadoMath.min(columns - k, PANEL_DEPTH);
            for (int m = 0; m < PANEL; m++) {
                // Rows past the last are computed again and never stored.
                int output = TornadoMath.min(firstOut + m, outputs - 1);
                int w = layer * stride + output * columns + k;
                int scale = layer * factorStride + output * scalesPerRow + k / DType.Q8_BLOCK;
                for (int d = 0; d < depth; d++) {
                    ws[d * PANEL + m] = Weight.at(type, f32, words, factors, w + d, scale + d / DType.Q8_BLOCK);
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
                    for (int m = 0; m < PANEL; m++) {
                        float wm = ws[d * PANEL + m];
                        sums[m] += x0 * wm;
                        sums[16 + m] += x1 * wm;
                        sums[32 + m] += x2 * wm;
                        sums[48 + m] += x3 * wm;
                    }
                }
                if (k == 0) {
                    for (int s = 0; s < 64; s++) {
                        totals[row * PANEL + s] = sums[s];
                    }
                } else {
                    for (int s = 0; s < 64; s++) {
                        totals[row * PANEL + s] += sums[s];
                    }
                }
            }
        }
        int valid = TornadoMath.min(outputs - firstOut, PANEL);
        for (int row = 0; row < count; row++) {
            for (int m = 0; m < valid; m++) {
                int index = (firstRow + row) * outputs + firstOut + m;
                out.set(layer * outStride + index,
                        finish(totals[row * PANEL + m], bias, residual, layer * biasStride + firstOut + m, index, epilogue));
            }
        }
    }

    /** {@code out[m] = finish(sum over k of x[k] w[m, k])}. A group handles 4 rows m of w; consecutive lanes read consecutive words. */
    public static void vector(KernelContext context, IntArray step, FloatArray x, FloatArray f32, LongArray words,
            FloatArray factors, FloatArray bias, FloatArray residual, FloatArray out, int type, int stride, int factorStride,
            int biasStride, int outStride, int columns, int outputs, int epilogue, int lanes) {
        int layer = step.get(StepBuffer.LAYER);
        int lane = context.localIdx;
        int first = context.groupIdx * VECTOR_ROWS;
        float[] parts = context.allocateFloatLocalArray(VECTOR_ROWS * lanes);
        int run = TornadoMath.min(step.get(StepBuffer.ROWS), 1);
        int limit = run * outputs;
        int scalesPerRow = (columns + DType.Q8_BLOCK - 1) / DType.Q8_BLOCK;
        int w = layer * stride + first * columns;
        int scale = layer * factorStride + first * scalesPerRow;
        // Loops over constants are unrolled. TornadoVM limits the size of a kernel with all that it calls, so each is called in one place.
        long[] row = new long[VECTOR_ROWS];
        float[] xs = new float[4];
        float[] sums = new float[VECTOR_ROWS];
        for (int r = 0; r < VECTOR_ROWS; r++) {
            sums[r] = 0;
        }
        if (Weight.fours(type, columns)) {
            int end = run * (columns / 4);
            for (int j = lane; j < end; j += lanes) {
                for (int e = 0; e < 4; e++) {
                    xs[e] = x.get(4 * j + e);
                }
                for (int r = 0; r < VECTOR_ROWS; r++) {
                    row[r] = words.get(w / 4 + j + distance(first, r, outputs, VECTOR_ROWS) * (columns / 4));
                }
                for (int r = 0; r < VECTOR_ROWS; r++) {
                    for (int e = 0; e < 4; e++) {
                        sums[r] += xs[e] * Weight.half(type, (int) (row[r] >> (16 * e)), factors);
                    }
                }
            }
        } else if (Weight.eights(type, columns)) {
            // A lane takes half a word: the other half's numbers would not fit the registers.
            int end = run * (columns / 4);
            for (int j = lane; j < end; j += lanes) {
                for (int e = 0; e < 4; e++) {
                    xs[e] = x.get(4 * j + e);
                }
                int shift = (j & 1) << 5;
                int b = scale + j / (DType.Q8_BLOCK / 4);
                for (int r = 0; r < VECTOR_ROWS; r++) {
                    row[r] = words.get(w / 8 + j / 2 + distance(first, r, outputs, VECTOR_ROWS) * (columns / 8));
                }
                for (int r = 0; r < VECTOR_ROWS; r++) {
                    float sum = 0;
                    for (int e = 0; e < 4; e++) {
                        sum += xs[e] * Weight.q8((int) (row[r] >> shift) >> (8 * e));
                    }
                    sums[r] += factors.get(b + distance(first, r, outputs, VECTOR_ROWS) * scalesPerRow) * sum;
                }
            }
        } else {
            int end = run * columns;
            for (int k = lane; k < end; k += lanes) {
                float xk = x.get(k);
                int b = scale + k / DType.Q8_BLOCK;
                for (int r = 0; r < VECTOR_ROWS; r++) {
                    int d = distance(first, r, outputs, VECTOR_ROWS);
                    sums[r] += xk * Weight.at(type, f32, words, factors, w + k + d * columns, b + d * scalesPerRow);
                }
            }
        }
        for (int r = 0; r < VECTOR_ROWS; r++) {
            parts[r * lanes + lane] = sums[r];
        }
        for (int reach = lanes / 2; reach > 0; reach /= 2) {
            context.localBarrier();
            if (lane < reach) {
                for (int r = 0; r < VECTOR_ROWS; r++) {
                    parts[r * lanes + lane] += parts[r * lanes + lane + reach];
                }
            }
        }
        context.localBarrier();
        int output = first + lane;
        if (lane < VECTOR_ROWS && output < limit) {
            out.set(layer * outStride + output,
                    finish(parts[lane * lanes], bias, residual, layer * biasStride + output, output, epilogue));
        }
    }

    /**
     * How many rows row {@code first + n} of a group of so many is from the first one. The last row stands in for those past it, which are never stored; where
     * there are none, distances are constants of the code that reads.
     */
    static int distance(int first, int n, int outputs, int rows) {
        return outputs % rows == 0 ? n : TornadoMath.min(n, outputs - 1 - first);
    }

    /** {@code out[m] = finish(sum over k of x[k] w[m, k])}. An item handles 2 rows m of w, each in 8 sums that become one vector. */
    public static void vectorOnCpu(KernelContext context, IntArray step, FloatArray x, FloatArray f32, LongArray words,
            FloatArray factors, FloatArray bias, FloatArray residual, FloatArray out, int type, int stride, int factorStride,
            int biasStride, int outStride, int columns, int outputs, int epilogue) {
        int layer = step.get(StepBuffer.LAYER);
        int first = context.globalIdx * CPU_ROWS;
        // Comparing with a run-time limit: a condition that follows from another one fails to compile where both are known to the compiler.
        int limit = TornadoMath.min(step.get(StepBuffer.ROWS), 1) * outputs;
        if (first >= limit) {
            return;
        }
        int second = TornadoMath.min(first + 1, outputs - 1);
        int scalesPerRow = (columns + DType.Q8_BLOCK - 1) / DType.Q8_BLOCK;
        int w0 = layer * stride + first * columns;
        int w1 = layer * stride + second * columns;
        int s0 = layer * factorStride + first * scalesPerRow;
        int s1 = layer * factorStride + second * scalesPerRow;
        float[] sums = new float[16];
        for (int j = 0; j < 16; j++) {
            sums[j] = 0;
        }
        int whole = columns / 8 * 8;
        for (int k = 0; k < whole; k += 8) {
            float f0 = 1;
            float f1 = 1;
            if (type == Weight.Q8) {
                f0 = factors.get(s0 + k / DType.Q8_BLOCK);
                f1 = factors.get(s1 + k / DType.Q8_BLOCK);
            }
            for (int j = 0; j < 8; j++) {
                float xk = x.get(k + j);
                if (type == Weight.Q8) {
                    sums[j] += f0 * (xk * Weight.unscaled(type, f32, words, factors, w0 + k + j));
                    sums[8 + j] += f1 * (xk * Weight.unscaled(type, f32, words, factors, w1 + k + j));
                } else {
                    sums[j] += xk * Weight.unscaled(type, f32, words, factors, w0 + k + j);
                    sums[8 + j] += xk * Weight.unscaled(type, f32, words, factors, w1 + k + j);
                }
            }
        }
        float sum0 = 0;
        float sum1 = 0;
        for (int j = 0; j < 8; j++) {
            sum0 += sums[j];
            sum1 += sums[8 + j];
        }
        for (int k = whole; k < columns; k++) {
            float xk = x.get(k);
            sum0 += xk * Weight.at(type, f32, words, factors, w0 + k, s0 + k / DType.Q8_BLOCK);
            sum1 += xk * Weight.at(type, f32, words, factors, w1 + k, s1 + k / DType.Q8_BLOCK);
        }
        out.set(layer * outStride + first, finish(sum0, bias, residual, layer * biasStride + first, first, epilogue));
        if (first + 1 < outputs) {
            out.set(layer * outStride + second, finish(sum1, bias, residual, layer * biasStride + second, second, epilogue));
        }
    }
}
