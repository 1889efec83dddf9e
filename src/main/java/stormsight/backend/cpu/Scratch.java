package stormsight.backend.cpu;

/**
 * Working memory that kernels share, since only one of them runs at a time: one block for all threads together, and one block for each thread.
 * Kernels reserve while they are made; addresses are known from {@link #place} on.
 */
final class Scratch {
    private static final long ALIGNMENT = 64;

    private final long[] own;
    private long ownBytes;
    private long sharedBytes;
    private long shared;

    Scratch(int workers) {
        own = new long[workers];
    }

    void reserveShared(long bytes) {
        sharedBytes = Math.max(sharedBytes, align(bytes));
    }

    void reserveOwn(long bytes) {
        ownBytes = Math.max(ownBytes, align(bytes));
    }

    long totalBytes() {
        return sharedBytes + own.length * ownBytes;
    }

    void place(long address) {
        shared = address;
        for (int i = 0; i < own.length; i++) {
            own[i] = address + sharedBytes + i * ownBytes;
        }
    }

    long shared() {
        return shared;
    }

    long own(int worker) {
        return own[worker];
    }

    static long align(long bytes) {
        return Math.addExact(bytes, ALIGNMENT - 1) & -ALIGNMENT;
    }
}
