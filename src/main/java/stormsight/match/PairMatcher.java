package stormsight.match;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.RunListener;
import stormsight.checkpoint.CheckpointException;
import stormsight.model.Matcher;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Views;
import stormsight.model.Weights;

/**
 * A matcher prepared on a backend. Used by one thread. Closing it closes neither the model's files nor the backend.
 */
public final class PairMatcher implements AutoCloseable {
    private final Matcher model;
    private final Matcher.Encoders encoders;
    private final Towers towers;
    private final Arena arena;

    private PairMatcher(Matcher model, Matcher.Encoders encoders, Towers towers, Arena arena) {
        this.model = model;
        this.encoders = encoders;
        this.towers = towers;
        this.arena = arena;
    }

    /**
     * Prepares a model.
     *
     * @param options in what type matrices are held
     * @throws CheckpointException if the directory holds no matcher
     * @throws BackendException if the device cannot hold or compile the model
     */
    public static PairMatcher open(ModelDirectory directory, Backend backend, Options options, RunListener listener) {
        Matcher model = directory.matcher();
        Arena arena = Arena.ofShared();
        try {
            Weights weights = Weights.bound(directory.checkpoint(), arena, options);
            Matcher.Encoders encoders = model.build(weights);
            return new PairMatcher(
                    model,
                    encoders,
                    new Towers(
                            weights, List.of(encoders.image(), encoders.text(), encoders.pair()), backend, listener),
                    arena);
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    public Matcher model() {
        return model;
    }

    /**
     * The vectors of an image, one a query, of length 1. {@link #logits} is about this image from here on.
     *
     * @param image as the model takes it
     * @throws BackendException if one has a value that is not a number
     */
    public float[][] image(Views image) {
        float[] all = Towers.checked(towers.image(encoders.image(), image), Embedder.WHAT);
        float[][] queries = new float[all.length / model.columns()][];
        for (int query = 0; query < queries.length; query++) {
            queries[query] = Embedder.normalized(
                    Arrays.copyOfRange(all, query * model.columns(), (query + 1) * model.columns()));
        }
        return queries;
    }

    /** The vector of a text, of length 1. */
    public float[] text(String text) {
        return Embedder.normalized(
                Towers.checked(towers.text(encoders.text(), model.ids(text)), Embedder.WHAT));
    }

    /**
     * Two logits of a text and the image that was encoded last: that they do not belong together, and that they do.
     *
     * @throws BackendException if one is not a number
     */
    public double[] logits(String text) {
        float[] logits = Towers.checked(towers.text(encoders.pair(), model.pairIds(model.ids(text))), Labeller.WHAT);
        return new double[] {logits[0], logits[1]};
    }

    /** How probable it is that they belong together. */
    public static double probability(double[] logits) {
        return Similarity.softmax(logits)[1];
    }

    /**
     * The largest of the cosines of a text and the queries of an image.
     *
     * @param queries of length 1 each
     */
    public static double similarity(float[][] queries, float[] text) {
        return Arrays.stream(queries)
                .mapToDouble(query -> Similarity.cosine(query, text))
                .max()
                .orElseThrow();
    }

    @Override
    public void close() {
        try (arena) {
            towers.close();
        }
    }
}
