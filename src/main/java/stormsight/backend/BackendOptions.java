package stormsight.backend;

import java.util.Optional;

/**
 * What a user may choose of a backend.
 *
 * @param threads worker threads of a CPU backend; 0 takes one per core
 * @param device id of a device, as {@link DeviceInfo#id()}; empty takes the default
 * @param strictMath whether products are computed in 32 bits even where the device has faster units for 16: tensor
 *     cores, AVX-512 BF16, AMX
 */
public record BackendOptions(int threads, Optional<String> device, boolean strictMath) {
    /** More than any machine has cores; starting very many takes minutes. */
    public static final int MOST_THREADS = 1024;
    public static final BackendOptions DEFAULT = new BackendOptions(0, Optional.empty());
    /** For what others are compared with. */
    public static final BackendOptions STRICT = DEFAULT.withStrictMath(true);

    public BackendOptions {
        if (threads < 0) {
            throw new IllegalArgumentException(threads + " threads");
        }
    }

    public BackendOptions(int threads, Optional<String> device) {
        this(threads, device, false);
    }

    public BackendOptions withStrictMath(boolean strict) {
        return new BackendOptions(threads, device, strict);
    }
}
