package stormsight.backend;

import java.util.List;
import java.util.Optional;
import stormsight.program.OpCost;

/**
 * What a device does at most, measured on the device itself: the roofline that operations are held against.
 *
 * @param read bytes a second that are read from memory, from a buffer that no cache holds
 * @param copy bytes a second that are copied within memory; what is read and what is written both count
 * @param fma floating-point operations a second in F32; a multiplication and an addition in one count as two
 * @param bf16 floating-point operations a second of products of BF16 on units for them, where products run on such
 * @see <a href="https://doi.org/10.1145/1498765.1498785">Williams, Waterman, Patterson: Roofline</a>
 */
public record Ceilings(Rate read, Rate copy, Rate fma, Optional<Rate> bf16) {
    public Ceilings(Rate read, Rate copy, Rate fma) {
        this(read, copy, fma, Optional.empty());
    }

    /**
     * A rate that was measured several times.
     *
     * @param method how, in one line
     * @param samples per second, in the order measured
     */
    public record Rate(String method, List<Double> samples) {
        /** @throws IllegalArgumentException if there are no samples, or one is no positive number */
        public Rate {
            samples = List.copyOf(samples);
            if (samples.isEmpty() || samples.stream().anyMatch(sample -> !(sample > 0 && Double.isFinite(sample)))) {
                throw new IllegalArgumentException(method + ": samples " + samples);
            }
        }

        public double best() {
            return samples.stream().mapToDouble(Double::doubleValue).max().orElseThrow();
        }

        /** The lower one of two in the middle. */
        public double median() {
            return samples.stream().sorted().toList().get((samples.size() - 1) / 2);
        }
    }

    /** The rate of what computes: of units for BF16, where an operation runs on them, else of multiply-adds. */
    public Rate compute(boolean onBf16) {
        return bf16.filter(_ -> onBf16).orElse(fma);
    }

    /**
     * Seconds that an operation takes at the ceiling if nothing comes from a cache: the longer of reading and
     * computing. At the median rates, since what is held against it is a median, too.
     *
     * @param onBf16 whether it runs on units for BF16
     */
    public double leastSeconds(OpCost cost, boolean onBf16) {
        return Math.max(cost.bytes() / read.median(), cost.operations() / compute(onBf16).median());
    }

    /** Whether {@link #leastSeconds} is the time to read. */
    public boolean memoryBound(OpCost cost, boolean onBf16) {
        return cost.bytes() / read.median() >= cost.operations() / compute(onBf16).median();
    }
}
