package stormsight.model;

import stormsight.program.Step;

/**
 * What the buffers of a model are made for.
 *
 * @param promptTokens most places of a prompt, rows of images included
 * @param newTokens most tokens of an answer
 * @param views most views of a prompt's images, all images together, see {@link Views}
 * @param sequences most prompts that are answered at the same time, at most {@link Step#MOST_SEQUENCES}
 */
public record Limits(int promptTokens, int newTokens, int views, int sequences) {
    public Limits {
        if (promptTokens < 2 || newTokens < 1 || views < 1 || sequences < 1 || sequences > Step.MOST_SEQUENCES) {
            throw new IllegalArgumentException(promptTokens + " prompt tokens, " + newTokens + " new tokens, " + views
                    + " views, " + sequences + " sequences");
        }
    }

    /** For one prompt at a time. */
    public Limits(int promptTokens, int newTokens, int views) {
        this(promptTokens, newTokens, views, 1);
    }

    /** For one prompt at a time, about one image of one view. */
    public Limits(int promptTokens, int newTokens) {
        this(promptTokens, newTokens, 1);
    }

    public Limits withSequences(int chosen) {
        return new Limits(promptTokens, newTokens, views, chosen);
    }

    /** Tokens of a sequence in the cache at the end of the longest answer. */
    public int capacity() {
        return Math.addExact(promptTokens, newTokens);
    }
}
