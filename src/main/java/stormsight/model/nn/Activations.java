package stormsight.model.nn;

import java.util.Map;
import java.util.TreeSet;
import stormsight.checkpoint.ConfigFile;
import stormsight.program.Op.Activation;

/** Names of activation functions in config.json. */
public final class Activations {
    private static final Map<String, Activation> NAMES = Map.of(
            "gelu_pytorch_tanh", Activation.GELU_TANH,
            "gelu_new", Activation.GELU_TANH,
            "gelu", Activation.GELU_ERF,
            "quick_gelu", Activation.QUICK_GELU,
            "silu", Activation.SILU,
            "swish", Activation.SILU,
            "relu", Activation.RELU);

    private Activations() {}

    /**
     * The function that a key names.
     *
     * @param absent its name where the key is absent
     * @throws stormsight.checkpoint.CheckpointException if it is not supported
     */
    public static Activation read(ConfigFile config, String key, String absent) {
        String name = config.text(key, absent);
        Activation activation = NAMES.get(name);
        if (activation == null) {
            throw config.invalid(
                    key,
                    "activation '" + name + "' is not supported; supported are "
                            + String.join(", ", new TreeSet<>(NAMES.keySet())));
        }
        return activation;
    }
}
