package stormsight.tornado.kernel;

import static uk.ac.manchester.tornado.api.common.TaskPackage.createPackage;

import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
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
 * What seven operations of a layer do to the one row of a decode step, in one launch: the products of queries, keys and
 * values with weights of 16 bits, the rotation of the first two, and storing the last two in the caches. Keys and
 * values are written to the caches alone: where another operation of the program reads them, each operation is launched
 * by itself. Their tensors belong to one program, as all activations of a decode step do.
 */
public record Projections(Op.MatMul query, Op.MatMul key, Op.MatMul value, Op.Rope queryRope, Op.Rope keyRope,
        Op.Store keyStore, Op.Store valueStore) {
    /** How many operations are lowered together. */
    public static final int OPS = 7;

    /** Rows of the weights of a group: two pairs that are rotated, or four neighbours. */
    private static final int ROWS = 4;

    /** Parts of the parameter {@code flags}: the type of the weights; they are stacks; x is normalised, by a stack. */
    private static final int TYPE = 7;
    private static final int STACK = 8;
    private static final int NORM = 16;
    private static final int NORM_STACK = 32;

    /** The first operations of a list, if they are such ones and this kernel can do them. */
    public static Optional<Projections> of(List<Op> ops, Program program) {
        if (ops.size() >= OPS && ops.get(0) instanceof Op.MatMul query && ops.get(1) instanceof Op.MatMul key
                && ops.get(2) instanceof Op.MatMul value && ops.get(3) instanceof Op.Rope queryRope
                && ops.get(4) instanceof Op.Rope keyRope && ops.get(5) instanceof Op.Store keyStore
                && ops.get(6) instanceof Op.Store valueStore) {
            return Optional.of(new Projections(query, key, value, queryRope, keyRope, keyStore, valueStore))
                    .filter(found -> found.fits(program));
        }
        return Optional.empty();
    }

    private boolean fits(Program program) {
        return Stream.of(query, key, value).allMatch(product -> isLike(query, product) && product.bias().isEmpty())
                && query.out().rows() == 1
                && List.of(DType.BF16, DType.F16).contains(query.w().dtype()) && query.w().columns() % 4 == 0
                && query.x().layers() == 1 && queryRope.table().columns() % 4 == 0
                && rotate(queryRope, query, keyRope, key) && store(keyStore, key, valueStore, value)
                && keyStore.cache().slots() == 1
                && !areRead(List.of(key, value), program, List.of(keyRope, keyStore, valueStore));
    }

    /** Whether a product has the x of the first one and such weights, and does no more than add a bias. */
    static boolean isLike(Op.MatMul first, Op.MatMul product) {
        return product.x().equals(first.x()) && product.w().dtype() == first.w().dtype()
                && product.w().layers() == first.w().layers() && product.residual().isEmpty()
                && product.activation() == Op.Activation.NONE && product.out().kind() == Tensor.Kind.ACTIVATION
                && product.out().layers() == 1 && product.out().rows() == first.out().rows();
    }

    /** Whether operations rotate queries and keys, by the same table. */
    static boolean rotate(Op.Rope queryRope, Op.MatMul query, Op.Rope keyRope, Op.MatMul key) {
        return queryRope.x().equals(query.out()) && keyRope.x().equals(key.out())
                && queryRope.table().equals(keyRope.table()) && queryRope.table().layers() == 1;
    }

    /** Whether operations store keys and values, in caches of one shape. */
    static boolean store(Op.Store keyStore, Op.MatMul key, Op.Store valueStore, Op.MatMul value) {
        return keyStore.x().equals(key.out()) && valueStore.x().equals(value.out())
                && keyStore.cache().shape().equals(valueStore.cache().shape())
                && keyStore.cache().layers() == valueStore.cache().layers();
    }

    /** Whether other operations of a program than these read what products write. */
    static boolean areRead(List<Op.MatMul> products, Program program, List<? extends Op> except) {
        return program.segments().stream().flatMap(segment -> segment.ops().stream())
                .filter(op -> products.stream().anyMatch(product -> op.reads().contains(product.out())))
                .anyMatch(op -> !except.contains(op));
    }

    /** @param norm of x, which the kernel computes for itself */
    public void lower(Optional<Op.RmsNorm> norm, Tasks tasks) {
        Weight queries = Weight.of(query.w(), tasks);
        Weight keys = Weight.of(key.w(), tasks);
        Weight values = Weight.of(value.w(), tasks);
        int columns = query.w().columns();
        int queryOutputs = query.w().rows();
        int keyOutputs = key.w().rows();
        int outputs = queryOutputs + 2 * keyOutputs;
        int lanes = MatMul.vectorLanes(outputs, columns, tasks.mostLanes());
        int flags = queries.type() | (queries.stride() > 0 ? STACK : 0) | (norm.isPresent() ? NORM : 0)
                | (norm.map(of -> tasks.stride(of.w())).orElse(0) > 0 ? NORM_STACK : 0);
        tasks.task("Projections.vector" + Weight.suffix(query.w().dtype()),
                Geometry.groups(outputs / ROWS, lanes, (ROWS + norms(flags)) * lanes * Float.BYTES),
                name -> createPackage(name, Projections::vector, tasks.context(), tasks.step(),
                        tasks.floats(norm.map(Op.RmsNorm::x).orElse(query.x())),
                        norm.map(of -> tasks.floats(of.w())).orElse(tasks.none()), queries.words(), keys.words(),
                        values.words(), queries.factors(), tasks.floats(queryRope.table()), tasks.floats(query.out()),
                        tasks.floats(keyStore.cache()), tasks.floats(valueStore.cache()), flags, columns, queryOutputs,
                        keyOutputs, queryRope.headDim(), tasks.stride(keyStore.cache()), lanes,
                        norm.map(Op.RmsNorm::epsilon).orElse(0f)));
    }

    /** 1 if x is normalised, else 0. */
    static int norms(int flags) {
        return (flags / NORM) & 1;
    }

    /**
     * {@code query = rotate(queries x)}, {@code keyCache[token] = rotate(keys x)}, {@code valueCache[token] =
     * values x}. A group handles 4 rows of one of the weights: of queries and keys the rows c, c + 1 of a head and
     * those half a head on, which they are rotated with; of values 4 neighbours. With a norm, x is normalised as
     * {@link MatMul#vector} does it.
     */
    public static void vector(KernelContext context, IntArray step, FloatArray x, FloatArray norm, LongArray queries,
            LongArray keys, LongArray values, FloatArray factors, FloatArray table, FloatArray query,
            FloatArray keyCache, FloatArray valueCache, int flags, int columns, int queryOutputs, int keyOutputs,
            int dim, int cacheStride, int lanes, float epsilon) {
        int type = flags & TYPE;
        int norms = norms(flags);
        int layer = step.get(StepBuffer.LAYER);
        int lane = context.localIdx;
        int run = TornadoMath.min(step.get(StepBuffer.ROWS), 1);
        int unit = context.groupIdx * ROWS;
        int normStart = (flags & NORM_STACK) != 0 ? layer * columns : 0;
        float[] parts = context.allocateFloatLocalArray((ROWS + norms) * lanes);
        // 0 in the queries, 1 in the keys, 2 in the values.
        int part = 2 - Attention.within(unit, queryOutputs) - Attention.within(unit, queryOutputs + keyOutputs);
        int from = unit - TornadoMath.min(part, 1) * queryOutputs - part / 2 * keyOutputs;
        int outputs = part == 0 ? queryOutputs : keyOutputs;
        int first = from;
        int apart = 2;
        if (part < 2) {
            first = from / dim * dim + from % dim / 2;
            apart = dim / 2;
        }
        int rowWords = columns / 4;
        int w = (((flags & STACK) != 0 ? layer * outputs : 0) + first) * rowWords;
        long[] row = new long[ROWS];
        float[] xs = new float[4];
        // The last one is that of squares.
        float[] sums = new float[ROWS + 1];
        int[] low = new int[ROWS];
        int[] high = new int[ROWS];
        sums[ROWS] = 0;
        for (int r = 0; r < ROWS; r++) {
            sums[r] = 0;
            row[r] = 0;
            low[r] = 0;
            high[r] = 0;
        }
        int end = run * rowWords;
        // Words are read a turn ahead, see MatMul.
        for (int j = lane - lanes; j < end; j += lanes) {
            int next = j + lanes;
            if (next < end) {
                for (int r = 0; r < ROWS; r++) {
                    int word = w + next + ((r & 1) + (r / 2) * apart) * rowWords;
                    if (part == 0) {
                        row[r] = queries.get(word);
                    } else if (part == 1) {
                        row[r] = keys.get(word);
                    } else {
                        row[r] = values.get(word);
                    }
                }
            }
            if (j >= 0) {
                for (int e = 0; e < 4; e++) {
                    xs[e] = x.get(4 * j + e);
                    if (norms == 1) {
                        sums[ROWS] += xs[e] * xs[e];
                        xs[e] *= norm.get(normStart + 4 * j + e);
                    }
                }
                for (int r = 0; r < ROWS; r++) {
                    for (int e = 0; e < 2; e++) {
                        sums[r] += xs[e] * Weight.half(type, low[r] >> (16 * e), factors);
                    }
                    for (int e = 0; e < 2; e++) {
                        sums[r] += xs[2 + e] * Weight.half(type, high[r] >> (16 * e), factors);
                    }
                }
            }
            for (int r = 0; r < ROWS; r++) {
                low[r] = (int) row[r];
                high[r] = (int) (row[r] >> 32);
            }
        }
        for (int r = 0; r < ROWS + norms; r++) {
            parts[r * lanes + lane] = sums[r];
        }
        for (int reach = lanes / 2; reach > 0; reach /= 2) {
            context.localBarrier();
            if (lane < reach) {
                for (int r = 0; r < ROWS + norms; r++) {
                    parts[r * lanes + lane] += parts[r * lanes + lane + reach];
                }
            }
        }
        context.localBarrier();
        int token = StepBuffer.token(step, 0);
        int cache = layer * cacheStride + token * keyOutputs + first + lane;
        float factor = 1;
        if (norms == 1) {
            factor = Norm.inverse(parts[ROWS * lanes], columns, epsilon);
        }
        if (part == 2) {
            if (lane < ROWS * run) {
                valueCache.set(cache, factor * parts[lane * lanes]);
            }
        } else {
            if (lane < 2 * run) {
                float a = factor * parts[lane * lanes];
                float b = factor * parts[(lane + 2) * lanes];
                int angle = token * dim + first % dim + lane;
                float cos = table.get(angle);
                float sin = table.get(angle + dim / 2);
                if (part == 0) {
                    query.set(first + lane, a * cos - b * sin);
                    query.set(first + lane + dim / 2, b * cos + a * sin);
                } else {
                    keyCache.set(cache, a * cos - b * sin);
                    keyCache.set(cache + dim / 2, b * cos + a * sin);
                }
            }
        }
    }
}
