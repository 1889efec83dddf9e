package stormsight.tornado.kernel;

import static uk.ac.manchester.tornado.api.common.TaskPackage.createPackage;

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
 * Draws the next token, so that one integer leaves the device: many groups look at a slice of the logits each, one
 * group draws.
 */
public final class Sample {
    /** Lanes of a group of {@link #scan}; a power of two. */
    private static final int GROUP = 256;
    /** Lanes of {@link #draw} on devices that allow as many: they pass over all logits. */
    private static final int LARGE_GROUP = 1024;
    /** Logits that a group of {@link #scan} looks at. */
    private static final int SLICE = 4096;
    /**
     * Numbers that {@link #scan} leaves of a slice: its largest logit and that one's id, its lowest finite logit, a
     * sum, and how many are not a number.
     */
    private static final int FOUND = 5;
    private static final float LOWEST = -3.4028235e38f;

    private Sample() {}

    private static int slices(Op.Sample op) {
        return Math.ceilDiv(op.logits().columns(), SLICE);
    }

    private static int sequences(Op.Sample op) {
        return op.token().columns();
    }

    /** Floats that the kernels of an operation leave to each other. */
    public static int scratch(Op.Sample op) {
        return slices(op) * FOUND * sequences(op);
    }

    public static void lower(Op.Sample op, Tasks tasks) {
        int slices = slices(op);
        int lanes = Math.min(LARGE_GROUP, tasks.mostLanes());
        int scanLanes = Math.min(GROUP, tasks.mostLanes());
        tasks.task("Sample.scan",
                Geometry.groups(Math.multiplyExact(slices, sequences(op)), scanLanes, 4 * scanLanes * Float.BYTES),
                name -> createPackage(name, Sample::scan, tasks.context(), tasks.step(),
                        tasks.floats(op.logits()), tasks.bytes(op.parts()), tasks.scratch(), op.logits().rows(),
                        op.logits().columns(), slices, scanLanes));
        tasks.task("Sample.draw", Geometry.groups(sequences(op), lanes, 4 * lanes * Float.BYTES),
                name -> createPackage(name, Sample::draw, tasks.context(), tasks.step(), tasks.sampling(),
                        tasks.floats(op.logits()), tasks.bytes(op.parts()), tasks.scratch(), tasks.ints(op.token()),
                        tasks.floats(op.logProbability()), op.logits().rows(), op.logits().columns(), slices, lanes));
    }

    /**
     * Of the last row z of a sequence's logits: largest and lowest finite value of a slice, the lowest id of the
     * largest, {@code sum of exp(z - largest)}, and how many are not a number. A group handles a slice of 4096 of one
     * sequence.
     */
    public static void scan(KernelContext context, IntArray step, FloatArray logits, ByteArray parts, FloatArray found,
            int capacity, int vocabulary, int slices, int lanes) {
        int lane = context.localIdx;
        int slice = context.groupIdx % slices;
        int sequence = context.groupIdx / slices;
        float[] floats = context.allocateFloatLocalArray(lanes);
        float[] sums = context.allocateFloatLocalArray(lanes);
        int[] ids = context.allocateIntLocalArray(lanes);
        int[] counts = context.allocateIntLocalArray(lanes);
        int row = StepBuffer.last(step, sequence, capacity) * vocabulary;
        int from = slice * SLICE;
        int to = Attention.within(sequence, StepBuffer.sequences(step)) * TornadoMath.min(from + SLICE, vocabulary);
        float largest = LOWEST;
        int largestId = vocabulary;
        int nans = 0;
        float lowest = -LOWEST;
        for (int i = from + lane; i < to; i += lanes) {
            float z = logits.get(row + i);
            int part = parts.get(i);
            if (part == Op.Sample.DRAWN) {
                if (z > largest || (z == largest && i < largestId)) {
                    largest = z;
                    largestId = i;
                }
                if (z >= LOWEST && z < lowest) {
                    lowest = z;
                }
            }
            if (part != Op.Sample.PADDING && z != z) {
                nans++;
            }
        }
        floats[lane] = largest;
        ids[lane] = largestId;
        counts[lane] = nans;
        sums[lane] = lowest;
        for (int reach = lanes / 2; reach > 0; reach /= 2) {
            context.localBarrier();
            if (lane < reach) {
                float other = floats[lane + reach];
                if (other > floats[lane] || (other == floats[lane] && ids[lane + reach] < ids[lane])) {
                    floats[lane] = other;
                    ids[lane] = ids[lane + reach];
                }
                counts[lane] += counts[lane + reach];
                sums[lane] = TornadoMath.min(sums[lane], sums[lane + reach]);
            }
        }
        context.localBarrier();
        float max = floats[0];
        float min = sums[0];
        context.localBarrier();
        float sum = 0;
        for (int i = from + lane; i < to; i += lanes) {
            if (parts.get(i) != Op.Sample.PADDING) {
                sum += TornadoMath.exp(logits.get(row + i) - max);
            }
        }
        sums[lane] = sum;
        for (int reach = lanes / 2; reach > 0; reach /= 2) {
            context.localBarrier();
            if (lane < reach) {
                sums[lane] += sums[lane + reach];
            }
        }
        context.localBarrier();
        if (lane == 0) {
            int place = context.groupIdx * FOUND;
            found.set(place, max);
            // Ids below 2^24 are exact as floats.
            found.set(place + 1, ids[0]);
            found.set(place + 2, min);
            found.set(place + 3, sums[0]);
            found.set(place + 4, counts[0]);
        }
    }

    /**
     * One group draws for one sequence, from the last row z of its logits, see {@link stormsight.program.Sampling}.
     *
     * <p>There is no sort. Top-k and top-p each look for the lowest logit they keep: an interval [low, high) of logits
     * is halved until no logit lies inside. What is kept are the logits above {@code cut} and the first {@code ties},
     * by id, of those equal to it; that is exact whatever the number of equal logits. Weights are
     * {@code exp((z - max) / temperature)}.
     */
    public static void draw(KernelContext context, IntArray step, FloatArray sampling, FloatArray logits,
            ByteArray parts, FloatArray scanned, IntArray token, FloatArray logProbability, int capacity,
            int vocabulary, int slices, int lanes) {
        int lane = context.localIdx;
        float[] floats = context.allocateFloatLocalArray(lanes);
        float[] sums = context.allocateFloatLocalArray(lanes);
        int[] ids = context.allocateIntLocalArray(lanes);
        int[] counts = context.allocateIntLocalArray(lanes);
        int sequence = context.groupIdx;
        int scan = sequence * slices;
        if (sequence < StepBuffer.sequences(step)) {
            int row = StepBuffer.last(step, sequence, capacity) * vocabulary;

            // Largest logit, lowest id among equals; whether one is not a number; the lowest finite logit.
            float largest = LOWEST;
            int largestId = vocabulary;
            int nans = 0;
            float lowest = -LOWEST;
            for (int s = lane; s < slices; s += lanes) {
                float z = scanned.get((scan + s) * FOUND);
                int id = (int) scanned.get((scan + s) * FOUND + 1);
                if (z > largest || (z == largest && id < largestId)) {
                    largest = z;
                    largestId = id;
                }
                lowest = TornadoMath.min(lowest, scanned.get((scan + s) * FOUND + 2));
                nans += (int) scanned.get((scan + s) * FOUND + 4);
            }
            floats[lane] = largest;
            ids[lane] = largestId;
            counts[lane] = nans;
            sums[lane] = lowest;
            for (int reach = lanes / 2; reach > 0; reach /= 2) {
                context.localBarrier();
                if (lane < reach) {
                    float other = floats[lane + reach];
                    if (other > floats[lane] || (other == floats[lane] && ids[lane + reach] < ids[lane])) {
                        floats[lane] = other;
                        ids[lane] = ids[lane + reach];
                    }
                    counts[lane] += counts[lane + reach];
                    sums[lane] = TornadoMath.min(sums[lane], sums[lane + reach]);
                }
            }
            context.localBarrier();
            float max = floats[0];
            int best = ids[0];
            int anyNan = counts[0];
            float min = sums[0];
            context.localBarrier();

            // Sum of exp(z - max), for the log-probability.
            float part = 0;
            for (int s = lane; s < slices; s += lanes) {
                part += scanned.get((scan + s) * FOUND + 3) * TornadoMath.exp(scanned.get((scan + s) * FOUND) - max);
            }
            sums[lane] = part;
            for (int reach = lanes / 2; reach > 0; reach /= 2) {
                context.localBarrier();
                if (lane < reach) {
                    sums[lane] += sums[lane + reach];
                }
            }
            context.localBarrier();
            float total = sums[0];
            context.localBarrier();

            float temperature = StepBuffer.temperature(sampling, sequence);
            int drawn = best;
            if (temperature > 0) {
                float inverse = 1 / temperature;
                float cut = min;
                int ties = vocabulary;

                int topK = StepBuffer.topK(step, sequence);
                if (topK > 0 && topK < vocabulary) {
                    // Invariant: at least topK logits are >= low, fewer are >= high. The first probe is max itself.
                    float low = min;
                    float high = max;
                    float probe = max;
                    int open = 1;
                    int above = 0;
                    while (open != 0) {
                        int count = 0;
                        for (int i = lane; i < vocabulary; i += lanes) {
                            if (logits.get(row + i) >= probe && parts.get(i) == Op.Sample.DRAWN) {
                                count++;
                            }
                        }
                        counts[lane] = count;
                        for (int reach = lanes / 2; reach > 0; reach /= 2) {
                            context.localBarrier();
                            if (lane < reach) {
                                counts[lane] += counts[lane + reach];
                            }
                        }
                        context.localBarrier();
                        int found = counts[0];
                        context.localBarrier();
                        if (found >= topK) {
                            low = probe;
                            if (probe == max) {
                                open = 0;
                            }
                        } else {
                            high = probe;
                            above = found;
                        }
                        probe = 0.5f * low + 0.5f * high;
                        if (probe <= low || probe >= high) {
                            open = 0;
                        }
                    }
                    cut = low;
                    ties = topK - above;
                }

                float topP = StepBuffer.topP(sampling, sequence);
                if (topP < 1) {
                    // The weight of what top-k left, then the same search over weights.
                    float weight = 0;
                    int equal = 0;
                    for (int i = lane; i < vocabulary; i += lanes) {
                        float z = logits.get(row + i);
                        int drawable = parts.get(i);
                        if (z > cut && drawable == Op.Sample.DRAWN) {
                            weight += TornadoMath.exp((z - max) * inverse);
                        } else if (z == cut && drawable == Op.Sample.DRAWN) {
                            equal++;
                        }
                    }
                    sums[lane] = weight;
                    counts[lane] = equal;
                    for (int reach = lanes / 2; reach > 0; reach /= 2) {
                        context.localBarrier();
                        if (lane < reach) {
                            sums[lane] += sums[lane + reach];
                            counts[lane] += counts[lane + reach];
                        }
                    }
                    context.localBarrier();
                    int kept = TornadoMath.min(ties, counts[0]);
                    float aim = topP * (sums[0] + kept * TornadoMath.exp((cut - max) * inverse));
                    context.localBarrier();

                    float low = cut;
                    float high = max;
                    float probe = max;
                    float above = 0;
                    int open = 1;
                    if (cut == max) {
                        open = 0;
                    }
                    while (open != 0) {
                        weight = 0;
                        for (int i = lane; i < vocabulary; i += lanes) {
                            float z = logits.get(row + i);
                            if (z >= probe && parts.get(i) == Op.Sample.DRAWN) {
                                weight += TornadoMath.exp((z - max) * inverse);
                            }
                        }
                        sums[lane] = weight;
                        for (int reach = lanes / 2; reach > 0; reach /= 2) {
                            context.localBarrier();
                            if (lane < reach) {
                                sums[lane] += sums[lane + reach];
                            }
                        }
                        context.localBarrier();
                        float found = sums[0];
                        context.localBarrier();
                        if (found >= aim) {
                            low = probe;
                            if (probe == max) {
                                open = 0;
                            }
                        } else {
                            high = probe;
                            above = found;
                        }
                        probe = 0.5f * low + 0.5f * high;
                        if (probe <= low || probe >= high) {
                            open = 0;
                        }
                    }
                    float each = TornadoMath.exp((low - max) * inverse);
                    int needed = 1;
                    if (each > 0) {
                        // Rounding up of a quotient that may itself be rounded: the neighbours are tried.
                        needed = (int) ((aim - above) / each);
                        if (needed < 1) {
                            needed = 1;
                        }
                        if (needed * each < aim - above) {
                            needed++;
                        }
                    }
                    if (low > cut) {
                        ties = needed;
                    } else {
                        ties = TornadoMath.min(kept, needed);
                    }
                    cut = low;
                }

                // Each lane takes a run of ids, so that ties and weights can be counted in their order.
                int run = (vocabulary + lanes - 1) / lanes;
                int from = TornadoMath.min(lane * run, vocabulary);
                int to = TornadoMath.min(from + run, vocabulary);
                float each = TornadoMath.exp((cut - max) * inverse);
                float weight = 0;
                int equal = 0;
                for (int i = from; i < to; i++) {
                    float z = logits.get(row + i);
                    int drawable = parts.get(i);
                    if (z > cut && drawable == Op.Sample.DRAWN) {
                        weight += TornadoMath.exp((z - max) * inverse);
                    } else if (z == cut && drawable == Op.Sample.DRAWN) {
                        equal++;
                    }
                }
                sums[lane] = weight;
                counts[lane] = equal;
                context.localBarrier();
                if (lane == 0) {
                    int left = ties;
                    float sum = 0;
                    for (int l = 0; l < lanes; l++) {
                        int taken = TornadoMath.min(left, counts[l]);
                        // From here on: how many ties the lane may take, and what it adds to the sum.
                        counts[l] = taken;
                        left -= taken;
                        sums[l] += taken * each;
                        sum += sums[l];
                    }
                    float aim = StepBuffer.coin(sampling, sequence) * sum;
                    float passed = 0;
                    int chosen = -1;
                    float before = 0;
                    for (int l = 0; l < lanes; l++) {
                        if (chosen < 0) {
                            before = passed;
                            passed += sums[l];
                            if (passed > aim) {
                                chosen = l;
                            }
                        }
                    }
                    int last = best;
                    if (chosen >= 0) {
                        float cumulated = before;
                        int mayTake = counts[chosen];
                        int found = 0;
                        int end = TornadoMath.min(chosen * run + run, vocabulary);
                        for (int i = chosen * run; i < end; i++) {
                            float z = logits.get(row + i);
                            float add = -1;
                            int drawable = parts.get(i);
                            if (z > cut && drawable == Op.Sample.DRAWN) {
                                add = TornadoMath.exp((z - max) * inverse);
                            } else if (z == cut && drawable == Op.Sample.DRAWN && mayTake > 0) {
                                mayTake--;
                                add = each;
                            }
                            if (add >= 0 && found == 0) {
                                cumulated += add;
                                last = i;
                                if (cumulated > aim) {
                                    found = 1;
                                }
                            }
                        }
                    }
                    ids[0] = last;
                }
                context.localBarrier();
                drawn = ids[0];
            }
            if (lane == 0) {
                if (anyNan != 0) {
                    token.set(sequence, -1);
                    // Not a number either.
                    logProbability.set(sequence, total);
                } else {
                    token.set(sequence, drawn);
                    logProbability.set(sequence, logits.get(row + drawn) - max - TornadoMath.log(total));
                }
            }
        }
    }
}
