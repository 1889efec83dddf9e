package stormsight.tornado.kernel;

import static uk.ac.manchester.tornado.api.common.TaskPackage.createPackage;

import stormsight.backend.DeviceInfo;
import stormsight.program.Op;
import stormsight.tornado.Geometry;
import stormsight.tornado.Scratch;
import stormsight.tornado.StepBuffer;
import stormsight.tornado.Tasks;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.enums.MMAShape;
import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.HalfFloat;
import uk.ac.manchester.tornado.api.types.arrays.ByteArray;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.LongArray;

/**
 * {@link Attention#flash} on tensor cores of NVIDIA GPUs, as {@link MmaMatMul}; TornadoVM's CUDA backend only.
 *
 * <p>Queries, keys, weights and values are each the sum of two bfloat16 numbers, which together hold 17 of 24 bits. Of
 * the four products of their parts three are made; the fourth, of both lower parts, is less than 2^-16 of the whole.
 * Where activations may be rounded, the first number of each is taken alone.
 *
 * <p>A lane cannot get at the elements of a fragment other than by storing it. So sums cannot be scaled when a larger
 * score is met. Instead {@link #flash} takes up to 512 keys at a time, makes all their scores, stores them, finds the
 * largest, and only then adds up the weighted values; what it has of the keys before is scaled in out.
 */
public final class MmaAttention {
    /** Four warps. */
    private static final int LANES = 128;
    /** Rows and keys of the scores of a warp, and keys or columns of one instruction. */
    private static final int WARP_ROWS = 32;
    private static final int DEPTH = 16;
    /** Scores that a group makes at a time. */
    private static final int TILE = LANES * WARP_ROWS;
    /** Keys of which all scores are known before the first is weighed. */
    private static final int CHUNK = 512;

    /** Words of 16 rows of 16 numbers, of 8 columns of 16 numbers, and half of that. */
    private static final int ROWS_WORDS = 128;
    private static final int GROUP_WORDS = 64;
    private static final int GROUP_LONGS = 32;

    /** Head sizes up to it have 64 rows a group, larger ones 32; the largest fits local memory. */
    private static final int HALF_DIM = 128;
    private static final int MOST_DIM = 256;
    /** Words that a lane has under way: of keys, twice, and of values. */
    private static final int KEY_LONGS = 8;
    private static final int VALUE_LONGS = 16;
    /** Rows of a lane where it weighs scores, at most. */
    private static final int LANE_ROWS = 2;

    /**
     * Numbers that a lane reads before it uses the first: compilers leave no read before a write that was not there.
     * Where it finishes sums there are up to twice as many.
     */
    private static final int BATCH = 16;
    private static final int MOST_VALUES = 2 * BATCH;

    /** Groups of {@link #flash} that fit on a multiprocessor at a time, and groups of {@link #split}. */
    private static final int RESIDENT = 2;
    private static final int SPLITTERS = 8;

    /** Bits of the parameter {@code launch}, behind those of {@link Result}, and where the number of groups begins. */
    private static final int ROUNDED = 8;
    private static final int STACK = 16;
    private static final int LAUNCH_BITS = 5;

    private static final float UNSEEN = Attention.UNSEEN;

    private MmaAttention() {}

    /** Whether the result can be split: a lane writes four columns of a head. */
    static boolean splits(Op.Attention op) {
        return op.heads().headDim() % 4 == 0;
    }

    /** Whether tensor cores make attention of many rows. */
    static boolean fits(Op.Attention op, DeviceInfo device) {
        return device.tensorCores() && op.heads().headDim() <= MOST_DIM;
    }

    /** Rows of a group. */
    private static int rows(int dim) {
        return dim <= HALF_DIM ? 2 * WARP_ROWS : WARP_ROWS;
    }

    /** Keys of a tile of scores. */
    static int keys(int dim) {
        return TILE / rows(dim);
    }

    /** Warps of a group that have the same rows. */
    private static int across(int dim) {
        return keys(dim) / WARP_ROWS;
    }

    /** Blocks of 16 columns of q and k. */
    private static int depths(int dim) {
        return (dim + DEPTH - 1) / DEPTH;
    }

    /** Groups of 8 columns of v that a warp has. */
    private static int wide(int dim) {
        return (dim + 8 * across(dim) - 1) / (8 * across(dim));
    }

    /** Longs that a lane brings of a block of keys, and of a block of values. */
    private static int keyLongs(int dim, int parts) {
        return keys(dim) / WARP_ROWS * parts;
    }

    private static int valueLongs(int dim, int parts) {
        return (across(dim) * wide(dim) * parts + 3) / 4;
    }

    /** Local memory, in words: q and two blocks of k, or weights and two blocks of v. */
    private static int words(int dim) {
        int scores = rows(dim) * depths(dim) * DEPTH + 2 * keys(dim) * DEPTH;
        int values = TILE + 2 * 2 * across(dim) * wide(dim) * GROUP_WORDS;
        return scores > values ? scores : values;
    }

    /** Floats that a group keeps outside of local memory: scores or sums, and four numbers a row. */
    private static int floats(int dim) {
        return rows(dim) * (CHUNK + 4);
    }

    static int keyTiles(Op.Attention op) {
        return Math.ceilDiv(op.k().slotRows(), keys(op.heads().headDim()));
    }

    private static int groups(Op.Attention op, int multiprocessors) {
        int units = Math.multiplyExact(Math.ceilDiv(op.out().rows(), rows(op.heads().headDim())),
                op.heads().queryHeads());
        return Math.min(units, RESIDENT * multiprocessors);
    }

    static Scratch scratch(Op.Attention op, int multiprocessors) {
        int dim = op.heads().headDim();
        int tiles = Math.multiplyExact(op.heads().keyValueHeads(), keyTiles(op));
        return new Scratch(Math.multiplyExact(groups(op, multiprocessors), floats(dim)), 0, 0,
                Math.multiplyExact(tiles, depths(dim) * keys(dim) * 8),
                Math.multiplyExact(tiles, keys(dim) / DEPTH * 2 * across(dim) * wide(dim) * GROUP_LONGS));
    }

    /** @param blocked the mask of a probe, {@code tokens} wide; 0 without one */
    static void lower(Op.Attention op, Tasks tasks, ByteArray blocked, int tokens, IntArray flags) {
        Op.Heads heads = op.heads();
        int dim = heads.headDim();
        int multiprocessors = tasks.device().computeUnits();
        int stride = tasks.stride(op.k());
        int slotStride = tasks.slotStride(op.k());
        int capacity = op.out().rows();
        int keyTiles = keyTiles(op);
        int fixed = Attention.fixed(op);
        IntArray windows = Attention.windows(op, tasks);
        if (!tasks.areSplit(op.k(), op.v())) {
            int splitters = SPLITTERS * multiprocessors;
            int split = Result.PARTS.bits(tasks);
            tasks.task("MmaAttention.split", Geometry.groups(splitters, LANES),
                    name -> createPackage(name, MmaAttention::split, tasks.context(), tasks.step(),
                            tasks.floats(op.k()), tasks.floats(op.v()), tasks.planes(0), tasks.planes(1), stride,
                            slotStride, heads.keyValueHeads(), dim, windows, fixed, keyTiles, splitters * LANES,
                            split));
        }
        int groups = groups(op, multiprocessors);
        Result left = tasks.result();
        int launch = groups << LAUNCH_BITS | left.bits(tasks) | (MmaMatMul.parts(tasks) == 1 ? ROUNDED : 0)
                | (tasks.stride(op.out()) > 0 ? STACK : 0);
        tasks.task("MmaAttention.flash", Geometry.groups(groups, LANES, words(dim) * Integer.BYTES),
                name -> createPackage(name, MmaAttention::flash, tasks.context(), tasks.step(),
                        tasks.floats(op.q()), tasks.planes(0), tasks.planes(1), blocked, flags, tasks.scratch(),
                        tasks.floats(op.out()), tasks.parts(0), capacity, Attention.shape(heads), dim, op.scale(),
                        op.softCap(), windows, fixed, tokens, keyTiles, launch));
        if (left.isSplit()) {
            tasks.setParts(op.out(), 0);
        }
    }

    /**
     * Keys and values as {@link #flash} copies them into local memory, all upper parts of a block before all lower
     * ones, 0 behind the last key. A block of keys is 16 columns of a tile; of 8 keys each column has 4 words. A block
     * of values is 16 keys; of 8 columns each key has 4 words. Word w + 32 of 64 is the upper half of long w of 32. An
     * item handles every {@code items}-th long of upper parts, and that of the lower ones.
     */
    public static void split(KernelContext context, IntArray step, FloatArray k, FloatArray v, LongArray keyParts,
            LongArray valueParts, int stride, int slotStride, int heads, int dim, IntArray windows, int fixed,
            int keyTiles, int items, int result) {
        int rows = step.get(StepBuffer.ROWS);
        int columns = heads * dim;
        int base = step.get(StepBuffer.LAYER) * stride + StepBuffer.slot(step, 0) * slotStride;
        int reach = Attention.reach(step.get(StepBuffer.LAYER_NUMBER), windows, fixed);
        int end = Attention.keys(StepBuffer.tokens(step, 0), fixed) * TornadoMath.min(rows, 1);
        int firstTile = Attention.first(StepBuffer.position(step, 0), StepBuffer.prefix(step, 0), reach) / keys(dim);
        int tiles = (end + keys(dim) - 1) / keys(dim) - firstTile;
        int longs = longs(dim);
        float[] values = new float[4];
        for (int item = context.globalIdx; item < heads * tiles * longs; item += items) {
            int head = item / longs / tiles;
            int tile = firstTile + item / longs % tiles;
            int index = item % longs;
            for (int e = 0; e < 4; e++) {
                int key = tile * keys(dim) + key(index, e, dim);
                int d = dimension(index, e, dim);
                values[e] = 0;
                if (key < end && d < dim) {
                    if (index < keyLongs(dim)) {
                        values[e] = k.get(base + key * columns + head * dim + d);
                    } else {
                        values[e] = v.get(base + key * columns + head * dim + d);
                    }
                }
            }
            put(keyParts, valueParts, head, tile, keyTiles, index, dim, result, values[0], values[1], values[2],
                    values[3]);
        }
    }

    /** Longs of upper parts of a tile of keys. */
    static int keyLongs(int dim) {
        return depths(dim) * keys(dim) * 4;
    }

    /** Longs of upper parts of a tile, those of keys before those of values. */
    static int longs(int dim) {
        return keyLongs(dim) + keys(dim) / DEPTH * valueLongs(dim);
    }

    /** Longs of upper parts of a block of values. */
    private static int valueLongs(int dim) {
        return across(dim) * wide(dim) * GROUP_LONGS;
    }

    /**
     * The key, within its tile, of the e-th of the four numbers of a long: there are two columns 8 apart of two keys,
     * or two columns of two values 8 apart.
     */
    static int key(int index, int e, int dim) {
        return index < keyLongs(dim) ? index % (keys(dim) * 4) / GROUP_LONGS * 8 + (index & 3) * 2 + (e & 1)
                : (index - keyLongs(dim)) / valueLongs(dim) * DEPTH + index % GROUP_LONGS / 4 + e / 2 * 8;
    }

    /** The column of its head of that number. */
    static int dimension(int index, int e, int dim) {
        return index < keyLongs(dim) ? index / (keys(dim) * 4) * DEPTH + index % GROUP_LONGS / 4 + e / 2 * 8
                : (index - keyLongs(dim)) % valueLongs(dim) / GROUP_LONGS * 8 + (index & 3) * 2 + (e & 1);
    }

    /** Stores the four numbers of a long of a tile of keys and values. */
    static void put(LongArray keyParts, LongArray valueParts, int head, int tile, int keyTiles, int index, int dim,
            int result, float x0, float x1, float x2, float x3) {
        int number = head * keyTiles + tile;
        if (index < keyLongs(dim)) {
            int block = keys(dim) * 4;
            MmaMatMul.put(keyParts, (number * depths(dim) + index / block) * (2 * block) + index % block, block, result,
                    x0, x1, x2, x3);
        } else {
            int block = valueLongs(dim);
            int at = index - keyLongs(dim);
            MmaMatMul.put(valueParts, (number * (keys(dim) / DEPTH) + at / block) * (2 * block) + at % block, block,
                    result, x0, x1, x2, x3);
        }
    }

    /** {@code sum + a . b} from their parts, if there are two but for the product of both lower ones. */
    private static float[] add(KernelContext context, int parts, HalfFloat[] high, HalfFloat[] low,
            HalfFloat[] otherHigh, HalfFloat[] otherLow, float[] sum) {
        float[] more = context.mmaBF16(high, otherHigh, sum, MMAShape.M16N8K16);
        return parts == 1 ? more : context.mmaBF16(low, otherHigh,
                context.mmaBF16(high, otherLow, more, MMAShape.M16N8K16), MMAShape.M16N8K16);
    }

    /** The lower part of 8 columns, or the upper one in its place where there is no other. */
    private static HalfFloat[] low(KernelContext context, int parts, int[] local, int offset, HalfFloat[] high) {
        return parts == 1 ? high : context.mmaLoadB(local, DEPTH, offset);
    }

    /**
     * {@code out[i] = sum over j of softmax_j(s_ij) v[j]} for one head, where all rows are of one sequence. A unit is
     * 64 rows i (32 where heads are larger than 128) of one query head; a group of four warps handles every
     * {@code groups}-th one, those of the last rows first, as they may see most keys. Of up to 512 keys at a time it
     * first makes the scores, a warp 32 x 32 of a tile of rows and keys; then a lane scales, caps and masks those of
     * its rows, which it shares with three others, and finds the largest; then weights go to local memory, tile by
     * tile, and a warp adds up the weighted values of 32 rows and its part of the columns.
     *
     * <p>No access to local memory has bank conflicts: 8 rows of 8 numbers, or columns of them, follow one another, as
     * instructions read them. The byte offsets of mmaLoadA differ between lanes for that order.
     *
     * @param tiles for each group what it does not keep in local memory
     * @param outParts out, split as {@link MmaMatMul#put} says
     * @param shape query heads, and from bit 16 on how many of them share a key
     * @param launch bits of {@link Result}, where out goes; whether q, k, weights and v are rounded to bfloat16, and
     *     whether out is a stack; above them, how many groups there are
     */
    public static void flash(KernelContext context, IntArray step, FloatArray q, LongArray keyParts,
            LongArray valueParts, ByteArray blocked, IntArray flags, FloatArray tiles, FloatArray out,
            LongArray outParts, int capacity, int shape, int dim, float scale, float cap, IntArray windows, int fixed,
            int tokens, int keyTiles, int launch) {
        int parts = (launch & ROUNDED) != 0 ? 1 : 2;
        int groups = launch >> LAUNCH_BITS;
        int rows = TornadoMath.min(step.get(StepBuffer.ROWS), capacity);
        int layer = step.get(StepBuffer.LAYER);
        int number = step.get(StepBuffer.LAYER_NUMBER);
        int position = StepBuffer.position(step, 0);
        int prefix = StepBuffer.prefix(step, 0);
        int keys = Attention.keys(StepBuffer.tokens(step, 0), fixed);
        int heads = shape & ((1 << Attention.HEAD_BITS) - 1);
        int sharing = shape >> Attention.HEAD_BITS;
        int reach = Attention.reach(number, windows, fixed);
        int[] local = context.allocateIntLocalArray(words(dim));
        long[] next = new long[VALUE_LONGS];
        long[] after = new long[KEY_LONGS];
        float[] values = new float[MOST_VALUES];
        float[] max = new float[LANE_ROWS];
        float[] total = new float[LANE_ROWS];
        float[] old = new float[LANE_ROWS];
        int lane = context.localIdx;
        int warp = lane / 32;
        int pair = lane & 3;
        // What to add to the byte offsets of mmaLoadA, which count rows of 32 bytes in the order of lanes.
        int order = 240 * ((lane / 16) & 1) - 16 * (lane & 15);
        // The rows of a warp, in units of 16; its keys and its columns, in units of 8.
        int warpRows = warp / across(dim) * 2;
        int warpKeys = warp % across(dim) * 4;
        int warpColumns = warp % across(dim) * wide(dim);
        int rowBlocks = (rows + rows(dim) - 1) / rows(dim);
        for (int unit = context.groupIdx; unit < rowBlocks * heads; unit += groups) {
            int firstRow = (rowBlocks - 1 - unit / heads) * rows(dim);
            int head = unit % heads;
            int blocks = Attention.blocks(flags, number, heads, head, tokens);
            int from = Attention.first(position + firstRow, prefix, reach) / keys(dim) * keys(dim);
            int to = Attention.end(position + TornadoMath.min(firstRow + rows(dim), rows) - 1, prefix, keys, fixed);
            for (int n = 0; n < rows(dim) / WARP_ROWS; n++) {
                max[n] = UNSEEN;
                total[n] = 0;
            }
            for (int chunk = from; chunk < to; chunk += CHUNK) {
                // Where the group's floats are, in a form that compilers cannot know before the loop: they would hold
                // the addresses of all fragments.
                int own = (unit + chunk * groups) % groups * floats(dim);
                int shared = own + rows(dim) * CHUNK;
                int present = (TornadoMath.min(to - chunk, CHUNK) + keys(dim) - 1) / keys(dim);
                int firstTile = head / sharing * keyTiles + chunk / keys(dim);
                int keyAt = firstTile * depths(dim) * (keys(dim) * 8) + lane;
                for (int i = 0; i < keyLongs(dim, parts); i++) {
                    next[i] = keyParts.get(keyAt + i * LANES);
                }
                keyAt += TornadoMath.min(present * depths(dim) - 1, 1) * (keys(dim) * 8);
                for (int i = 0; i < keyLongs(dim, parts); i++) {
                    after[i] = keyParts.get(keyAt + i * LANES);
                }
                // What warps still read of the keys before.
                context.localBarrier();
                for (int e = lane; e < rows(dim) * depths(dim) * 8; e += BATCH / 2 * LANES) {
                    for (int u = 0; u < BATCH / 2; u++) {
                        // Surplus rows and columns are copies of the last ones: nobody reads the former's results, and
                        // keys are 0 in the latter.
                        int row = TornadoMath.min(firstRow + (e + u * LANES) / 64 / depths(dim) * 8 + e / 4 % 8,
                                rows - 1);
                        int d = (e + u * LANES) / 64 % depths(dim) * DEPTH + e / 32 % 2 * 8 + (e & 3) * 2;
                        int at = (row * heads + head) * dim;
                        values[2 * u] = q.get(at + TornadoMath.min(d, dim - 1));
                        values[2 * u + 1] = q.get(at + TornadoMath.min(d + 1, dim - 1));
                    }
                    for (int u = 0; u < BATCH / 2; u++) {
                        int block = (e + u * LANES) / 64;
                        int row = block / depths(dim) * 8 + e / 4 % 8;
                        int word = (row / 16 * depths(dim) + block % depths(dim)) * (2 * ROWS_WORDS)
                                + e / 32 % 2 * GROUP_WORDS + row % 16 * 4 + (e & 3);
                        if (row < rows(dim)) {
                            int b0 = MmaMatMul.bits(values[2 * u]);
                            int b1 = MmaMatMul.bits(values[2 * u + 1]);
                            local[word] = b0 | b1 << 16;
                            if (parts == 2) {
                                local[word + ROWS_WORDS] = lower(values[2 * u], values[2 * u + 1], b0, b1);
                            }
                        }
                    }
                }
                int turn = 0;
                for (int tile = 0; tile < present; tile++) {
                    float[] zero = context.mmaFragment(0f);
                    float[] upper0 = zero, upper1 = zero, upper2 = zero, upper3 = zero;
                    float[] lower0 = zero, lower1 = zero, lower2 = zero, lower3 = zero;
                    for (int block = 0; block < depths(dim); block++) {
                        int buffer = rows(dim) * depths(dim) * DEPTH + (turn & 1) * keys(dim) * DEPTH;
                        for (int i = 0; i < keyLongs(dim, parts); i++) {
                            local[buffer + (i * 4 + warp) * GROUP_WORDS + (lane & 31)] = (int) next[i];
                            local[buffer + (i * 4 + warp) * GROUP_WORDS + (lane & 31) + 32] = (int) (next[i] >> 32);
                        }
                        for (int i = 0; i < keyLongs(dim, parts); i++) {
                            next[i] = after[i];
                        }
                        // The last steps load the last block again.
                        turn++;
                        int ahead = TornadoMath.min(TornadoMath.max(present * depths(dim) - 1 - turn, 0), 1);
                        keyAt += ahead * (keys(dim) * 8);
                        for (int i = 0; i < keyLongs(dim, parts); i++) {
                            after[i] = keyParts.get(keyAt + i * LANES);
                        }
                        // One barrier a step is enough: whoever passes it has multiplied what the next overwrites.
                        context.localBarrier();
                        int upper = ((warpRows * depths(dim) + block) * 2 * ROWS_WORDS) * 4 + order;
                        int lower = upper + depths(dim) * 2 * ROWS_WORDS * 4;
                        HalfFloat[] upperHigh = context.mmaLoadA(local, DEPTH, upper);
                        HalfFloat[] upperLow = MmaMatMul.low(context, parts, local, upper + ROWS_WORDS * 4, upperHigh);
                        HalfFloat[] lowerHigh = context.mmaLoadA(local, DEPTH, lower);
                        HalfFloat[] lowerLow = MmaMatMul.low(context, parts, local, lower + ROWS_WORDS * 4, lowerHigh);
                        int high = (buffer + warpKeys * GROUP_WORDS) * 4;
                        int low = high + keys(dim) * DEPTH * 2;
                        HalfFloat[] k;
                        HalfFloat[] kLow;
                        k = context.mmaLoadB(local, DEPTH, high);
                        kLow = low(context, parts, local, low, k);
                        upper0 = add(context, parts, upperHigh, upperLow, k, kLow, upper0);
                        lower0 = add(context, parts, lowerHigh, lowerLow, k, kLow, lower0);
                        k = context.mmaLoadB(local, DEPTH, high + GROUP_WORDS * 4);
                        kLow = low(context, parts, local, low + GROUP_WORDS * 4, k);
                        upper1 = add(context, parts, upperHigh, upperLow, k, kLow, upper1);
                        lower1 = add(context, parts, lowerHigh, lowerLow, k, kLow, lower1);
                        k = context.mmaLoadB(local, DEPTH, high + 2 * GROUP_WORDS * 4);
                        kLow = low(context, parts, local, low + 2 * GROUP_WORDS * 4, k);
                        upper2 = add(context, parts, upperHigh, upperLow, k, kLow, upper2);
                        lower2 = add(context, parts, lowerHigh, lowerLow, k, kLow, lower2);
                        k = context.mmaLoadB(local, DEPTH, high + 3 * GROUP_WORDS * 4);
                        kLow = low(context, parts, local, low + 3 * GROUP_WORDS * 4, k);
                        upper3 = add(context, parts, upperHigh, upperLow, k, kLow, upper3);
                        lower3 = add(context, parts, lowerHigh, lowerLow, k, kLow, lower3);
                    }
                    // Fragments of 16 x 8 scores follow one another.
                    int scores = (unit + (chunk + tile) * groups) % groups * floats(dim);
                    int to0 = scores / 8 + (warpRows * (CHUNK / 8) + tile * (keys(dim) / 8) + warpKeys) * 16;
                    int to1 = to0 + CHUNK / 8 * 16;
                    context.mmaStore(upper0, tiles, to0, 0, 8);
                    context.mmaStore(upper1, tiles, to0 + 16, 0, 8);
                    context.mmaStore(upper2, tiles, to0 + 32, 0, 8);
                    context.mmaStore(upper3, tiles, to0 + 48, 0, 8);
                    context.mmaStore(lower0, tiles, to1, 0, 8);
                    context.mmaStore(lower1, tiles, to1 + 16, 0, 8);
                    context.mmaStore(lower2, tiles, to1 + 32, 0, 8);
                    context.mmaStore(lower3, tiles, to1 + 48, 0, 8);
                }
                int valueAt = firstTile * (keys(dim) / DEPTH) * (across(dim) * wide(dim) * GROUP_LONGS * 2) + lane;
                for (int i = 0; i < valueLongs(dim, parts); i++) {
                    next[i] = valueParts.get(valueAt + i * LANES);
                }
                context.localBarrier();
                for (int n = 0; n < rows(dim) / WARP_ROWS; n++) {
                    int row = (warp * (rows(dim) / WARP_ROWS) + n) * 8 + (lane & 31) / 4;
                    int i = position + firstRow + row;
                    int first = Attention.first(i, prefix, reach);
                    int end = Attention.end(i, prefix, keys, fixed);
                    int at = own + row / 16 * (CHUNK * 16) + row % 16 * 8 + pair * 2;
                    float larger = max[n];
                    for (int g = 0; g < present * (keys(dim) / 8); g += BATCH / 2) {
                        for (int u = 0; u < BATCH; u++) {
                            values[u] = tiles.get(at + (g + u / 2) * 128 + u % 2);
                        }
                        for (int u = 0; u < BATCH; u++) {
                            float s = Attention.score(values[u], i, chunk + (g + u / 2) * 8 + pair * 2 + u % 2, first,
                                    end, blocked, tokens, blocks, scale, cap);
                            larger = TornadoMath.max(larger, s);
                            tiles.set(at + (g + u / 2) * 128 + u % 2, s);
                        }
                    }
                    tiles.set(shared + row * 4 + pair, larger);
                }
                context.localBarrier();
                for (int n = 0; n < rows(dim) / WARP_ROWS; n++) {
                    int at = shared + ((warp * (rows(dim) / WARP_ROWS) + n) * 8 + (lane & 31) / 4) * 4;
                    float larger = TornadoMath.max(TornadoMath.max(tiles.get(at), tiles.get(at + 1)),
                            TornadoMath.max(tiles.get(at + 2), tiles.get(at + 3)));
                    old[n] = TornadoMath.exp(max[n] - larger);
                    total[n] *= old[n];
                    max[n] = larger;
                }
                float[] none = context.mmaFragment(0f);
                float[] upper0 = none, upper1 = none, upper2 = none, upper3 = none, upper4 = none, upper5 = none,
                        upper6 = none, upper7 = none;
                float[] lower0 = none, lower1 = none, lower2 = none, lower3 = none, lower4 = none, lower5 = none,
                        lower6 = none, lower7 = none;
                int last = (TornadoMath.min(to - chunk, CHUNK) + DEPTH - 1) / DEPTH - 1;
                for (int s = 0; s <= last; s++) {
                    if (s % (keys(dim) / DEPTH) == 0) {
                        // What warps still read of the weights before.
                        context.localBarrier();
                        for (int n = 0; n < rows(dim) / WARP_ROWS; n++) {
                            int row = (warp * (rows(dim) / WARP_ROWS) + n) * 8 + (lane & 31) / 4;
                            int at = own + row / 16 * (CHUNK * 16) + s * 256 + row % 16 * 8 + pair * 2;
                            for (int g = 0; g < keys(dim) / 8; g += BATCH / 2) {
                                for (int u = 0; u < BATCH; u++) {
                                    values[u] = tiles.get(at + (g + u / 2) * 128 + u % 2);
                                }
                                for (int u = 0; u < BATCH / 2; u++) {
                                    float w0 = weight(values[2 * u], max[n]);
                                    float w1 = weight(values[2 * u + 1], max[n]);
                                    total[n] += w0 + w1;
                                    int word = (row / 16 * (keys(dim) / DEPTH) + (g + u) / 2) * (2 * ROWS_WORDS)
                                            + u % 2 * GROUP_WORDS + row % 16 * 4 + pair;
                                    int b0 = MmaMatMul.bits(w0);
                                    int b1 = MmaMatMul.bits(w1);
                                    local[word] = b0 | b1 << 16;
                                    if (parts == 2) {
                                        local[word + ROWS_WORDS] = lower(w0, w1, b0, b1);
                                    }
                                }
                            }
                        }
                    }
                    int buffer = TILE + (s & 1) * (across(dim) * wide(dim) * GROUP_WORDS * 2);
                    for (int i = 0; i < valueLongs(dim, parts); i++) {
                        local[buffer + (i * 4 + warp) * GROUP_WORDS + (lane & 31)] = (int) next[i];
                        local[buffer + (i * 4 + warp) * GROUP_WORDS + (lane & 31) + 32] = (int) (next[i] >> 32);
                    }
                    valueAt += TornadoMath.min(last - s, 1) * (across(dim) * wide(dim) * GROUP_LONGS * 2);
                    for (int i = 0; i < valueLongs(dim, parts); i++) {
                        next[i] = valueParts.get(valueAt + i * LANES);
                    }
                    context.localBarrier();
                    int upper = ((warpRows * (keys(dim) / DEPTH) + s % (keys(dim) / DEPTH)) * 2 * ROWS_WORDS) * 4
                            + order;
                    int lower = upper + keys(dim) / DEPTH * 2 * ROWS_WORDS * 4;
                    HalfFloat[] upperHigh = context.mmaLoadA(local, DEPTH, upper);
                    HalfFloat[] upperLow = MmaMatMul.low(context, parts, local, upper + ROWS_WORDS * 4, upperHigh);
                    HalfFloat[] lowerHigh = context.mmaLoadA(local, DEPTH, lower);
                    HalfFloat[] lowerLow = MmaMatMul.low(context, parts, local, lower + ROWS_WORDS * 4, lowerHigh);
                    int high = (buffer + warpColumns * GROUP_WORDS) * 4;
                    int low = high + across(dim) * wide(dim) * GROUP_WORDS * 4;
                    HalfFloat[] v;
                    HalfFloat[] vLow;
                    v = context.mmaLoadB(local, DEPTH, high);
                    vLow = low(context, parts, local, low, v);
                    upper0 = add(context, parts, upperHigh, upperLow, v, vLow, upper0);
                    lower0 = add(context, parts, lowerHigh, lowerLow, v, vLow, lower0);
                    if (wide(dim) > 1) {
                        v = context.mmaLoadB(local, DEPTH, high + GROUP_WORDS * 4);
                        vLow = low(context, parts, local, low + GROUP_WORDS * 4, v);
                        upper1 = add(context, parts, upperHigh, upperLow, v, vLow, upper1);
                        lower1 = add(context, parts, lowerHigh, lowerLow, v, vLow, lower1);
                    }
                    if (wide(dim) > 2) {
                        v = context.mmaLoadB(local, DEPTH, high + 2 * GROUP_WORDS * 4);
                        vLow = low(context, parts, local, low + 2 * GROUP_WORDS * 4, v);
                        upper2 = add(context, parts, upperHigh, upperLow, v, vLow, upper2);
                        lower2 = add(context, parts, lowerHigh, lowerLow, v, vLow, lower2);
                    }
                    if (wide(dim) > 3) {
                        v = context.mmaLoadB(local, DEPTH, high + 3 * GROUP_WORDS * 4);
                        vLow = low(context, parts, local, low + 3 * GROUP_WORDS * 4, v);
                        upper3 = add(context, parts, upperHigh, upperLow, v, vLow, upper3);
                        lower3 = add(context, parts, lowerHigh, lowerLow, v, vLow, lower3);
                    }
                    if (wide(dim) > 4) {
                        v = context.mmaLoadB(local, DEPTH, high + 4 * GROUP_WORDS * 4);
                        vLow = low(context, parts, local, low + 4 * GROUP_WORDS * 4, v);
                        upper4 = add(context, parts, upperHigh, upperLow, v, vLow, upper4);
                        lower4 = add(context, parts, lowerHigh, lowerLow, v, vLow, lower4);
                    }
                    if (wide(dim) > 5) {
                        v = context.mmaLoadB(local, DEPTH, high + 5 * GROUP_WORDS * 4);
                        vLow = low(context, parts, local, low + 5 * GROUP_WORDS * 4, v);
                        upper5 = add(context, parts, upperHigh, upperLow, v, vLow, upper5);
                        lower5 = add(context, parts, lowerHigh, lowerLow, v, vLow, lower5);
                    }
                    if (wide(dim) > 6) {
                        v = context.mmaLoadB(local, DEPTH, high + 6 * GROUP_WORDS * 4);
                        vLow = low(context, parts, local, low + 6 * GROUP_WORDS * 4, v);
                        upper6 = add(context, parts, upperHigh, upperLow, v, vLow, upper6);
                        lower6 = add(context, parts, lowerHigh, lowerLow, v, vLow, lower6);
                    }
                    if (wide(dim) > 7) {
                        v = context.mmaLoadB(local, DEPTH, high + 7 * GROUP_WORDS * 4);
                        vLow = low(context, parts, local, low + 7 * GROUP_WORDS * 4, v);
                        upper7 = add(context, parts, upperHigh, upperLow, v, vLow, upper7);
                        lower7 = add(context, parts, lowerHigh, lowerLow, v, vLow, lower7);
                    }
                }
                int to0 = own / 8 + (warpRows * across(dim) * wide(dim) + warpColumns) * 16;
                int to1 = to0 + across(dim) * wide(dim) * 16;
                context.mmaStore(upper0, tiles, to0, 0, 8);
                context.mmaStore(lower0, tiles, to1, 0, 8);
                if (wide(dim) > 1) {
                    context.mmaStore(upper1, tiles, to0 + 16, 0, 8);
                    context.mmaStore(lower1, tiles, to1 + 16, 0, 8);
                }
                if (wide(dim) > 2) {
                    context.mmaStore(upper2, tiles, to0 + 32, 0, 8);
                    context.mmaStore(lower2, tiles, to1 + 32, 0, 8);
                }
                if (wide(dim) > 3) {
                    context.mmaStore(upper3, tiles, to0 + 48, 0, 8);
                    context.mmaStore(lower3, tiles, to1 + 48, 0, 8);
                }
                if (wide(dim) > 4) {
                    context.mmaStore(upper4, tiles, to0 + 64, 0, 8);
                    context.mmaStore(lower4, tiles, to1 + 64, 0, 8);
                }
                if (wide(dim) > 5) {
                    context.mmaStore(upper5, tiles, to0 + 80, 0, 8);
                    context.mmaStore(lower5, tiles, to1 + 80, 0, 8);
                }
                if (wide(dim) > 6) {
                    context.mmaStore(upper6, tiles, to0 + 96, 0, 8);
                    context.mmaStore(lower6, tiles, to1 + 96, 0, 8);
                }
                if (wide(dim) > 7) {
                    context.mmaStore(upper7, tiles, to0 + 112, 0, 8);
                    context.mmaStore(lower7, tiles, to1 + 112, 0, 8);
                }
                for (int n = 0; n < rows(dim) / WARP_ROWS; n++) {
                    tiles.set(shared + ((warp * (rows(dim) / WARP_ROWS) + n) * 8 + (lane & 31) / 4) * 4 + pair,
                            total[n]);
                }
                context.localBarrier();
                for (int n = 0; n < rows(dim) / WARP_ROWS; n++) {
                    int row = (warp * (rows(dim) / WARP_ROWS) + n) * 8 + (lane & 31) / 4;
                    float factor = 1;
                    if (chunk + CHUNK >= to) {
                        float all = 0;
                        for (int s = 0; s < 4; s++) {
                            all += tiles.get(shared + row * 4 + s);
                        }
                        factor = 0;
                        if (all > 0) {
                            factor = 1 / all;
                        }
                    }
                    int outAt = ((launch & STACK) != 0 ? layer * capacity * heads * dim : 0)
                            + ((firstRow + row) * heads + head) * dim;
                    int at = own + row / 16 * (across(dim) * wide(dim) * 128) + row % 16 * 8
                            + firstColumn(pair, launch, 128);
                    for (int e = 0; e < 2 * across(dim) * wide(dim); e += 4 * wide(dim)) {
                        for (int u = 0; u < 4 * wide(dim); u++) {
                            values[u] = tiles.get(at + column(e + u, launch, 128));
                        }
                        for (int u = 0; u < 4 * wide(dim); u++) {
                            int d = firstColumn(pair, launch, 8) + column(e + u, launch, 8);
                            if (firstRow + row < rows && d < dim) {
                                if (chunk > from) {
                                    values[u] += old[n] * out.get(outAt + d);
                                }
                                values[u] *= factor;
                                // Until the last keys, parts are in floats, too.
                                if ((launch & Result.STORED) != 0) {
                                    out.set(outAt + d, values[u]);
                                } else if (chunk + CHUNK < to) {
                                    out.set(outAt + d, values[u]);
                                }
                            }
                        }
                        if ((launch & Result.UPPER) != 0) {
                            for (int u = 0; u < 4 * wide(dim); u += 4) {
                                int d = firstColumn(pair, launch, 8) + column(e + u, launch, 8);
                                if (firstRow + row < rows && d < dim && chunk + CHUNK >= to) {
                                    MmaMatMul.put(outParts, firstRow + row, head * dim + d, heads * dim, launch,
                                            values[u], values[u + 1], values[u + 2], values[u + 3]);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /**
     * The first column of the results of a lane that is one of four for a row: they take pairs of neighbours, or fours
     * where parts are written.
     *
     * @param group from one group of eight columns to the next
     */
    private static int firstColumn(int pair, int launch, int group) {
        return (launch & Result.UPPER) != 0 ? pair / 2 * group + (pair & 1) * 4 : pair * 2;
    }

    /** What is added to it for the i-th of its columns. */
    private static int column(int i, int launch, int group) {
        return (launch & Result.UPPER) != 0 ? i / 4 * 2 * group + i % 4 : i / 2 * group + i % 2;
    }

    /** The lower parts of two numbers, in one word, from the bits of their upper ones. */
    private static int lower(float x0, float x1, int b0, int b1) {
        return MmaMatMul.bits(MmaMatMul.rest(x0, b0)) | MmaMatMul.bits(MmaMatMul.rest(x1, b1)) << 16;
    }

    /** The weight of a score, before it is divided by the sum of all. */
    private static float weight(float s, float max) {
        float weight = 0;
        if (s > Attention.SEEN) {
            weight = TornadoMath.exp(s - max);
        }
        return weight;
    }
}
