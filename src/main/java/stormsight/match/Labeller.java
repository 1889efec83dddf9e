package stormsight.match;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.RunListener;
import stormsight.model.Classifier;
import stormsight.model.Encoding;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Views;
import stormsight.model.Weights;

/**
 * A classifier prepared on a backend. Used by one thread. Closing it closes neither the model's files nor the backend.
 */
public final class Labeller implements AutoCloseable {
    /** What a label becomes. */
    static final String WHAT = "a logit";

    private final Classifier model;
    private final Encoding encoding;
    private final Towers towers;
    private final Arena arena;

    private Labeller(Classifier model, Encoding encoding, Towers towers, Arena arena) {
        this.model = model;
        this.encoding = encoding;
        this.towers = towers;
        this.arena = arena;
    }

    /**
     * Prepares a model.
     *
     * @param options in what type matrices are held
     * @param together images of a run, 1 where the backend does not {@link Backend#takesBlocks take blocks}
     * @throws stormsight.checkpoint.CheckpointException if the directory holds no classifier
     * @throws BackendException if the device cannot hold or compile the model
     */
    public static Labeller open(
            ModelDirectory directory, Backend backend, Options options, int together, RunListener listener) {
        Classifier model = directory.classifier();
        Arena arena = Arena.ofShared();
        try {
            Weights weights = Weights.bound(directory.checkpoint(), arena, options);
            Encoding encoding = model.build(weights, together);
            return new Labeller(model, encoding, new Towers(weights, List.of(encoding), backend, listener), arena);
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    public Classifier model() {
        return model;
    }

    /** Images of a run. */
    public int together() {
        return encoding.together();
    }

    /**
     * How probable each of the model's labels is for each of some images.
     *
     * @param images at most as many as a run has, each as the model takes it
     * @throws BackendException if the device makes what is no number
     */
    public double[][] probabilities(List<Views> images) {
        float[][] logits = towers.images(encoding, images);
        return Arrays.stream(logits).map(Labeller::probabilities).toArray(double[][]::new);
    }

    private static double[] probabilities(float[] logits) {
        Towers.checked(logits, WHAT);
        double[] wide = new double[logits.length];
        for (int i = 0; i < logits.length; i++) {
            wide[i] = logits[i];
        }
        return Similarity.softmax(wide);
    }

    @Override
    public void close() {
        try (arena) {
            towers.close();
        }
    }
}
