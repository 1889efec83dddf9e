package stormsight.study;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class MeanBandTest {
    /** Sums in another order. */
    private static final double ROUNDING = 1e-12;

    @Test
    void oneExampleHasNoBand() {
        MeanBand band = MeanBand.of(List.of(new double[] {1, -2}));
        assertEquals(1, band.examples());
        assertArrayEquals(new double[] {1, -2}, band.mean());
        assertArrayEquals(band.mean(), band.low());
        assertArrayEquals(band.mean(), band.high());
    }

    @Test
    void equalExamplesHaveANarrowBand() {
        MeanBand band = MeanBand.of(List.of(new double[] {3}, new double[] {3}, new double[] {3}));
        assertEquals(3, band.mean()[0], ROUNDING);
        assertEquals(3, band.low()[0], ROUNDING);
        assertEquals(3, band.high()[0], ROUNDING);
    }

    /** The bootstrap of many normal values comes near 1.96 standard errors on either side. */
    @Test
    void agreesWithTheNormalApproximation() {
        Random random = new Random(5);
        List<double[]> rows = new ArrayList<>();
        for (int i = 0; i < 400; i++) {
            rows.add(new double[] {10 + 2 * random.nextGaussian(), 0});
        }
        MeanBand band = MeanBand.of(rows);
        double error = 2 / Math.sqrt(rows.size());
        assertEquals(1.96 * error, band.mean()[0] - band.low()[0], 0.2 * error);
        assertEquals(1.96 * error, band.high()[0] - band.mean()[0], 0.2 * error);
        assertArrayEquals(band.low(), MeanBand.of(rows).low());
        assertTrue(band.high()[1] == 0 && band.low()[1] == 0);
    }

    @Test
    void refusesNothing() {
        assertThrows(IllegalArgumentException.class, () -> MeanBand.of(List.of()));
    }
}
