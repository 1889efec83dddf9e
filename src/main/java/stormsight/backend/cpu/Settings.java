package stormsight.backend.cpu;

import java.nio.file.Path;

/** The only place of this backend that reads system properties and environment. */
final class Settings {
    private Settings() {}

    static String architecture() {
        return System.getProperty("os.arch");
    }

    /**
     * Bytes of weights from which on kernels are native where they can be. A run that has classes archived sets less,
     * so that a small model shows what a large one loads.
     */
    static long nativeFrom() {
        return Long.getLong("stormsight.native.from", NativeKernels.LEAST_BYTES);
    }

    /** Where programs of this user keep what can be made again. */
    static Path caches() {
        String chosen = System.getenv("XDG_CACHE_HOME");
        return chosen != null && !chosen.isEmpty()
                ? Path.of(chosen)
                : Path.of(System.getProperty("user.home"), ".cache");
    }
}
