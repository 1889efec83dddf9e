package stormsight.tornado;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import stormsight.backend.BackendException;

/**
 * Fills loads in their order on a thread of its own, so that weights are read while other ones are sent and while
 * kernels are compiled. Never holds more than {@link #AHEAD_BYTES} that were not sent yet, unless one load alone is
 * larger.
 */
final class Filling implements AutoCloseable {
    private static final long AHEAD_BYTES = 1L << 31;
    /** Bytes that a permit stands for: permits are counted in an int. */
    private static final long PERMIT_BYTES = 1 << 20;
    private static final int PERMITS = (int) (AHEAD_BYTES / PERMIT_BYTES);

    private final List<Residency.Load> loads;
    private final List<Future<Void>> filled = new ArrayList<>();
    private final Semaphore room = new Semaphore(PERMITS);
    private final ExecutorService thread =
            Executors.newSingleThreadExecutor(Thread.ofPlatform().daemon().name("weights").factory());
    private volatile long nanos;

    private Filling(List<Residency.Load> loads) {
        this.loads = loads;
    }

    static Filling start(List<Residency.Load> loads) {
        Filling filling = new Filling(loads);
        loads.forEach(load -> filling.filled.add(filling.thread.submit(() -> filling.fill(load))));
        return filling;
    }

    private Void fill(Residency.Load load) throws InterruptedException {
        room.acquire(permits(load));
        long start = System.nanoTime();
        load.fill();
        // Written by this one thread alone.
        nanos += System.nanoTime() - start;
        return null;
    }

    private static int permits(Residency.Load load) {
        return (int) Math.min(PERMITS, Math.ceilDiv(load.bytes(), PERMIT_BYTES));
    }

    /**
     * Waits until a load is filled.
     *
     * @throws RuntimeException that of filling it, as it is; so are errors
     */
    void await(int load) {
        try {
            filled.get(load).get();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new BackendException("interrupted while weights were read", e);
        } catch (ExecutionException e) {
            switch (e.getCause()) {
                case RuntimeException cause -> throw cause;
                case Error cause -> throw cause;
                default -> throw new IllegalStateException(e.getCause());
            }
        }
    }

    /**
     * Makes room for loads to come, now that one is on the device.
     *
     * @param keep whether its host memory stays until the executor is closed; else it is freed
     */
    void sent(int load, boolean keep) {
        if (!keep) {
            loads.get(load).free();
        }
        room.release(permits(loads.get(load)));
    }

    /** Nanoseconds that the thread has been filling so far. */
    long nanos() {
        return nanos;
    }

    /** Ends the thread; returns when it touches no load any more. */
    @Override
    public void close() {
        thread.shutdownNow();
        thread.close();
    }
}
