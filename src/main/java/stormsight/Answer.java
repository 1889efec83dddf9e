package stormsight;

import java.util.List;

/**
 * What a model answered.
 *
 * @param text without special tokens; the {@code <loc>} and {@code <seg>} tokens of PaliGemma's detections stay
 * @param tokens all that were drawn, the one that ended the answer included
 * @param complete whether the model ended its answer; false where it was cut off at the most tokens that were asked for
 * @param promptTokens of the prompt, image tokens included
 */
public record Answer(String text, List<Token> tokens, boolean complete, int promptTokens) {
    /**
     * A token of an answer.
     *
     * @param id in the model's vocabulary
     * @param text as the vocabulary writes it
     * @param logProbability natural logarithm of its probability under softmax(logits), whatever the sampling
     */
    public record Token(int id, String text, double logProbability) {}

    public Answer {
        tokens = List.copyOf(tokens);
    }
}
