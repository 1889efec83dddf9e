package stormsight;

import java.util.BitSet;
import java.util.List;
import java.util.Optional;

/**
 * What a model answered.
 *
 * @param text without special tokens; the {@code <loc>} and {@code <seg>} tokens of PaliGemma's detections stay
 * @param tokens all that were drawn, the one that ended the answer included
 * @param complete whether the model ended its answer; false where it was cut off at the most tokens that were asked for
 * @param promptTokens of the prompt, image tokens included
 * @param objects that the text marks on the image, in their order; none where several images were asked about, as an
 *     answer does not say which it marks
 */
public record Answer(
        String text, List<Token> tokens, boolean complete, int promptTokens, List<Marked> objects) {
    /**
     * A token of an answer.
     *
     * @param id in the model's vocabulary
     * @param text as the vocabulary writes it
     * @param logProbability natural logarithm of its probability under softmax(logits), whatever the sampling
     */
    public record Token(int id, String text, double logProbability) {}

    /**
     * An object on the image: a box in pixels of the image that was asked about.
     *
     * @param label may be empty
     * @param x of the left edge
     * @param y of the upper edge
     * @param score geometric mean of the probabilities of the box's tokens
     * @param mask its pixels, if the answer holds a mask and the model was opened with what decodes it
     */
    public record Marked(String label, int x, int y, int width, int height, double score, Optional<Mask> mask) {}

    /**
     * Which pixels of an image belong to an object.
     *
     * @param width of the image
     * @param height of the image
     * @param inside bit {@code y * width + x} for each pixel
     */
    public record Mask(int width, int height, BitSet inside) {
        public Mask {
            inside = (BitSet) inside.clone();
        }

        /** A copy. */
        @Override
        public BitSet inside() {
            return (BitSet) inside.clone();
        }

        /** Whether a pixel belongs to the object; false outside of the image. */
        public boolean at(int x, int y) {
            return x >= 0 && y >= 0 && x < width && y < height && inside.get(y * width + x);
        }
    }

    public Answer {
        tokens = List.copyOf(tokens);
        objects = List.copyOf(objects);
    }
}
