package stormsight.tornado.kernel;

import static uk.ac.manchester.tornado.api.common.TaskPackage.createPackage;

import stormsight.backend.DeviceInfo;
import stormsight.program.Step;
import stormsight.program.Tensor;
import stormsight.tornado.Geometry;
import stormsight.tornado.StepBuffer;
import stormsight.tornado.Tasks;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.LongArray;

/**
 * {@code out = residual + activation(x . transpose(w) + bias)}, and gated
 * {@code out = activation(x . transpose(w)) * (x . transpose(up))}, for a few rows, as decoding several sequences has
 * them: each weight is read and decoded once for all rows.
 */
public final class FewMatMul {
    /** Rows for which {@link #few} is made. */
    private static final int MOST_ROWS = Step.MOST_SEQUENCES;
    /**
     * The same where there are tensor cores: with more rows, multiply-adds in 32 bits take longer than reading the
     * weights. By estimate; no GPU has been measured.
     */
    private static final int MOST_ROWS_BESIDE_TENSOR_CORES = 8;

    /** Rows of w, of both weights together if gated, whose sums a lane holds. */
    private static final int OUTPUTS = 4;
    /** Columns that a lane takes at a time. */
    private static final int WIDE = 4;
    /** What keeps the columns that neighbouring lanes store in different banks. */
    private static final int GAP = 8;

    private static final int MOST_LANES = 256;
    private static final int FEWEST_LANES = 64;
    /** Fewer groups would leave large GPUs idle. */
    private static final int FEWEST_GROUPS = 128;
    /** With fewer rows of w, of both weights together if gated, a group is one team. */
    private static final int FEWEST_SHARED = 4 * OUTPUTS * FEWEST_GROUPS;

    private FewMatMul() {}

    /** Whether {@link #few} is for so many rows. */
    static boolean fits(int capacity, Tensor w, DeviceInfo device) {
        return capacity > 1
                && capacity <= (MmaMatMul.knows(w, device) ? MOST_ROWS_BESIDE_TENSOR_CORES : MOST_ROWS);
    }

    static void lower(MatMul.Product op, Weight w, Weight up, Tasks tasks) {
        int weights = op.up().isPresent() ? 2 : 1;
        int capacity = op.out().rows();
        int columns = op.w().columns();
        int outputs = op.w().rows();
        int epilogue = op.epilogue(tasks);
        int lanes = lanes(weights * outputs, columns, tasks.mostLanes());
        int team = team(weights * outputs, lanes);
        FloatArray bias = op.bias().map(tasks::floats).orElse(tasks.none());
        FloatArray residual = op.residual().map(tasks::floats).orElse(tasks.none());
        tasks.task((weights == 2 ? "GatedMatMul" : "MatMul") + ".few" + Weight.suffix(op.w().dtype()),
                Geometry.groups(Math.ceilDiv(weights * outputs, OUTPUTS * (lanes / team)), lanes,
                localFloats(capacity, lanes, team) * Float.BYTES),
                name -> createPackage(name, FewMatMul::few, tasks.context(), tasks.step(), tasks.floats(op.x()),
                        w.f32(), w.words(), w.factors(), up.f32(), up.words(), up.factors(), bias, residual,
                        tasks.floats(op.out()), w.type(), w.stride(), w.factorStride(), capacity, columns, outputs,
                        epilogue, lanes));
    }

    /**
     * Lanes that share the columns of a row: few where there are enough rows to keep all of a GPU busy, as then more
     * rows share what is read of x; all of a group where there are few rows.
     *
     * @param outputs rows of w, of both weights together if gated
     */
    static int team(int outputs, int lanes) {
        if (outputs < FEWEST_SHARED) {
            return lanes;
        }
        return outputs > 16384 ? 16 : outputs > 8192 ? 32 : TornadoMath.min(64, lanes);
    }

    /**
     * Lanes of a group: as many as may be, because its teams share x; of one team as many as have two turns each.
     *
     * @param outputs rows of w, of both weights together if gated
     */
    static int lanes(int outputs, int columns, int most) {
        int lanes = FEWEST_LANES;
        while (2 * lanes <= Math.min(most, MOST_LANES) && (outputs < FEWEST_SHARED ? 4 * lanes * WIDE <= columns
                : outputs / (OUTPUTS * (2 * lanes / team(outputs, FEWEST_LANES))) >= FEWEST_GROUPS)) {
            lanes *= 2;
        }
        return lanes;
    }

    /** Rows of x whose sums are in local memory at a time, chosen so that the loop over all rows is still unrolled. */
    static int finished(int capacity) {
        return capacity > 8 ? 4 : 2;
    }

    /** Floats of the array in local memory, which holds x first and sums then, with those of parts of a team. */
    static int localFloats(int capacity, int lanes, int team) {
        int columns = lanes == team ? 0 : capacity * WIDE * (team + GAP);
        int sums = finished(capacity) * OUTPUTS * (lanes + 1) + lanes;
        return columns > sums ? columns : sums;
    }

    /**
     * {@code out[i, m] = finish(sum over k of x[i, k] w[m, k], sum over k of x[i, k] up[m, k])} for all rows i. A team
     * of lanes handles 4 rows m of w, or 2 of each weight if gated: those of up are the last two. The teams of a group
     * share the columns of x, which pass through local memory 4 a lane at a time, number e of lane t of row i at
     * {@code (i * 4 + e) * pitch + t}; a team alone reads them where they are, as no two lanes need the same. The words
     * of the next columns are on their way while the present ones are multiplied.
     */
    public static void few(KernelContext context, IntArray step, FloatArray x, FloatArray f32, LongArray words,
            FloatArray factors, FloatArray upF32, LongArray upWords, FloatArray upFactors, FloatArray bias,
            FloatArray residual, FloatArray out, int type, int stride, int factorStride, int capacity, int columns,
            int outputs, int epilogue, int lanes) {
        int rows = TornadoMath.min(step.get(StepBuffer.ROWS), capacity);
        int layer = step.get(StepBuffer.LAYER);
        int lane = context.localIdx;
        int gates = (epilogue / MatMul.GATED) & 1;
        int each = OUTPUTS / (1 + gates);
        int team = team(outputs * (1 + gates), lanes);
        boolean alone = lanes == team;
        int pitch = team + GAP;
        int place = lane & (team - 1);
        int teamRows = lanes / team * each;
        int first = context.groupIdx * teamRows + lane / team * each;
        float[] local = context.allocateFloatLocalArray(localFloats(capacity, lanes, team));
        boolean packed = Weight.fours(type, columns) || Weight.levels(type, columns);
        int scalesPerRow = Weight.scalesPerRow(type, columns);
        int w = layer * stride + first * columns;
        int scale = layer * factorStride + first * scalesPerRow;
        int end = TornadoMath.min(rows, 1) * columns;
        int shift = Weight.shift(type, place);
        // Where x is shared, weights are decoded before x is waited for. A team alone decodes them column by column:
        // for 16 rows the loop over columns is not unrolled, and weights found by its counter would lie in memory.
        long[] now = new long[OUTPUTS];
        float[] nowScales = new float[OUTPUTS];
        long[] next = new long[OUTPUTS];
        float[] nextScales = new float[OUTPUTS];
        float[] ws = new float[OUTPUTS * WIDE];
        float[] sums = new float[MOST_ROWS * OUTPUTS];
        for (int s = 0; s < MOST_ROWS * OUTPUTS; s++) {
            sums[s] = 0;
        }
        for (int r = 0; r < OUTPUTS; r++) {
            next[r] = 0;
            nextScales[r] = 0;
        }
        // Words are fetched a turn ahead, so the first turn does nothing else.
        for (int k = packed ? -WIDE * team : 0; k < end; k += WIDE * team) {
            if (packed) {
                for (int r = 0; r < OUTPUTS; r++) {
                    if (alone) {
                        now[r] = next[r];
                        nowScales[r] = nextScales[r];
                    } else {
                        for (int e = 0; e < WIDE; e++) {
                            ws[r * WIDE + e] = decoded(type, columns, next[r], shift, nextScales[r], e, factors);
                        }
                    }
                }
                int column = k + WIDE * (team + place);
                for (int r = 0; r < OUTPUTS; r++) {
                    next[r] = 0;
                    if (column < end) {
                        int d = MatMul.distance(first, r < each ? r : r - each, outputs, teamRows);
                        if (Weight.levels(type, columns)) {
                            int perWord = Weight.perWord(type);
                            int at = w / perWord + column / perWord + d * (columns / perWord);
                            int scaleAt = scale + column / Weight.block(type) + d * scalesPerRow;
                            if (r < each) {
                                next[r] = words.get(at);
                                nextScales[r] = factors.get(scaleAt);
                            } else {
                                next[r] = upWords.get(at);
                                nextScales[r] = upFactors.get(scaleAt);
                            }
                        } else {
                            int at = w / 4 + column / 4 + d * (columns / 4);
                            if (r < each) {
                                next[r] = words.get(at);
                            } else {
                                next[r] = upWords.get(at);
                            }
                        }
                    }
                }
            } else {
                for (int r = 0; r < OUTPUTS; r++) {
                    for (int e = 0; e < WIDE; e++) {
                        int column = k + e * team + place;
                        float value = 0;
                        if (column < end) {
                            int d = MatMul.distance(first, r < each ? r : r - each, outputs, teamRows);
                            int at = w + column + d * columns;
                            int scaleAt = scale + column / Weight.block(type) + d * scalesPerRow;
                            if (r < each) {
                                value = Weight.at(type, f32, words, factors, at, scaleAt);
                            } else {
                                value = Weight.at(type, upF32, upWords, upFactors, at, scaleAt);
                            }
                        }
                        ws[r * WIDE + e] = value;
                    }
                }
            }
            if (!alone) {
                int staged = k < 0 ? 0 : capacity * WIDE * team;
                for (int at = lane; at < staged; at += lanes) {
                    int row = at / (WIDE * team);
                    int column = at % (WIDE * team);
                    float value = 0;
                    if (row < rows && k + column < columns) {
                        value = x.get(row * columns + k + column);
                    }
                    if (packed) {
                        local[(row * WIDE + Weight.element(type, column)) * pitch + Weight.four(type, column)] = value;
                    } else {
                        local[(row * WIDE + column / team) * pitch + column % team] = value;
                    }
                }
                context.localBarrier();
            }
            if (k >= 0) {
                for (int e = 0; e < WIDE; e++) {
                    int column = packed ? Weight.column(type, k / WIDE + place, e) : k + e * team + place;
                    if (!alone || column < end) {
                        if (alone && packed) {
                            for (int r = 0; r < OUTPUTS; r++) {
                                ws[r * WIDE] = decoded(type, columns, now[r], shift, nowScales[r], e, factors);
                            }
                        }
                        for (int i = 0; i < capacity; i++) {
                            float value;
                            if (alone) {
                                value = x.get(TornadoMath.min(i, rows - 1) * columns + column);
                            } else {
                                value = local[(i * WIDE + e) * pitch + place];
                            }
                            for (int r = 0; r < OUTPUTS; r++) {
                                sums[i * OUTPUTS + r] += value * ws[r * WIDE + (alone && packed ? 0 : e)];
                            }
                        }
                    }
                }
            }
            if (!alone) {
                context.localBarrier();
            }
        }
        // Each lane of a team adds up a part of one sum, of one row of x and one of w. Then the first ones add up the
        // parts of one sum each, or of one of both weights if gated.
        int finished = finished(capacity);
        int many = finished * OUTPUTS;
        int parts = team / many;
        int output = first + (place & (OUTPUTS - 1));
        for (int done = 0; done < capacity; done += finished) {
            for (int s = 0; s < many; s++) {
                local[s * (lanes + 1) + lane] = sums[done * OUTPUTS + s];
            }
            context.localBarrier();
            int from = place / parts * (lanes + 1) + lane - place + place % parts * many;
            float part = 0;
            for (int t = 0; t < many; t++) {
                part += local[from + t];
            }
            local[many * (lanes + 1) + lane] = part;
            context.localBarrier();
            int row = done + place / OUTPUTS;
            if (place < many && (place & (OUTPUTS - 1)) < each && row < rows && output < outputs) {
                int partsFrom = many * (lanes + 1) + lane - place + place * parts;
                float sum = 0;
                float other = 0;
                for (int t = 0; t < parts; t++) {
                    sum += local[partsFrom + t];
                    if (gates == 1) {
                        other += local[partsFrom + each * parts + t];
                    }
                }
                int index = row * outputs + output;
                out.set(MatMul.outStart(layer, capacity, outputs, epilogue) + index,
                        MatMul.finish(sum, other, bias, residual, MatMul.biasStart(layer, outputs, epilogue) + output,
                        index, epilogue));
            }
        }
    }

    /**
     * The e-th of the columns that a lane reads together of a packed row.
     *
     * @param shift the lowest bit of them in the word, of a type with scales
     */
    private static float decoded(int type, int columns, long word, int shift, float scale, int e, FloatArray factors) {
        if (Weight.levels(type, columns)) {
            return scale * Weight.level(type, (int) (word >> shift), e);
        }
        return Weight.half(type, (int) (word >> (16 * e)), factors);
    }
}
