package stormsight.generate;

import java.util.List;
import stormsight.image.RgbImage;
import stormsight.program.Sampling;

/**
 * A question about images.
 *
 * @param maxTokens most tokens of the answer
 * @param seed of the coins that sampling uses; the same seed gives the same answer on every backend, but for rounding
 * @param stops texts before the first of which the answer ends
 * @param repeatPenalty positive; above 1, tokens that the prompt or the answer holds become less probable: their logits
 *     are divided by it where they are positive, and multiplied where they are negative; 1 for none
 */
public record Request(
        List<RgbImage> images,
        String prompt,
        int maxTokens,
        Sampling sampling,
        long seed,
        List<String> stops,
        float repeatPenalty) {
    public Request {
        images = List.copyOf(images);
        stops = List.copyOf(stops);
        if (stops.contains("")) {
            throw new IllegalArgumentException("an empty text cannot end an answer");
        }
        if (images.isEmpty()) {
            throw new IllegalArgumentException("no image");
        }
        if (maxTokens < 1) {
            throw new IllegalArgumentException("max-tokens " + maxTokens + " is not positive");
        }
        checkPenalty(repeatPenalty);
    }

    /** @throws IllegalArgumentException unless it is a positive number */
    public static void checkPenalty(float repeatPenalty) {
        if (!(repeatPenalty > 0) || Float.isInfinite(repeatPenalty)) {
            throw new IllegalArgumentException("repeat-penalty " + repeatPenalty + " is not a positive number");
        }
    }

    /** About one image. */
    public Request(RgbImage image, String prompt, int maxTokens, Sampling sampling, long seed) {
        this(List.of(image), prompt, maxTokens, sampling, seed);
    }

    /** That ends as the model ends it. */
    public Request(List<RgbImage> images, String prompt, int maxTokens, Sampling sampling, long seed) {
        this(images, prompt, maxTokens, sampling, seed, List.of(), 1);
    }

    /** The same question about other images. */
    Request with(List<RgbImage> others) {
        return new Request(others, prompt, maxTokens, sampling, seed, stops, repeatPenalty);
    }
}
