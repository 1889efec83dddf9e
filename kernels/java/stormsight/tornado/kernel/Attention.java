package stormsight.tornado.kernel;

import stormsight.backend.BackendException;
import stormsight.program.Op;
import stormsight.tornado.Geometry;
import stormsight.tornado.StepBuffer;
import stormsight.tornado.Tasks;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.arrays.ByteArray;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;

/**
 * Softmax attention in one pass over the keys: for each row the largest score so far, the sum of the exponentials relative to it and the sum of the values weighted
 * by them are kept, and scaled down when a larger score is met.
 *
 * <p>The keys that a row sees are a range, less those that a probe blocks. Scores of keys that it does not see are {@link #UNSEEN}, a finite number:
 * drivers are told to assume that there are no infinities.
 *
 * @see <a href="https://arxiv.org/abs/2205.14135">FlashAttention</a>
 */
public final class Attention {
    private static final float UNSEEN = -1e30f;
    /** Scores below it are {@link #UNSEEN}. */
    private static final float SEEN = -1e29f;

    /** Rows and keys of a tile of {@link #flash}; one lane a score. */
    private static final int TILE = 16;
    private static final int LANES = TILE * TILE;
    /** Head sizes up to it fit the lanes and the local memory of {@link #flash} and {@link #decode}. */
    private static final int MOST_DIM = LANES;

    /** Keys of a group of {@link #decode}, and the lanes that share one of them. */
    private static final int CHUNK = 64;
    private static final int SHARE = 16;

    /** Rows of a group of {@link #flashOnCpu}, and keys that it scores at a time. */
    private static final int CPU_ROWS = 64;
    private static final int CPU_KEYS = 16;
    /** Keys that {@link #decodeOnCpu} scores at a time. */
    private static final int CPU_CHUNK = 64;

    private static final int GENERAL_ITEMS = 8;

    /** Parts of the mode of {@link #weights}: heads are averaged; layers are added up, or have planes of their own. */
    private static final int HEAD_MEAN = 1;
    private static final int LAYER_SUM = 2;
    private static final int EACH_LAYER = 4;

    /** Periods of sliding windows are below. */
    private static final int MOST_PERIOD = 64;

    private Attention() {}

    /**
     * What kernels take as {@code window}: the size of the sliding window, 0 for none; or, below 0, how many keys there are whatever the step, all of which
     * every row sees.
     */
    private static int window(Op.Attention op) {
        return op.keys().fixed() > 0 ? -op.keys().fixed() : op.window().map(Op.SlidingWindow::size).orElse(0);
    }

    private static int chunks(Op.Attention op) {
        return Math.ceilDiv(op.k().rows(), CHUNK);
    }

    /** Floats that the kernels of an operation leave to each other. */
    public static int scratch(Op.Attention op, boolean cpuKernels) {
        return !cpuKernels && op.out().rows() == 1 && op.heads().headDim() <= MOST_DIM ? op.heads().queryHeads() * chunks(op) * (op.heads().headDim() + 2) : 0;
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
        int window = window(op);
        int period = op.window().map(Op.SlidingWindow::period).orElse(1);
        int capacity = op.out().rows();
        int stride = tasks.stride(op.k());
        int outStride = tasks.stride(op.out());
        if (stride != tasks.stride(op.v())) {
            throw new IllegalArgumentException(op.k() + " and " + op.v() + " differ in layers");
        }
        KernelContext context = tasks.context();
        IntArray step = tasks.step();
        FloatArray q = tasks.floats(op.q());
        FloatArray k = tasks.floats(op.k());
        FloatArray v = tasks.floats(op.v());
        FloatArray out = tasks.floats(op.out());
        boolean cpu = tasks.cpuKernels();
        if (cpu && capacity == 1) {
            tasks.task("Attention.decodeOnCpu", Geometry.groups(queryHeads, 1, (CPU_CHUNK + dim) * Float.BYTES),
                    (graph, name) -> graph.task(name, Attention::decodeOnCpu, context, step, q, k, v, blocked, flags, out, stride,
                            outStride, queryHeads, group, dim, op.scale(), op.softCap(), window, period, tokens));
        } else if (cpu) {
            int groups = Math.multiplyExact(Math.ceilDiv(capacity, CPU_ROWS), queryHeads);
            tasks.task("Attention.flashOnCpu",
                    Geometry.groups(groups, 1, (CPU_KEYS * (dim + 4) + CPU_ROWS * (dim + 2) + 4) * Float.BYTES),
                    (graph, name) -> graph.task(name, Attention::flashOnCpu, context, step, q, k, v, blocked, flags, out, stride,
                            outStride, capacity, queryHeads, group, dim, op.scale(), op.softCap(), window, period, tokens));
        } else if (dim > MOST_DIM) {
            tasks.task("Attention.general", Geometry.items(Math.multiplyExact(capacity, queryHeads), GENERAL_ITEMS),
                    (graph, name) -> graph.task(name, Attention::general, context, step, q, k, v, blocked, flags, out, stride,
                            outStride, capacity, queryHeads, group, dim, op.scale(), op.softCap(), window, period, tokens));
        } else if (capacity == 1) {
            int chunks = chunks(op);
            tasks.task("Attention.decode",
                    Geometry.groups(Math.multiplyExact(queryHeads, chunks), LANES, (CHUNK * (SHARE + 2) + dim) * Float.BYTES),
                    (graph, name) -> graph.task(name, Attention::decode, context, step, q, k, v, blocked, flags, tasks.scratch(), stride,
                            queryHeads, group, dim, op.scale(), op.softCap(), window, period, tokens, chunks));
            tasks.task("Attention.merge", Geometry.groups(queryHeads, LANES),
                    (graph, name) -> graph.task(name, Attention::merge, context, step, tasks.scratch(), out, outStride, dim, chunks));
        } else {
            int groups = Math.multiplyExact(Math.ceilDiv(capacity, TILE), queryHeads);
            tasks.task("Attention.flash", Geometry.groups(groups, LANES, TILE * (2 * dim + 2 + TILE) * Float.BYTES),
                    (graph, name) -> graph.task(name, Attention::flash, context, step, q, k, v, blocked, flags, out, stride,
                            outStride, capacity, queryHeads, group, dim, op.scale(), op.softCap(), window, period, tokens));
        }
    }

    /** What a probe's kernels get of the operation that it looks into and of the part that it takes, as numbers. */
    private record Tapped(FloatArray q, FloatArray k, int stride, Op.Part part, int headMask, int layersLow, int layersHigh, Op.Heads heads,
            int group, float scale, float cap, int windows) {
        static Tapped of(Op.Attention op, Op.Part part, Tasks tasks) {
            if (part.heads().getLast() >= Integer.SIZE) {
                throw new BackendException("a probe of head " + part.heads().getLast() + ": kernels know " + Integer.SIZE + " heads");
            }
            return new Tapped(tasks.floats(op.q()), tasks.floats(op.k()), tasks.stride(op.k()), part, Probed.mask(part.heads(), 0),
                    Probed.mask(part.layers(), 0), Probed.mask(part.layers(), Integer.SIZE), op.heads(),
                    op.heads().queryHeads() / op.heads().keyValueHeads(), op.scale(), op.softCap(),
                    op.window().map(window -> window.size() * MOST_PERIOD + window.period()).orElse(-op.keys().fixed()));
        }
    }

    public static void lower(Op.AttentionWeights op, Tasks tasks) {
        Tapped of = Tapped.of(op.attention(), op.part(), tasks);
        int mode = (op.headMean() ? HEAD_MEAN : 0) + switch (op.kept()) {
            case EACH -> EACH_LAYER;
            case SUM -> LAYER_SUM;
            case LAST -> 0;
        };
        int planes = op.headMean() ? 1 : op.part().heads().size();
        tasks.task("Attention.weights", Geometry.items(Math.multiplyExact(op.rows(), planes), GENERAL_ITEMS),
                (graph, name) -> graph.task(name, Attention::weights, tasks.context(), tasks.step(), of.q, of.k, tasks.floats(op.out()), of.stride,
                        op.rows(), op.out().columns(), of.part.firstRow(), of.part.firstKey(), of.headMask, of.layersLow, of.layersHigh, mode,
                        of.heads.queryHeads(), of.group, of.heads.headDim(), of.scale, of.cap, of.windows));
    }

    public static void lower(Op.AttentionPeak op, Tasks tasks) {
        Tapped of = Tapped.of(op.attention(), op.part(), tasks);
        int rows = op.out().columns();
        tasks.task("Attention.peak", Geometry.items(Math.multiplyExact(rows, op.part().heads().size()), GENERAL_ITEMS),
                (graph, name) -> graph.task(name, Attention::peak, tasks.context(), tasks.step(), of.q, of.k, tasks.floats(op.out()), of.stride,
                        rows, op.keys(), of.part.firstRow(), of.part.firstKey(), of.headMask, of.layersLow, of.layersHigh,
                        of.heads.queryHeads(), of.group, of.heads.headDim(), of.scale, of.cap, of.windows));
    }

    /** How far back token i past the prefix sees: i - j below it. */
    static int reach(int layerNumber, int window, int period) {
        int reach = Integer.MAX_VALUE / 2;
        if (window > 0) {
            if (layerNumber % period == 0) {
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
    static int keys(int tokens, int window) {
        return window < 0 ? -window : tokens;
    }

    /** One more than the last key that token i sees. */
    static int end(int i, int prefix, int keys, int window) {
        return window < 0 ? keys : TornadoMath.min(TornadoMath.max(prefix, i + 1), keys);
    }

    /** The score of key j for token i from their product, or {@link #UNSEEN}. */
    static float score(float product, int i, int j, int first, int end, ByteArray blocked, int tokens, int blocks, float scale,
            float cap) {
        float s = capped(product * scale, cap);
        if (j < first || j >= end) {
            s = UNSEEN;
        }
        if (tokens > 0) {
            if (blocks != 0 && i < tokens && j < tokens) {
                if (blocked.get(i * tokens + j) != 0) {
                    s = UNSEEN;
                }
            }
        }
        return s;
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
     * {@code out[i] = sum over j of softmax_j(s_ij) v[j]} for one head. A group of 16 x 16 lanes handles 16 rows i of one query head and passes over the keys j in
     * tiles of 16, first keys then values in local memory; lane (r, c) has the score of row r and key c, and columns c, c + 16, .. of the sum of row r.
     */
    public static void flash(KernelContext context, IntArray step, FloatArray q, FloatArray k, FloatArray v, ByteArray blocked,
            IntArray flags, FloatArray out, int stride, int outStride, int capacity, int heads, int group, int dim, float scale,
            float cap, int window, int period, int tokens) {
        int rows = TornadoMath.min(step.get(StepBuffer.ROWS), capacity);
        int layer = step.get(StepBuffer.LAYER);
        int number = step.get(StepBuffer.LAYER_NUMBER);
        int position = step.get(StepBuffer.POSITION);
        int prefix = step.get(StepBuffer.PREFIX);
        int keys = keys(position + step.get(StepBuffer.ROWS), window);
        int head = context.groupIdx % heads;
        int firstRow = context.groupIdx / heads * TILE;
        int lane = context.localIdx;
        int r = lane / TILE;
        int c = lane & (TILE - 1);
        float[] qs = context.allocateFloatLocalArray(TILE * dim);
        // Rows one element longer than the head, against bank conflicts; the last lanes of a row may read past the last one, and drop what they read.
        float[] tile = context.allocateFloatLocalArray(TILE * (dim + 1) + TILE);
        float[] weights = context.allocateFloatLocalArray(LANES);
        int columns = heads / group * dim;
        int base = layer * stride + head / group * dim;
        int reach = reach(number, window, period);
        int blocks = blocks(flags, number, heads, head, tokens);
        int i = position + firstRow + r;
        int first = first(i, prefix, reach);
        int end = end(i, prefix, keys, window);
        int from = first(position + firstRow, prefix, reach);
        int to = end(position + TornadoMath.min(firstRow + TILE, rows) - 1, prefix, keys, window);
        if (firstRow >= rows) {
            to = 0;
        }
        for (int e = lane; e < TILE * dim; e += LANES) {
            int row = firstRow + e / dim;
            float value = 0;
            if (row < rows) {
                value = q.get((row * heads + head) * dim + e % dim);
            }
            qs[e] = value;
        }
        float[] sums = new float[16];
        for (int s = 0; s < 16; s++) {
            sums[s] = 0;
        }
        float max = UNSEEN;
        float total = 0;
        for (int j = from; j < to; j += TILE) {
            for (int e = lane; e < TILE * dim; e += LANES) {
                int key = TornadoMath.min(j + e / dim, to - 1);
                tile[e / dim * (dim + 1) + e % dim] = k.get(base + key * columns + e % dim);
            }
            context.localBarrier();
            float product = 0;
            for (int d = 0; d < dim; d++) {
                product += qs[r * dim + d] * tile[c * (dim + 1) + d];
            }
            float s = score(product, i, j + c, first, end, blocked, tokens, blocks, scale, cap);
            weights[lane] = s;
            context.localBarrier();
            for (int e = lane; e < TILE * dim; e += LANES) {
                int key = TornadoMath.min(j + e / dim, to - 1);
                tile[e / dim * (dim + 1) + e % dim] = v.get(base + key * columns + e % dim);
            }
            float larger = max;
            for (int t = 0; t < TILE; t++) {
                larger = TornadoMath.max(larger, weights[r * TILE + t]);
            }
            float old = TornadoMath.exp(max - larger);
            float weight = 0;
            if (s > SEEN) {
                weight = TornadoMath.exp(s - larger);
            }
            context.localBarrier();
            weights[lane] = weight;
            context.localBarrier();
            for (int t = 0; t < 16; t++) {
                sums[t] *= old;
            }
            total *= old;
            for (int t = 0; t < TILE; t++) {
                float w = weights[r * TILE + t];
                total += w;
                for (int u = 0; u < 16; u++) {
                    if (u * TILE < dim) {
                        sums[u] += w * tile[t * (dim + 1) + u * TILE + c];
                    }
                }
            }
            max = larger;
            context.localBarrier();
        }
        int row = firstRow + r;
        float factor = 0;
        if (total > 0) {
            factor = 1 / total;
        }
        for (int u = 0; u < 16; u++) {
            if (u * TILE < dim) {
                int d = u * TILE + c;
                if (row < rows && d < dim) {
                    out.set(layer * outStride + (row * heads + head) * dim + d, sums[u] * factor);
                }
            }
        }
    }

    /**
     * The part of {@link #flash} for one row that 64 keys have in it: their largest score, the sum of the exponentials relative to it, and the sum of the values
     * weighted by them. A group of 256 lanes handles one query head and such keys: 16 lanes share the product of one, reading consecutive elements, then
     * lane d sums column d of the values.
     */
    public static void decode(KernelContext context, IntArray step, FloatArray q, FloatArray k, FloatArray v, ByteArray blocked,
            IntArray flags, FloatArray parts, int stride, int heads, int group, int dim, float scale, float cap, int window, int period,
            int tokens, int chunks) {
        int run = TornadoMath.min(step.get(StepBuffer.ROWS), 1);
        int layer = step.get(StepBuffer.LAYER);
        int number = step.get(StepBuffer.LAYER_NUMBER);
        int i = step.get(StepBuffer.POSITION);
        int prefix = step.get(StepBuffer.PREFIX);
        int keys = keys(i + step.get(StepBuffer.ROWS), window);
        int head = context.groupIdx % heads;
        int chunk = context.groupIdx / heads;
        int lane = context.localIdx;
        float[] qs = context.allocateFloatLocalArray(dim);
        float[] products = context.allocateFloatLocalArray(CHUNK * (SHARE + 1));
        float[] weights = context.allocateFloatLocalArray(CHUNK);
        int columns = heads / group * dim;
        int base = layer * stride + head / group * dim;
        int first = first(i, prefix, reach(number, window, period));
        int end = end(i, prefix, keys, window) * run;
        int blocks = blocks(flags, number, heads, head, tokens);
        int j = chunk * CHUNK;
        // Nothing to do where no key is seen, but no return before barriers.
        int count = TornadoMath.max(TornadoMath.min(end - j, CHUNK), 0);
        if (j + CHUNK <= first) {
            count = 0;
        }
        if (lane < dim) {
            qs[lane] = q.get(head * dim + lane);
        }
        context.localBarrier();
        int share = lane & (SHARE - 1);
        for (int key = lane / SHARE; key < count; key += LANES / SHARE) {
            int start = base + (j + key) * columns;
            float product = 0;
            for (int d = share; d < dim; d += SHARE) {
                product += qs[d] * k.get(start + d);
            }
            products[key * (SHARE + 1) + share] = product;
        }
        context.localBarrier();
        if (lane < count) {
            float product = 0;
            for (int t = 0; t < SHARE; t++) {
                product += products[lane * (SHARE + 1) + t];
            }
            weights[lane] = score(product, i, j + lane, first, end, blocked, tokens, blocks, scale, cap);
        }
        context.localBarrier();
        float max = UNSEEN;
        for (int t = 0; t < count; t++) {
            max = TornadoMath.max(max, weights[t]);
        }
        float weight = 0;
        if (lane < count) {
            float s = weights[lane];
            if (s > SEEN) {
                weight = TornadoMath.exp(s - max);
            }
        }
        context.localBarrier();
        if (lane < count) {
            weights[lane] = weight;
        }
        context.localBarrier();
        float sum = 0;
        float total = 0;
        int column = base + j * columns + TornadoMath.min(lane, dim - 1);
        for (int t = 0; t < count; t++) {
            float w = weights[t];
            total += w;
            sum += w * v.get(column + t * columns);
        }
        int part = (head * chunks + chunk) * (dim + 2);
        if (lane < dim) {
            parts.set(part + 2 + lane, sum);
        }
        if (lane == 0) {
            parts.set(part, max);
            parts.set(part + 1, total);
        }
    }

    /** {@code out} from the parts of {@link #decode}, each scaled to the largest score of all. A group handles one query head, lane d column d. */
    public static void merge(KernelContext context, IntArray step, FloatArray parts, FloatArray out, int outStride, int dim, int chunks) {
        int lane = context.localIdx;
        int head = context.groupIdx;
        if (lane < dim * TornadoMath.min(step.get(StepBuffer.ROWS), 1)) {
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
     * As {@link #flash}. A group is one item and handles 64 rows of one query head, 4 at a time, and 16 keys at a time: the keys are transposed, so
     * that a vector holds one element of 16 keys.
     */
    public static void flashOnCpu(KernelContext context, IntArray step, FloatArray q, FloatArray k, FloatArray v, ByteArray blocked,
            IntArray flags, FloatArray out, int stride, int outStride, int capacity, int heads, int group, int dim, float scale,
            float cap, int window, int period, int tokens) {
        int rows = TornadoMath.min(step.get(StepBuffer.ROWS), capacity);
        int layer = step.get(StepBuffer.LAYER);
        int number = step.get(StepBuffer.LAYER_NUMBER);
        int position = step.get(StepBuffer.POSITION);
        int prefix = step.get(StepBuffer.PREFIX);
        int keys = keys(position + step.get(StepBuffer.ROWS), window);
        int head = context.groupIdx % heads;
        int firstRow = context.groupIdx / heads * CPU_ROWS;
        int count = TornadoMath.min(rows - firstRow, CPU_ROWS);
        float[] kt = context.allocateFloatLocalArray(CPU_KEYS * dim);
        float[] sums = context.allocateFloatLocalArray(CPU_ROWS * dim);
        float[] maxima = context.allocateFloatLocalArray(CPU_ROWS);
        float[] totals = context.allocateFloatLocalArray(CPU_ROWS);
        float[] weights = context.allocateFloatLocalArray(4 * CPU_KEYS);
        float[] olds = context.allocateFloatLocalArray(4);
        int columns = heads / group * dim;
        int base = layer * stride + head / group * dim;
        int reach = reach(number, window, period);
        int blocks = blocks(flags, number, heads, head, tokens);
        int from = first(position + firstRow, prefix, reach);
        int to = end(position + firstRow + count - 1, prefix, keys, window);
        if (count < 1) {
            to = 0;
        }
        for (int row = 0; row < CPU_ROWS; row++) {
            maxima[row] = UNSEEN;
            totals[row] = 0;
        }
        for (int e = 0; e < CPU_ROWS * dim; e++) {
            sums[e] = 0;
        }
        float[] products = new float[64];
        float[] parts = new float[32];
        int whole = dim / 8 * 8;
        for (int j = from; j < to; j += CPU_KEYS) {
            int seen = TornadoMath.min(to - j, CPU_KEYS);
            for (int c = 0; c < CPU_KEYS; c++) {
                int start = base + TornadoMath.min(j + c, to - 1) * columns;
                for (int d = 0; d < dim; d++) {
                    kt[d * CPU_KEYS + c] = k.get(start + d);
                }
            }
            for (int row = 0; row < count; row += 4) {
                int q0 = ((firstRow + row) * heads + head) * dim;
                int q1 = ((firstRow + TornadoMath.min(row + 1, count - 1)) * heads + head) * dim;
                int q2 = ((firstRow + TornadoMath.min(row + 2, count - 1)) * heads + head) * dim;
                int q3 = ((firstRow + TornadoMath.min(row + 3, count - 1)) * heads + head) * dim;
                for (int e = 0; e < 64; e++) {
                    products[e] = 0;
                }
                for (int d = 0; d < dim; d++) {
                    float x0 = q.get(q0 + d);
                    float x1 = q.get(q1 + d);
                    float x2 = q.get(q2 + d);
                    float x3 = q.get(q3 + d);
                    for (int c = 0; c < CPU_KEYS; c++) {
                        float key = kt[d * CPU_KEYS + c];
                        products[c] += x0 * key;
                        products[16 + c] += x1 * key;
                        products[32 + c] += x2 * key;
                        products[48 + c] += x3 * key;
                    }
                }
                for (int e = 0; e < 64; e++) {
                    weights[e] = products[e];
                }
                int last = TornadoMath.min(row + 4, CPU_ROWS);
                for (int n = row; n < last; n++) {
                    int i = position + firstRow + n;
                    int first = first(i, prefix, reach);
                    int end = end(i, prefix, keys, window);
                    int w = (n - row) * CPU_KEYS;
                    float max = maxima[n];
                    float larger = max;
                    for (int c = 0; c < seen; c++) {
                        float s = score(weights[w + c], i, j + c, first, end, blocked, tokens, blocks, scale, cap);
                        weights[w + c] = s;
                        larger = TornadoMath.max(larger, s);
                    }
                    float old = TornadoMath.exp(max - larger);
                    float total = totals[n] * old;
                    for (int c = 0; c < seen; c++) {
                        float s = weights[w + c];
                        float weight = 0;
                        if (s > SEEN) {
                            weight = TornadoMath.exp(s - larger);
                        }
                        weights[w + c] = weight;
                        total += weight;
                    }
                    maxima[n] = larger;
                    totals[n] = total;
                    olds[n - row] = old;
                }
                float old0 = olds[0];
                float old1 = olds[1];
                float old2 = olds[2];
                float old3 = olds[3];
                for (int d = 0; d < whole; d += 8) {
                    for (int e = 0; e < 8; e++) {
                        parts[e] = sums[row * dim + d + e] * old0;
                        parts[8 + e] = sums[(row + 1) * dim + d + e] * old1;
                        parts[16 + e] = sums[(row + 2) * dim + d + e] * old2;
                        parts[24 + e] = sums[(row + 3) * dim + d + e] * old3;
                    }
                    for (int c = 0; c < seen; c++) {
                        float w0 = weights[c];
                        float w1 = weights[CPU_KEYS + c];
                        float w2 = weights[2 * CPU_KEYS + c];
                        float w3 = weights[3 * CPU_KEYS + c];
                        int start = base + (j + c) * columns + d;
                        for (int e = 0; e < 8; e++) {
                            float value = v.get(start + e);
                            parts[e] += w0 * value;
                            parts[8 + e] += w1 * value;
                            parts[16 + e] += w2 * value;
                            parts[24 + e] += w3 * value;
                        }
                    }
                    for (int e = 0; e < 8; e++) {
                        sums[row * dim + d + e] = parts[e];
                        sums[(row + 1) * dim + d + e] = parts[8 + e];
                        sums[(row + 2) * dim + d + e] = parts[16 + e];
                        sums[(row + 3) * dim + d + e] = parts[24 + e];
                    }
                }
                for (int d = whole; d < dim; d++) {
                    for (int n = row; n < last; n++) {
                        float part = sums[n * dim + d] * olds[n - row];
                        for (int c = 0; c < seen; c++) {
                            part += weights[(n - row) * CPU_KEYS + c] * v.get(base + (j + c) * columns + d);
                        }
                        sums[n * dim + d] = part;
                    }
                }
            }
        }
        for (int row = 0; row < count; row++) {
            float total = totals[row];
            float factor = 0;
            if (total > 0) {
                factor = 1 / total;
            }
            int start = layer * outStride + ((firstRow + row) * heads + head) * dim;
            for (int d = 0; d < dim; d++) {
                out.set(start + d, sums[row * dim + d] * factor);
            }
        }
    }

    /** As {@link #flash} for one row. A group is one item and handles one query head, 64 keys at a time. */
    public static void decodeOnCpu(KernelContext context, IntArray step, FloatArray q, FloatArray k, FloatArray v, ByteArray blocked,
            IntArray flags, FloatArray out, int stride, int outStride, int heads, int group, int dim, float scale, float cap,
            int window, int period, int tokens) {
        int run = TornadoMath.min(step.get(StepBuffer.ROWS), 1);
        int layer = step.get(StepBuffer.LAYER);
        int number = step.get(StepBuffer.LAYER_NUMBER);
        int i = step.get(StepBuffer.POSITION);
        int prefix = step.get(StepBuffer.PREFIX);
        int keys = keys(i + step.get(StepBuffer.ROWS), window);
        int head = context.groupIdx;
        float[] weights = context.allocateFloatLocalArray(CPU_CHUNK);
        float[] sums = context.allocateFloatLocalArray(dim);
        int columns = heads / group * dim;
        int base = layer * stride + head / group * dim;
        int first = first(i, prefix, reach(number, window, period));
        int end = end(i, prefix, keys, window) * run;
        int blocks = blocks(flags, number, heads, head, tokens);
        for (int d = 0; d < dim; d++) {
            sums[d] = 0;
        }
        float[] parts = new float[16];
        int whole = dim / 16 * 16;
        float max = UNSEEN;
        float total = 0;
        for (int j = first; j < end; j += CPU_CHUNK) {
            int count = TornadoMath.min(end - j, CPU_CHUNK);
            float larger = max;
            for (int c = 0; c < count; c++) {
                int start = base + (j + c) * columns;
                for (int e = 0; e < 16; e++) {
                    parts[e] = 0;
                }
                for (int d = 0; d < whole; d += 16) {
                    for (int e = 0; e < 16; e++) {
                        parts[e] += q.get(head * dim + d + e) * k.get(start + d + e);
                    }
                }
                float product = 0;
                for (int e = 0; e < 16; e++) {
                    product += parts[e];
                }
                for (int d = whole; d < dim; d++) {
                    product += q.get(head * dim + d) * k.get(start + d);
                }
                float s = score(product, i, j + c, first, end, blocked, tokens, blocks, scale, cap);
                weights[c] = s;
                larger = TornadoMath.max(larger, s);
            }
            float old = TornadoMath.exp(max - larger);
            total *= old;
            for (int c = 0; c < count; c++) {
                float s = weights[c];
                float weight = 0;
                if (s > SEEN) {
                    weight = TornadoMath.exp(s - larger);
                }
                weights[c] = weight;
                total += weight;
            }
            for (int d = 0; d < whole; d += 16) {
                for (int e = 0; e < 16; e++) {
                    parts[e] = sums[d + e] * old;
                }
                for (int c = 0; c < count; c++) {
                    float w = weights[c];
                    int start = base + (j + c) * columns + d;
                    for (int e = 0; e < 16; e++) {
                        parts[e] += w * v.get(start + e);
                    }
                }
                for (int e = 0; e < 16; e++) {
                    sums[d + e] = parts[e];
                }
            }
            for (int d = whole; d < dim; d++) {
                float part = sums[d] * old;
                for (int c = 0; c < count; c++) {
                    part += weights[c] * v.get(base + (j + c) * columns + d);
                }
                sums[d] = part;
            }
            max = larger;
        }
        float factor = 0;
        if (total > 0) {
            factor = 1 / total;
        }
        int written = dim * run;
        for (int d = 0; d < written; d++) {
            out.set(layer * outStride + head * dim + d, sums[d] * factor);
        }
    }

    /** As {@link #flash}, for heads of any size. An item handles one row of one query head and keeps its sums in out. */
    public static void general(KernelContext context, IntArray step, FloatArray q, FloatArray k, FloatArray v, ByteArray blocked,
            IntArray flags, FloatArray out, int stride, int outStride, int capacity, int heads, int group, int dim, float scale,
            float cap, int window, int period, int tokens) {
        int row = context.globalIdx / heads;
        int head = context.globalIdx % heads;
        if (row < TornadoMath.min(step.get(StepBuffer.ROWS), capacity)) {
            int layer = step.get(StepBuffer.LAYER);
            int number = step.get(StepBuffer.LAYER_NUMBER);
            int position = step.get(StepBuffer.POSITION);
            int prefix = step.get(StepBuffer.PREFIX);
            int keys = keys(position + step.get(StepBuffer.ROWS), window);
            int i = position + row;
            int qStart = (row * heads + head) * dim;
            int outStart = layer * outStride + qStart;
            int columns = heads / group * dim;
            int base = layer * stride + head / group * dim;
            int first = first(i, prefix, reach(number, window, period));
            int end = end(i, prefix, keys, window);
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
     * The weights that {@link #flash} gives the keys, 0 for those that a row does not see, of some layers and heads. An item handles one row of one
     * plane: of one head, or of the mean over all chosen ones.
     *
     * @param windows as {@link #window}, but the size of a sliding window times {@link #MOST_PERIOD} plus its period: a task has no room for both
     */
    public static void weights(KernelContext context, IntArray step, FloatArray q, FloatArray k, FloatArray out, int stride, int rows,
            int keys, int firstRow, int firstKey, int headMask, int layersLow, int layersHigh, int mode, int heads, int group, int dim,
            float scale, float cap, int windows) {
        int row = context.globalIdx % rows;
        int plane = context.globalIdx / rows;
        int number = step.get(StepBuffer.LAYER_NUMBER);
        int place = Probed.place(number, layersLow, layersHigh);
        int planes = mode % 2 == HEAD_MEAN ? 1 : Probed.count(headMask, heads);
        if (place >= 0 && plane < planes && firstRow + row < step.get(StepBuffer.ROWS)) {
            int position = step.get(StepBuffer.POSITION);
            int prefix = step.get(StepBuffer.PREFIX);
            int all = keys(position + step.get(StepBuffer.ROWS), windows);
            int i = position + firstRow + row;
            int columns = heads / group * dim;
            int first = first(i, prefix, reach(number, TornadoMath.max(windows, 0) / MOST_PERIOD, TornadoMath.max(1, TornadoMath.max(windows, 0) % MOST_PERIOD)));
            int end = end(i, prefix, all, windows);
            int written = TornadoMath.min(keys, all - firstKey);
            int outPlane = mode >= EACH_LAYER ? place * planes + plane : plane;
            int outStart = (outPlane * rows + row) * keys;
            int add = 0;
            if (mode / 2 == LAYER_SUM / 2 && place > 0) {
                add = 1;
            }
            float share = 1;
            if (mode % 2 == HEAD_MEAN) {
                share = 1.0f / Probed.count(headMask, heads);
            }
            int found = 0;
            for (int head = 0; head < heads; head++) {
                if (((headMask >> head) & 1) == 1) {
                    if (mode % 2 == HEAD_MEAN || found == plane) {
                        int query = ((firstRow + row) * heads + head) * dim;
                        int base = step.get(StepBuffer.LAYER) * stride + head / group * dim;
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
                    found++;
                }
            }
        }
    }

    /** For each row the largest of the {@link #weights} of a range of keys, of some layers and heads. An item handles one row of one head. */
    public static void peak(KernelContext context, IntArray step, FloatArray q, FloatArray k, FloatArray out, int stride, int rows, int keys,
            int firstRow, int firstKey, int headMask, int layersLow, int layersHigh, int heads, int group, int dim, float scale, float cap,
            int windows) {
        int row = context.globalIdx % rows;
        int plane = context.globalIdx / rows;
        int number = step.get(StepBuffer.LAYER_NUMBER);
        int place = Probed.place(number, layersLow, layersHigh);
        int planes = Probed.count(headMask, heads);
        if (place >= 0 && plane < planes && firstRow + row < step.get(StepBuffer.ROWS)) {
            int position = step.get(StepBuffer.POSITION);
            int prefix = step.get(StepBuffer.PREFIX);
            int all = keys(position + step.get(StepBuffer.ROWS), windows);
            int i = position + firstRow + row;
            int columns = heads / group * dim;
            int first = first(i, prefix, reach(number, TornadoMath.max(windows, 0) / MOST_PERIOD, TornadoMath.max(1, TornadoMath.max(windows, 0) % MOST_PERIOD)));
            int end = end(i, prefix, all, windows);
            int head = Probed.member(plane, headMask, heads);
            int query = ((firstRow + row) * heads + head) * dim;
            int base = step.get(StepBuffer.LAYER) * stride + head / group * dim;
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
