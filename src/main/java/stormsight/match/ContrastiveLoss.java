package stormsight.match;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The losses that dual encoders are trained with, over pairs of which image i belongs to text i. Logits are asked for
 * when they are needed, in blocks of rows, so that the matrix never is in memory; sums are in double precision and
 * right for logits of any size.
 */
public final class ContrastiveLoss {
    /** Rows of a block: enough for all processors, and few enough that what blocks keep of the columns is small. */
    private static final int BLOCK = 256;

    private ContrastiveLoss() {}

    /** The matrix of logits. Called by several threads. */
    @FunctionalInterface
    public interface Logits {
        double at(int image, int text);
    }

    /**
     * Losses of pairs.
     *
     * @param total their mean: the loss of the batch
     */
    public record Losses(double total, double[] perPair) {
        private static Losses of(double[] perPair) {
            return new Losses(Arrays.stream(perPair).sum() / perPair.length, perPair);
        }
    }

    /**
     * SigLIP's: {@code -log sigmoid(+-logit)}, summed over an image's texts, with minus for those of other pairs.
     *
     * @see <a href="https://arxiv.org/abs/2303.15343">Sigmoid Loss for Language Image Pre-Training</a>
     */
    public static Losses sigmoid(int pairs, Logits logits) {
        requirePairs(pairs);
        return Losses.of(IntStream.range(0, pairs).parallel().mapToDouble(image -> {
            double sum = 0;
            for (int text = 0; text < pairs; text++) {
                double logit = logits.at(image, text);
                sum += softplus(image == text ? -logit : logit);
            }
            return sum;
        }).toArray());
    }

    /** {@code log(1 + exp(x))}. */
    private static double softplus(double x) {
        return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
    }

    /**
     * CLIP's: the mean of two cross-entropies, of the right text among all for an image and of the right image among
     * all for a text.
     *
     * @see <a href="https://arxiv.org/abs/2103.00020">Learning Transferable Visual Models From Natural Language
     * Supervision</a>
     */
    public static Losses softmax(int pairs, Logits logits) {
        requirePairs(pairs);
        double[] perPair = new double[pairs];
        List<LogSums> blocks = IntStream.range(0, (pairs + BLOCK - 1) / BLOCK)
                .parallel()
                .mapToObj(block -> block(block * BLOCK, Math.min(pairs, (block + 1) * BLOCK), pairs, logits, perPair))
                .toList();
        LogSums columns = new LogSums(pairs);
        blocks.forEach(columns::add);
        for (int i = 0; i < pairs; i++) {
            perPair[i] = (perPair[i] + columns.of(i) - logits.at(i, i)) / 2;
        }
        return Losses.of(perPair);
    }

    /** Writes the images' cross-entropies, and gives what the rows add to the columns. */
    private static LogSums block(int from, int to, int pairs, Logits logits, double[] perPair) {
        LogSums columns = new LogSums(pairs);
        for (int image = from; image < to; image++) {
            LogSums row = new LogSums(1);
            for (int text = 0; text < pairs; text++) {
                double logit = logits.at(image, text);
                row.add(0, logit, 1);
                columns.add(text, logit, 1);
            }
            perPair[image] = row.of(0) - logits.at(image, image);
        }
        return columns;
    }

    private static void requirePairs(int pairs) {
        if (pairs < 1) {
            throw new IllegalArgumentException("a loss of " + pairs + " pairs");
        }
    }

    /** Running logarithms of sums of exponentials. */
    private static final class LogSums {
        private final double[] largest;
        /** Of {@code exp(x - largest)}. */
        private final double[] sums;

        LogSums(int count) {
            largest = new double[count];
            Arrays.fill(largest, Double.NEGATIVE_INFINITY);
            sums = new double[count];
        }

        /** Adds {@code times * exp(x)} to a sum. */
        void add(int index, double x, double times) {
            if (x > largest[index]) {
                sums[index] = sums[index] * Math.exp(largest[index] - x) + times;
                largest[index] = x;
            } else {
                sums[index] += times * Math.exp(x - largest[index]);
            }
        }

        void add(LogSums others) {
            for (int i = 0; i < sums.length; i++) {
                add(i, others.largest[i], others.sums[i]);
            }
        }

        double of(int index) {
            return largest[index] + Math.log(sums[index]);
        }
    }
}
