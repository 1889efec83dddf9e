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
     * {@code -Dstormsight.tornado.unroll=true}: tasks of their own for every layer, instead of one graph that runs once
     * a layer. Not the default: on PoCL, a PaliGemma of 3B took 209 s to its first token instead of 74 and decoded as
     * fast, 0.9 against 0.8 tokens a second. No GPU has been measured.
     */
    static boolean unroll() {
        return Boolean.getBoolean("stormsight.tornado.unroll");
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
