package stormsight.backend.cpu;

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

    /** What runs the kernels, for logs and {@link stormsight.backend.DeviceInfo#runtime}. */
    String description() {
        return switch (this) {
            case SCALAR -> "scalar, double precision";
            case VECTORS -> "Vector API, " + FloatVector.SPECIES_PREFERRED.vectorBitSize() + " bits";
        };
    }

    /** What the processor's ceilings are measured with. */
    Peaks.Loops peaks() {
        return switch (this) {
            case SCALAR -> new Peaks.Scalar();
            case VECTORS -> new PeakVectors();
        };
    }
}
