package stormsight.tornado.kernel;

import static uk.ac.manchester.tornado.api.common.TaskPackage.createPackage;

import java.util.ArrayList;
import java.util.List;
import stormsight.backend.DeviceInfo;
import stormsight.program.DType;
import stormsight.program.Tensor;
import stormsight.tornado.Geometry;
import stormsight.tornado.Scratch;
import stormsight.tornado.StepBuffer;
import stormsight.tornado.Tasks;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.enums.MMAShape;
import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.BFloat16;
import uk.ac.manchester.tornado.api.types.HalfFloat;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.LongArray;

/**
 * {@code out = residual + activation(x . transpose(w) + bias)} and
 * {@code out = activation(x . transpose(gate)) * (x . transpose(up))} for many rows on tensor cores of NVIDIA GPUs from
 * compute capability 8.0; TornadoVM's CUDA backend only.
 *
 * <p>Tensor cores multiply bfloat16. So each x becomes the sum of two bfloat16 numbers, which together hold 17 of its
 * 24 bits, and {@link #product} multiplies both by w and adds all up in one float. What makes x writes it so, see
 * {@link Result}, or {@link #split} does. A weight of another type becomes two bfloat16 planes as well ({@link
 * #decode}). Where activations may be rounded, the first number of x is all that is written and multiplied.
 *
 * <p>Tensor cores cut what they add to a sum instead of rounding it, so a sum shrinks by about 4e-8 of itself with each
 * 16 columns of it; {@link #splits} bounds its length.
 */
public final class MmaMatMul {
    /** Bits of the constant {@code epilogue}; products that are one have a bit that means something else elsewhere. */
    private static final int GATED = MatMul.GATED;
    private static final int JOINED = MatMul.STACK;

    /** Rows of x, and rows of w (of both weights together, if gated), of a unit of {@link #product}. */
    private static final int TOKENS = 48;
    static final int WIDTH = 256;
    private static final int HALF = WIDTH / 2;
    /** Columns in local memory at a time: those of one instruction. */
    private static final int DEPTH = 16;
    /** 4 warps, each with all rows of x and 64 rows of w: 3 x 8 sums of 16 x 8 numbers, 96 registers a lane. */
    private static final int LANES = 128;

    /**
     * Words of a block of {@link #TOKENS} x {@link #DEPTH} numbers of x, both parts, and of {@link #WIDTH} x
     * {@link #DEPTH} numbers of w.
     */
    private static final int X_WORDS = TOKENS * DEPTH;
    private static final int W_WORDS = WIDTH * DEPTH / 2;
    private static final int X_LONGS = X_WORDS / 2;
    /** Longs of one part of x. */
    private static final int PART_LONGS = X_LONGS / 2;
    /** Bytes of 16 rows of one part of x, and of 8 rows of w. */
    private static final int ROWS_BYTES = 16 * DEPTH * 2;
    private static final int GROUP_BYTES = 8 * DEPTH * 2;
    private static final int PART_BYTES = X_WORDS * 2;

    /** Numbers that a lane finishes at a time: their loads overlap, and no store is between them. */
    private static final int BATCH = 16;

    /** Units of {@link #product} that fit on a multiprocessor at a time: of up to 255 registers a lane. */
    private static final int RESIDENT = 2;
    /** Blocks of {@link #DEPTH} columns of a sum, see above: 2048 columns cost 5e-6. */
    private static final int LONGEST = 128;
    private static final int MOST_SPLITS = 16;

    /**
     * Places in {@code sizes}. {@link #product} reads there what differs between products: its code is equal for most
     * of them then, and NVIDIA's compiler, which takes half a second, is asked once for all that are equal.
     */
    private static final int STRIDE = 0;
    static final int CAPACITY = 1;
    private static final int COLUMNS = 2;
    static final int OUTPUTS = 3;
    static final int SPLITS = 4;
    private static final int GROUPS = 5;
    private static final int MULTIPROCESSORS = 6;
    /** Of products that are one: where each begins in the rows of w, their rows, and the strides of their weights. */
    static final int BEGINS = 7;
    private static final int ROWS = 10;
    private static final int STRIDES = 13;

    /** Lanes of a group of the kernels whose items are independent. */
    private static final int ITEM_LANES = 128;

    private MmaMatMul() {}

    /**
     * How a product is divided.
     *
     * @param capacity rows of x
     * @param outputs rows of w, or of each of two weights
     * @param whole whether no unit reaches beyond w
     * @param type of w
     * @param splits parts of the columns
     * @param serial whether a group does all parts of a unit: where there are units for all groups, and parts are only
     *     to keep sums short
     * @param groups of {@link #product}
     * @param begins of products that are one, see {@link MmaProjections}; else empty
     */
    record Division(int capacity, int columns, int outputs, boolean gated, boolean whole, DType type, int splits,
            boolean serial, int groups, List<Integer> begins) {
        static Division of(int capacity, Tensor w, boolean gated, int multiprocessors) {
            return of(capacity, w, w.rows(), w.rows() % (gated ? HALF : WIDTH) == 0, gated, multiprocessors,
                    List.of());
        }

        /**
         * Of several products as one. Halves of a unit are of one weight, unless {@link #decode} has written all
         * weights one below the other.
         */
        static Division of(int capacity, List<Tensor> weights, int multiprocessors) {
            List<Integer> begins = new ArrayList<>();
            boolean decoded = planes(weights.getFirst().dtype()) > 1;
            int outputs = 0;
            for (Tensor w : weights) {
                begins.add(outputs);
                outputs = Math.addExact(outputs, decoded ? w.rows() : Math.ceilDiv(w.rows(), HALF) * HALF);
            }
            boolean whole = decoded ? outputs % WIDTH == 0
                    : weights.stream().allMatch(w -> w.rows() % HALF == 0);
            return of(capacity, weights.getFirst(), outputs, whole, false, multiprocessors, List.copyOf(begins));
        }

        private static Division of(int capacity, Tensor w, int outputs, boolean whole, boolean gated,
                int multiprocessors, List<Integer> begins) {
            int units = Math.multiplyExact(Math.ceilDiv(capacity, TOKENS),
                    Math.ceilDiv(outputs, gated ? HALF : WIDTH));
            int blocks = planes(w.dtype()) * blocks(w.columns());
            int most = RESIDENT * multiprocessors;
            boolean serial = units >= most;
            int splits = serial ? Math.ceilDiv(blocks, LONGEST) : MmaMatMul.splits(units, blocks, multiprocessors);
            return new Division(capacity, w.columns(), outputs, gated,
                    whole && (planes(w.dtype()) > 1 || w.columns() % DEPTH == 0), w.dtype(), splits, serial,
                    serial ? most : Math.min(units * splits, most), begins);
        }

        /** Floats of the tiles through which sums pass: one for every part that is not finished yet. */
        private int tiles() {
            int units = Math.ceilDiv(capacity, TOKENS) * Math.ceilDiv(outputs, gated ? HALF : WIDTH);
            return (finished() > 0 ? groups : units) * splits * TOKENS * WIDTH;
        }

        /** Columns of w as {@link MmaMatMul#product} reads it. */
        int numbers() {
            return planes(type) == 1 ? columns : planes(type) * rowLongs(columns) * 4;
        }

        /** Parts of a unit that {@link MmaMatMul#product} finishes; 0 if another kernel finishes them. */
        int finished() {
            return begins.isEmpty() && (serial || splits == 1) ? splits : 0;
        }

        /** Whether {@link MmaMatMul#product} reads three weights. */
        boolean joined() {
            return begins.size() > 1 && planes(type) == 1;
        }

        /** {@code sizes} of {@link MmaMatMul#product}. */
        List<Integer> sizes(List<Tensor> weights, int multiprocessors) {
            List<Integer> strides = weights.stream().map(w ->
                    planes(type) == 1 && w.layers() > 1 ? Math.toIntExact(w.shape().elements()) / 4 : 0).toList();
            List<Integer> sizes = new ArrayList<>(List.of(strides.getFirst(), capacity, numbers(), outputs, splits,
                    groups, multiprocessors));
            if (!begins.isEmpty()) {
                sizes.addAll(begins);
                weights.forEach(w -> sizes.add(w.rows()));
                sizes.addAll(strides);
            }
            return sizes;
        }

        int planeLongs() {
            return planes(type) == 1 ? 0 : Math.multiplyExact(outputs, planes(type) * rowLongs(columns));
        }

        Scratch scratch(Tensor x) {
            return new Scratch(tiles(), partLongs(x), 0, planeLongs(), gated ? planeLongs() : 0);
        }
    }

    /** Whether tensor cores multiply so many rows by such a weight; {@link FewMatMul} is faster for fewer. */
    static boolean fits(int capacity, Tensor w, DeviceInfo device) {
        return capacity > 1 && knows(w, device) && !FewMatMul.fits(capacity, w, device);
    }

    /**
     * Whether tensor cores multiply by such a weight: they read four numbers of a row of it at a time, and make 8
     * columns. They do not where w has 32 bits: whoever keeps as many wants the precision.
     */
    static boolean knows(Tensor w, DeviceInfo device) {
        return device.tensorCores() && w.dtype() != DType.F32 && w.columns() % 4 == 0 && w.rows() % 8 == 0;
    }

    static Scratch scratch(MatMul.Product op, int multiprocessors) {
        return Division.of(op.out().rows(), op.w(), op.up().isPresent(), multiprocessors).scratch(op.x());
    }

    /** Room for a product's result that tensor cores multiply next. */
    static Scratch resultScratch(Tensor out) {
        return new Scratch(0, 0, partLongs(out), 0, 0);
    }

    private static int partLongs(Tensor x) {
        return Math.multiplyExact(Math.ceilDiv(x.rows(), TOKENS) * blocks(x.columns()), X_LONGS);
    }

    /** Whether others than {@link #split} can split it: they write no zeros beyond its columns. */
    static boolean splits(Tensor x) {
        return x.columns() % DEPTH == 0;
    }

    /** Numbers that {@link #product} reads from an array. */
    static List<Integer> sizes(MatMul.Product op, int multiprocessors) {
        return Division.of(op.out().rows(), op.w(), op.up().isPresent(), multiprocessors).sizes(List.of(op.w()),
                multiprocessors);
    }

    static void lower(MatMul.Product op, Weight w, Weight up, Tasks tasks) {
        Division division = Division.of(op.out().rows(), op.w(), op.up().isPresent(), tasks.device().computeUnits());
        int parts = split(op.x(), tasks);
        LongArray numbers = decoded(w, 0, 0, division.outputs, division, tasks);
        LongArray more = division.gated ? decoded(up, 1, 0, division.outputs, division, tasks) : numbers;
        product(op, division, parts, numbers, more, tasks);
    }

    /** The sums of products that are one, which stay in the tiles. */
    static void lower(Tensor x, List<Tensor> weights, Division division, Tasks tasks) {
        int parts = split(x, tasks);
        List<LongArray> numbers = new ArrayList<>();
        for (int i = 0; i < weights.size(); i++) {
            numbers.add(decoded(Weight.of(weights.get(i), tasks), 0, division.begins.get(i), weights.get(i).rows(),
                    division, tasks));
        }
        product(division, weights, parts, numbers.get(0), numbers.get(1), numbers.get(2), tasks.none(), tasks.none(),
                tasks.none(), division.joined() ? JOINED : 0, Result.STORED, tasks);
    }

    /** Which of the tasks' parts holds x. */
    private static int split(Tensor x, Tasks tasks) {
        return tasks.partsOf(x).orElseGet(() -> {
            int result = Result.PARTS.bits(tasks);
            tasks.task("MmaMatMul.split", Geometry.items(partLongs(x) / 2, ITEM_LANES),
                    name -> createPackage(name, MmaMatMul::split, tasks.context(), tasks.step(), tasks.floats(x),
                            tasks.parts(0), x.rows(), x.columns(), result));
            tasks.setParts(x, 0);
            return 0;
        });
    }

    /** A weight of so many rows as {@link #product} reads it, from a row of the planes on. */
    private static LongArray decoded(Weight w, int index, int begin, int outputs, Division division, Tasks tasks) {
        if (planes(division.type) == 1) {
            return w.words();
        }
        LongArray planes = tasks.planes(index);
        tasks.task("MmaMatMul.decode" + Weight.suffix(division.type),
                Geometry.items(Math.multiplyExact(outputs, rowLongs(division.columns)), ITEM_LANES),
                name -> createPackage(name, MmaMatMul::decode, tasks.context(), tasks.step(), w.words(),
                        w.factors(), planes, w.type(), w.stride(), w.factorStride(), division.columns, outputs,
                        begin));
        return planes;
    }

    private static void product(MatMul.Product op, Division division, int x, LongArray first, LongArray second,
            Tasks tasks) {
        // No kernel writes what it reads.
        Result left = x == 0 ? tasks.result() : Result.FLOATS;
        int result = left.bits(tasks);
        int epilogue = op.epilogue(tasks);
        int finished = division.finished();
        FloatArray bias = op.bias().map(tasks::floats).orElse(tasks.none());
        FloatArray residual = op.residual().map(tasks::floats).orElse(tasks.none());
        FloatArray out = tasks.floats(op.out());
        product(division, List.of(op.w()), x, first, second, second, bias, residual, out,
                finished > 0 ? epilogue & ~JOINED : epilogue & GATED, finished > 0 ? result : Result.STORED, tasks);
        if (finished == 0) {
            tasks.task("MmaMatMul.sum", Geometry.items(Math.multiplyExact(division.capacity, division.outputs)
                    / together(result), ITEM_LANES),
                    name -> createPackage(name, MmaMatMul::sum, tasks.context(), tasks.step(), tasks.scratch(),
                            bias, residual, out, tasks.parts(1), division.capacity, division.outputs,
                            division.splits, epilogue, result));
        }
        if (left.isSplit()) {
            tasks.setParts(op.out(), 1);
        }
    }

    private static void product(Division division, List<Tensor> weights, int x, LongArray first, LongArray second,
            LongArray third, FloatArray bias, FloatArray residual, FloatArray out, int epilogue, int result,
            Tasks tasks) {
        IntArray sizes = tasks.constants(division.sizes(weights, tasks.device().computeUnits()));
        tasks.task("MmaMatMul.product" + Weight.suffix(division.type),
                Geometry.groups(division.groups, LANES, 2 * (X_WORDS + W_WORDS) * Integer.BYTES),
                name -> createPackage(name, MmaMatMul::product, tasks.context(), tasks.step(), sizes,
                        tasks.parts(x), first, second, third, bias, residual, tasks.scratch(), out, tasks.parts(1),
                        parts(tasks), planes(division.type), division.whole ? 1 : 0, division.finished(), epilogue,
                        result));
    }

    /** Parts of a weight of that type: 1 if tensor cores can read it as it is, 2 if {@link #decode} writes it anew. */
    private static int planes(DType type) {
        return type == DType.BF16 ? 1 : 2;
    }

    /** Blocks of columns of x. */
    private static int blocks(int columns) {
        return Math.ceilDiv(columns, DEPTH);
    }

    /** Words of a row of one plane of {@link #decode}. */
    private static int rowLongs(int columns) {
        return blocks(columns) * (DEPTH / 4);
    }

    /**
     * Into how many parts the columns are divided: as many as make the busiest multiprocessor's work least, counted in
     * blocks of columns. By estimate, a unit costs 8 blocks besides its own, the kernel {@link #sum} 16 and one for
     * every 10 units, and a unit alone on a multiprocessor waits for its loads a third of the time. No GPU has been
     * measured.
     *
     * @param units those of undivided columns
     * @param blocks blocks of columns of w, all its planes together
     */
    private static int splits(int units, int blocks, int multiprocessors) {
        int fewest = Math.ceilDiv(blocks, LONGEST);
        int most = Math.max(fewest, Math.min(MOST_SPLITS, blocks / 4));
        int best = fewest;
        double least = Double.MAX_VALUE;
        for (int s = fewest; s <= most; s++) {
            int turns = Math.ceilDiv(units * s, multiprocessors);
            double work = (turns + turns % RESIDENT / 2.0) * (Math.ceilDiv(blocks, s) + 8)
                    + (s > 1 ? 16 + units * s / 10.0 : 0);
            if (work < least) {
                least = work;
                best = s;
            }
        }
        return best;
    }

    /**
     * The bits of the nearest bfloat16. The cast makes them an int also in generated code, where a short that is
     * shifted stays a short.
     */
    static int bits(float value) {
        return (char) BFloat16.bf16FromFloat(value);
    }

    /** What is left of value beside the bfloat16 number of these bits; exact. */
    static float rest(float value, int bits) {
        return value - BFloat16.bf16ToFloat((short) bits);
    }

    /** Four numbers of 16 bits as they follow one another in memory. */
    static long pack(int b0, int b1, int b2, int b3) {
        return (b0 | b1 << 16) & 0xFFFFFFFFL | (long) (b2 | b3 << 16) << 32;
    }

    /**
     * Writes four columns of a row as {@link #product} reads them: {@code high[i, k] = bfloat16(x[i, k]), low[i, k] =
     * bfloat16(x[i, k] - high[i, k])} in blocks of 48 x 16 numbers, columns first, all high before all low. In a block
     * a row has four longs; in every second four rows their halves change places.
     *
     * @param columns of x
     * @param result whether lower parts are written
     */
    static void put(LongArray parts, int row, int k, int columns, int result, float x0, float x1, float x2, float x3) {
        int at = (row / TOKENS * ((columns + DEPTH - 1) / DEPTH) + k / DEPTH) * X_LONGS + row % TOKENS * 4
                + ((k / 4) & 3);
        int odd = (row / 4) & 1;
        put(parts, at, PART_LONGS, result, odd == 0 ? x0 : x2, odd == 0 ? x1 : x3, odd == 0 ? x2 : x0,
                odd == 0 ? x3 : x1);
    }

    /** Stores the upper parts of four numbers, and their lower parts, if wanted, {@code apart} longs behind. */
    static void put(LongArray parts, int at, int apart, int result, float x0, float x1, float x2, float x3) {
        int b0 = bits(x0);
        int b1 = bits(x1);
        int b2 = bits(x2);
        int b3 = bits(x3);
        parts.set(at, pack(b0, b1, b2, b3));
        if ((result & Result.LOWER) != 0) {
            parts.set(at + apart, pack(bits(rest(x0, b0)), bits(rest(x1, b1)), bits(rest(x2, b2)),
                    bits(rest(x3, b3))));
        }
    }

    /** Writes x as {@link #put} says, 0 beyond rows and columns. An item handles four columns of a row. */
    public static void split(KernelContext context, IntArray step, FloatArray x, LongArray parts, int capacity,
            int columns, int result) {
        int rows = TornadoMath.min(step.get(StepBuffer.ROWS), capacity);
        int item = context.globalIdx;
        int blocks = (columns + DEPTH - 1) / DEPTH;
        int block = item / PART_LONGS;
        int firstRow = block / blocks * TOKENS;
        // Blocks without rows are never read.
        if (firstRow < rows) {
            int row = firstRow + item % PART_LONGS / 4;
            int k = (block % blocks) * DEPTH + (item & 3) * 4;
            float x0 = 0;
            float x1 = 0;
            float x2 = 0;
            float x3 = 0;
            if (row < rows && k < columns) {
                x0 = x.get(row * columns + k);
                x1 = x.get(row * columns + k + 1);
                x2 = x.get(row * columns + k + 2);
                x3 = x.get(row * columns + k + 3);
            }
            put(parts, row, k, columns, result, x0, x1, x2, x3);
        }
    }

    /**
     * {@code planes[m, 0, k] = bfloat16(w[m, k]), planes[m, 1, k] = bfloat16(w[m, k] - planes[m, 0, k])}, rows filled
     * up with 0 to a multiple of 16 columns: a weight in F16, exactly, or of a blocked type with 16 bits of each
     * number, as {@link #product} reads it. An item handles four columns of a row m.
     *
     * @param begin row of the planes that the first one goes to
     */
    public static void decode(KernelContext context, IntArray step, LongArray words, FloatArray factors,
            LongArray planes, int type, int stride, int factorStride, int columns, int outputs, int begin) {
        int layer = step.get(StepBuffer.LAYER);
        int longs = (columns + DEPTH - 1) / DEPTH * (DEPTH / 4);
        int output = context.globalIdx / longs;
        int k = context.globalIdx % longs * 4;
        int limit = TornadoMath.min(step.get(StepBuffer.ROWS), 1) * outputs;
        if (output < limit) {
            float w0 = 0;
            float w1 = 0;
            float w2 = 0;
            float w3 = 0;
            if (k < columns) {
                int index = layer * stride + output * columns + k;
                int scale = layer * factorStride + output * Weight.scalesPerRow(type, columns)
                        + k / Weight.block(type);
                w0 = Weight.scaled(type, Weight.packed(type, words, factors, index), factors, scale);
                w1 = Weight.scaled(type, Weight.packed(type, words, factors, index + 1), factors, scale);
                w2 = Weight.scaled(type, Weight.packed(type, words, factors, index + 2), factors, scale);
                w3 = Weight.scaled(type, Weight.packed(type, words, factors, index + 3), factors, scale);
            }
            int b0 = bits(w0);
            int b1 = bits(w1);
            int b2 = bits(w2);
            int b3 = bits(w3);
            int at = (begin + output) * 2 * longs + k / 4;
            planes.set(at, pack(b0, b1, b2, b3));
            planes.set(at + longs, pack(bits(rest(w0, b0)), bits(rest(w1, b1)), bits(rest(w2, b2)),
                    bits(rest(w3, b3))));
        }
    }

    /** Parts of each activation that tensor cores multiply. */
    static int parts(Tasks tasks) {
        return tasks.roundsActivations() ? 1 : 2;
    }

    /** The lower part of 16 rows, or the upper one in its place where there is no other. */
    static HalfFloat[] low(KernelContext context, int parts, int[] local, int offset, HalfFloat[] high) {
        return parts == 1 ? high : context.mmaLoadA(local, DEPTH, offset);
    }

    /**
     * Four numbers of a row of w, 0 beyond its outputs and columns. The constant {@code whole} says that no unit
     * reaches beyond.
     *
     * @param which of the weights w is, the same for all lanes of a group
     */
    private static long four(LongArray first, LongArray second, LongArray third, int which, int index, int row,
            int column, int outputs, int columns, int whole) {
        if (whole == 1) {
            return word(first, second, third, which, index);
        }
        long value = 0;
        if (row < outputs && column < columns) {
            value = word(first, second, third, which, index);
        }
        return value;
    }

    private static long word(LongArray first, LongArray second, LongArray third, int which, int index) {
        long value;
        if (which == 0) {
            value = first.get(index);
        } else if (which == 1) {
            value = second.get(index);
        } else {
            value = third.get(index);
        }
        return value;
    }

    /** {@code sum + high . w + low . w}, the latter if there are two parts, for 16 rows of x and 8 rows of w. */
    private static float[] both(KernelContext context, int parts, HalfFloat[] high, HalfFloat[] low, HalfFloat[] w,
            float[] sum) {
        float[] more = context.mmaBF16(high, w, sum, MMAShape.M16N8K16);
        return parts == 1 ? more : context.mmaBF16(low, w, more, MMAShape.M16N8K16);
    }

    /**
     * {@code out[i, m] = finish(sum over k of x[i, k] w[m, k])}, or {@code activation(sum over k of x[i, k] first[m,
     * k]) * (sum over k of x[i, k] second[m, k])} if gated; else second and third are first, or, of products that are
     * one, follow it: each half of the rows m of a unit is of one weight. A unit is 48 rows i, 256 rows m (128 of both
     * weights if gated) and one part of the columns k; units of the same m follow one another, so that w is
     * read from memory once. A group of 4 warps handles every {@code groups}-th unit, or all parts of every
     * {@code groups}-th one if serial. Its sums pass through tiles of 48 x 256 floats, since a lane cannot get at the
     * elements of a fragment; where groups share the parts of the columns, they stay there for {@link #sum}.
     *
     * <p>x and w of the next 16 columns are on their way into registers while the present ones, in one of two buffers
     * in local memory, are multiplied. No access has bank conflicts: x has words of two columns, 8 a row, whose halves
     * of 4 words change places in every second four rows, as those of longs do, see {@link #put}; w is transposed to
     * groups of 8 rows m, in which column k has 4 words of two m each at {@code k ^ k / 8 ^ 2 (group & 1)}. The byte
     * offsets of mmaLoadA and mmaLoadB may differ between lanes, and do, to follow that order.
     *
     * @param sizes among others the numbers in a row of w: those of x, or, of two planes, twice those rounded up to a
     *     multiple of 16
     * @param parts of x that are multiplied: 2, or 1 if it is rounded to bfloat16
     * @param planes 1 for w in bfloat16, 2 for {@link #decode}'s
     * @param whole 1 if no unit reaches beyond w
     * @param finished parts of a unit, of which a group does one after the other and then finishes it; 0 if parts are
     *     units of their own and left for {@link #sum}
     * @param result bits of {@link Result}: where out goes
     */
    public static void product(KernelContext context, IntArray step, IntArray sizes, LongArray x, LongArray first,
            LongArray second, LongArray third, FloatArray bias, FloatArray residual, FloatArray tiles, FloatArray out,
            LongArray outParts, int parts, int planes, int whole, int finished, int epilogue, int result) {
        int stride = sizes.get(STRIDE);
        int capacity = sizes.get(CAPACITY);
        int columns = sizes.get(COLUMNS);
        int outputs = sizes.get(OUTPUTS);
        int splits = finished > 0 ? finished : sizes.get(SPLITS);
        int groups = sizes.get(GROUPS);
        int multiprocessors = sizes.get(MULTIPROCESSORS);
        int rows = TornadoMath.min(step.get(StepBuffer.ROWS), capacity);
        int layer = step.get(StepBuffer.LAYER);
        boolean gated = (epilogue & GATED) != 0;
        int width = gated ? HALF : WIDTH;
        int rowBlocks = (rows + TOKENS - 1) / TOKENS;
        int outBlocks = (outputs + width - 1) / width;
        int blocks = (columns + DEPTH - 1) / DEPTH;
        int xBlocks = blocks / planes;
        int longs = columns / 4;
        int[] xs = context.allocateIntLocalArray(2 * X_WORDS);
        int[] ws = context.allocateIntLocalArray(2 * W_WORDS);
        long[] xNext = new long[3];
        long[] wNext = new long[8];
        float[] values = new float[BATCH];
        int lane = context.localIdx;
        int warp = lane / 32;
        // A lane brings four columns of rows 2 pair and 2 pair + 1 of every eighth group of 8 rows of w, and three
        // longs of x. If x is one part, half of the lanes have a second long; the others bring their first one again.
        int quad = lane & 3;
        int pair = (lane / 4) & 3;
        int odd8 = (lane / 16) & 1;
        int wRow = warp * 16 + odd8 * 8 + pair * 2;
        int wTo = warp * 128 + odd8 * 64 + quad * 16 + pair;
        int turn = odd8 * 2 + quad / 2;
        int more = parts == 1 ? 1 - lane / (LANES / 2) : 1;
        int xTo = lane / 4 * 8 + ((quad * 2) ^ (odd8 * 4)) + odd8;
        // What to add to the byte offsets of a warp's first fragments, which count rows of 32 bytes of x and of 16
        // bytes of w in the order of lanes.
        int xFrom = ((lane / 4) & 1) * (16 - 2 * (lane & 16));
        int place = (lane & 15) ^ ((lane / 8) & 1);
        int wFrom = warp * 8 * GROUP_BYTES + (place - (lane & 15)) * 16;
        int wOdd = ((place ^ 2) - place) * 16;
        int passes = finished > 0 ? finished : 1;
        int units = rowBlocks * outBlocks * (finished > 0 ? 1 : splits);
        // Groups that are as far apart as there are multiprocessors mostly run on one. Where all have work, they take
        // neighbouring units, whose w is then in its cache.
        int group = context.groupIdx;
        int paired = groups == RESIDENT * multiprocessors ? group % multiprocessors * RESIDENT + group / multiprocessors
                : group;
        for (int pass = 0; pass / passes * groups + group < units; pass++) {
            int done = pass / passes * groups;
            int unit = done + (done + groups <= units ? paired : group);
            int firstRow = unit % rowBlocks * TOKENS;
            int firstOut = unit / rowBlocks % outBlocks * width;
            int part = finished > 0 ? pass % passes : unit / rowBlocks / outBlocks;
            int begin = part * blocks / splits;
            int end = (part + 1) * blocks / splits;
            int row0 = firstOut + wRow;
            int row1 = gated ? row0 : row0 + HALF;
            int column = begin * DEPTH + quad * 4;
            int layer0 = layer * stride;
            int layer1 = layer0;
            int which0 = 0;
            int which1 = 1;
            int outputs0 = outputs;
            int outputs1 = outputs;
            if ((epilogue & JOINED) != 0) {
                // A half that is beyond the last weight multiplies by its end again, for nobody.
                int next = TornadoMath.min(firstOut + HALF, outputs - HALF);
                which0 = 2 - Attention.within(firstOut, sizes.get(BEGINS + 1))
                        - Attention.within(firstOut, sizes.get(BEGINS + 2));
                which1 = 2 - Attention.within(next, sizes.get(BEGINS + 1))
                        - Attention.within(next, sizes.get(BEGINS + 2));
                row0 -= sizes.get(BEGINS + which0);
                row1 = next + wRow - sizes.get(BEGINS + which1);
                layer0 = layer * sizes.get(STRIDES + which0);
                layer1 = layer * sizes.get(STRIDES + which1);
                outputs0 = sizes.get(ROWS + which0);
                outputs1 = sizes.get(ROWS + which1);
            }
            int w0 = layer0 + row0 * longs + column / 4;
            int w1 = layer1 + row1 * longs + column / 4;
            int xAt = (unit % rowBlocks * xBlocks + begin % xBlocks) * X_LONGS + lane;
            for (int i = 0; i <= parts; i++) {
                xNext[i] = x.get(xAt + i * more * LANES);
            }
            for (int i = 0; i < 4; i++) {
                int row = i / 2 * 64 + (i & 1);
                wNext[i] = four(first, second, third, which0, w0 + row * longs, row0 + row, column,
                        outputs0, columns, whole);
                wNext[4 + i] = four(first, second, third, which1, w1 + row * longs, row1 + row, column,
                        outputs1, columns, whole);
            }
            float[] zero = context.mmaFragment(0f);
            float[] upper0 = zero, upper1 = zero, upper2 = zero, upper3 = zero, upper4 = zero, upper5 = zero,
                    upper6 = zero, upper7 = zero;
            float[] middle0 = zero, middle1 = zero, middle2 = zero, middle3 = zero, middle4 = zero, middle5 = zero,
                    middle6 = zero, middle7 = zero;
            float[] lower0 = zero, lower1 = zero, lower2 = zero, lower3 = zero, lower4 = zero, lower5 = zero,
                    lower6 = zero, lower7 = zero;
            for (int k = begin; k < end; k++) {
                int xBuffer = (k & 1) * X_WORDS;
                int wBuffer = (k & 1) * W_WORDS;
                for (int i = 0; i <= parts; i++) {
                    xs[xBuffer + xTo + i * more * 256] = (int) xNext[i];
                    xs[xBuffer + (xTo ^ 1) + i * more * 256] = (int) (xNext[i] >> 32);
                }
                for (int i = 0; i < 4; i++) {
                    int to = wBuffer + wTo + i * 512;
                    int a0 = (int) wNext[2 * i];
                    int a2 = (int) (wNext[2 * i] >> 32);
                    int b0 = (int) wNext[2 * i + 1];
                    int b2 = (int) (wNext[2 * i + 1] >> 32);
                    ws[to + turn * 4] = (a0 & 0xFFFF) | (b0 << 16);
                    ws[to + (turn ^ 1) * 4] = ((a0 >> 16) & 0xFFFF) | (b0 & 0xFFFF0000);
                    ws[to + (turn ^ 2) * 4] = (a2 & 0xFFFF) | (b2 << 16);
                    ws[to + (turn ^ 3) * 4] = ((a2 >> 16) & 0xFFFF) | (b2 & 0xFFFF0000);
                }
                // The last step loads its own columns again. Loads are before the barrier, because compilers put off
                // later ones until the sums leave registers.
                int ahead = TornadoMath.min(end - 1 - k, 1);
                column += ahead * DEPTH;
                w0 += ahead * (DEPTH / 4);
                w1 += ahead * (DEPTH / 4);
                xAt += ahead * (planes == 2 && k + 1 == xBlocks ? 1 - xBlocks : 1) * X_LONGS;
                for (int i = 0; i <= parts; i++) {
                    xNext[i] = x.get(xAt + i * more * LANES);
                }
                for (int i = 0; i < 4; i++) {
                    int row = i / 2 * 64 + (i & 1);
                    wNext[i] = four(first, second, third, which0, w0 + row * longs, row0 + row, column,
                            outputs0, columns, whole);
                    wNext[4 + i] = four(first, second, third, which1, w1 + row * longs, row1 + row, column,
                            outputs1, columns, whole);
                }
                // One barrier a step is enough: whoever passes it has multiplied what the next step overwrites.
                context.localBarrier();
                int upperX = xBuffer * 4 + xFrom;
                int middleX = upperX + ROWS_BYTES;
                int lowerX = middleX + ROWS_BYTES;
                int even = wBuffer * 4 + wFrom;
                int odd = even + wOdd;
                HalfFloat[] upperHigh = context.mmaLoadA(xs, DEPTH, upperX);
                HalfFloat[] upperLow = low(context, parts, xs, upperX + PART_BYTES, upperHigh);
                HalfFloat[] middleHigh = context.mmaLoadA(xs, DEPTH, middleX);
                HalfFloat[] middleLow = low(context, parts, xs, middleX + PART_BYTES, middleHigh);
                HalfFloat[] lowerHigh = context.mmaLoadA(xs, DEPTH, lowerX);
                HalfFloat[] lowerLow = low(context, parts, xs, lowerX + PART_BYTES, lowerHigh);
                HalfFloat[] w;
                w = context.mmaLoadB(ws, DEPTH, even);
                upper0 = both(context, parts, upperHigh, upperLow, w, upper0);
                middle0 = both(context, parts, middleHigh, middleLow, w, middle0);
                lower0 = both(context, parts, lowerHigh, lowerLow, w, lower0);
                w = context.mmaLoadB(ws, DEPTH, odd + GROUP_BYTES);
                upper1 = both(context, parts, upperHigh, upperLow, w, upper1);
                middle1 = both(context, parts, middleHigh, middleLow, w, middle1);
                lower1 = both(context, parts, lowerHigh, lowerLow, w, lower1);
                w = context.mmaLoadB(ws, DEPTH, even + 2 * GROUP_BYTES);
                upper2 = both(context, parts, upperHigh, upperLow, w, upper2);
                middle2 = both(context, parts, middleHigh, middleLow, w, middle2);
                lower2 = both(context, parts, lowerHigh, lowerLow, w, lower2);
                w = context.mmaLoadB(ws, DEPTH, odd + 3 * GROUP_BYTES);
                upper3 = both(context, parts, upperHigh, upperLow, w, upper3);
                middle3 = both(context, parts, middleHigh, middleLow, w, middle3);
                lower3 = both(context, parts, lowerHigh, lowerLow, w, lower3);
                w = context.mmaLoadB(ws, DEPTH, even + 4 * GROUP_BYTES);
                upper4 = both(context, parts, upperHigh, upperLow, w, upper4);
                middle4 = both(context, parts, middleHigh, middleLow, w, middle4);
                lower4 = both(context, parts, lowerHigh, lowerLow, w, lower4);
                w = context.mmaLoadB(ws, DEPTH, odd + 5 * GROUP_BYTES);
                upper5 = both(context, parts, upperHigh, upperLow, w, upper5);
                middle5 = both(context, parts, middleHigh, middleLow, w, middle5);
                lower5 = both(context, parts, lowerHigh, lowerLow, w, lower5);
                w = context.mmaLoadB(ws, DEPTH, even + 6 * GROUP_BYTES);
                upper6 = both(context, parts, upperHigh, upperLow, w, upper6);
                middle6 = both(context, parts, middleHigh, middleLow, w, middle6);
                lower6 = both(context, parts, lowerHigh, lowerLow, w, lower6);
                w = context.mmaLoadB(ws, DEPTH, odd + 7 * GROUP_BYTES);
                upper7 = both(context, parts, upperHigh, upperLow, w, upper7);
                middle7 = both(context, parts, middleHigh, middleLow, w, middle7);
                lower7 = both(context, parts, lowerHigh, lowerLow, w, lower7);
            }
            // The group's own tile is its index, in a form that compilers cannot know before the loop: they would hold
            // the addresses of all fragments.
            int own = (done + group) % groups * passes;
            int tile = finished > 0 ? own + part : unit;
            int tileRow = tile * TOKENS;
            int tileColumn = warp * (WIDTH / 4);
            context.mmaStore(upper0, tiles, tileRow, tileColumn, WIDTH);
            context.mmaStore(upper1, tiles, tileRow, tileColumn + 8, WIDTH);
            context.mmaStore(upper2, tiles, tileRow, tileColumn + 16, WIDTH);
            context.mmaStore(upper3, tiles, tileRow, tileColumn + 24, WIDTH);
            context.mmaStore(upper4, tiles, tileRow, tileColumn + 32, WIDTH);
            context.mmaStore(upper5, tiles, tileRow, tileColumn + 40, WIDTH);
            context.mmaStore(upper6, tiles, tileRow, tileColumn + 48, WIDTH);
            context.mmaStore(upper7, tiles, tileRow, tileColumn + 56, WIDTH);
            context.mmaStore(middle0, tiles, tileRow + 16, tileColumn, WIDTH);
            context.mmaStore(middle1, tiles, tileRow + 16, tileColumn + 8, WIDTH);
            context.mmaStore(middle2, tiles, tileRow + 16, tileColumn + 16, WIDTH);
            context.mmaStore(middle3, tiles, tileRow + 16, tileColumn + 24, WIDTH);
            context.mmaStore(middle4, tiles, tileRow + 16, tileColumn + 32, WIDTH);
            context.mmaStore(middle5, tiles, tileRow + 16, tileColumn + 40, WIDTH);
            context.mmaStore(middle6, tiles, tileRow + 16, tileColumn + 48, WIDTH);
            context.mmaStore(middle7, tiles, tileRow + 16, tileColumn + 56, WIDTH);
            context.mmaStore(lower0, tiles, tileRow + 32, tileColumn, WIDTH);
            context.mmaStore(lower1, tiles, tileRow + 32, tileColumn + 8, WIDTH);
            context.mmaStore(lower2, tiles, tileRow + 32, tileColumn + 16, WIDTH);
            context.mmaStore(lower3, tiles, tileRow + 32, tileColumn + 24, WIDTH);
            context.mmaStore(lower4, tiles, tileRow + 32, tileColumn + 32, WIDTH);
            context.mmaStore(lower5, tiles, tileRow + 32, tileColumn + 40, WIDTH);
            context.mmaStore(lower6, tiles, tileRow + 32, tileColumn + 48, WIDTH);
            context.mmaStore(lower7, tiles, tileRow + 32, tileColumn + 56, WIDTH);
            context.localBarrier();
            if (finished > 0 && part == finished - 1) {
                for (int i = lane; i < TOKENS * width; i += BATCH * LANES) {
                    for (int j = 0; j < BATCH; j++) {
                        int row = element(i, lane, j, result) / width;
                        int m = element(i, lane, j, result) % width;
                        int at = (own * TOKENS + row) * WIDTH + m;
                        // Elements past the last are computed and never stored; their residual is not read, as its
                        // owner may be writing there.
                        int output = TornadoMath.min(firstOut + m, outputs - 1);
                        float before = 0;
                        if ((epilogue & MatMul.RESIDUAL) != 0) {
                            if (firstRow + row < rows && firstOut + m < outputs) {
                                before = residual.get((firstRow + row) * outputs + output);
                            }
                        }
                        float value = tiles.get(at);
                        for (int p = 1; p < passes; p++) {
                            value += tiles.get(at + p * TOKENS * WIDTH);
                        }
                        float up = 0;
                        if (gated) {
                            up = tiles.get(at + HALF);
                            for (int p = 1; p < passes; p++) {
                                up += tiles.get(at + HALF + p * TOKENS * WIDTH);
                            }
                        }
                        values[j] = before + MatMul.finish(value, up, bias, residual,
                                MatMul.biasStart(layer, outputs, epilogue) + output, 0,
                                epilogue & ~MatMul.RESIDUAL);
                    }
                    if ((result & Result.STORED) != 0) {
                        for (int j = 0; j < BATCH; j++) {
                            int row = firstRow + element(i, lane, j, result) / width;
                            int output = firstOut + element(i, lane, j, result) % width;
                            if (row < rows && output < outputs) {
                                out.set(MatMul.outStart(layer, capacity, outputs, epilogue) + row * outputs + output,
                                        values[j]);
                            }
                        }
                    }
                    if ((result & Result.UPPER) != 0) {
                        for (int j = 0; j < BATCH; j += 4) {
                            int row = firstRow + element(i, lane, j, result) / width;
                            int output = firstOut + element(i, lane, j, result) % width;
                            if (row < rows && output < outputs) {
                                put(outParts, row, output, outputs, result, values[j], values[j + 1], values[j + 2],
                                        values[j + 3]);
                            }
                        }
                    }
                }
            }
        }
    }

    /** Which element of a unit is the j-th one of a lane that begins at i: every 128th, or every 128th four. */
    private static int element(int i, int lane, int j, int result) {
        return together(result) == 1 ? i + j * LANES : i + 3 * lane + j / 4 * (4 * LANES) + j % 4;
    }

    /** Neighbours that a lane finishes: those of a long, where there are parts to write. */
    private static int together(int result) {
        return (result & Result.UPPER) != 0 ? 4 : 1;
    }

    /** Index of a sum of the first part in the tiles that {@link #product} leaves. */
    static int place(int row, int output, int rows, int width) {
        return ((output / width * ((rows + TOKENS - 1) / TOKENS) + row / TOKENS) * TOKENS + row % TOKENS) * WIDTH
                + output % width;
    }

    /** Floats from one part to the next there. */
    static int tiles(int rows, int outputs, int width) {
        return (rows + TOKENS - 1) / TOKENS * ((outputs + width - 1) / width) * TOKENS * WIDTH;
    }

    /** A sum from its parts, which are added in their order. */
    static float total(FloatArray tiles, int at, int next, int splits) {
        float total = 0;
        for (int p = 0; p < splits; p++) {
            total += tiles.get(at + p * next);
        }
        return total;
    }

    /**
     * {@code out[i, m] = finish(sum over parts p of sums[p, i, m])}, gated likewise, for sums that {@link #product}
     * left in its tiles. An item handles one element, or four neighbours; parts are added in their order.
     */
    public static void sum(KernelContext context, IntArray step, FloatArray tiles, FloatArray bias, FloatArray residual,
            FloatArray out, LongArray outParts, int capacity, int outputs, int splits, int epilogue, int result) {
        int rows = TornadoMath.min(step.get(StepBuffer.ROWS), capacity);
        int layer = step.get(StepBuffer.LAYER);
        boolean gated = (epilogue & GATED) != 0;
        int width = gated ? HALF : WIDTH;
        float[] values = new float[4];
        int item = context.globalIdx * together(result);
        int row = item / outputs;
        int output = item % outputs;
        if (row < rows) {
            int at = place(row, output, rows, width);
            int next = tiles(rows, outputs, width);
            for (int e = 0; e < together(result); e++) {
                float value = total(tiles, at + e, next, splits);
                float up = 0;
                if (gated) {
                    up = total(tiles, at + e + HALF, next, splits);
                }
                values[e] = MatMul.finish(value, up, bias, residual,
                        MatMul.biasStart(layer, outputs, epilogue) + output + e, item + e, epilogue);
            }
            if ((result & Result.STORED) != 0) {
                for (int e = 0; e < together(result); e++) {
                    out.set(MatMul.outStart(layer, capacity, outputs, epilogue) + item + e, values[e]);
                }
            }
            if ((result & Result.UPPER) != 0) {
                put(outParts, row, output, outputs, result, values[0], values[1], values[2], values[3]);
            }
        }
    }
}
