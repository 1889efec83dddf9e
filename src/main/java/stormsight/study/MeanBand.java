package stormsight.study;

import java.util.Arrays;
import java.util.List;
import java.util.Random;
import stormsight.report.TextTable;

/**
 * Means of several quantities over examples, each with its 95% band: the percentile bootstrap of the mean, examples
 * drawn with replacement. One example has no band: it is the mean.
 *
 * @param examples how many examples there are
 * @param mean of every quantity
 * @param low 2.5th percentile of the resampled means
 * @param high 97.5th percentile
 */
public record MeanBand(int examples, double[] mean, double[] low, double[] high) {
    /** As seaborn draws its bands by default. */
    public static final int RESAMPLES = 1000;
    /** How the band is made, for those who read a figure. */
    public static final String METHOD =
            "95% band: percentile bootstrap of the mean, " + RESAMPLES + " resamples, seed 0";

    /**
     * The same rows give the same band each time.
     *
     * @param rows one an example, all of the same length
     * @throws IllegalArgumentException if there are none
     */
    public static MeanBand of(List<double[]> rows) {
        if (rows.isEmpty()) {
            throw new IllegalArgumentException("a mean of nothing");
        }
        int columns = rows.getFirst().length;
        int[] each = new int[rows.size()];
        Arrays.setAll(each, i -> i);
        double[] mean = mean(rows, each);
        if (rows.size() == 1) {
            return new MeanBand(1, mean, mean, mean);
        }
        Random random = new Random(0);
        double[][] resampled = new double[columns][RESAMPLES];
        for (int b = 0; b < RESAMPLES; b++) {
            int[] drawn = random.ints(rows.size(), 0, rows.size()).toArray();
            double[] means = mean(rows, drawn);
            for (int c = 0; c < columns; c++) {
                resampled[c][b] = means[c];
            }
        }
        double[] low = new double[columns];
        double[] high = new double[columns];
        for (int c = 0; c < columns; c++) {
            Arrays.sort(resampled[c]);
            low[c] = percentile(resampled[c], 0.025);
            high[c] = percentile(resampled[c], 0.975);
        }
        return new MeanBand(rows.size(), mean, low, high);
    }

    /** A mean with its band, or alone where a single example has none. */
    public String text(int column, int digits) {
        String text = TextTable.fixed(mean[column], digits);
        return examples == 1
                ? text
                : text + " [" + TextTable.fixed(low[column], digits) + ", " + TextTable.fixed(high[column], digits)
                        + "]";
    }

    private static double[] mean(List<double[]> rows, int[] chosen) {
        double[] mean = new double[rows.getFirst().length];
        for (int i : chosen) {
            double[] row = rows.get(i);
            for (int c = 0; c < mean.length; c++) {
                mean[c] += row[c] / chosen.length;
            }
        }
        return mean;
    }

    /** Between two values in proportion, as NumPy has it. */
    private static double percentile(double[] sorted, double share) {
        double at = share * (sorted.length - 1);
        int below = (int) at;
        int above = Math.min(below + 1, sorted.length - 1);
        return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
    }
}
