package stormsight.backend.cpu;

import com.sun.management.HotSpotDiagnosticMXBean;
import java.lang.management.ManagementFactory;
import jdk.incubator.vector.FloatVector;

/**
 * How operations that do arithmetic are computed. Those that only move data, and sampling, are the same on both paths.
 * Classes that need the module {@code jdk.incubator.vector} load only on the path that has it.
 */
enum Path {
    /** The oracle: plain loops, sums in double precision, on any Java. */
    SCALAR,
    /** Loops in the Vector API. */
    VECTORS;

    /** The widest vectors, in bits, of processors that may have no FMA. */
    private static final int WITHOUT_FMA = 128;

    /** What runs the kernels, for logs and {@link stormsight.backend.DeviceInfo#runtime}. */
    String description() {
        return switch (this) {
            case SCALAR -> "scalar, double precision";
            case VECTORS -> "Vector API, " + FloatVector.SPECIES_PREFERRED.vectorBitSize() + " bits";
        };
    }

    /**
     * Whether a product and a sum are one instruction, FMA. Without it, Java computes the two in big decimals, and a
     * loop over vectors takes hundreds of times as long. Must not be called without the module.
     */
    static boolean fused() {
        // Asking takes time, and wide vectors come with it.
        if (!Settings.architecture().equals("amd64") || FloatVector.SPECIES_PREFERRED.vectorBitSize() > WITHOUT_FMA) {
            return true;
        }
        HotSpotDiagnosticMXBean virtualMachine = ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class);
        return virtualMachine == null
                || Boolean.parseBoolean(virtualMachine.getVMOption("UseFMA").getValue());
    }

    /** What the processor's ceilings are measured with. */
    Peaks.Loops peaks() {
        return switch (this) {
            case SCALAR -> new Peaks.Scalar();
            case VECTORS -> new PeakVectors();
        };
    }
}
