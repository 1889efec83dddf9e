package stormsight.match;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;

/**
 * Labels as texts that images are compared with. Several templates make an ensemble: the mean of a label's embeddings,
 * brought to length 1 again.
 *
 * @see <a href="https://arxiv.org/abs/2103.00020">Learning Transferable Visual Models From Natural Language
 * Supervision</a>, 3.1.4
 */
public final class ZeroShot {
    /** Where a template holds the label. */
    public static final String PLACE = "{}";
    /** What transformers' pipeline takes. */
    public static final String TEMPLATE = "This is a photo of {}.";

    private final Similarity similarity;
    private final List<float[]> labels;

    /** @param templates hold {@value #PLACE}; at least one */
    public ZeroShot(Embedder embedder, List<String> labels, List<String> templates) {
        similarity = embedder.similarity();
        Iterator<float[]> texts = new FileEmbedder(embedder, true, 1)
                .texts(labels.stream()
                        .flatMap(label -> templates.stream().map(template -> template.replace(PLACE, label)))
                        .toList());
        this.labels = labels.stream()
                .map(_ -> mean(templates.stream().map(_ -> texts.next()).toList()))
                .toList();
    }

    private static float[] mean(List<float[]> embeddings) {
        if (embeddings.size() == 1) {
            return embeddings.getFirst();
        }
        float[] sum = new float[embeddings.getFirst().length];
        for (float[] embedding : embeddings) {
            for (int i = 0; i < sum.length; i++) {
                sum[i] += embedding[i];
            }
        }
        return Embedder.normalized(sum);
    }

    /**
     * How probable each label is.
     *
     * @param image of length 1
     */
    public double[] probabilities(float[] image) {
        return similarity.probabilities(labels.stream().mapToDouble(label -> similarity.logit(image, label)).toArray());
    }

    /** Places of the largest numbers, the largest first. */
    public static List<Integer> best(double[] probabilities, int count) {
        List<Integer> places = new ArrayList<>();
        for (int i = 0; i < probabilities.length; i++) {
            places.add(i);
        }
        places.sort((a, b) -> Double.compare(probabilities[b], probabilities[a]));
        return List.copyOf(places.subList(0, Math.min(count, places.size())));
    }
}
