package stormsight.tornado.kernel;

import static uk.ac.manchester.tornado.api.common.TaskPackage.createPackage;

import java.util.List;
import java.util.Optional;
import stormsight.backend.DeviceInfo;
import stormsight.program.Op;
import stormsight.program.Tensor;
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
 * {@code out = residual + activation(x . transpose(w) + bias)}, and gated
 * {@code out = activation(x . transpose(w)) * (x . transpose(up))}: for many rows by blocks whose operands are shared
 * through local memory, for one row as a matrix-vector product. The two products of a gated one run side by side, so
 * that x is read once and neither is stored. {@link FewMatMul} is for a few rows, {@link MmaMatMul} for tensor cores.
 */
public final class MatMul {
    /** Bits of the constant {@code epilogue}. */
    static final int BIAS = 1;
    static final int RESIDUAL = 2;
    static final int GATED = 4;
    /** Bias and out are stacks of layers. */
    private static final int BIAS_STACK = 8;
    private static final int OUT_STACK = 16;
    /** Bits of {@link #vector}: the weights are stacks of layers; x is normalised; the norm's weight is a stack. */
    static final int STACK = 32;
    private static final int NORM = 64;
    private static final int NORM_STACK = 128;
    /** From this bit on: a number of {@link #number}. */
    static final int ACTIVATION = 8;

    private static final int GELU_TANH = 1;
    private static final int GELU_ERF = 2;
    private static final int QUICK_GELU = 3;
    private static final int SILU = 4;
    private static final int RELU = 5;

    /** Rows of each of two halves of the weights of a block of {@link #tile}: of both if gated, else of one. */
    private static final int TILE = 64;
    private static final int MOST_TILE_LANES = 128;
    /** 24 rows of x; fewer would leave too little to do between two barriers. */
    private static final int FEWEST_TILE_LANES = 64;
    /** Bits of the parameter {@code division} of {@link #tile} for the lanes; the parts of the columns are above. */
    private static final int LANE_BITS = 16;
    private static final int MOST_SPLITS = 16;
    /** Lanes of a group of {@link #sum}. */
    private static final int SUM_LANES = 64;
    /** Columns of x and w that are in local memory at a time. */
    private static final int DEPTH = 16;
    /** Distance of columns in local memory: 4 more than the tile spreads stores over the banks. */
    private static final int PITCH = TILE + 4;
    /** Lanes side by side, whose sums are of rows of weights that follow each other. */
    private static final int TILE_WIDTH = 16;
    /** Rows of x whose products a lane adds up, and of each half of the weights. */
    private static final int LANE_ROWS = 6;
    private static final int LANE_COLUMNS = 4;
    /** Elements of x that a lane reads for each {@link #DEPTH} columns. */
    private static final int TILE_READS = DEPTH * LANE_ROWS / TILE_WIDTH;
    /** Of each half of the weights, at most. */
    private static final int MOST_READS = TILE * DEPTH / FEWEST_TILE_LANES;

    /** Rows of w, of both weights together if gated, of a group of {@link #vector}. */
    private static final int VECTOR_ROWS = 4;

    private MatMul() {}

    /**
     * Both kinds of product.
     *
     * @param norm of one row, by whose x that of the product is replaced
     * @param up of a gated one, which has neither bias nor residual
     */
    record Product(Tensor x, Optional<Op.RmsNorm> norm, Tensor w, Optional<Tensor> up, Optional<Tensor> bias,
            Op.Activation activation, Optional<Tensor> residual, Tensor out) {
        static Product of(Op.MatMul op, Optional<Op.RmsNorm> norm) {
            return new Product(norm.map(Op.RmsNorm::x).orElse(op.x()), norm, op.w(), Optional.empty(), op.bias(),
                    op.activation(), op.residual(), op.out());
        }

        static Product of(Op.GatedMatMul op, Optional<Op.RmsNorm> norm) {
            return new Product(norm.map(Op.RmsNorm::x).orElse(op.x()), norm, op.gate(), Optional.of(op.up()),
                    Optional.empty(), op.activation(), Optional.empty(), op.out());
        }

        /** The constant {@code epilogue}. */
        int epilogue(Tasks tasks) {
            return (bias.isPresent() ? BIAS : 0) | (residual.isPresent() ? RESIDUAL : 0) | (up.isPresent() ? GATED : 0)
                    | (bias.map(tasks::stride).orElse(0) > 0 ? BIAS_STACK : 0) | (tasks.stride(out) > 0 ? OUT_STACK : 0)
                    | (tasks.stride(w) > 0 ? STACK : 0) | (norm.isPresent() ? NORM : 0)
                    | (norm.map(of -> tasks.stride(of.w())).orElse(0) > 0 ? NORM_STACK : 0)
                    | number(activation) << ACTIVATION;
        }
    }

    /** What the kernels of an operation leave to each other. */
    public static Scratch scratch(Op.MatMul op, DeviceInfo device) {
        return scratch(Product.of(op, Optional.empty()), device);
    }

    /** What the kernels of an operation leave to each other. */
    public static Scratch scratch(Op.GatedMatMul op, DeviceInfo device) {
        return scratch(Product.of(op, Optional.empty()), device);
    }

    /** Lists of numbers that kernels read from arrays. */
    public static List<List<Integer>> constants(Op.MatMul op, DeviceInfo device) {
        return constants(Product.of(op, Optional.empty()), device);
    }

    /** Lists of numbers that kernels read from arrays. */
    public static List<List<Integer>> constants(Op.GatedMatMul op, DeviceInfo device) {
        return constants(Product.of(op, Optional.empty()), device);
    }

    private static List<List<Integer>> constants(Product op, DeviceInfo device) {
        return MmaMatMul.fits(op.out().rows(), op.w(), device)
                ? List.of(MmaMatMul.sizes(op, device.computeUnits())) : List.of();
    }

    private static Scratch scratch(Product op, DeviceInfo device) {
        int capacity = op.out().rows();
        if (MmaMatMul.fits(capacity, op.w(), device)) {
            return MmaMatMul.scratch(op, device.computeUnits());
        }
        if (capacity == 1 || FewMatMul.fits(capacity, op.w(), device)) {
            return Scratch.NONE;
        }
        int splits = splits(capacity, op.w(), op.up().isPresent(), device.computeUnits());
        return splits == 1 ? Scratch.NONE : Scratch.ofFloats(Math.multiplyExact(op.up().isPresent() ? 2 : 1,
                Math.multiplyExact(splits, Math.multiplyExact(capacity, op.w().rows()))));
    }

    /**
     * Into how many parts {@link #tile} divides the columns: few columns of out make too few blocks for a large GPU. As
     * many as make the busiest compute unit's work least, counted in steps of {@link #DEPTH} columns. By estimate, a
     * block costs 2 steps besides its own, the kernel {@link #sum} 6 and the traffic of its parts, and a block alone on
     * a compute unit waits for its loads a third of the time. No GPU has been measured.
     *
     * @param computeUnits 0 where they are not known
     */
    static int splits(int capacity, Tensor w, boolean gated, int computeUnits) {
        int units = Math.max(computeUnits, 1);
        int blocks = Math.ceilDiv(capacity, tileRows(MOST_TILE_LANES)) * Math.ceilDiv(w.rows(), tileOutputs(gated));
        int steps = Math.ceilDiv(w.columns(), DEPTH);
        int best = 1;
        double least = Double.MAX_VALUE;
        for (int s = 1; s <= Math.clamp(steps / 4, 1, MOST_SPLITS); s++) {
            double work = Math.max(1.5, Math.ceilDiv(blocks * s, units)) * (Math.ceilDiv(steps, s) + 2)
                    + (s > 1 ? 6 + blocks * s / (0.6 * units) : 0);
            if (work < least) {
                // A second kernel must be worth a tenth.
                least = s == 1 ? 0.9 * work : work;
                best = s;
            }
        }
        return best;
    }

    /** @param norm of the one row x, which the product computes for itself */
    public static void lower(Op.MatMul op, Optional<Op.RmsNorm> norm, Tasks tasks) {
        lower(Product.of(op, norm), tasks);
    }

    /** @param norm of the one row x, which the product computes for itself */
    public static void lower(Op.GatedMatMul op, Optional<Op.RmsNorm> norm, Tasks tasks) {
        lower(Product.of(op, norm), tasks);
    }

    private static void lower(Product op, Tasks tasks) {
        Weight w = Weight.of(op.w(), tasks);
        Weight up = op.up().map(tensor -> Weight.of(tensor, tasks)).orElse(new Weight(w.type(), tasks.none(),
                tasks.noLongs(), tasks.none(), w.stride(), 0));
        if (w.stride() != up.stride()) {
            throw new IllegalArgumentException(op.w() + " and " + op.up().orElseThrow() + " differ in layers");
        }
        if (MmaMatMul.fits(op.out().rows(), op.w(), tasks.device())) {
            MmaMatMul.lower(op, w, up, tasks);
            return;
        }
        if (FewMatMul.fits(op.out().rows(), op.w(), tasks.device())) {
            FewMatMul.lower(op, w, up, tasks);
            return;
        }
        int weights = op.up().isPresent() ? 2 : 1;
        int capacity = op.out().rows();
        int columns = op.w().columns();
        int outputs = op.w().rows();
        int epilogue = op.epilogue(tasks);
        KernelContext context = tasks.context();
        IntArray step = tasks.step();
        FloatArray x = tasks.floats(op.x());
        FloatArray bias = op.bias().map(tasks::floats).orElse(tasks.none());
        FloatArray residual = op.residual().map(tasks::floats).orElse(tasks.none());
        FloatArray out = tasks.floats(op.out());
        String family = op.up().isPresent() ? "GatedMatMul" : "MatMul";
        String type = Weight.suffix(op.w().dtype());
        if (capacity == 1) {
            int lanes = vectorLanes(weights * outputs, columns, tasks.mostLanes());
            FloatArray norm = op.norm().map(of -> tasks.floats(of.w())).orElse(tasks.none());
            float epsilon = op.norm().map(Op.RmsNorm::epsilon).orElse(0f);
            tasks.task(family + ".vector" + type,
                    Geometry.groups(Math.ceilDiv(weights * outputs, VECTOR_ROWS), lanes,
                    (VECTOR_ROWS + norms(epilogue)) * lanes * Float.BYTES),
                    name -> createPackage(name, MatMul::vector, context, step, x, norm, w.f32(), w.words(),
                            w.factors(), up.f32(), up.words(), up.factors(), bias, residual, out, w.type(), columns,
                            outputs, epilogue, lanes, epsilon));
        } else {
            // Fewer lanes are refused with the geometry.
            int lanes = Math.clamp(tasks.mostLanes(), FEWEST_TILE_LANES, MOST_TILE_LANES);
            int splits = splits(capacity, op.w(), op.up().isPresent(), tasks.device().computeUnits());
            int groups = Math.multiplyExact(splits,
                    Math.multiplyExact(Math.ceilDiv(outputs, tileOutputs(op.up().isPresent())),
                            Math.ceilDiv(capacity, tileRows(lanes))));
            FloatArray sums = splits == 1 ? out : tasks.scratch();
            tasks.task(family + ".tile" + type, Geometry.groups(groups, lanes,
                    DEPTH * (xPitch(lanes) + 2 * PITCH) * Float.BYTES),
                    name -> createPackage(name, MatMul::tile, context, step, x, w.f32(), w.words(), w.factors(),
                            up.f32(), up.words(), up.factors(), bias, residual, sums, w.type(), w.stride(),
                            w.factorStride(), capacity, columns, outputs, epilogue, lanes | splits << LANE_BITS));
            if (splits > 1) {
                tasks.task(family + ".sum", Geometry.items(Math.multiplyExact(capacity, outputs), SUM_LANES),
                        name -> createPackage(name, MatMul::sum, context, step, sums, bias, residual, out,
                                capacity, outputs, splits, epilogue));
            }
        }
    }

    /**
     * Lanes of a group of {@link #vector}. Memory is read at full speed only while enough of it is under way, some
     * megabytes on a large GPU: few rows take many lanes each, as far as there are columns for them.
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
    private static int number(Op.Activation activation) {
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
            // sqrt(2 / pi), as in the definition: 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2u)) neither cancels for negative v
            // nor needs a tanh.
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
     * {@code max(v, 0) - |v| q} with q = erfc(|v| / sqrt(2)) / 2, which cancels nowhere. For z from 0 on, erfc(z) is
     * (A1 t + .. + A5 t^5) exp(-z^2) with t = 1 / (1 + P z), to 1.5e-7: Abramowitz and Stegun 7.1.26.
     */
    static float geluErf(float v) {
        float size = TornadoMath.abs(v);
        float t = 1 / (1 + 0.3275911f * 0.70710678f * size);
        float q = 0.5f * t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f
                + t * (-1.453152027f + t * 1.061405429f))));
        return TornadoMath.max(v, 0f) - size * q * TornadoMath.exp(-0.5f * v * v);
    }

    /**
     * What follows the product for one element.
     *
     * @param up the other product, if gated
     */
    static float finish(float sum, float up, FloatArray bias, FloatArray residual, int biasIndex, int outIndex,
            int epilogue) {
        float value = sum;
        if ((epilogue & BIAS) != 0) {
            value += bias.get(biasIndex);
        }
        value = activate(value, epilogue >> ACTIVATION);
        if ((epilogue & GATED) != 0) {
            value *= up;
        }
        if ((epilogue & RESIDUAL) != 0) {
            value += residual.get(outIndex);
        }
        return value;
    }

    /** Index of the first bias of a layer. */
    static int biasStart(int layer, int outputs, int epilogue) {
        return (epilogue & BIAS_STACK) != 0 ? layer * outputs : 0;
    }

    /** Index of the first element of out of a layer. */
    static int outStart(int layer, int capacity, int outputs, int epilogue) {
        return (epilogue & OUT_STACK) != 0 ? layer * capacity * outputs : 0;
    }

    /** Rows of x of a block of so many lanes. */
    static int tileRows(int lanes) {
        return lanes / TILE_WIDTH * LANE_ROWS;
    }

    /** Columns of out of a block. */
    private static int tileOutputs(boolean gated) {
        return gated ? TILE : 2 * TILE;
    }

    /** As {@link #PITCH}, for those rows. */
    static int xPitch(int lanes) {
        return tileRows(lanes) + 4;
    }

    /**
     * {@code out[i, m] = finish(sum over k of x[i, k] w[m, k], sum over k of x[i, k] up[m, k])}. A group of 8 x 16
     * lanes handles 48 rows i and 128 columns m, or 64 of both weights if gated; with fewer lanes fewer rows. Groups of
     * the same columns follow one another, so that w is read from memory once. Local memory limits portable code, which
     * reads its floats one by one: a lane makes 48 products of 14 of them. Neighbours read neighbours of w, and the
     * same x.
     *
     * <p>Where the columns k are divided, groups of a part follow those of the one before, and out gets the sums of
     * each part for {@link #sum}: {@code [part, weight, i, m]}.
     */
    public static void tile(KernelContext context, IntArray step, FloatArray x, FloatArray f32, LongArray words,
            FloatArray factors, FloatArray upF32, LongArray upWords, FloatArray upFactors, FloatArray bias,
            FloatArray residual, FloatArray out, int type, int stride, int factorStride, int capacity, int columns,
            int outputs, int epilogue, int division) {
        int lanes = division & ((1 << LANE_BITS) - 1);
        int splits = division >> LANE_BITS;
        int gates = (epilogue / GATED) & 1;
        int rows = TornadoMath.min(step.get(StepBuffer.ROWS), capacity);
        int layer = step.get(StepBuffer.LAYER);
        int lane = context.localIdx;
        int tileOutputs = TILE * (2 - gates);
        int rowBlocks = (capacity + tileRows(lanes) - 1) / tileRows(lanes);
        int blocks = rowBlocks * ((outputs + tileOutputs - 1) / tileOutputs);
        int part = splits == 1 ? 0 : context.groupIdx / blocks;
        int block = splits == 1 ? context.groupIdx : context.groupIdx % blocks;
        int firstRow = (block % rowBlocks) * tileRows(lanes);
        int firstOut = (block / rowBlocks) * tileOutputs;
        float[] xs = context.allocateFloatLocalArray(DEPTH * xPitch(lanes));
        // The second half follows the first: up, or the next columns of out.
        float[] ws = context.allocateFloatLocalArray(2 * DEPTH * PITCH);
        // A block of surplus rows has nothing to add. It must not return: PoCL then loses stores to local memory before
        // barriers.
        int steps = (columns + DEPTH - 1) / DEPTH;
        int begin = part * steps / splits * DEPTH;
        int end = firstRow < rows ? (part + 1) * steps / splits * DEPTH : 0;
        float[] sums = new float[LANE_ROWS * LANE_COLUMNS];
        float[] more = new float[LANE_ROWS * LANE_COLUMNS];
        for (int s = 0; s < LANE_ROWS * LANE_COLUMNS; s++) {
            sums[s] = 0;
            more[s] = 0;
        }
        int tx = lane & (TILE_WIDTH - 1);
        int ty = (lane / TILE_WIDTH) * LANE_ROWS;
        // What a lane reads: a column of every so many rows of x, and as many of w as a word holds at least.
        int xColumn = lane & (DEPTH - 1);
        int xRow = lane / DEPTH;
        int xDistance = lanes / DEPTH;
        int each = Weight.foursInWords(type, columns) ? 4 : 1;
        int wColumn = (lane & (DEPTH / each - 1)) * each;
        int wRow = lane / (DEPTH / each);
        int wDistance = lanes * each / DEPTH;
        int scalesPerRow = Weight.scalesPerRow(type, columns);
        float[] xRead = new float[TILE_READS];
        long[] wRead = new long[MOST_READS];
        float[] values = new float[MOST_READS];
        for (int k = begin; k < end; k += DEPTH) {
            // Reads come before the first use of one, and none depends on a condition, so that they are under way
            // together: rows and columns beyond the last repeat it, and x is 0 in such columns. An infinite weight
            // there makes no number of a sum that is infinite else.
            int column = k + xColumn;
            for (int t = 0; t < TILE_READS; t++) {
                int row = TornadoMath.min(firstRow + xRow + t * xDistance, rows - 1);
                xRead[t] = x.get(row * columns + TornadoMath.min(column, columns - 1));
            }
            for (int t = 0; t < TILE_READS; t++) {
                float value = column < columns ? xRead[t] : 0;
                xs[xColumn * xPitch(lanes) + xRow + t * xDistance] = value;
            }
            int at = TornadoMath.min(k + wColumn, columns - each);
            for (int h = 0; h < 2; h++) {
                int first = firstOut + wRow + h * (1 - gates) * TILE;
                int ups = h * gates;
                for (int t = 0; t < TILE / wDistance; t++) {
                    int row = TornadoMath.min(first + t * wDistance, outputs - 1);
                    int index = layer * stride + row * columns + at;
                    if (type == Weight.F32) {
                        values[t] = ups == 1 ? upF32.get(index) : f32.get(index);
                    } else {
                        wRead[t] = ups == 1 ? Weight.word(type, upWords, index) : Weight.word(type, words, index);
                    }
                }
                if (type != Weight.F32) {
                    for (int t = 0; t < TILE / wDistance; t++) {
                        int row = TornadoMath.min(first + t * wDistance, outputs - 1);
                        int index = layer * stride + row * columns + at;
                        int scale = layer * factorStride + row * scalesPerRow + at / Weight.block(type);
                        for (int e = 0; e < each; e++) {
                            values[t * each + e] = ups == 1
                                    ? Weight.factor(type, wRead[t], upFactors, index + e, scale)
                                    : Weight.factor(type, wRead[t], factors, index + e, scale);
                        }
                    }
                    for (int t = 0; t < TILE / wDistance; t++) {
                        int row = TornadoMath.min(first + t * wDistance, outputs - 1);
                        int index = layer * stride + row * columns + at;
                        for (int e = 0; e < each; e++) {
                            values[t * each + e] = Weight.times(type, wRead[t], values[t * each + e], index + e);
                        }
                    }
                }
                for (int t = 0; t < TILE / wDistance; t++) {
                    for (int e = 0; e < each; e++) {
                        ws[(h * DEPTH + wColumn + e) * PITCH + wRow + t * wDistance] = values[t * each + e];
                    }
                }
            }
            context.localBarrier();
            for (int d = 0; d < DEPTH; d++) {
                float x0 = xs[d * xPitch(lanes) + ty];
                float x1 = xs[d * xPitch(lanes) + ty + 1];
                float x2 = xs[d * xPitch(lanes) + ty + 2];
                float x3 = xs[d * xPitch(lanes) + ty + 3];
                float x4 = xs[d * xPitch(lanes) + ty + 4];
                float x5 = xs[d * xPitch(lanes) + ty + 5];
                for (int c = 0; c < LANE_COLUMNS; c++) {
                    float wc = ws[d * PITCH + tx + c * TILE_WIDTH];
                    float uc = ws[DEPTH * PITCH + d * PITCH + tx + c * TILE_WIDTH];
                    sums[c] += x0 * wc;
                    sums[4 + c] += x1 * wc;
                    sums[8 + c] += x2 * wc;
                    sums[12 + c] += x3 * wc;
                    sums[16 + c] += x4 * wc;
                    sums[20 + c] += x5 * wc;
                    more[c] += x0 * uc;
                    more[4 + c] += x1 * uc;
                    more[8 + c] += x2 * uc;
                    more[12 + c] += x3 * uc;
                    more[16 + c] += x4 * uc;
                    more[20 + c] += x5 * uc;
                }
            }
            context.localBarrier();
        }
        for (int r = 0; r < LANE_ROWS; r++) {
            int row = firstRow + ty + r;
            for (int c = 0; c < LANE_COLUMNS; c++) {
                int output = firstOut + tx + c * TILE_WIDTH;
                if (row < rows && output < outputs) {
                    store(sums[c], more[c], bias, residual, out, layer, part, capacity, outputs, row, output, splits,
                            epilogue);
                }
                if (gates == 0 && row < rows && output + TILE < outputs) {
                    store(more[c], 0, bias, residual, out, layer, part, capacity, outputs, row, output + TILE, splits,
                            epilogue);
                }
            }
            // The next row's. An index that compilers do not know would keep all sums in memory.
            for (int s = 0; s < (LANE_ROWS - 1) * LANE_COLUMNS; s++) {
                sums[s] = sums[s + LANE_COLUMNS];
                more[s] = more[s + LANE_COLUMNS];
            }
        }
    }

    /** An element of {@link #tile}, or of one of its parts. */
    private static void store(float sum, float up, FloatArray bias, FloatArray residual, FloatArray out, int layer,
            int part, int capacity, int outputs, int row, int output, int splits, int epilogue) {
        int gates = (epilogue / GATED) & 1;
        int index = row * outputs + output;
        if (splits == 1) {
            out.set(outStart(layer, capacity, outputs, epilogue) + index, finish(sum, up, bias, residual,
                    biasStart(layer, outputs, epilogue) + output, index, epilogue));
        } else {
            int at = part * (1 + gates) * capacity * outputs + index;
            out.set(at, sum);
            if (gates == 1) {
                out.set(at + capacity * outputs, up);
            }
        }
    }

    /** 1 if x is normalised, else 0. */
    static int norms(int epilogue) {
        return (epilogue / NORM) & 1;
    }

    /** Index of the first weight of the norm of a layer. */
    static int normStart(int layer, int columns, int epilogue) {
        return (epilogue & NORM_STACK) != 0 ? layer * columns : 0;
    }

    /**
     * {@code out[i, m] = finish(sum over parts p of sums[p, 0, i, m], sum over p of sums[p, 1, i, m])}, for sums of
     * {@link #tile}. An item handles one element; parts are added in their order.
     */
    public static void sum(KernelContext context, IntArray step, FloatArray sums, FloatArray bias, FloatArray residual,
            FloatArray out, int capacity, int outputs, int splits, int epilogue) {
        int rows = TornadoMath.min(step.get(StepBuffer.ROWS), capacity);
        int layer = step.get(StepBuffer.LAYER);
        int gates = (epilogue / GATED) & 1;
        int item = context.globalIdx;
        if (item < rows * outputs) {
            float value = 0;
            float up = 0;
            for (int p = 0; p < splits; p++) {
                int at = p * (1 + gates) * capacity * outputs + item;
                value += sums.get(at);
                if (gates == 1) {
                    up += sums.get(at + capacity * outputs);
                }
            }
            out.set(outStart(layer, capacity, outputs, epilogue) + item, finish(value, up, bias, residual,
                    biasStart(layer, outputs, epilogue) + item % outputs, item, epilogue));
        }
    }

    /**
     * {@code out[m] = finish(sum over k of x[k] w[m, k], sum over k of x[k] up[m, k])}. A group handles 4 rows m of w,
     * or 2 of each weight if gated: those of up are the last two. Consecutive lanes read consecutive words.
     *
     * <p>With a norm, x[k] is {@code x[k] / sqrt(mean(x^2) + epsilon) * norm[k]}. The root is the same for all k, so
     * sums are multiplied by its inverse; each group adds up the squares beside them.
     */
    public static void vector(KernelContext context, IntArray step, FloatArray x, FloatArray norm, FloatArray f32,
            LongArray words, FloatArray factors, FloatArray upF32, LongArray upWords, FloatArray upFactors,
            FloatArray bias, FloatArray residual, FloatArray out, int type, int columns, int outputs, int epilogue,
            int lanes, float epsilon) {
        int layer = step.get(StepBuffer.LAYER);
        int lane = context.localIdx;
        int gates = (epilogue / GATED) & 1;
        int each = VECTOR_ROWS / (1 + gates);
        int first = context.groupIdx * each;
        int norms = norms(epilogue);
        int normStart = normStart(layer, columns, epilogue);
        float[] parts = context.allocateFloatLocalArray((VECTOR_ROWS + norms) * lanes);
        int run = TornadoMath.min(step.get(StepBuffer.ROWS), 1);
        int limit = run * outputs;
        int scalesPerRow = Weight.scalesPerRow(type, columns);
        int firstRow = first + ((epilogue & STACK) != 0 ? layer * outputs : 0);
        int w = firstRow * columns;
        int scale = firstRow * scalesPerRow;
        // Loops over constants are unrolled. TornadoVM limits the size of a kernel with all that it calls, so each is
        // called in one place.
        long[] row = new long[VECTOR_ROWS];
        float[] xs = new float[4];
        // The last one is that of squares.
        float[] sums = new float[VECTOR_ROWS + 1];
        // The words of a turn are read in the turn before, so that they are under way while that one is computed. Their
        // halves are kept from turn to turn, not they: two reads that reach one variable would become one.
        int[] low = new int[VECTOR_ROWS];
        int[] high = new int[VECTOR_ROWS];
        sums[VECTOR_ROWS] = 0;
        for (int r = 0; r < VECTOR_ROWS; r++) {
            sums[r] = 0;
            row[r] = 0;
            low[r] = 0;
            high[r] = 0;
        }
        if (Weight.fours(type, columns)) {
            int end = run * (columns / 4);
            for (int j = lane - lanes; j < end; j += lanes) {
                int next = j + lanes;
                if (next < end) {
                    for (int r = 0; r < VECTOR_ROWS; r++) {
                        if (r < each) {
                            row[r] = words.get(w / 4 + next + distance(first, r, outputs, each) * (columns / 4));
                        } else {
                            row[r] = upWords.get(w / 4 + next + distance(first, r - each, outputs, each)
                                    * (columns / 4));
                        }
                    }
                }
                if (j >= 0) {
                    for (int e = 0; e < 4; e++) {
                        xs[e] = x.get(4 * j + e);
                        if (norms == 1) {
                            sums[VECTOR_ROWS] += xs[e] * xs[e];
                            xs[e] *= norm.get(normStart + 4 * j + e);
                        }
                    }
                    for (int r = 0; r < VECTOR_ROWS; r++) {
                        for (int e = 0; e < 2; e++) {
                            sums[r] += xs[e] * Weight.half(type, low[r] >> (16 * e), factors);
                        }
                        for (int e = 0; e < 2; e++) {
                            sums[r] += xs[2 + e] * Weight.half(type, high[r] >> (16 * e), factors);
                        }
                    }
                }
                for (int r = 0; r < VECTOR_ROWS; r++) {
                    low[r] = (int) row[r];
                    high[r] = (int) (row[r] >> 32);
                }
            }
        } else if (Weight.levels(type, columns)) {
            // A lane takes a part of a word: the other parts' numbers would not fit the registers.
            int end = run * (columns / 4);
            int rowWords = columns / Weight.perWord(type);
            for (int j = lane - lanes; j < end; j += lanes) {
                int next = j + lanes;
                if (next < end) {
                    int word = w / Weight.perWord(type) + next / (Weight.perWord(type) / 4);
                    for (int r = 0; r < VECTOR_ROWS; r++) {
                        if (r < each) {
                            row[r] = words.get(word + distance(first, r, outputs, each) * rowWords);
                        } else {
                            row[r] = upWords.get(word + distance(first, r - each, outputs, each) * rowWords);
                        }
                    }
                }
                if (j >= 0) {
                    for (int e = 0; e < 4; e++) {
                        xs[e] = x.get(Weight.column(type, j, e));
                        if (norms == 1) {
                            sums[VECTOR_ROWS] += xs[e] * xs[e];
                            xs[e] *= norm.get(normStart + Weight.column(type, j, e));
                        }
                    }
                    int b = scale + j / (Weight.block(type) / 4);
                    for (int r = 0; r < VECTOR_ROWS; r++) {
                        float sum = 0;
                        for (int e = 0; e < 4; e++) {
                            sum += xs[e] * Weight.level(type, low[r], e);
                        }
                        if (r < each) {
                            sums[r] += factors.get(b + distance(first, r, outputs, each) * scalesPerRow) * sum;
                        } else {
                            sums[r] += upFactors.get(b + distance(first, r - each, outputs, each) * scalesPerRow) * sum;
                        }
                    }
                }
                int shift = Weight.shift(type, next);
                for (int r = 0; r < VECTOR_ROWS; r++) {
                    low[r] = (int) (row[r] >> shift);
                }
            }
        } else {
            int end = run * columns;
            for (int k = lane; k < end; k += lanes) {
                float xk = x.get(k);
                if (norms == 1) {
                    sums[VECTOR_ROWS] += xk * xk;
                    xk *= norm.get(normStart + k);
                }
                int b = scale + k / Weight.block(type);
                for (int r = 0; r < VECTOR_ROWS; r++) {
                    if (r < each) {
                        int d = distance(first, r, outputs, each);
                        sums[r] += xk * Weight.at(type, f32, words, factors, w + k + d * columns, b + d * scalesPerRow);
                    } else {
                        int d = distance(first, r - each, outputs, each);
                        sums[r] += xk * Weight.at(type, upF32, upWords, upFactors, w + k + d * columns,
                                b + d * scalesPerRow);
                    }
                }
            }
        }
        for (int r = 0; r < VECTOR_ROWS + norms; r++) {
            parts[r * lanes + lane] = sums[r];
        }
        for (int reach = lanes / 2; reach > 0; reach /= 2) {
            context.localBarrier();
            if (lane < reach) {
                for (int r = 0; r < VECTOR_ROWS + norms; r++) {
                    parts[r * lanes + lane] += parts[r * lanes + lane + reach];
                }
            }
        }
        context.localBarrier();
        int output = first + lane;
        if (lane < each && output < limit) {
            float factor = 1;
            if (norms == 1) {
                factor = Norm.inverse(parts[VECTOR_ROWS * lanes], columns, epsilon);
            }
            out.set(outStart(layer, 1, outputs, epilogue) + output, finish(factor * parts[lane * lanes],
                    factor * parts[(lane + gates * each) * lanes], bias, residual,
                    biasStart(layer, outputs, epilogue) + output, output, epilogue));
        }
    }

    /**
     * How many rows row {@code first + n} of a group of so many is from the first one. The last row stands in for those
     * past it, which are never stored; where there are none, distances are constants of the code that reads.
     */
    static int distance(int first, int n, int outputs, int rows) {
        return outputs % rows == 0 ? n : TornadoMath.min(n, outputs - 1 - first);
    }
}
