package stormsight.tornado.kernel;

import static uk.ac.manchester.tornado.api.common.TaskPackage.createPackage;

import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import stormsight.backend.DeviceInfo;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Tensor;
import stormsight.tornado.Geometry;
import stormsight.tornado.Scratch;
import stormsight.tornado.StepBuffer;
import stormsight.tornado.Tasks;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;

/**
 * {@link Projections} of many rows on tensor cores: queries, keys and values are one product, see {@link MmaMatMul},
 * and one more kernel adds up its parts, adds biases, rotates, and stores keys and values where attention reads them.
 * The weights stay where they are, each in an array of its own; those that tensor cores cannot read are decoded one
 * below the other. Where there are units for all groups anyway, products run one by one: sums of all of them would take
 * more room than their results.
 *
 * @param rotation of queries and of keys, or empty
 * @param stores of keys and of values, whose tensors nobody else reads; or empty
 */
public record MmaProjections(Op.MatMul query, Op.MatMul key, Op.MatMul value, List<Op.Rope> rotation,
        List<Op.Store> stores) {
    /** Lanes of a group of {@link #finish}. */
    private static final int LANES = 128;

    /** Bits of the constant {@code flags}: biases are added; they are stacks; queries and keys rotate; caches. */
    private static final int BIAS = 1;
    private static final int BIAS_STACK = 2;
    private static final int ROTATE = 4;
    private static final int STORE = 8;

    /** The first operations of a list, if they are such ones and tensor cores should do them together. */
    public static Optional<MmaProjections> of(List<Op> ops, Program program, DeviceInfo device) {
        if (ops.size() < 3 || !(ops.get(0) instanceof Op.MatMul query) || !(ops.get(1) instanceof Op.MatMul key)
                || !(ops.get(2) instanceof Op.MatMul value)) {
            return Optional.empty();
        }
        MmaProjections found = new MmaProjections(query, key, value, List.of(), List.of());
        if (!found.fits(device)) {
            return Optional.empty();
        }
        List<Op> rest = ops.subList(3, ops.size());
        if (rest.size() >= 2 && rest.get(0) instanceof Op.Rope queryRope && rest.get(1) instanceof Op.Rope keyRope
                && Projections.rotate(queryRope, query, keyRope, key)) {
            found = new MmaProjections(query, key, value, List.of(queryRope, keyRope), List.of());
            rest = rest.subList(2, rest.size());
        }
        if (rest.size() >= 2 && rest.get(0) instanceof Op.Store keyStore && rest.get(1) instanceof Op.Store valueStore
                && Projections.store(keyStore, key, valueStore, value)) {
            MmaProjections storing =
                    new MmaProjections(query, key, value, found.rotation, List.of(keyStore, valueStore));
            found = Projections.areRead(List.of(key, value), program, storing.ops()) ? found : storing;
        }
        return Optional.of(found);
    }

    private boolean fits(DeviceInfo device) {
        return products().allMatch(product -> Projections.isLike(query, product)
                && product.bias().map(Tensor::layers).equals(query.bias().map(Tensor::layers))
                && MmaMatMul.fits(product.out().rows(), product.w(), device))
                && key.w().rows() == value.w().rows() && query.w().rows() % key.w().rows() == 0
                && !division(device).serial();
    }

    private Stream<Op.MatMul> products() {
        return Stream.of(query, key, value);
    }

    private List<Tensor> weights() {
        return products().map(Op.MatMul::w).toList();
    }

    private MmaMatMul.Division division(DeviceInfo device) {
        return MmaMatMul.Division.of(query.out().rows(), weights(), device.computeUnits());
    }

    /** What is lowered together. */
    public List<Op> ops() {
        return Stream.<List<? extends Op>>of(List.of(query, key, value), rotation, stores)
                .<Op>flatMap(List::stream).toList();
    }

    /** What the kernels leave to each other. */
    public Scratch scratch(DeviceInfo device) {
        return division(device).scratch(query.x());
    }

    /** Numbers that kernels read from an array. */
    public List<Integer> sizes(DeviceInfo device) {
        return division(device).sizes(weights(), device.computeUnits());
    }

    public void lower(Tasks tasks) {
        MmaMatMul.Division division = division(tasks.device());
        MmaMatMul.lower(query.x(), weights(), division, tasks);
        IntArray sizes = tasks.constants(sizes(tasks.device()));
        List<FloatArray> biases = products().map(product ->
                product.bias().map(tasks::floats).orElse(tasks.none())).toList();
        int capacity = query.out().rows();
        int queries = query.w().rows();
        int keys = key.w().rows();
        int apart = rotation.isEmpty() ? keys / 2 : rotation.getFirst().headDim() / 2;
        FloatArray table = rotation.isEmpty() ? tasks.none() : tasks.floats(rotation.getFirst().table());
        FloatArray toKeys = tasks.floats(stores.isEmpty() ? key.out() : stores.getFirst().cache());
        FloatArray toValues = tasks.floats(stores.isEmpty() ? value.out() : stores.getLast().cache());
        int stride = stores.isEmpty() ? 0 : tasks.stride(stores.getFirst().cache());
        int slotStride = stores.isEmpty() ? 0 : tasks.slotStride(stores.getFirst().cache());
        int flags = (query.bias().isPresent() ? BIAS : 0)
                | (query.bias().map(tasks::stride).orElse(0) > 0 ? BIAS_STACK : 0)
                | (rotation.isEmpty() ? 0 : ROTATE) | (stores.isEmpty() ? 0 : STORE);
        tasks.task("MmaProjections.finish",
                Geometry.items(Math.multiplyExact(capacity, queries / 2 + keys), LANES),
                name -> createPackage(name, MmaProjections::finish, tasks.context(), tasks.step(), sizes,
                        tasks.scratch(), biases.get(0), biases.get(1), biases.get(2), table, tasks.floats(query.out()),
                        toKeys, toValues, capacity, queries, keys, division.outputs(), division.splits(), apart, flags,
                        stride, slotStride));
    }

    /**
     * {@code query = rotate(sum + bias), key = rotate(sum + bias), value = sum + bias} of the sums that {@link
     * MmaMatMul#product} left in its tiles. An item handles two elements of a row, those of a pair where they are
     * rotated: c and c + apart of 2 apart. Keys and values of row i go to the token of that row in a cache, or to row
     * i.
     *
     * @param outputs of the product, and where queries, keys and values begin there, see sizes
     */
    public static void finish(KernelContext context, IntArray step, IntArray sizes, FloatArray tiles,
            FloatArray queryBias, FloatArray keyBias, FloatArray valueBias, FloatArray table, FloatArray query,
            FloatArray key, FloatArray value, int capacity, int queries, int keys, int outputs, int splits, int apart,
            int flags, int stride, int slotStride) {
        int rows = TornadoMath.min(step.get(StepBuffer.ROWS), capacity);
        int layer = step.get(StepBuffer.LAYER);
        int pairs = queries / 2 + keys;
        int row = context.globalIdx / pairs;
        int pair = context.globalIdx % pairs;
        if (row < rows) {
            // 0 in the queries, 1 in the keys, 2 in the values.
            int part = 2 - Attention.within(pair, queries / 2) - Attention.within(pair, queries / 2 + keys / 2);
            int own = pair - TornadoMath.min(part, 1) * (queries / 2) - part / 2 * (keys / 2);
            int first = own / apart * 2 * apart + own % apart;
            int begin = sizes.get(MmaMatMul.BEGINS + part) + first;
            int next = MmaMatMul.tiles(rows, outputs, MmaMatMul.WIDTH);
            float a = MmaMatMul.total(tiles, MmaMatMul.place(row, begin, rows, MmaMatMul.WIDTH), next, splits);
            float b = MmaMatMul.total(tiles, MmaMatMul.place(row, begin + apart, rows, MmaMatMul.WIDTH), next, splits);
            if ((flags & BIAS) != 0) {
                int start = (flags & BIAS_STACK) != 0 ? layer : 0;
                if (part == 0) {
                    a += queryBias.get(start * queries + first);
                    b += queryBias.get(start * queries + first + apart);
                } else if (part == 1) {
                    a += keyBias.get(start * keys + first);
                    b += keyBias.get(start * keys + first + apart);
                } else {
                    a += valueBias.get(start * keys + first);
                    b += valueBias.get(start * keys + first + apart);
                }
            }
            int token = StepBuffer.token(step, row);
            float x = a;
            float y = b;
            if ((flags & ROTATE) != 0) {
                if (part < 2) {
                    int angle = token * 2 * apart + own % apart;
                    float cos = table.get(angle);
                    float sin = table.get(angle + apart);
                    x = a * cos - b * sin;
                    y = b * cos + a * sin;
                }
            }
            int to = (flags & STORE) != 0 ? layer * stride + StepBuffer.slot(step, row) * slotStride + token * keys
                    : row * keys;
            if (part == 0) {
                query.set(row * queries + first, x);
                query.set(row * queries + first + apart, y);
            } else if (part == 1) {
                key.set(to + first, x);
                key.set(to + first + apart, y);
            } else {
                value.set(to + first, x);
                value.set(to + first + apart, y);
            }
        }
    }
}
