package stormsight.backend;

import java.util.Optional;

/**
 * What a user may choose of a backend.
 *
 * @param threads worker threads of a CPU backend; 0 takes one per core
 * @param device id of a device, as {@link DeviceInfo#id()}; empty takes the default
 */
public record BackendOptions(int threads, Optional<String> device, Precision precision) {
    /** More than any machine has cores; starting very many takes minutes. */
    public static final int MOST_THREADS = 1024;
    public static final BackendOptions DEFAULT = new BackendOptions(0, Optional.empty());
    /** For what others are compared with. */
    public static final BackendOptions STRICT = DEFAULT.withPrecision(Precision.STRICT);

    public BackendOptions {
        if (threads < 0) {
            throw new IllegalArgumentException(threads + " threads");
        }
    }

    public BackendOptions(int threads, Optional<String> device) {
        this(threads, device, Precision.FAST);
    }

    public BackendOptions withPrecision(Precision chosen) {
        return new BackendOptions(threads, device, chosen);
    }

    /** Whether products are computed in 32 bits whatever faster units there are. */
    public boolean strictMath() {
        return precision == Precision.STRICT;
    }
}
