package stormsight;

import java.util.List;
import stormsight.generate.Request;
import stormsight.program.Sampling;

/**
 * What a model is asked.
 *
 * @param images at least one
 * @param prompt as the model's family takes it: PaliGemma knows tasks such as {@code caption en}, LLaVA any question
 * @param maxTokens most tokens of the answer
 * @param temperature 0 takes the most probable token, more draws more freely
 * @param topK draws among so many most probable tokens; 0 keeps all
 * @param topP draws among the most probable tokens that sum to it; 1 keeps all
 * @param seed the same seed gives the same answer
 * @param repeatPenalty above 1, tokens that the prompt or the answer holds already become less probable, as by
 *     transformers' {@code repetition_penalty}; 1 for none
 */
public record Question(
        List<Image> images,
        String prompt,
        int maxTokens,
        float temperature,
        int topK,
        float topP,
        long seed,
        float repeatPenalty) {
    /** Tokens of an answer where nobody says how many. */
    public static final int DEFAULT_MAX_TOKENS = 128;

    /** @throws IllegalArgumentException if a number is out of its range, or there is no image */
    public Question {
        images = List.copyOf(images);
        if (images.isEmpty()) {
            throw new IllegalArgumentException("no image");
        }
        if (maxTokens < 1) {
            throw new IllegalArgumentException("max-tokens " + maxTokens + " is not positive");
        }
        Request.checkPenalty(repeatPenalty);
        new Sampling(temperature, topK, topP);
    }

    /** A question about one image, answered with the most probable tokens. */
    public static Question of(Image image, String prompt) {
        return new Question(List.of(image), prompt, DEFAULT_MAX_TOKENS, 0, 0, 1, 0, 1);
    }

    /** The same with another longest answer. */
    public Question withMaxTokens(int tokens) {
        return new Question(images, prompt, tokens, temperature, topK, topP, seed, repeatPenalty);
    }

    /** The same with an answer that is drawn. */
    public Question withSampling(float chosenTemperature, int chosenTopK, float chosenTopP, long chosenSeed) {
        return new Question(
                images, prompt, maxTokens, chosenTemperature, chosenTopK, chosenTopP, chosenSeed, repeatPenalty);
    }

    /** The same with an answer that repeats less. */
    public Question withRepeatPenalty(float penalty) {
        return new Question(images, prompt, maxTokens, temperature, topK, topP, seed, penalty);
    }
}
