package stormsight.probe;

import java.util.List;

/**
 * Attention rollout: how much of each token's input reaches a token through all layers, if a layer hands on half of
 * what it is given as it is and half by attention, {@code R = A'_L ... A'_2 A'_1} with {@code A' = (I + A) / 2}, where
 * A is the mean over heads. Only the rows that are asked for are computed, from the last layer back.
 *
 * @see <a href="https://arxiv.org/abs/2005.00928">Abnar, Zuidema: Quantifying attention flow in transformers</a>
 */
final class Rollout {
    private final int layers;
    private final int tokens;
    private final float[] prompt;
    private final int capacity;
    private final List<float[]> generated;
    private final int keys;

    /**
     * @param tokens of the prompt
     * @param prompt [layers, capacity, capacity]
     * @param generated a [layers, keys] for each generated token
     */
    Rollout(int layers, int tokens, float[] prompt, int capacity, List<float[]> generated, int keys) {
        this.layers = layers;
        this.tokens = tokens;
        this.prompt = prompt;
        this.capacity = capacity;
        this.generated = List.copyOf(generated);
        this.keys = keys;
    }

    /** What reaches the token at a place from each token up to the last one, [tokens and generated]; sums to 1. */
    double[] row(int place) {
        double[] row = new double[tokens + generated.size()];
        row[place] = 1;
        for (int layer = layers - 1; layer >= 0; layer--) {
            double[] before = new double[row.length];
            for (int query = 0; query < row.length; query++) {
                double half = row[query] / 2;
                if (half == 0) {
                    continue;
                }
                before[query] += half;
                boolean prompted = query < tokens;
                float[] weights = prompted ? prompt : generated.get(query - tokens);
                int first = prompted ? (layer * capacity + query) * capacity : layer * keys;
                int seen = prompted ? tokens : query + 1;
                for (int key = 0; key < seen; key++) {
                    before[key] += half * weights[first + key];
                }
            }
            row = before;
        }
        return row;
    }
}
