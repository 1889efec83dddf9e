package stormsight.backend.cpu;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import stormsight.program.Step;

/**
 * Daemon threads that share the pieces of a kernel with the calling thread. A thread that finds no work spins for a
 * short while, then parks. Running a kernel allocates nothing.
 */
final class Workers implements AutoCloseable {
    /** Spins before parking, some ten microseconds: longer than the gap between two kernels of a run. */
    private static final int SPINS = 1 << 10;

    private static final long PIECES_MASK = 0xFFFFFFFFL;

    /**
     * Upper half: number of the job; lower half: pieces that nobody has claimed yet. Both change together, so that a
     * late thread cannot claim a piece of one job with the fields of another.
     */
    private final AtomicLong claims = new AtomicLong();

    private final AtomicInteger unfinished = new AtomicInteger();
    private final Thread[] threads;
    private final AtomicInteger[] parked;

    private Kernel kernel;
    private Step step;
    private int pieces;
    private volatile Throwable failure;
    private volatile boolean closed;

    /** @param count threads that work, the caller of {@link #run} among them */
    Workers(int count) {
        threads = new Thread[count - 1];
        parked = new AtomicInteger[count - 1];
        for (int i = 0; i < threads.length; i++) {
            int index = i;
            parked[i] = new AtomicInteger();
            threads[i] = new Thread(() -> serve(index), "stormsight-cpu-" + (i + 1));
            threads[i].setDaemon(true);
            threads[i].start();
        }
    }

    int count() {
        return threads.length + 1;
    }

    /** Runs all pieces of a kernel and returns when the last one is done. */
    synchronized void run(Kernel newKernel, Step newStep) {
        int count = newKernel.pieces(newStep);
        if (count == 1 || threads.length == 0) {
            for (int piece = 0; piece < count; piece++) {
                newKernel.run(newStep, piece, 0);
            }
            return;
        }
        kernel = newKernel;
        step = newStep;
        pieces = count;
        failure = null;
        unfinished.set(count);
        long job = (claims.get() >>> 32) + 1;
        claims.set(job << 32 | count);
        int useful = Math.min(threads.length, count - 1);
        for (int i = 0; i < useful; i++) {
            if (parked[i].get() == 1) {
                LockSupport.unpark(threads[i]);
            }
        }
        work(0);
        for (int spins = 0; unfinished.get() != 0; spins++) {
            if (spins < SPINS) {
                Thread.onSpinWait();
            } else {
                Thread.yield();
            }
        }
        kernel = null;
        step = null;
        Throwable thrown = failure;
        if (thrown instanceof RuntimeException exception) {
            throw exception;
        }
        if (thrown instanceof Error error) {
            throw error;
        }
    }

    private void serve(int index) {
        int spins = 0;
        while (!closed) {
            if (work(index + 1)) {
                spins = 0;
            } else if (spins < SPINS) {
                spins++;
                Thread.onSpinWait();
            } else {
                parked[index].set(1);
                if ((claims.get() & PIECES_MASK) == 0 && !closed) {
                    LockSupport.park(this);
                }
                parked[index].set(0);
                spins = 0;
            }
        }
    }

    /** Claims and runs pieces until none is left. */
    private boolean work(int worker) {
        boolean worked = false;
        while (true) {
            long claim = claims.get();
            long left = claim & PIECES_MASK;
            if (left == 0) {
                return worked;
            }
            if (!claims.compareAndSet(claim, claim - 1)) {
                continue;
            }
            worked = true;
            try {
                kernel.run(step, (int) (pieces - left), worker);
            } catch (RuntimeException | Error thrown) {
                failure = thrown;
            } finally {
                unfinished.decrementAndGet();
            }
        }
    }

    @Override
    public void close() {
        closed = true;
        for (Thread thread : threads) {
            LockSupport.unpark(thread);
        }
        boolean interrupted = false;
        for (Thread thread : threads) {
            while (thread.isAlive()) {
                try {
                    thread.join();
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
