package stormsight.model.nn;

import java.util.Set;
import stormsight.checkpoint.ConfigFile;

/** Names of activation functions in config.json. */
public final class Activations {
    /** "gelu_new" is the same function. "gelu" is the exact one, by erf, and is refused. */
    private static final Set<String> GELU_TANH = Set.of("gelu_pytorch_tanh", "gelu_new");

    private Activations() {}

    public static void requireGeluTanh(ConfigFile config, String key) {
        String name = config.text(key, "gelu_pytorch_tanh");
        if (!GELU_TANH.contains(name)) {
            throw config.invalid(key, "activation '" + name + "' is not supported, only gelu_pytorch_tanh");
        }
    }
}
