package stormsight.backend.cpu;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Optional;
import stormsight.backend.FirstTouch;
import stormsight.backend.NativeCall;

/**
 * Copies weights that this process may not have read before. The first read of a page of a mapped file is slow where a
 * virtual machine's pages are mapped a second time by its host, several microseconds for each, even if {@link
 * FirstTouch} had the system map them. The system itself reads by a mapping of its own, which has been used for long:
 * asked to copy from this process to itself, it takes a fraction of that. Elsewhere the processor is faster: each
 * thread tries both.
 */
final class FirstRead {
    private static final Optional<MemorySegment> COPY =
            Linker.nativeLinker().defaultLookup().find("process_vm_readv");

    /** An address, and how many bytes lie there. */
    private static final long RANGE_BYTES = 2L * Long.BYTES;

    /** Copies by which a thread finds out, one way after the other, and their least bytes. */
    private static final int TRIALS = 16;

    private static final long TRIAL_BYTES = 1 << 16;

    /** The weights of a kernel, of which the first run reads all. */
    final class Weights {
        private boolean fresh;
        private boolean begun;

        /** Called before the pieces of a run. */
        void begin() {
            fresh = !begun;
            begun = true;
        }

        /**
         * As {@link NarrowWeights#rows}.
         *
         * @param raw address of {@link #bytes}
         */
        void rows(int worker, Weight w, int first, int count, long to, long raw) {
            if (fresh) {
                FirstRead.this.rows(worker, w, first, count, to, raw);
            } else {
                NarrowWeights.rows(w, first, count, to);
            }
        }
    }

    private final long process;

    /** Of each thread. */
    private final int[] trials;

    /** Of each thread, the best time of a byte, by the system and by the processor. */
    private final double[][] best;

    /** Of each thread, the range that is written and the one that is read. */
    private final MemorySegment[] ranges;

    FirstRead(Arena arena, int workers) {
        this(arena, workers, ProcessHandle.current().pid());
    }

    /** @param process id of the one that is read */
    FirstRead(Arena arena, int workers, long process) {
        this.process = process;
        ranges = new MemorySegment[workers];
        trials = new int[workers];
        best = new double[workers][2];
        for (int i = 0; i < workers; i++) {
            ranges[i] = arena.allocate(2 * RANGE_BYTES, Long.BYTES);
            Arrays.fill(best[i], Double.POSITIVE_INFINITY);
        }
    }

    /** Bytes that {@link #rows} needs besides: for weights in blocks, as they are in the file. */
    static long bytes(Weight w, int rows) {
        return w.dtype().isBlocked() ? rows * (w.rowBytes() + w.scaleBytes()) + Float.BYTES : 0;
    }

    /**
     * As {@link NarrowWeights#rows}.
     *
     * @param raw address of {@link #bytes}
     */
    void rows(int worker, Weight w, int first, int count, long to, long raw) {
        long levels = count * w.rowBytes();
        long from = w.address() + first * w.rowBytes();
        if (!w.dtype().isBlocked()) {
            copy(worker, from, to, levels);
            return;
        }
        // Scales of 32 bits are read at any address, but faster at their own.
        long scales = raw + levels + Float.BYTES - 1 & -Float.BYTES;
        copy(worker, from, raw, levels);
        copy(worker, w.scales() + first * w.scaleBytes(), scales, count * w.scaleBytes());
        NarrowWeights.rows(new Weight(w.dtype(), raw, scales, w.scalesPerRow(), count, w.columns()), 0, count, to);
    }

    /** Copies bytes the faster way, as far as the thread knows. */
    void copy(int worker, long from, long to, long bytes) {
        double[] own = best[worker];
        boolean trial = trials[worker] < TRIALS && bytes >= TRIAL_BYTES;
        int way = trial ? trials[worker]++ % 2 : own[0] < own[1] ? 0 : 1;
        long start = System.nanoTime();
        if (way == 0) {
            copyBySystem(worker, from, to, bytes);
        } else {
            Memory.copy(from, to, bytes);
        }
        if (trial) {
            own[way] = Math.min(own[way], (double) (System.nanoTime() - start) / bytes);
        }
    }

    /** By the processor where the system refuses: some containers do not have the call. */
    void copyBySystem(int worker, long from, long to, long bytes) {
        if (COPY.isEmpty() || copied(COPY.get(), ranges[worker], from, to, bytes) != bytes) {
            Memory.copy(from, to, bytes);
        }
    }

    private long copied(MemorySegment call, MemorySegment own, long from, long to, long bytes) {
        own.setAtIndex(JAVA_LONG, 0, to);
        own.setAtIndex(JAVA_LONG, 1, bytes);
        own.setAtIndex(JAVA_LONG, 2, from);
        own.setAtIndex(JAVA_LONG, 3, bytes);
        return NativeCall.call(call, process, own.address(), 1, own.address() + RANGE_BYTES, 1, 0, 0, 0);
    }
}
