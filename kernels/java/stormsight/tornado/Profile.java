package stormsight.tornado;

import uk.ac.manchester.tornado.api.TornadoProfilerResult;

/** Sums of what TornadoVM's profiler says of graphs. */
final class Profile {
    /**
     * TornadoVM sends the kernel's own frame, of three addresses, before every launch; the profiler counts it as a
     * transfer.
     */
    static final long FRAME_BYTES = 24;

    private long graphs;
    private long launches;
    private long bytesIn;
    private long bytesOut;
    private long kernelNanos;
    private long jitNanos;
    private long driverNanos;

    /** @param launches kernels of the graph that were launched one by one */
    void add(int launches, TornadoProfilerResult result) {
        graphs++;
        this.launches += launches;
        bytesIn += result.getTotalBytesCopyIn();
        bytesOut += result.getTotalBytesCopyOut();
        kernelNanos += result.getDeviceKernelTime();
        addCompilation(result);
    }

    /** A graph that was compiled and did not run. */
    void addCompilation(TornadoProfilerResult result) {
        jitNanos += result.getTornadoCompilerTime();
        driverNanos += result.getDriverInstallTime();
    }

    /** A transfer on demand, which the profiler counts apart from graphs. */
    void addRead(long bytes) {
        bytesOut += bytes;
    }

    /** Graphs that ran. */
    long graphs() {
        return graphs;
    }

    /** Kernels that were launched one by one. */
    long launches() {
        return launches;
    }

    /** Bytes of ours that went to or came from the device: without the frames of launches. */
    long dataBytes() {
        return bytesIn + bytesOut - FRAME_BYTES * launches;
    }

    /** Bytes sent to the device, frames included. */
    long bytesIn() {
        return bytesIn;
    }

    /** Bytes read from the device. */
    long bytesOut() {
        return bytesOut;
    }

    long kernelNanos() {
        return kernelNanos;
    }

    /** TornadoVM's compiler. */
    long jitNanos() {
        return jitNanos;
    }

    /** The driver's compiler. */
    long driverNanos() {
        return driverNanos;
    }
}
