package stormsight.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;
import org.apache.commons.statistics.distribution.TDistribution;

/** What samples of times say. */
public final class Statistics {
    /** Of all intervals. */
    public static final double CONFIDENCE = 0.95;

    private Statistics() {}

    static double mean(List<Double> samples) {
        return samples.stream().mapToDouble(Double::doubleValue).average().orElseThrow();
    }

    /** Divided by n - 1; empty for one sample. */
    static OptionalDouble deviation(List<Double> samples) {
        if (samples.size() < 2) {
            return OptionalDouble.empty();
        }
        return OptionalDouble.of(Math.sqrt(variance(samples)));
    }

    private static double variance(List<Double> samples) {
        double mean = mean(samples);
        return samples.stream().mapToDouble(sample -> (sample - mean) * (sample - mean)).sum() / (samples.size() - 1);
    }

    /**
     * A ratio of times with its interval.
     *
     * @param ratio above 1 where the second is faster
     * @param low end of the interval
     * @param high end of the interval
     */
    public record Ratio(double ratio, double low, double high) {
        /**
         * No more than the noise allows: {@code 1.62x faster (95%: 1.55 to 1.70)}, {@code 1.10x slower}, or that
         * there is no difference beyond noise. Only the interval of what is faster is of first times divided by
         * second ones; the others are of second times divided by first ones, above 1 where the second is slower.
         */
        public String verdict() {
            if (low > 1) {
                return text(ratio, low, high, "x faster");
            }
            if (high < 1) {
                return text(1 / ratio, 1 / high, 1 / low, "x slower");
            }
            return String.format(
                    Locale.ROOT,
                    "no difference beyond noise (%.0f%%: %.2f to %.2f)",
                    100 * CONFIDENCE,
                    1 / high,
                    1 / low);
        }

        private static String text(double ratio, double low, double high, String what) {
            return String.format(
                    Locale.ROOT, "%.2f%s (%.0f%%: %.2f to %.2f)", ratio, what, 100 * CONFIDENCE, low, high);
        }
    }

    /**
     * Of samples that were taken in turn: whatever slows the machine for a while slows both of a pair. The geometric
     * mean of the pairs' ratios, with Student's interval of the mean of their logarithms.
     *
     * @throws IllegalArgumentException if there are not the same number of both, or less than two
     */
    static Ratio paired(List<Double> baseline, List<Double> other) {
        if (baseline.size() != other.size() || baseline.size() < 2) {
            throw new IllegalArgumentException(
                    baseline.size() + " and " + other.size() + " samples are no pairs, or too few");
        }
        List<Double> logarithms = new ArrayList<>();
        for (int i = 0; i < baseline.size(); i++) {
            logarithms.add(Math.log(baseline.get(i) / other.get(i)));
        }
        double half = quantile(logarithms.size() - 1) * Math.sqrt(variance(logarithms) / logarithms.size());
        return ratio(mean(logarithms), half);
    }

    /**
     * Of samples that were taken apart. The ratio of the geometric means, with Welch's interval of the difference of
     * the mean logarithms.
     *
     * @throws IllegalArgumentException if there are less than two of one
     */
    static Ratio unpaired(List<Double> baseline, List<Double> other) {
        if (baseline.size() < 2 || other.size() < 2) {
            throw new IllegalArgumentException(baseline.size() + " and " + other.size() + " samples are too few");
        }
        List<Double> first = baseline.stream().map(Math::log).toList();
        List<Double> second = other.stream().map(Math::log).toList();
        double a = variance(first) / first.size();
        double b = variance(second) / second.size();
        double difference = mean(first) - mean(second);
        if (a + b == 0) {
            return ratio(difference, 0);
        }
        // Welch and Satterthwaite's degrees of freedom.
        double degrees = (a + b) * (a + b) / (a * a / (first.size() - 1) + b * b / (second.size() - 1));
        return ratio(difference, quantile(degrees) * Math.sqrt(a + b));
    }

    private static double quantile(double degrees) {
        return TDistribution.of(degrees).inverseSurvivalProbability((1 - CONFIDENCE) / 2);
    }

    private static Ratio ratio(double logarithm, double half) {
        return new Ratio(Math.exp(logarithm), Math.exp(logarithm - half), Math.exp(logarithm + half));
    }
}
