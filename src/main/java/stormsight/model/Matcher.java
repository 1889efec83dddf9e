package stormsight.model;

import java.util.List;
import stormsight.tokenizer.Tokenizer;

/**
 * What reads an image and a text together and says whether they belong to each other, and also puts each alone into one
 * space of vectors: several for an image, of which the one that is closest to a text counts. BLIP-2 with its
 * Q-Former's own heads.
 */
public non-sealed interface Matcher extends ImageEncoder {
    /** Stage of the image's program in which queries read the image, in each layer that does so. */
    String QUERIES_ALONE = "itc.image_cross";
    /** The same of the program of a pair. */
    String QUERIES_WITH_TEXT = "itm.cross";
    /** Stage of the program of a pair in which queries and words read each other, in each layer. */
    String TOGETHER = "itm.self";

    /**
     * The programs of a model.
     *
     * @param image makes a vector for each query, [queries, columns], and keeps what {@code pair} reads of the image
     * @param text makes a vector of a text's ids, [1, columns]
     * @param pair makes two logits, [1, 2], of the ids of {@link #pairIds} and the image that was run last: that they
     *     do not belong together, and that they do
     */
    record Encoders(Encoding image, Encoding text, Encoding pair) {
        List<Encoding> all() {
            return List.of(image, text, pair);
        }
    }

    /** Numbers in a vector. */
    int columns();

    /** What names the ids of texts. Waits for the tokenizer. */
    Tokenizer tokenizer();

    /**
     * The ids of a text, special tokens included. Waits for the tokenizer.
     *
     * @throws IllegalArgumentException if the text has more tokens than the model has positions
     * @throws stormsight.checkpoint.CheckpointException if it holds a token that has no row in the embedding table
     */
    int[] ids(String text);

    /** The ids of a text behind what stands for the queries. */
    int[] pairIds(int[] textIds);

    /**
     * Writes the model's programs. Every weight is asked of {@code weights} where it is used, whether they hold values
     * or not.
     */
    Encoders build(Weights weights);

    @Override
    default List<Encoding> encodings(Weights weights) {
        return build(weights).all();
    }
}
