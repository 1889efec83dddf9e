package stormsight.tornado;

import java.lang.reflect.Field;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.enums.MMAShape;
import uk.ac.manchester.tornado.api.types.HalfFloat;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;

/**
 * A group of a kernel for NVIDIA's tensor cores, run as Java. Its lanes are threads. What the 32 lanes of a warp do
 * together happens when the last of them comes to it; until then nobody sees a result, as lanes cannot look into
 * fragments.
 *
 * @see <a href="https://docs.nvidia.com/cuda/parallel-thread-execution/#warp-level-matrix-instructions">which lane
 *     holds what</a>
 */
final class EmulatedGroup {
    private static final int WARP = 32;
    /** A lane that does not come to a barrier would keep the others waiting. */
    private static final int PATIENCE_SECONDS = 60;

    private final int index;
    private final int size;
    private final CyclicBarrier barrier;
    private final List<Object> arrays = new ArrayList<>();
    private final List<Warp> warps = new ArrayList<>();
    private volatile Throwable failure;

    private EmulatedGroup(int index, int size) {
        this.index = index;
        this.size = size;
        barrier = new CyclicBarrier(size);
        for (int i = 0; i < size; i += WARP) {
            warps.add(new Warp());
        }
    }

    /** Runs all groups of a kernel, one after the other. */
    static void run(Geometry geometry, Consumer<KernelContext> kernel) {
        for (int g = 0; g < geometry.globalX() / geometry.localX(); g++) {
            new EmulatedGroup(g, geometry.localX()).run(kernel);
        }
    }

    private void run(Consumer<KernelContext> kernel) {
        List<Thread> lanes = new ArrayList<>();
        for (int i = 0; i < size; i++) {
            Lane lane = new Lane(i);
            lanes.add(Thread.startVirtualThread(() -> {
                try {
                    kernel.accept(lane);
                } catch (RuntimeException | Error e) {
                    if (failure == null) {
                        failure = e;
                    }
                    barrier.reset();
                }
            }));
        }
        for (Thread lane : lanes) {
            try {
                lane.join();
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }
        if (failure != null) {
            throw new AssertionError("group " + index + ": " + failure, failure);
        }
        if (warps.stream().anyMatch(warp -> warp.done.stream().anyMatch(fragment -> fragment.lanes < WARP))) {
            throw new AssertionError("group " + index + ": lanes of a warp did not do the same");
        }
    }

    /** What a warp loads, multiplies or stores at once: a matrix, rows one after the other. */
    private static final class Fragment {
        private final float[] values;
        private final Object handle;
        private int lanes;

        Fragment(int values, Object handle) {
            this.values = new float[values];
            this.handle = handle;
        }
    }

    private static final class Warp {
        /** In the order in which lanes come to them, which is the same for all. */
        private final List<Fragment> done = new ArrayList<>();
        private final Map<Object, Fragment> fragments = new IdentityHashMap<>();

        /** Part of one lane in what is the number-th thing that it does with others. */
        synchronized Fragment join(int number, int values, Object handle) {
            if (number == done.size()) {
                Fragment fragment = new Fragment(values, handle);
                done.add(fragment);
                fragments.put(handle, fragment);
            }
            Fragment fragment = done.get(number);
            if (fragment.values.length != values || fragment.handle.getClass() != handle.getClass()) {
                throw new AssertionError("lanes of a warp do not do the same");
            }
            fragment.lanes++;
            return fragment;
        }

        synchronized Fragment of(Object handle) {
            return fragments.get(handle);
        }
    }

    private final class Lane extends KernelContext {
        private final int lane;
        private final Warp warp;
        private int allocated;
        private int joined;

        Lane(int lane) {
            this.lane = lane % WARP;
            warp = warps.get(lane / WARP);
            set("localIdx", lane);
            set("groupIdx", index);
            set("globalIdx", index * size + lane);
        }

        private void set(String name, int value) {
            try {
                Field field = KernelContext.class.getField(name);
                field.setAccessible(true);
                field.set(this, value);
            } catch (ReflectiveOperationException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        public void localBarrier() {
            try {
                barrier.await(PATIENCE_SECONDS, TimeUnit.SECONDS);
            } catch (InterruptedException | BrokenBarrierException | TimeoutException e) {
                throw new IllegalStateException("lane " + localIdx + " waits at a barrier that others do not come to",
                        e);
            }
        }

        @Override
        public int[] allocateIntLocalArray(int length) {
            return (int[]) allocate(new int[length]);
        }

        @Override
        public float[] allocateFloatLocalArray(int length) {
            return (float[]) allocate(new float[length]);
        }

        /** The array that the first lane brings is that of all. */
        private Object allocate(Object array) {
            synchronized (arrays) {
                if (allocated == arrays.size()) {
                    arrays.add(array);
                }
                return arrays.get(allocated++);
            }
        }

        @Override
        public float[] mmaFragment(float value) {
            Fragment fragment = warp.join(joined++, 16 * 8, new float[1]);
            for (int i = 0; i < 4; i++) {
                fragment.values[element(i)] = value;
            }
            return (float[]) fragment.handle;
        }

        /** Place of one of the four sums of the lane among 16 x 8. */
        private int element(int i) {
            return (lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2;
        }

        /** A lane brings one of 32 rows of 8 numbers. */
        @Override
        public HalfFloat[] mmaLoadA(int[] tile, int depth, int offset) {
            Fragment fragment = warp.join(joined++, 16 * 16, new HalfFloat[1]);
            int row = lane % 16;
            int half = lane / 16;
            load(tile, row * 32 + half * 16 + offset, fragment, row * 16 + half * 8);
            return (HalfFloat[]) fragment.handle;
        }

        /** Each of the first 16 lanes brings one of 16 rows of 8 numbers. */
        @Override
        public HalfFloat[] mmaLoadB(int[] tile, int depth, int offset) {
            Fragment fragment = warp.join(joined++, 16 * 8, new HalfFloat[1]);
            if (lane < 16) {
                load(tile, lane * 16 + offset, fragment, lane * 8);
            }
            return (HalfFloat[]) fragment.handle;
        }

        private static void load(int[] tile, int from, Fragment fragment, int to) {
            if (from % 16 != 0) {
                throw new AssertionError("byte " + from + " of local memory is no multiple of 16");
            }
            for (int i = 0; i < 8; i++) {
                fragment.values[to + i] = Float.intBitsToFloat(tile[from / 4 + i / 2] >>> i % 2 * 16 << 16);
            }
        }

        @Override
        public float[] mmaBF16(HalfFloat[] a, HalfFloat[] b, float[] c, MMAShape shape) {
            Fragment fragment = warp.join(joined++, 16 * 8, new float[1]);
            if (last(fragment)) {
                float[] x = warp.of(a).values;
                float[] y = warp.of(b).values;
                float[] sums = warp.of(c).values;
                for (int i = 0; i < 16 * 8; i++) {
                    double sum = sums[i];
                    for (int k = 0; k < 16; k++) {
                        sum += (double) x[i / 8 * 16 + k] * y[k * 8 + i % 8];
                    }
                    fragment.values[i] = (float) sum;
                }
            }
            return (float[]) fragment.handle;
        }

        @Override
        public void mmaStore(float[] sums, FloatArray to, int row, int column, int width) {
            Fragment store = warp.join(joined++, 16 * 8, this);
            if (last(store)) {
                float[] values = warp.of(sums).values;
                for (int i = 0; i < 16 * 8; i++) {
                    to.set((row + i / 8) * width + column + i % 8, values[i]);
                }
            }
        }

        private boolean last(Fragment fragment) {
            synchronized (warp) {
                return fragment.lanes == WARP;
            }
        }
    }
}
