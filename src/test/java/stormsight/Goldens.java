package stormsight;

import java.net.URI;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;

/** Folders of values that transformers computed; see their expected.json. */
public final class Goldens {
    /** The checkpoints of PaliGemma 1 and 2. */
    public static final List<String> MODELS = List.of("paligemma-mqa", "paligemma-gqa", "paligemma-bf16", "paligemma-sharded",
            "paligemma2", "paligemma2-window");

    private Goldens() {}

    public static Path folder(String name) {
        try {
            URI uri = Objects.requireNonNull(Goldens.class.getResource("/goldens/" + name), name).toURI();
            return Path.of(uri);
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }
}
