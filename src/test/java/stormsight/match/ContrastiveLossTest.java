package stormsight.match;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ContrastiveLossTest {
    /** Of the loss. */
    private static final double RELATIVE = 1e-6;

    private static ContrastiveLoss.Logits logits(double size) {
        return (image, text) -> size * Math.sin(12.9898 * image + 78.233 * text);
    }

    /**
     * torch's cross_entropy over rows and columns, and logsigmoid as SiglipModel sums it, in float64. Logits of 10,000
     * overflow an exponential.
     */
    @ParameterizedTest
    @CsvSource({
        "5, 1, 0.0, 0.6931471805599453",
        "5, 2, 2.1995984444771475, 2.801812222054487",
        "5, 7, 4.621487041904016, 11.855319920981515",
        "5, 256, 8.840613962911103, 435.8767888474039",
        "10000, 1, 0.0, 0.6931471805599453",
        "10000, 2, 4146.317510458657, 4146.664084048936",
        "10000, 7, 8303.63922510359, 22090.452246589113",
        "10000, 256, 9981.4500073096, 814899.156629155"})
    void isWhatTorchComputes(double size, int pairs, double softmax, double sigmoid) {
        assertEquals(softmax, ContrastiveLoss.softmax(pairs, logits(size)).total(), RELATIVE * softmax);
        assertEquals(sigmoid, ContrastiveLoss.sigmoid(pairs, logits(size)).total(), RELATIVE * sigmoid);
    }

    @Test
    void theTotalIsTheMeanOfThePairs() {
        for (ContrastiveLoss.Losses losses : new ContrastiveLoss.Losses[] {ContrastiveLoss.softmax(300, logits(20)),
            ContrastiveLoss.sigmoid(300, logits(20))}) {
            assertEquals(300, losses.perPair().length);
            assertEquals(
                    Arrays.stream(losses.perPair()).average().orElseThrow(), losses.total(), RELATIVE * losses.total());
        }
    }

    /** ln 3 for three that cannot be told apart. */
    @Test
    void equalLogitsAreAGuess() {
        ContrastiveLoss.Losses losses = ContrastiveLoss.softmax(3, (_, _) -> 42);
        double[] expected = {Math.log(3), Math.log(3), Math.log(3)};
        assertArrayEquals(expected, losses.perPair(), 1e-12);
    }

    @Test
    void noPairsHaveNoLoss() {
        assertThrows(IllegalArgumentException.class, () -> ContrastiveLoss.softmax(0, logits(1)));
        assertThrows(IllegalArgumentException.class, () -> ContrastiveLoss.sigmoid(0, logits(1)));
    }
}
