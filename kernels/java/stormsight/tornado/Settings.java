package stormsight.tornado;

import java.util.List;
import java.util.Optional;

/** The only place of this backend that reads system properties of ours. */
final class Settings {
    private Settings() {}

    /** Why the launcher left out the SDK that it found. */
    static Optional<String> missing() {
        return Optional.ofNullable(System.getProperty("stormsight.tornado.missing"));
    }

    /**
     * Whether the launches of a graph are captured as a CUDA graph when it runs for the first time, and launched all at
     * once from then on; without that, the host takes longer over a launch than a GPU over most kernels.
     * {@code -Dstormsight.tornado.capture=false} launches them one by one.
     */
    static boolean capture(String language) {
        return List.of("cuda", "ptx").contains(language)
                && !"false".equals(System.getProperty("stormsight.tornado.capture"));
    }
}
