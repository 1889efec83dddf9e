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
import uk.ac.manchester.tornado.api.types.arrays.LongArray;

/**
 * {@link Projections} of many rows on tensor cores: queries, keys and values are one product, see {@link MmaMatMul},
 * and one more kernel adds up its parts, adds biases, rotates, and stores keys and values where attention reads them.
 * The weights stay where they are, each in an array of its own; those that tensor cores cannot read are decoded one
 * below the other. Where there are units for all groups anyway, products run one by one: sums of all of them would take
 * more room than their results.
 *
 * <p>Where tensor cores make attention right behind, keys and values are split for it there, too, so that no kernel
 * reads them for that; floats of them are written only where they are stored in a cache, or somebody else reads them.
 *
 * @param rotation of queries and of keys, or empty
 * @param stores of keys and of values, whose tensors nobody else reads; or empty
 * @param attention for which keys and values are split, which is not lowered here; or empty
 * @param kept whether keys and values are written as floats
 */
public record MmaProjections(Op.MatMul query, Op.MatMul key, Op.MatMul value, List<Op.Rope> rotation,
        List<Op.Store> stores, Optional<Op.Attention> attention, boolean kept) {
    /** Lanes of a group of {@link #finish}. */
    private static final int LANES = 128;

    /** Groups of {@link #finish} for a multiprocessor, which has room for some ten at a time. */
    private static final int GROUPS = 32;

    /**
     * Bits of the constant {@code flags}, behind those of {@link Result}, how keys and values are left: biases are
     * added; they are stacks; queries and keys rotate; caches. From {@link #LAUNCH_BITS} on: how many groups there are.
     */
    private static final int BIAS = 8;
    private static final int BIAS_STACK = 16;
    private static final int ROTATE = 32;
    private static final int STORE = 64;
    private static final int LAUNCH_BITS = 7;

    /** The first operations of a list, if they are such ones and tensor cores should do them together. */
    public static Optional<MmaProjections> of(List<Op> ops, Program program, DeviceInfo device) {
        if (ops.size() < 3 || !(ops.get(0) instanceof Op.MatMul query) || !(ops.get(1) instanceof Op.MatMul key)
                || !(ops.get(2) instanceof Op.MatMul value)) {
            return Optional.empty();
        }
        MmaProjections found = new MmaProjections(query, key, value, List.of(), List.of(), Optional.empty(), true);
        if (!found.fits(device)) {
            return Optional.empty();
        }
        List<Op> rest = ops.subList(3, ops.size());
        if (rest.size() >= 2 && rest.get(0) instanceof Op.Rope queryRope && rest.get(1) instanceof Op.Rope keyRope
                && Projections.rotate(queryRope, query, keyRope, key)) {
            found = new MmaProjections(query, key, value, List.of(queryRope, keyRope), List.of(), Optional.empty(),
                    true);
            rest = rest.subList(2, rest.size());
        }
        if (rest.size() >= 2 && rest.get(0) instanceof Op.Store keyStore && rest.get(1) instanceof Op.Store valueStore
                && Projections.store(keyStore, key, valueStore, value)) {
            MmaProjections storing = new MmaProjections(query, key, value, found.rotation,
                    List.of(keyStore, valueStore), Optional.empty(), true);
            if (Projections.areRead(List.of(key, value), program, storing.ops())) {
                return Optional.of(found);
            }
            found = storing;
            rest = rest.subList(2, rest.size());
        }
        return Optional.of(rest.isEmpty() ? found : found.splitFor(rest.getFirst(), program, device));
    }

    /** With keys and values split, if the next operation is attention that tensor cores make of them. */
    private MmaProjections splitFor(Op next, Program program, DeviceInfo device) {
        Op.Attention reader = switch (next) {
            case Op.Attention plain -> plain;
            case Op.BlockedAttention blocked -> blocked.attention();
            default -> null;
        };
        if (reader == null || !reader.k().equals(keys()) || !reader.v().equals(values())
                || reader.heads().headDim() % 2 != 0
                || !rotation.isEmpty() && rotation.getFirst().headDim() != reader.heads().headDim()
                || !Attention.onTensorCores(reader, device)) {
            return this;
        }
        boolean written = !stores.isEmpty() || Projections.areRead(List.of(key, value), program,
                Stream.concat(rotation.stream(), Stream.of(next)).toList());
        return new MmaProjections(query, key, value, rotation, stores, Optional.of(reader), written);
    }

    /** Where keys go. */
    private Tensor keys() {
        return stores.isEmpty() ? key.out() : stores.getFirst().cache();
    }

    private Tensor values() {
        return stores.isEmpty() ? value.out() : stores.getLast().cache();
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
        // Without heads, any even number of columns is one.
        int dim = attention.map(reader -> reader.heads().headDim()).orElse(
                rotation.isEmpty() ? keys : rotation.getFirst().headDim());
        FloatArray table = rotation.isEmpty() ? tasks.none() : tasks.floats(rotation.getFirst().table());
        int stride = stores.isEmpty() ? 0 : tasks.stride(keys());
        int slotStride = stores.isEmpty() ? 0 : tasks.slotStride(keys());
        int keyTiles = attention.map(MmaAttention::keyTiles).orElse(Math.ceilDiv(capacity, MmaAttention.keys(dim)));
        int items = Math.addExact(Math.multiplyExact(capacity, queries / 2),
                Math.multiplyExact(keys / dim * keyTiles, MmaAttention.longs(dim)));
        int groups = Math.min(Math.ceilDiv(items, LANES), GROUPS * tasks.device().computeUnits());
        int flags = (kept ? Result.STORED : 0) | (attention.isPresent() ? Result.PARTS.bits(tasks) : 0)
                | (query.bias().isPresent() ? BIAS : 0)
                | (query.bias().map(tasks::stride).orElse(0) > 0 ? BIAS_STACK : 0)
                | (rotation.isEmpty() ? 0 : ROTATE) | (stores.isEmpty() ? 0 : STORE) | groups << LAUNCH_BITS;
        LongArray keyParts = attention.isPresent() ? tasks.planes(0) : tasks.noLongs();
        LongArray valueParts = attention.isPresent() ? tasks.planes(1) : tasks.noLongs();
        tasks.task("MmaProjections.finish", Geometry.groups(groups, LANES),
                name -> createPackage(name, MmaProjections::finish, tasks.context(), tasks.step(), sizes,
                        tasks.scratch(), biases.get(0), biases.get(1), biases.get(2), table, tasks.floats(query.out()),
                        tasks.floats(keys()), tasks.floats(values()), keyParts, valueParts, queries, keys, dim, flags,
                        stride, slotStride, keyTiles));
        if (attention.isPresent()) {
            tasks.setSplit(keys(), values());
        }
    }

    /**
     * {@code query = rotate(sum + bias), key = rotate(sum + bias), value = sum + bias} of the sums that {@link
     * MmaMatMul#product} left in its tiles. Keys and values of row i go to the token of that row in a cache, or to row
     * i; split, they are those of all tokens of its sequence, as {@link MmaAttention} keeps them.
     *
     * <p>An item handles two queries of a row that are rotated together, dim / 2 apart, or the four keys or values of
     * a long of {@link MmaAttention}; a lane handles every {@code groups * LANES}-th item.
     *
     * @param sizes of the product, see {@link MmaMatMul}
     * @param dim columns of a head
     */
    public static void finish(KernelContext context, IntArray step, IntArray sizes, FloatArray tiles,
            FloatArray queryBias, FloatArray keyBias, FloatArray valueBias, FloatArray table, FloatArray query,
            FloatArray key, FloatArray value, LongArray keyParts, LongArray valueParts, int queries, int keys, int dim,
            int flags, int stride, int slotStride, int keyTiles) {
        int rows = TornadoMath.min(step.get(StepBuffer.ROWS), sizes.get(MmaMatMul.CAPACITY));
        int layer = step.get(StepBuffer.LAYER);
        int splits = sizes.get(MmaMatMul.SPLITS);
        int next = MmaMatMul.tiles(rows, sizes.get(MmaMatMul.OUTPUTS), MmaMatMul.WIDTH);
        int biasLayer = (flags & BIAS_STACK) != 0 ? layer : 0;
        int apart = dim / 2;
        // Tokens in the cache that are split besides.
        int before = 0;
        if ((flags & STORE) != 0 && (flags & Result.UPPER) != 0) {
            before = StepBuffer.position(step, 0) * TornadoMath.min(rows, 1);
        }
        int end = before + rows;
        int tokenTiles = (end + MmaAttention.keys(dim) - 1) / MmaAttention.keys(dim);
        int longs = MmaAttention.longs(dim);
        int queryItems = rows * (queries / 2);
        int all = queryItems + keys / dim * tokenTiles * longs;
        int[] at = new int[4];
        int[] otherAt = new int[4];
        int[] places = new int[4];
        float[] values = new float[4];
        float[] others = new float[4];
        for (int item = context.globalIdx; item < all; item += (flags >> LAUNCH_BITS) * LANES) {
            if (item < queryItems) {
                int row = item / (queries / 2);
                int own = item % (queries / 2);
                int first = own / apart * dim + own % apart;
                float a = MmaMatMul.total(tiles, MmaMatMul.place(row, first, rows, MmaMatMul.WIDTH), next, splits);
                float b = MmaMatMul.total(tiles, MmaMatMul.place(row, first + apart, rows, MmaMatMul.WIDTH), next,
                        splits);
                if ((flags & BIAS) != 0) {
                    a += queryBias.get(biasLayer * queries + first);
                    b += queryBias.get(biasLayer * queries + first + apart);
                }
                float x = a;
                float y = b;
                if ((flags & ROTATE) != 0) {
                    int angle = StepBuffer.token(step, row) * dim + own % apart;
                    float cos = table.get(angle);
                    float sin = table.get(angle + apart);
                    x = a * cos - b * sin;
                    y = b * cos + a * sin;
                }
                query.set(row * queries + first, x);
                query.set(row * queries + first + apart, y);
            } else {
                int index = (item - queryItems) % longs;
                int head = (item - queryItems) / longs / tokenTiles;
                int tile = (item - queryItems) / longs % tokenTiles;
                // 0 in the keys, 1 in the values.
                int part = 1 - Attention.within(index, MmaAttention.keyLongs(dim));
                int begin = sizes.get(MmaMatMul.BEGINS + 1 + part);
                // Sums are read where there are none, too, so that no read waits for another one, nor for a write.
                for (int e = 0; e < 4; e++) {
                    int token = tile * MmaAttention.keys(dim) + MmaAttention.key(index, e, dim);
                    int row = TornadoMath.min(TornadoMath.max(token - before, 0), rows - 1);
                    int d = TornadoMath.min(MmaAttention.dimension(index, e, dim), dim - 1);
                    at[e] = MmaMatMul.place(row, begin + head * dim + d, rows, MmaMatMul.WIDTH);
                    otherAt[e] = MmaMatMul.place(row, begin + head * dim + (d + apart) % dim, rows, MmaMatMul.WIDTH);
                    places[e] = row * keys + head * dim + d;
                    if ((flags & STORE) != 0) {
                        places[e] = layer * stride + StepBuffer.slot(step, row) * slotStride
                                + (token < before ? token : StepBuffer.token(step, row)) * keys + head * dim + d;
                    }
                    values[e] = 0;
                    others[e] = 0;
                }
                for (int p = 0; p < splits; p++) {
                    for (int e = 0; e < 4; e++) {
                        values[e] += tiles.get(at[e] + p * next);
                    }
                    if ((flags & ROTATE) != 0) {
                        if (part == 0) {
                            for (int e = 0; e < 4; e++) {
                                others[e] += tiles.get(otherAt[e] + p * next);
                            }
                        }
                    }
                }
                for (int e = 0; e < 4; e++) {
                    int token = tile * MmaAttention.keys(dim) + MmaAttention.key(index, e, dim);
                    int row = TornadoMath.min(TornadoMath.max(token - before, 0), rows - 1);
                    int d = TornadoMath.min(MmaAttention.dimension(index, e, dim), dim - 1);
                    if ((flags & BIAS) != 0) {
                        int bias = biasLayer * keys + head * dim;
                        if (part == 0) {
                            values[e] += keyBias.get(bias + d);
                            others[e] += keyBias.get(bias + (d + apart) % dim);
                        } else {
                            values[e] += valueBias.get(bias + d);
                        }
                    }
                    if ((flags & ROTATE) != 0) {
                        if (part == 0) {
                            int angle = StepBuffer.token(step, row) * dim + d % apart;
                            float sin = table.get(angle + apart);
                            values[e] = values[e] * table.get(angle) + (d < apart ? -sin : sin) * others[e];
                        }
                    }
                    if (token < before) {
                        if (part == 0) {
                            values[e] = key.get(places[e]);
                        } else {
                            values[e] = value.get(places[e]);
                        }
                    }
                    if (token >= end || MmaAttention.dimension(index, e, dim) >= dim) {
                        values[e] = 0;
                    }
                }
                if ((flags & Result.STORED) != 0) {
                    for (int e = 0; e < 4; e++) {
                        int token = tile * MmaAttention.keys(dim) + MmaAttention.key(index, e, dim);
                        if (token >= before && token < end && MmaAttention.dimension(index, e, dim) < dim) {
                            if (part == 0) {
                                key.set(places[e], values[e]);
                            } else {
                                value.set(places[e], values[e]);
                            }
                        }
                    }
                }
                if ((flags & Result.UPPER) != 0) {
                    MmaAttention.put(keyParts, valueParts, head, tile, keyTiles, index, dim, flags, values[0],
                            values[1], values[2], values[3]);
                }
            }
        }
    }
}
