package stormsight.study;

import java.util.List;
import java.util.Optional;
import stormsight.image.RgbImage;
import stormsight.probe.AttentionMap;
import stormsight.probe.TowerReading;
import stormsight.probe.Visibility;
import stormsight.report.VisibilityFigure;

/**
 * What a model makes of an image, read for an {@link Explanation}.
 *
 * @param view what the tower sees, cut to whole patches
 * @param views how many views the model takes of the image, of which this is the first
 * @param patchSize pixels of a patch's side
 * @param positions how alike the position embeddings of patches are, [patches, patches]
 * @param visible which tokens see which, one of each kind of layers; none without a prompt
 * @param bridge where the image reaches words through queries
 * @param answer if the model was asked something
 */
public record Explained(
        RgbImage view,
        int views,
        int patchSize,
        TowerReading tower,
        float[] positions,
        List<VisibleTokens> visible,
        Optional<Bridge> bridge,
        Optional<String> answer) {
    public Explained {
        visible = List.copyOf(visible);
    }

    /**
     * Which tokens see which.
     *
     * @param rule what the picture shows, in a sentence
     * @param layers which layers of how many, empty if all see the same
     */
    public record VisibleTokens(
            String rule, String layers, List<VisibilityFigure.Token> tokens, Visibility visibility) {
        public VisibleTokens {
            tokens = List.copyOf(tokens);
        }
    }

    /**
     * Queries between image and words.
     *
     * @param queries maps of what queries read of the image, as {@link
     *     stormsight.probe.AttentionMaps#queryMaps} makes them
     * @param words what words read of queries: in each layer, and the sum, [words, queries]; none without words
     */
    public record Bridge(List<AttentionMap> queries, List<AttentionMap> words) {
        public Bridge {
            queries = List.copyOf(queries);
            words = List.copyOf(words);
        }
    }
}
