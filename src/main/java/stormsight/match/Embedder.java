package stormsight.match;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.RunListener;
import stormsight.checkpoint.CheckpointException;
import stormsight.image.RgbImage;
import stormsight.model.DualEncoder;
import stormsight.model.Encoding;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Views;
import stormsight.model.Weights;

/**
 * A dual encoder prepared on a backend. Used by one thread. Closing it closes neither the model's files nor the
 * backend.
 */
public final class Embedder implements AutoCloseable {
    /** Images or texts of a run where the backend takes several and nobody says how many. */
    public static final int TOGETHER = 8;

    /** What an image or a text becomes. */
    static final String WHAT = "an embedding";

    private final ModelDirectory directory;
    private final DualEncoder model;
    private final DualEncoder.Encoders encoders;
    private final Towers towers;
    private final Arena arena;
    private final Similarity similarity;

    private Embedder(
            ModelDirectory directory,
            DualEncoder model,
            DualEncoder.Encoders encoders,
            Towers towers,
            Arena arena,
            Similarity similarity) {
        this.directory = directory;
        this.model = model;
        this.encoders = encoders;
        this.towers = towers;
        this.arena = arena;
        this.similarity = similarity;
    }

    /** Prepares a model for {@link #TOGETHER} images or texts of a run, or for one, see the other one. */
    public static Embedder open(ModelDirectory directory, Backend backend, Options options, RunListener listener) {
        return open(directory, backend, options, backend.takesBlocks() ? TOGETHER : 1, listener);
    }

    /**
     * Prepares a model.
     *
     * @param options in what type matrices are held
     * @param together images or texts of a run, 1 where the backend does not {@link Backend#takesBlocks take blocks}
     * @throws CheckpointException if the directory holds no dual encoder
     * @throws BackendException if the device cannot hold or compile the model
     */
    public static Embedder open(
            ModelDirectory directory, Backend backend, Options options, int together, RunListener listener) {
        DualEncoder model = directory.dualEncoder();
        Arena arena = Arena.ofShared();
        try {
            Weights weights = Weights.bound(directory.checkpoint(), arena, options);
            DualEncoder.Encoders encoders = model.build(weights, together);
            Similarity similarity = Similarity.of(model, encoders, weights);
            if (!Double.isFinite(similarity.scale()) || !Double.isFinite(similarity.bias())) {
                throw new CheckpointException(
                        directory.checkpoint().source(), "the scale or bias of the logits is not a finite number");
            }
            return new Embedder(
                    directory,
                    model,
                    encoders,
                    new Towers(weights, List.of(encoders.image(), encoders.text()), backend, listener),
                    arena,
                    similarity);
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    public DualEncoder model() {
        return model;
    }

    /** What the model makes of cosines. */
    public Similarity similarity() {
        return similarity;
    }

    /** As {@link Towers#roundsActivations}. */
    public boolean roundsActivations() {
        return towers.roundsActivations();
    }

    /** Images of a run. */
    public int together() {
        return encoders.image().together();
    }

    /**
     * The embedding of an image, as the model makes it, of any length.
     *
     * @throws BackendException if it has a value that is not a number
     */
    public float[] image(RgbImage image) {
        return images(List.of(model.views(image)))[0];
    }

    /**
     * The embeddings of images, see {@link #image}. On a processor they are the same, to the last bit, however many
     * there are, where an image has more than 16 rows and nothing is {@link #roundsActivations rounded}; else but for
     * rounding.
     *
     * @param images any number, each as the model takes it
     */
    public float[][] images(List<Views> images) {
        return inRuns(images, encoders.image(), run -> towers.images(encoders.image(), run));
    }

    /** The embedding of a text, see {@link #image}. */
    public float[] text(String text) {
        return texts(List.of(text))[0];
    }

    /** The embeddings of texts, see {@link #images}. */
    public float[][] texts(List<String> texts) {
        return ofIds(texts.stream().map(model::ids).toList());
    }

    /** The embeddings of texts, see {@link #images}, each given by its ids as {@link DualEncoder#ids} makes them. */
    public float[][] ofIds(List<int[]> texts) {
        return inRuns(texts, encoders.text(), run -> towers.texts(encoders.text(), run));
    }

    /** @throws CheckpointException in place of what a backend says if the model's files were changed meanwhile */
    private <T> float[][] inRuns(List<T> all, Encoding encoding, Function<List<T>, float[][]> run) {
        List<float[]> rows = new ArrayList<>();
        try {
            for (int i = 0; i < all.size(); i += encoding.together()) {
                List<T> next = all.subList(i, Math.min(all.size(), i + encoding.together()));
                for (float[] row : run.apply(next)) {
                    rows.add(Towers.checked(row, WHAT));
                }
            }
        } catch (BackendException e) {
            throw directory.checkpoint().explained(e);
        }
        return rows.toArray(float[][]::new);
    }

    /** The vector of length 1 of the same direction; one of zeros stays. */
    public static float[] normalized(float[] embedding) {
        double squares = 0;
        for (float value : embedding) {
            squares += (double) value * value;
        }
        double length = Math.sqrt(squares);
        float[] unit = new float[embedding.length];
        for (int i = 0; i < unit.length; i++) {
            unit[i] = length == 0 ? 0 : (float) (embedding[i] / length);
        }
        return unit;
    }

    @Override
    public void close() {
        try (arena) {
            towers.close();
        }
    }
}
