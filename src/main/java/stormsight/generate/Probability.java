package stormsight.generate;

/** Softmax of one element. */
public final class Probability {
    private Probability() {}

    /**
     * Probability of a token.
     *
     * @param logits rows of logits, of which one is {@code logits[from .. from + count - 1]}
     * @param token of that row
     */
    public static double of(float[] logits, int from, int count, int token) {
        return Math.exp(logOf(logits, from, count, token));
    }

    /** Natural logarithm of the probability of a token. */
    public static double logOf(float[] logits, int from, int count, int token) {
        double largest = Double.NEGATIVE_INFINITY;
        for (int i = 0; i < count; i++) {
            largest = Math.max(largest, logits[from + i]);
        }
        double sum = 0;
        for (int i = 0; i < count; i++) {
            sum += Math.exp(logits[from + i] - largest);
        }
        return logits[from + token] - largest - Math.log(sum);
    }
}
