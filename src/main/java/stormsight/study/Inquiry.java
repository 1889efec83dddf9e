package stormsight.study;

import java.util.List;
import java.util.Optional;
import stormsight.image.RgbImage;

/**
 * A prompt about an image, with what an experiment needs to know of both.
 *
 * @param question the part of the prompt that is the question; it must occur in the prompt
 * @param object rows of the image's features that show the object in question, if that is known
 * @param maxTokens most tokens of the model's own answer
 */
public record Inquiry(RgbImage image, String prompt, String question, Optional<List<Integer>> object, int maxTokens) {
    public Inquiry {
        object = object.map(List::copyOf);
        if (maxTokens < 1) {
            throw new IllegalArgumentException("max-tokens " + maxTokens + " is not positive");
        }
    }
}
