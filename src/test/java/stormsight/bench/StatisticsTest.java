package stormsight.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

class StatisticsTest {
    /** Expected values were computed by SciPy and are printed with eight digits. */
    private static final double DIGITS = 1e-7;

    private static final List<Double> TIMES = List.of(10.0, 11.0, 12.0, 10.5);

    @Test
    void pairedRatiosHaveStudentsInterval() {
        Statistics.Ratio ratio = Statistics.paired(TIMES, List.of(5.0, 5.8, 5.9, 5.1));
        assertEquals(1.99634576, ratio.ratio(), DIGITS);
        assertEquals(1.88461875, ratio.low(), DIGITS);
        assertEquals(2.11469635, ratio.high(), DIGITS);
        assertEquals("2.00x faster (95%: 1.88 to 2.11)", ratio.verdict());
        assertEquals(
                "2.00x slower (95%: 1.88 to 2.11)",
                Statistics.paired(List.of(5.0, 5.8, 5.9, 5.1), TIMES).verdict());
    }

    @Test
    void unpairedRatiosHaveWelchsInterval() {
        Statistics.Ratio ratio = Statistics.unpaired(TIMES, List.of(12.0, 13.5, 12.2));
        assertEquals(0.86460125, ratio.ratio(), DIGITS);
        assertEquals(0.75282049, ratio.low(), DIGITS);
        assertEquals(0.99297952, ratio.high(), DIGITS);
    }

    /** A drift that both share hides in pairs what it does not hide apart. */
    @Test
    void pairsSeeThroughADrift() {
        List<Double> first = List.of(10.0, 20.0, 40.0, 80.0);
        List<Double> second = first.stream().map(time -> time * 1.1).toList();
        assertEquals("1.10x slower (95%: 1.10 to 1.10)", Statistics.paired(first, second).verdict());
        assertTrue(Statistics.unpaired(first, second).verdict().startsWith("no difference beyond noise"));
    }

    @Test
    void oneSampleHasNoNoise() {
        assertTrue(Statistics.deviation(List.of(1.0)).isEmpty());
        assertEquals(Math.sqrt(2), Statistics.deviation(List.of(1.0, 3.0)).orElseThrow(), DIGITS);
        assertThrows(IllegalArgumentException.class, () -> Statistics.paired(List.of(1.0), List.of(1.0)));
        assertThrows(IllegalArgumentException.class, () -> Statistics.paired(TIMES, List.of(1.0, 2.0)));
        assertThrows(IllegalArgumentException.class, () -> Statistics.unpaired(TIMES, List.of(1.0)));
    }

    /** The interval is of the second times divided by the first ones, as that of what is slower. */
    @Test
    void theIntervalOfNoDifferenceIsAbove1WhereTheSecondIsSlower() {
        assertEquals(
                "no difference beyond noise (95%: 0.89 to 1.25)",
                new Statistics.Ratio(0.95, 0.8, 1.125).verdict());
        assertEquals("1.25x slower (95%: 1.11 to 2.00)", new Statistics.Ratio(0.8, 0.5, 0.9).verdict());
    }

    @Test
    void equalSamplesDoNotDiffer() {
        assertEquals(
                "no difference beyond noise (95%: 1.00 to 1.00)",
                Statistics.unpaired(List.of(2.0, 2.0), List.of(2.0, 2.0)).verdict());
    }
}
