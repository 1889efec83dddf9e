package stormsight.probe;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import stormsight.model.Description;
import stormsight.probe.AttentionMap.Axis;

/**
 * What a vision tower made of an image, step by step. Arrays are not copied and not to be changed.
 *
 * @param width numbers in a row
 * @param embeddings [rows, width], patch embeddings with their positions, a class token first if there is one
 * @param norms [1 + layers, rows], the Euclidean length of each row: of the embeddings, then after each layer
 * @param classToken [layers, heads, patches], what the class token gives to each patch; what it gives to itself is not
 *     among it
 * @param pooling [heads, patches], what the query of the pooling head gives to each patch
 */
public record TowerReading(
        Description.Vision vision,
        int width,
        float[] embeddings,
        float[] norms,
        Optional<float[]> classToken,
        Optional<float[]> pooling) {
    /** The embedding of a row. */
    public float[] embedding(int row) {
        return Arrays.copyOfRange(embeddings, row * width, (row + 1) * width);
    }

    /** The length of a row's vector, 0 for its embedding, 1 after the first layer and so on. */
    public float norm(int after, int row) {
        return norms[after * vision.rows() + row];
    }

    /** All numbers of the embeddings. */
    public AttentionMap embeddingMap() {
        return new AttentionMap(
                "embeddings",
                "what the first layer reads: patch embedding and position embedding added"
                        + (vision.hasClassToken() ? ", the class token first" : "") + ", before any norm",
                List.of(Axis.of("row", rowNames()), Axis.counted("number", width)),
                embeddings);
    }

    /** {@code class}, then the patches. */
    public List<String> rowNames() {
        List<String> names = new ArrayList<>();
        for (int row = 0; row < vision.rows(); row++) {
            names.add(row < vision.firstPatch() ? "class" : String.valueOf(row - vision.firstPatch()));
        }
        return names;
    }

    /** Lengths of all rows. */
    public AttentionMap normMap() {
        return new AttentionMap(
                "norms",
                "Euclidean length of each row's vector: of its embedding, then after each layer",
                List.of(Axis.of("after", steps()), Axis.of("row", rowNames())),
                norms);
    }

    /** Places between layers: {@code embeddings}, then the layers' numbers. */
    public List<String> steps() {
        List<String> steps = new ArrayList<>(List.of("embeddings"));
        IntStream.range(0, vision.layers()).forEach(layer -> steps.add(String.valueOf(layer)));
        return steps;
    }

    /** The lengths of the patches' vectors, [gridRows, gridColumns], of a place between layers. */
    public float[] patchNorms(int after) {
        int from = after * vision.rows() + vision.firstPatch();
        return Arrays.copyOfRange(norms, from, from + vision.patches());
    }

    /** What the class token reads in each layer and head. */
    public Optional<AttentionMap> classTokenMap() {
        return classToken.map(values -> new AttentionMap(
                "class_token",
                "weight that the class token gives to a patch; the rest of its attention is on itself",
                AttentionMaps.axes(
                        vision.gridRows(),
                        vision.gridColumns(),
                        Axis.counted("layer", vision.layers()),
                        Axis.counted("head", vision.heads())),
                values));
    }

    /** What the pooling head reads in each head. */
    public Optional<AttentionMap> poolingMap() {
        return pooling.map(values -> new AttentionMap(
                "pooling",
                "weight that the learned query of the pooling head gives to a patch",
                AttentionMaps.axes(
                        vision.gridRows(),
                        vision.gridColumns(),
                        Axis.counted("head", values.length / vision.patches())),
                values));
    }

    /**
     * How alike position embeddings are: the cosine of each patch's and each patch's.
     *
     * @param positions stored position embeddings, [rows, width]
     * @return [patches, patches]
     */
    public float[] positionSimilarity(float[] positions) {
        int patches = vision.patches();
        int before = vision.firstPatch() * width;
        double[] lengths = new double[patches];
        for (int patch = 0; patch < patches; patch++) {
            lengths[patch] = Math.sqrt(dot(positions, before + patch * width, before + patch * width));
        }
        float[] cosines = new float[Math.multiplyExact(patches, patches)];
        IntStream.range(0, patches).parallel().forEach(row -> {
            for (int column = 0; column < patches; column++) {
                double length = lengths[row] * lengths[column];
                double dot = dot(positions, before + row * width, before + column * width);
                cosines[row * patches + column] = (float) (length == 0 ? 0 : Math.clamp(dot / length, -1, 1));
            }
        });
        return cosines;
    }

    private double dot(float[] values, int a, int b) {
        double sum = 0;
        for (int i = 0; i < width; i++) {
            sum += (double) values[a + i] * values[b + i];
        }
        return sum;
    }
}
