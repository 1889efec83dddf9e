package stormsight.backend.cpu;

/**
 * Working memory that kernels share, since only one of them runs at a time: one block for all threads together, and one
 * block for each thread. Kernels reserve while they are made; addresses are known from {@link #place} on.
 */
final class Scratch {
    private static final long ALIGNMENT = 64;

    private final long[] own;
    private final float[][] panels;
    private int panelLength;
    private long ownBytes;
    private long sharedBytes;
    private long shared;

    Scratch(int workers) {
        own = new long[workers];
        panels = new float[workers][];
    }

    /** Threads that have a block of their own. */
    int workers() {
        return own.length;
    }

    void reserveShared(long bytes) {
        sharedBytes = Math.max(sharedBytes, align(bytes));
    }

    void reserveOwn(long bytes) {
        ownBytes = Math.max(ownBytes, align(bytes));
    }

    /** An array of the thread's own. */
    void reservePanel(int length) {
        panelLength = Math.max(panelLength, length);
    }

    /** Bytes at the address that {@link #place} gets. */
    long nativeBytes() {
        return sharedBytes + own.length * ownBytes;
    }

    long heapBytes() {
        return 4L * own.length * panelLength;
    }

    void place(long address) {
        shared = address;
        for (int i = 0; i < own.length; i++) {
            own[i] = address + sharedBytes + i * ownBytes;
            panels[i] = new float[panelLength];
        }
    }

    long shared() {
        return shared;
    }

    long own(int worker) {
        return own[worker];
    }

    float[] panel(int worker) {
        return panels[worker];
    }

    static long align(long bytes) {
        return Math.addExact(bytes, ALIGNMENT - 1) & -ALIGNMENT;
    }
}
