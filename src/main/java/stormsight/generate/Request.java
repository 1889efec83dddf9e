package stormsight.generate;

import stormsight.image.RgbImage;
import stormsight.program.Sampling;

/**
 * A question about an image.
 *
 * @param maxTokens most tokens of the answer
 * @param seed of the coins that sampling uses; the same seed gives the same answer on every backend, but for rounding
 */
public record Request(RgbImage image, String prompt, int maxTokens, Sampling sampling, long seed) {
    public Request {
        if (maxTokens < 1) {
            throw new IllegalArgumentException("max-tokens " + maxTokens + " is not positive");
        }
    }
}
