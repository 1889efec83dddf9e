package stormsight.model;

/**
 * What the buffers of a model are made for.
 *
 * @param promptTokens most places of a prompt, rows of images included
 * @param newTokens most tokens of an answer
 * @param views most views of a prompt's images, all images together, see {@link Views}
 */
public record Limits(int promptTokens, int newTokens, int views) {
    public Limits {
        if (promptTokens < 2 || newTokens < 1 || views < 1) {
            throw new IllegalArgumentException(
                    promptTokens + " prompt tokens, " + newTokens + " new tokens, " + views + " views");
        }
    }

    /** For prompts about one image of one view. */
    public Limits(int promptTokens, int newTokens) {
        this(promptTokens, newTokens, 1);
    }

    /** Tokens in the cache at the end of the longest answer. */
    public int capacity() {
        return Math.addExact(promptTokens, newTokens);
    }
}
