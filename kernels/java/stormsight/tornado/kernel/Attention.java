package stormsight.tornado.kernel;

import static uk.ac.manchester.tornado.api.common.TaskPackage.createPackage;

import java.util.List;
import stormsight.backend.DeviceInfo;
import stormsight.program.Op;
import stormsight.program.Step;
import stormsight.tornado.Geometry;
import stormsight.tornado.Scratch;
import stormsight.tornado.StepBuffer;
import stormsight.tornado.Tasks;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.arrays.ByteArray;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;

/**
 * Softmax attention in one pass over the keys: for each row the largest score so far, the sum of the exponentials
 * relative to it and the sum of the values weighted by them are kept, and scaled down when a larger score is met.
 *
 * <p>The keys that a row sees are a range, less those that a probe blocks. Scores of keys that it does not see are
 * {@link #UNSEEN}, a finite number: drivers are told to assume that there are no infinities.
 *
 * @see <a href="https://arxiv.org/abs/2205.14135">FlashAttention</a>
 */
public final class Attention {
    static final float UNSEEN = -1e30f;
    /** Scores below it are {@link #UNSEEN}. */
    static final float SEEN = -1e29f;

    /** Rows of a group of {@link #flash}. */
    private static final int ROWS = 16;
    /** Lanes for each key of a tile of {@link #flash}. */
    private static final int KEY_LANES = 4;
    /** Columns of q and k in local memory at a time, at most. */
    private static final int DEPTH = 32;
    /** Columns of the values that a lane sums. */
    private static final int COLUMNS = 4;
    /** Most sums of a lane: those columns of all rows. */
    private static final int MOST_SUMS = ROWS * COLUMNS;
    /**
     * Lanes of a group. {@link #flash} can do with 128 or 64 of them, and stands in for {@link #decode} where a device
     * allows no 256, {@link #general} for the rows of several sequences.
     */
    private static final int LANES = 256;
    /** Each of them may take all columns of one row. */
    private static final int FEWEST_LANES = 64;
    /** Bits of the parameter {@code shape} for how many query heads there are. */
    static final int HEAD_BITS = 16;
    /** Head sizes up to it fit the lanes and the local memory of {@link #flash} and {@link #decode}. */
    private static final int MOST_DIM = LANES;

    /** Keys of a tile of {@link #decode}, and the lanes that share one of them. */
    private static final int CHUNK = 64;
    private static final int SHARE = 16;
    /** Keys of a tile that a lane takes part in. */
    private static final int LANE_KEYS = CHUNK * SHARE / LANES;
    /** Most lanes of {@link #decode} that share a column of the values, and how many of these a lane reads at once. */
    private static final int MOST_SHARERS = 16;
    private static final int AHEAD = 8;
    /**
     * With so many keys, and so few query heads of all rows, a group of {@link #decode} takes all keys of a row. The
     * score of a key is computed in several groups then. By estimate for GPUs of 100 multiprocessors, where it takes
     * less time than {@link #merge} and its launch; none has been measured.
     */
    private static final int MOST_WHOLE_KEYS = 512;
    private static final int MOST_WHOLE_HEADS = 32;
    /** Groups that take all keys of a row are made at least so many, but with no fewer columns than that of values. */
    private static final int WHOLE_GROUPS = 64;
    private static final int FEWEST_COLUMNS = 32;

    private static final int GENERAL_ITEMS = 8;

    /** Parts of the mode of {@link #weights}: heads are averaged; layers are added up, or have planes of their own. */
    private static final int HEAD_MEAN = 1;
    private static final int LAYER_SUM = 2;
    private static final int EACH_LAYER = 4;

    private Attention() {}

    /**
     * What kernels take as {@code fixed}: how many keys there are whatever the step, all of which every row sees; 0
     * where they are tokens; or, below 0, how many windows of layers there are.
     */
    static int fixed(Op.Attention op) {
        return op.windows().isNone() ? op.keys().fixed() : -op.windows().tokens().size();
    }

    /** The windows of layers, none where no layer has one. */
    public static List<Integer> windows(Op.Attention op) {
        return op.windows().isNone() ? List.of() : op.windows().tokens();
    }

    static IntArray windows(Op.Attention op, Tasks tasks) {
        return op.windows().isNone() ? tasks.noInts() : tasks.constants(windows(op));
    }

    private static int chunks(Op.Attention op) {
        return Math.ceilDiv(op.k().slotRows(), CHUNK);
    }

    /** Whether there are so few rows that each has groups of its own, those of {@link #decode}. */
    private static boolean few(Op.Attention op) {
        return op.out().rows() <= Step.MOST_SEQUENCES && op.heads().headDim() <= MOST_DIM;
    }

    /** Whether a group of {@link #decode} takes all keys of a row, so that nothing is left to merge. */
    private static boolean whole(Op.Attention op) {
        return op.k().slotRows() <= MOST_WHOLE_KEYS && op.out().rows() * op.heads().queryHeads() <= MOST_WHOLE_HEADS;
    }

    /** Groups that share the columns of the values of a row and a query head, and each take all its keys. */
    private static int slices(Op.Attention op) {
        int dim = op.heads().headDim();
        int slices = 1;
        while (op.out().rows() * op.heads().queryHeads() * slices < WHOLE_GROUPS && dim % (2 * slices) == 0
                && dim / (2 * slices) >= FEWEST_COLUMNS) {
            slices *= 2;
        }
        return slices;
    }

    /** What the kernels of an operation leave to each other. */
    public static Scratch scratch(Op.Attention op, DeviceInfo device) {
        if (onTensorCores(op, device)) {
            return MmaAttention.scratch(op, device.computeUnits());
        }
        return few(op) && !whole(op) ? Scratch.ofFloats(op.out().rows() * op.heads().queryHeads() * chunks(op)
                * (op.heads().headDim() + 2)) : Scratch.NONE;
    }

    /** Whether it can leave its result as {@link Result} says. */
    static boolean splits(Op.Attention op, DeviceInfo device) {
        return onTensorCores(op, device) && MmaAttention.splits(op);
    }

    /** Whether {@link MmaAttention} does it. */
    static boolean onTensorCores(Op.Attention op, DeviceInfo device) {
        return !few(op) && MmaAttention.fits(op, device);
    }

    /** Query heads, and how many of them share a key, in one number, as a task has at most 20 parameters. */
    static int shape(Op.Heads heads) {
        if (heads.queryHeads() >= 1 << HEAD_BITS) {
            throw new IllegalArgumentException(heads.queryHeads() + " query heads, a kernel takes fewer than "
                    + (1 << HEAD_BITS));
        }
        return heads.queryHeads() | heads.queryHeads() / heads.keyValueHeads() << HEAD_BITS;
    }

    public static void lower(Op.Attention op, Tasks tasks) {
        lower(op, tasks, tasks.noBytes(), 0, tasks.noInts());
    }

    public static void lower(Op.BlockedAttention op, Tasks tasks) {
        lower(op.attention(), tasks, tasks.bytes(op.blocked()), op.blocked().columns(), tasks.ints(op.flags()));
    }

    private static void lower(Op.Attention op, Tasks tasks, ByteArray blocked, int tokens, IntArray flags) {
        Op.Heads heads = op.heads();
        int queryHeads = heads.queryHeads();
        int group = queryHeads / heads.keyValueHeads();
        int dim = heads.headDim();
        IntArray windows = windows(op, tasks);
        int fixed = fixed(op);
        int capacity = op.out().rows();
        int stride = tasks.stride(op.k());
        int slotStride = tasks.slotStride(op.k());
        if (op.keys().blocks() > 1) {
            throw new IllegalArgumentException(op.keys().blocks() + " blocks of keys, which no kernel takes");
        }
        int outStride = tasks.stride(op.out());
        if (stride != tasks.stride(op.v())) {
            throw new IllegalArgumentException(op.k() + " and " + op.v() + " differ in layers");
        }
        if (onTensorCores(op, tasks.device())) {
            MmaAttention.lower(op, tasks, blocked, tokens, flags);
            return;
        }
        KernelContext context = tasks.context();
        IntArray step = tasks.step();
        FloatArray q = tasks.floats(op.q());
        FloatArray k = tasks.floats(op.k());
        FloatArray v = tasks.floats(op.v());
        FloatArray out = tasks.floats(op.out());
        boolean small = tasks.mostLanes() < LANES;
        if (dim > MOST_DIM || small && few(op) && capacity > 1) {
            tasks.task("Attention.general", Geometry.items(Math.multiplyExact(capacity, queryHeads), GENERAL_ITEMS),
                    name -> createPackage(name, Attention::general, context, step, q, k, v, blocked, flags, out,
                            stride, slotStride, outStride, capacity, queryHeads, group, dim, op.scale(), op.softCap(),
                            windows, fixed, tokens));
        } else if (few(op) && !small) {
            boolean whole = whole(op);
            int split = whole ? -slices(op) : chunks(op);
            FloatArray to = whole ? out : tasks.scratch();
            int toStride = whole ? outStride : 0;
            tasks.task("Attention.decode",
                    Geometry.groups(Math.multiplyExact(capacity, Math.multiplyExact(queryHeads, Math.abs(split))),
                    LANES, (CHUNK * (SHARE + 1) + most(split) + padded(dim)) * Float.BYTES),
                    name -> createPackage(name, Attention::decode, context, step, q, k, v, blocked, flags, to,
                            stride, slotStride, toStride, capacity, shape(heads), dim, op.scale(), op.softCap(),
                            windows, fixed, tokens, split));
            if (!whole) {
                tasks.task("Attention.merge", Geometry.groups(Math.multiplyExact(capacity, queryHeads), LANES),
                        name -> createPackage(name, Attention::merge, context, step, tasks.scratch(), out,
                        outStride, capacity, queryHeads, dim, split));
            }
        } else {
            int groups = Math.multiplyExact(Math.ceilDiv(capacity, ROWS), queryHeads);
            // Fewer are refused with the geometry.
            int lanes = Math.clamp(tasks.mostLanes(), FEWEST_LANES, LANES);
            int keys = lanes / KEY_LANES;
            tasks.task("Attention.flash", Geometry.groups(groups, lanes,
                    ((ROWS + keys) * (DEPTH + 1) + ROWS * (keys + 2)) * Float.BYTES),
                    name -> createPackage(name, Attention::flash, context, step, q, k, v, blocked, flags, out,
                            stride, slotStride, outStride, capacity, shape(heads), dim, op.scale(), op.softCap(),
                            windows, fixed, tokens, lanes));
        }
    }

    /** The layers and heads that a probe takes, as {@link Probed} reads them. */
    public static List<Integer> chosen(Op.AttentionWeights op) {
        return Probed.list(op.part().layers(), op.part().heads());
    }

    /** As {@link #chosen(Op.AttentionWeights)}. */
    public static List<Integer> chosen(Op.AttentionPeak op) {
        return Probed.list(op.part().layers(), op.part().heads());
    }

    public static void lower(Op.AttentionWeights op, Tasks tasks) {
        Op.Attention of = op.attention();
        int mode = (op.headMean() ? HEAD_MEAN : 0) + switch (op.kept()) {
            case EACH -> EACH_LAYER;
            case SUM -> LAYER_SUM;
            case LAST -> 0;
        };
        int planes = op.headMean() ? 1 : op.part().heads().size();
        tasks.task("Attention.weights", Geometry.items(Math.multiplyExact(op.rows(), planes), GENERAL_ITEMS),
                name -> createPackage(name, Attention::weights, tasks.context(), tasks.step(),
                        tasks.floats(of.q()), tasks.floats(of.k()), tasks.floats(op.out()), tasks.constants(chosen(op)),
                        tasks.stride(of.k()), of.q().rows(), op.rows(), op.out().columns(), op.part().firstRow(),
                        op.part().firstKey(), mode, of.heads().queryHeads(), of.heads().keyValueHeads(),
                        of.heads().headDim(), of.scale(), of.softCap(), windows(of, tasks), fixed(of)));
    }

    public static void lower(Op.AttentionPeak op, Tasks tasks) {
        Op.Attention of = op.attention();
        int rows = op.out().columns();
        tasks.task("Attention.peak", Geometry.items(Math.multiplyExact(rows, op.part().heads().size()), GENERAL_ITEMS),
                name -> createPackage(name, Attention::peak, tasks.context(), tasks.step(), tasks.floats(of.q()),
                        tasks.floats(of.k()), tasks.floats(op.out()), tasks.constants(chosen(op)), tasks.stride(of.k()),
                        of.q().rows(), rows, op.keys(), op.part().firstRow(), op.part().firstKey(),
                        of.heads().queryHeads(), of.heads().keyValueHeads(), of.heads().headDim(), of.scale(),
                        of.softCap(), windows(of, tasks), fixed(of)));
    }

    /** How far back token i past the prefix sees: i - j below it. */
    static int reach(int layerNumber, IntArray windows, int fixed) {
        int reach = Integer.MAX_VALUE / 2;
        if (fixed < 0) {
            int window = windows.get(layerNumber % -fixed);
            if (window > 0) {
                reach = window;
            }
        }
        return reach;
    }

    /** First key that token i sees. */
    static int first(int i, int prefix, int reach) {
        return i < prefix ? 0 : TornadoMath.max(i - reach + 1, 0);
    }

    /** How many keys there are. */
    static int keys(int tokens, int fixed) {
        return fixed > 0 ? fixed : tokens;
    }

    /** One more than the last key that token i sees. */
    static int end(int i, int prefix, int keys, int fixed) {
        return fixed > 0 ? keys : TornadoMath.min(TornadoMath.max(prefix, i + 1), keys);
    }

    /** The score of key j for token i from their product, or {@link #UNSEEN}. */
    static float score(float product, int i, int j, int first, int end, ByteArray blocked, int tokens, int blocks,
            float scale, float cap) {
        float s = capped(product * scale, cap);
        if (j < first) {
            s = UNSEEN;
        }
        if (j >= end) {
            s = UNSEEN;
        }
        if (tokens > 0) {
            if (blocks != 0) {
                // Without conditions on i and j: where there is a fixed number of keys TornadoVM finds out late that
                // one of them always holds, and then cannot generate it.
                int inside = within(i, tokens) * within(j, tokens);
                int row = TornadoMath.min(i, tokens - 1);
                if (blocked.get(row * tokens + TornadoMath.min(j, tokens - 1)) * inside != 0) {
                    s = UNSEEN;
                }
            }
        }
        return s;
    }

    /** 1 for an index below the size, else 0. */
    static int within(int index, int size) {
        return 1 - TornadoMath.min(TornadoMath.max(index - size + 1, 0), 1);
    }

    static float capped(float s, float cap) {
        float capped = s;
        if (cap > 0) {
            capped = cap * TornadoMath.tanh(s / cap);
        }
        return capped;
    }

    /** Not 0 if the probe's mask counts in this layer and query head. */
    static int blocks(IntArray flags, int layerNumber, int heads, int head, int tokens) {
        int blocks = 0;
        if (tokens > 0) {
            blocks = flags.get(layerNumber * heads + head);
        }
        return blocks;
    }

    /**
     * {@code out[i] = sum over j of softmax_j(s_ij) v[j]} for one head, where all rows are of one sequence. A group
     * handles 16 rows i of one query head and passes over the keys j in tiles of lanes / 4 keys. For the scores of a
     * tile q and k go through local memory a few columns at a time, and a lane holds those of two rows and two keys;
     * then 1/16 of the lanes turn those of a row into weights; then a lane adds up the weighted values of 4 columns of
     * every {@code apart}-th row.
     *
     * @param shape query heads, and from bit 16 on how many of them share a key
     */
    public static void flash(KernelContext context, IntArray step, FloatArray q, FloatArray k, FloatArray v,
            ByteArray blocked, IntArray flags, FloatArray out, int stride, int slotStride, int outStride, int capacity,
            int shape, int dim, float scale, float cap, IntArray windows, int fixed, int tokens, int lanes) {
        int rows = TornadoMath.min(step.get(StepBuffer.ROWS), capacity);
        int layer = step.get(StepBuffer.LAYER);
        int number = step.get(StepBuffer.LAYER_NUMBER);
        int position = StepBuffer.position(step, 0);
        int prefix = StepBuffer.prefix(step, 0);
        int keys = keys(StepBuffer.tokens(step, 0), fixed);
        int heads = shape & ((1 << HEAD_BITS) - 1);
        int group = shape >> HEAD_BITS;
        int head = context.groupIdx % heads;
        int firstRow = context.groupIdx / heads * ROWS;
        int lane = context.localIdx;
        int width = lanes / KEY_LANES;
        // Rows one element longer than what is in them, against bank conflicts.
        float[] qs = context.allocateFloatLocalArray(ROWS * (DEPTH + 1));
        float[] ks = context.allocateFloatLocalArray(lanes / KEY_LANES * (DEPTH + 1));
        float[] weights = context.allocateFloatLocalArray(ROWS * (lanes / KEY_LANES + 1));
        float[] olds = context.allocateFloatLocalArray(ROWS);
        int columns = heads / group * dim;
        int base = layer * stride + StepBuffer.slot(step, 0) * slotStride + head / group * dim;
        int reach = reach(number, windows, fixed);
        int blocks = blocks(flags, number, heads, head, tokens);
        int from = first(position + firstRow, prefix, reach);
        int to = end(position + TornadoMath.min(firstRow + ROWS, rows) - 1, prefix, keys, fixed);
        if (firstRow >= rows) {
            to = 0;
        }
        // Rows and keys of a lane's scores.
        int r0 = lane / (width / 2);
        int r1 = r0 + ROWS / 2;
        int c0 = lane % (width / 2);
        int c1 = c0 + width / 2;
        int i0 = position + firstRow + r0;
        int i1 = i0 + ROWS / 2;
        int first0 = first(i0, prefix, reach);
        int first1 = first(i1, prefix, reach);
        int end0 = end(i0, prefix, keys, fixed);
        int end1 = end(i1, prefix, keys, fixed);
        // The row whose weights a lane makes, with others.
        int sharers = lanes / ROWS;
        int weighed = lane / sharers * (width + 1);
        int share = lane % sharers;
        // The sums of a lane: those of every few columns and rows.
        int across = across(dim);
        int column = lane % across;
        int row = lane / across;
        int apart = lanes / across;
        float[] vs = new float[COLUMNS];
        float[] sums = new float[MOST_SUMS];
        for (int s = 0; s < MOST_SUMS; s++) {
            sums[s] = 0;
        }
        float max = UNSEEN;
        float total = 0;
        int depth = depth(dim);
        // All columns, as a number that compilers do not know: they would unroll all parts and run out of registers.
        int end = TornadoMath.min(rows, 1) * dim;
        for (int j = from; j < to; j += width) {
            float s00 = 0;
            float s01 = 0;
            float s10 = 0;
            float s11 = 0;
            for (int start = 0; start < end; start += depth) {
                for (int e = lane; e < ROWS * depth; e += lanes) {
                    int r = e / depth;
                    int d = e % depth;
                    float value = 0;
                    if (firstRow + r < rows && start + d < dim) {
                        value = q.get(((firstRow + r) * heads + head) * dim + start + d);
                    }
                    qs[r * (DEPTH + 1) + d] = value;
                }
                for (int e = lane; e < width * depth; e += lanes) {
                    int key = e / depth;
                    int d = e % depth;
                    float value = 0;
                    if (j + key < to && start + d < dim) {
                        value = k.get(base + (j + key) * columns + start + d);
                    }
                    ks[key * (DEPTH + 1) + d] = value;
                }
                context.localBarrier();
                int present = TornadoMath.min(depth, end - start);
                for (int d = 0; d < present; d++) {
                    float q0 = qs[r0 * (DEPTH + 1) + d];
                    float q1 = qs[r1 * (DEPTH + 1) + d];
                    float k0 = ks[c0 * (DEPTH + 1) + d];
                    float k1 = ks[c1 * (DEPTH + 1) + d];
                    s00 += q0 * k0;
                    s01 += q0 * k1;
                    s10 += q1 * k0;
                    s11 += q1 * k1;
                }
                context.localBarrier();
            }
            weights[r0 * (width + 1) + c0] =
                    score(s00, i0, j + c0, first0, end0, blocked, tokens, blocks, scale, cap);
            weights[r0 * (width + 1) + c1] =
                    score(s01, i0, j + c1, first0, end0, blocked, tokens, blocks, scale, cap);
            weights[r1 * (width + 1) + c0] =
                    score(s10, i1, j + c0, first1, end1, blocked, tokens, blocks, scale, cap);
            weights[r1 * (width + 1) + c1] =
                    score(s11, i1, j + c1, first1, end1, blocked, tokens, blocks, scale, cap);
            context.localBarrier();
            float larger = max;
            for (int t = 0; t < width; t++) {
                larger = TornadoMath.max(larger, weights[weighed + t]);
            }
            float old = TornadoMath.exp(max - larger);
            total *= old;
            max = larger;
            context.localBarrier();
            if (share == 0) {
                olds[lane / sharers] = old;
            }
            for (int t = share; t < width; t += sharers) {
                float s = weights[weighed + t];
                float weight = 0;
                if (s > SEEN) {
                    weight = TornadoMath.exp(s - larger);
                }
                weights[weighed + t] = weight;
                total += weight;
            }
            context.localBarrier();
            for (int t = 0; t < ROWS / apart; t++) {
                float factor = olds[row + t * apart];
                for (int u = 0; u < COLUMNS; u++) {
                    sums[t * COLUMNS + u] *= factor;
                }
            }
            int count = TornadoMath.min(to - j, width);
            int value = base + j * columns;
            for (int key = 0; key < count; key++) {
                for (int u = 0; u < COLUMNS; u++) {
                    if (u * across < dim) {
                        vs[u] = v.get(value + key * columns + TornadoMath.min(u * across + column, dim - 1));
                    }
                }
                for (int t = 0; t < ROWS / apart; t++) {
                    float weight = weights[(row + t * apart) * (width + 1) + key];
                    for (int u = 0; u < COLUMNS; u++) {
                        if (u * across < dim) {
                            sums[t * COLUMNS + u] += weight * vs[u];
                        }
                    }
                }
            }
        }
        context.localBarrier();
        weights[weighed + share] = total;
        context.localBarrier();
        for (int t = 0; t < ROWS / apart; t++) {
            int r = row + t * apart;
            float all = 0;
            for (int s = 0; s < sharers; s++) {
                all += weights[r * (width + 1) + s];
            }
            float factor = 0;
            if (all > 0) {
                factor = 1 / all;
            }
            for (int u = 0; u < COLUMNS; u++) {
                if (u * across < dim) {
                    int d = u * across + column;
                    if (firstRow + r < rows && d < dim) {
                        out.set(layer * outStride + ((firstRow + r) * heads + head) * dim + d,
                                sums[t * COLUMNS + u] * factor);
                    }
                }
            }
        }
    }

    /** Lanes across the columns of a sum of {@link #flash}: each has up to 4 of them. */
    static int across(int dim) {
        return dim <= 64 ? 16 : dim <= 128 ? 32 : 64;
    }

    /** Columns of q and k in local memory at a time: at most 32, and the last of them as few zeros as may be. */
    static int depth(int dim) {
        int parts = (dim + DEPTH - 1) / DEPTH;
        return (dim + parts - 1) / parts;
    }

    /** Keys of a group of {@link #decode}, at most. */
    static int most(int split) {
        return split < 0 ? MOST_WHOLE_KEYS : CHUNK;
    }

    /** The head size, up to a multiple of the lanes that share a key. */
    static int padded(int dim) {
        return (dim + SHARE - 1) / SHARE * SHARE;
    }

    /**
     * As {@link #flash}, for one row and one query head of a group of 256 lanes, which passes over the keys twice. Of
     * tiles of 64 keys 16 lanes share each product, reading consecutive elements; scores become exponentials relative
     * to the largest one; then lanes in a row sum consecutive columns of the values, and several such rows share the
     * keys. A group takes all keys and a slice of the columns, or 64 keys and all columns: then {@code out} is, for
     * {@link #merge}, their largest score, the sum of the exponentials and that of the values weighted by them.
     *
     * @param shape query heads, and from bit 16 on how many of them share a key
     * @param split chunks of 64 keys, or, below 0, how many slices of columns there are
     */
    public static void decode(KernelContext context, IntArray step, FloatArray q, FloatArray k, FloatArray v,
            ByteArray blocked, IntArray flags, FloatArray out, int stride, int slotStride, int outStride, int capacity,
            int shape, int dim, float scale, float cap, IntArray windows, int fixed, int tokens, int split) {
        int slices = TornadoMath.max(-split, 1);
        int heads = shape & ((1 << HEAD_BITS) - 1);
        int group = shape >> HEAD_BITS;
        int width = dim / slices;
        int unit = context.groupIdx / slices;
        int head = unit % heads;
        int row = unit / heads % capacity;
        int chunk = unit / heads / capacity;
        // 1 for a row of the run, 0 for a surplus one.
        int run = within(row, step.get(StepBuffer.ROWS));
        int layer = step.get(StepBuffer.LAYER);
        int number = step.get(StepBuffer.LAYER_NUMBER);
        int i = StepBuffer.token(step, row);
        int prefix = StepBuffer.prefix(step, row);
        int keys = keys(StepBuffer.tokens(step, row), fixed);
        int lane = context.localIdx;
        float[] qs = context.allocateFloatLocalArray(padded(dim));
        float[] products = context.allocateFloatLocalArray(CHUNK * (SHARE + 1));
        float[] weights = context.allocateFloatLocalArray(most(split));
        int columns = heads / group * dim;
        int first = first(i, prefix, reach(number, windows, fixed));
        int end = end(i, prefix, keys, fixed) * run;
        int blocks = blocks(flags, number, heads, head, tokens);
        // Nothing to do where no key is seen, but no return before barriers.
        int from = split < 0 ? first : chunk * CHUNK;
        int count = TornadoMath.max(TornadoMath.min(end - from, most(split)), 0);
        if (from + most(split) <= first) {
            count = 0;
        }
        int base = layer * stride + StepBuffer.slot(step, row) * slotStride + from * columns + head / group * dim;
        if (lane < padded(dim)) {
            float value = 0;
            if (lane < dim) {
                value = q.get((row * heads + head) * dim + lane);
            }
            qs[lane] = value;
        }
        context.localBarrier();
        int share = lane & (SHARE - 1);
        float[] sums = new float[LANE_KEYS];
        for (int tile = 0; tile < count; tile += CHUNK) {
            for (int n = 0; n < LANE_KEYS; n++) {
                sums[n] = 0;
            }
            // Constant bounds, so that all of a lane's reads are under way at once: the last key stands in for those
            // past it, whose products no one reads, and the last element for those past it, whose factor is 0.
            for (int t = 0; t < padded(dim) / SHARE; t++) {
                int d = t * SHARE + share;
                float value = qs[d];
                if (dim % SHARE != 0) {
                    d = TornadoMath.min(d, dim - 1);
                }
                for (int n = 0; n < LANE_KEYS; n++) {
                    int key = TornadoMath.min(tile + lane / SHARE + n * (LANES / SHARE), count - 1);
                    sums[n] += value * k.get(base + key * columns + d);
                }
            }
            for (int n = 0; n < LANE_KEYS; n++) {
                products[(lane / SHARE + n * (LANES / SHARE)) * (SHARE + 1) + share] = sums[n];
            }
            context.localBarrier();
            if (lane < TornadoMath.min(count - tile, CHUNK)) {
                float product = 0;
                for (int t = 0; t < SHARE; t++) {
                    product += products[lane * (SHARE + 1) + t];
                }
                weights[tile + lane] = score(product, i, from + tile + lane, first, end, blocked, tokens, blocks, scale,
                        cap);
            }
            context.localBarrier();
        }
        float max = UNSEEN;
        for (int t = lane; t < count; t += LANES) {
            max = TornadoMath.max(max, weights[t]);
        }
        products[lane] = max;
        for (int reach = LANES / 2; reach > 0; reach /= 2) {
            context.localBarrier();
            if (lane < reach) {
                products[lane] = TornadoMath.max(products[lane], products[lane + reach]);
            }
        }
        context.localBarrier();
        max = products[0];
        for (int t = lane; t < count; t += LANES) {
            float s = weights[t];
            float weight = 0;
            if (s > SEEN) {
                weight = TornadoMath.exp(s - max);
            }
            weights[t] = weight;
        }
        context.localBarrier();
        int sharers = TornadoMath.min(LANES / width, MOST_SHARERS);
        int column = context.groupIdx % slices * width + lane % width;
        float sum = 0;
        float total = 0;
        for (int key = lane / width; key < count; key += sharers * AHEAD) {
            for (int u = 0; u < AHEAD; u++) {
                // As above, the last key stands in for those past it.
                int j = TornadoMath.min(key + u * sharers, count - 1);
                float weight = weights[j] * within(key + u * sharers, count);
                total += weight;
                sum += weight * v.get(base + j * columns + column);
            }
        }
        products[lane] = sum;
        products[LANES + lane] = total;
        context.localBarrier();
        if (lane < width) {
            sum = 0;
            total = 0;
            for (int t = 0; t < sharers; t++) {
                sum += products[t * width + lane];
                total += products[LANES + t * width + lane];
            }
            if (split < 0) {
                float factor = 0;
                if (total > 0) {
                    factor = 1 / total;
                }
                if (run > 0) {
                    out.set(layer * outStride + (row * heads + head) * dim + column, sum * factor);
                }
            } else {
                int part = ((row * heads + head) * split + chunk) * (dim + 2);
                out.set(part + 2 + lane, sum);
                if (lane == 0) {
                    out.set(part, max);
                    out.set(part + 1, total);
                }
            }
        }
    }

    /**
     * {@code out} from the parts of {@link #decode}, each scaled to the largest score of all. A group handles one row
     * and one query head, lane d column d.
     */
    public static void merge(KernelContext context, IntArray step, FloatArray parts, FloatArray out, int outStride,
            int capacity, int heads, int dim, int chunks) {
        int lane = context.localIdx;
        int head = context.groupIdx;
        if (lane < dim * within(head / heads, TornadoMath.min(step.get(StepBuffer.ROWS), capacity))) {
            int first = head * chunks * (dim + 2);
            float max = UNSEEN;
            for (int c = 0; c < chunks; c++) {
                max = TornadoMath.max(max, parts.get(first + c * (dim + 2)));
            }
            float sum = 0;
            float total = 0;
            for (int c = 0; c < chunks; c++) {
                int part = first + c * (dim + 2);
                float scale = TornadoMath.exp(parts.get(part) - max);
                total += scale * parts.get(part + 1);
                sum += scale * parts.get(part + 2 + lane);
            }
            float factor = 0;
            if (total > 0) {
                factor = 1 / total;
            }
            out.set(step.get(StepBuffer.LAYER) * outStride + head * dim + lane, sum * factor);
        }
    }

    /**
     * As {@link #flash}, for heads of any size. An item handles one row of one query head and keeps its sums in out.
     */
    public static void general(KernelContext context, IntArray step, FloatArray q, FloatArray k, FloatArray v,
            ByteArray blocked, IntArray flags, FloatArray out, int stride, int slotStride, int outStride, int capacity,
            int heads, int group, int dim, float scale, float cap, IntArray windows, int fixed, int tokens) {
        int row = context.globalIdx / heads;
        int head = context.globalIdx % heads;
        if (row < TornadoMath.min(step.get(StepBuffer.ROWS), capacity)) {
            int layer = step.get(StepBuffer.LAYER);
            int number = step.get(StepBuffer.LAYER_NUMBER);
            int prefix = StepBuffer.prefix(step, row);
            int keys = keys(StepBuffer.tokens(step, row), fixed);
            int i = StepBuffer.token(step, row);
            int qStart = (row * heads + head) * dim;
            int outStart = layer * outStride + qStart;
            int columns = heads / group * dim;
            int base = layer * stride + StepBuffer.slot(step, row) * slotStride + head / group * dim;
            int first = first(i, prefix, reach(number, windows, fixed));
            int end = end(i, prefix, keys, fixed);
            int blocks = blocks(flags, number, heads, head, tokens);
            for (int d = 0; d < dim; d++) {
                out.set(outStart + d, 0);
            }
            float max = UNSEEN;
            float total = 0;
            for (int j = first; j < end; j++) {
                float product = 0;
                for (int d = 0; d < dim; d++) {
                    product += q.get(qStart + d) * k.get(base + j * columns + d);
                }
                float s = score(product, i, j, first, end, blocked, tokens, blocks, scale, cap);
                if (s > SEEN) {
                    float larger = TornadoMath.max(max, s);
                    float old = TornadoMath.exp(max - larger);
                    float weight = TornadoMath.exp(s - larger);
                    for (int d = 0; d < dim; d++) {
                        out.set(outStart + d, out.get(outStart + d) * old + weight * v.get(base + j * columns + d));
                    }
                    total = total * old + weight;
                    max = larger;
                }
            }
            if (total > 0) {
                for (int d = 0; d < dim; d++) {
                    out.set(outStart + d, out.get(outStart + d) / total);
                }
            }
        }
    }

    /** The product of a query and a key. */
    static float product(FloatArray q, FloatArray k, int query, int key, int dim) {
        float product = 0;
        for (int d = 0; d < dim; d++) {
            product += q.get(query + d) * k.get(key + d);
        }
        return product;
    }

    /**
     * The weights that {@link #flash} gives the keys, 0 for those that a row does not see, of some layers and heads. An
     * item handles one row of one plane: of one head, or of the mean over all chosen ones.
     *
     * @param chosen see {@link Probed}
     */
    public static void weights(KernelContext context, IntArray step, FloatArray q, FloatArray k, FloatArray out,
            IntArray chosen, int stride, int capacity, int rows, int keys, int firstRow, int firstKey, int mode,
            int heads, int keyValueHeads, int dim, float scale, float cap, IntArray windows, int fixed) {
        int row = context.globalIdx % rows;
        int plane = context.globalIdx / rows;
        int number = step.get(StepBuffer.LAYER_NUMBER);
        int place = Probed.place(chosen, number);
        int count = Probed.heads(chosen);
        int planes = mode % 2 == HEAD_MEAN ? 1 : count;
        if (place >= 0 && plane < planes && firstRow + row < TornadoMath.min(step.get(StepBuffer.ROWS), capacity)) {
            int prefix = StepBuffer.prefix(step, 0);
            int all = keys(StepBuffer.tokens(step, 0), fixed);
            int i = StepBuffer.position(step, 0) + firstRow + row;
            int columns = keyValueHeads * dim;
            int first = first(i, prefix, reach(number, windows, fixed));
            int end = end(i, prefix, all, fixed);
            int written = TornadoMath.min(keys, all - firstKey);
            int outPlane = mode >= EACH_LAYER ? place * planes + plane : plane;
            int outStart = (outPlane * rows + row) * keys;
            int add = 0;
            if (mode / 2 == LAYER_SUM / 2 && place > 0) {
                add = 1;
            }
            float share = 1;
            if (mode % 2 == HEAD_MEAN) {
                share = 1.0f / count;
            }
            for (int found = 0; found < count; found++) {
                if (mode % 2 == HEAD_MEAN || found == plane) {
                    int head = Probed.head(chosen, found);
                    int query = ((firstRow + row) * heads + head) * dim;
                    int base = step.get(StepBuffer.LAYER) * stride + head / (heads / keyValueHeads) * dim;
                    float max = UNSEEN;
                    float total = 0;
                    for (int j = first; j < end; j++) {
                        float s = capped(product(q, k, query, base + j * columns, dim) * scale, cap);
                        float larger = TornadoMath.max(max, s);
                        total = total * TornadoMath.exp(max - larger) + TornadoMath.exp(s - larger);
                        max = larger;
                    }
                    for (int c = 0; c < written; c++) {
                        int j = firstKey + c;
                        float weight = 0;
                        if (j >= first && j < end) {
                            float s = capped(product(q, k, query, base + j * columns, dim) * scale, cap);
                            weight = TornadoMath.exp(s - max) / total * share;
                        }
                        if (add == 1) {
                            weight += out.get(outStart + c);
                        }
                        out.set(outStart + c, weight);
                    }
                    // The next head of a mean is added to this one.
                    add = 1;
                }
            }
        }
    }

    /**
     * For each row the largest of the {@link #weights} of a range of keys, of some layers and heads. An item handles
     * one row of one head.
     */
    public static void peak(KernelContext context, IntArray step, FloatArray q, FloatArray k, FloatArray out,
            IntArray chosen, int stride, int capacity, int rows, int keys, int firstRow, int firstKey, int heads,
            int keyValueHeads, int dim, float scale, float cap, IntArray windows, int fixed) {
        int row = context.globalIdx % rows;
        int plane = context.globalIdx / rows;
        int number = step.get(StepBuffer.LAYER_NUMBER);
        int place = Probed.place(chosen, number);
        int planes = Probed.heads(chosen);
        if (place >= 0 && plane < planes && firstRow + row < TornadoMath.min(step.get(StepBuffer.ROWS), capacity)) {
            int prefix = StepBuffer.prefix(step, 0);
            int all = keys(StepBuffer.tokens(step, 0), fixed);
            int i = StepBuffer.position(step, 0) + firstRow + row;
            int columns = keyValueHeads * dim;
            int first = first(i, prefix, reach(number, windows, fixed));
            int end = end(i, prefix, all, fixed);
            int head = Probed.head(chosen, plane);
            int query = ((firstRow + row) * heads + head) * dim;
            int base = step.get(StepBuffer.LAYER) * stride + head / (heads / keyValueHeads) * dim;
            float max = UNSEEN;
            float largest = UNSEEN;
            float total = 0;
            for (int j = first; j < end; j++) {
                float s = capped(product(q, k, query, base + j * columns, dim) * scale, cap);
                float larger = TornadoMath.max(max, s);
                total = total * TornadoMath.exp(max - larger) + TornadoMath.exp(s - larger);
                max = larger;
                if (j >= firstKey && j < firstKey + keys) {
                    largest = TornadoMath.max(largest, s);
                }
            }
            float weight = 0;
            if (largest > SEEN) {
                weight = TornadoMath.exp(largest - max) / total;
            }
            out.set((place * planes + plane) * rows + row, weight);
        }
    }
}
