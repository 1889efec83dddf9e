package stormsight.backend;

import java.util.Optional;

/**
 * What a user may choose of a backend.
 *
 * @param threads worker threads of a CPU backend; 0 takes one per core
 * @param device id of a device, as {@link DeviceInfo#id()}; empty takes the default
 */
public record BackendOptions(int threads, Optional<String> device) {
    /** More than any machine has cores; starting very many takes minutes. */
    public static final int MOST_THREADS = 1024;
    public static final BackendOptions DEFAULT = new BackendOptions(0, Optional.empty());

    public BackendOptions {
        if (threads < 0) {
            throw new IllegalArgumentException(threads + " threads");
        }
    }
}
