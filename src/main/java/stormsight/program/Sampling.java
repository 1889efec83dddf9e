package stormsight.program;

/**
 * How the next token is drawn from the logits z.
 *
 * <p>Temperature 0 is greedy: the lowest id among the largest logits. Otherwise p = softmax(z / temperature), and
 * tokens are ranked by probability, equal ones by id. {@code topK} keeps the first k of that order; {@code topP} then
 * keeps the shortest beginning whose probabilities, renormalised after topK, sum to at least topP. The token drawn is
 * the first one, in order of ids, at which the cumulated probability of the kept tokens exceeds coin x their sum.
 *
 * @param temperature 0 for greedy, else positive
 * @param topK 0 keeps all
 * @param topP in (0, 1]; 1 keeps all
 */
public record Sampling(float temperature, int topK, float topP) {
    public static final Sampling GREEDY = new Sampling(0, 0, 1);

    public Sampling {
        if (!(temperature >= 0) || Float.isInfinite(temperature)) {
            throw new IllegalArgumentException("temperature " + temperature + " is not zero or a positive number");
        }
        if (topK < 0) {
            throw new IllegalArgumentException("top-k " + topK + " is negative");
        }
        if (!(topP > 0 && topP <= 1)) {
            throw new IllegalArgumentException("top-p " + topP + " is not in (0, 1]");
        }
    }

    public boolean greedy() {
        return temperature == 0;
    }
}
