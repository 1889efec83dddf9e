package stormsight.probe;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class RolloutTest {
    private static final int LAYERS = 3;
    private static final int TOKENS = 5;
    private static final int CAPACITY = 7;
    private static final int KEYS = 9;
    private static final int ALL = TOKENS + 2;

    private final SplittableRandom random = new SplittableRandom(5);
    private final float[] prompt = new float[LAYERS * CAPACITY * CAPACITY];
    private final List<float[]> generated = List.of(new float[LAYERS * KEYS], new float[LAYERS * KEYS]);
    /** Attention of each layer with the identity, halved. */
    private final double[][][] mixed = new double[LAYERS][ALL][ALL];

    RolloutTest() {
        Arrays.fill(prompt, Float.NaN);
        for (int layer = 0; layer < LAYERS; layer++) {
            for (int query = 0; query < ALL; query++) {
                int seen = query < TOKENS ? TOKENS : query + 1;
                double[] weights = random.doubles(seen).toArray();
                double sum = Arrays.stream(weights).sum();
                for (int key = 0; key < seen; key++) {
                    float weight = (float) (weights[key] / sum);
                    mixed[layer][query][key] = weight / 2.0;
                    if (query < TOKENS) {
                        prompt[(layer * CAPACITY + query) * CAPACITY + key] = weight;
                    } else {
                        generated.get(query - TOKENS)[layer * KEYS + key] = weight;
                    }
                }
                mixed[layer][query][query] += 0.5;
            }
        }
    }

    private static double[][] product(double[][] a, double[][] b) {
        double[][] product = new double[ALL][ALL];
        for (int i = 0; i < ALL; i++) {
            for (int j = 0; j < ALL; j++) {
                for (int k = 0; k < ALL; k++) {
                    product[i][j] += a[i][k] * b[k][j];
                }
            }
        }
        return product;
    }

    @Test
    void rowsAreThoseOfTheProductOfAllLayers() {
        double[][] expected = mixed[0];
        for (int layer = 1; layer < LAYERS; layer++) {
            expected = product(mixed[layer], expected);
        }
        Rollout rollout = new Rollout(LAYERS, TOKENS, prompt, CAPACITY, generated, KEYS);
        for (int place = 0; place < ALL; place++) {
            assertArrayEquals(expected[place], rollout.row(place), 1e-12);
            assertEquals(1, Arrays.stream(rollout.row(place)).sum(), 1e-6);
        }
    }
}
