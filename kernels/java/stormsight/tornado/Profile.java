package stormsight.tornado;

import uk.ac.manchester.tornado.api.TornadoProfilerResult;

/** Sums of what TornadoVM's profiler says of graphs. */
final class Profile {
    private long graphs;
    private long bytesIn;
    private long bytesOut;
    private long kernelNanos;
    private long jitNanos;
    private long driverNanos;

    void add(TornadoProfilerResult result) {
        graphs++;
        bytesIn += result.getTotalBytesCopyIn();
        bytesOut += result.getTotalBytesCopyOut();
        kernelNanos += result.getDeviceKernelTime();
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

    /** Bytes sent to the device. */
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
