package stormsight.backend.cpu;

import java.util.Arrays;
import java.util.List;
import stormsight.program.Op;
import stormsight.program.Sampling;
import stormsight.program.Step;

/**
 * Draws a token: the same code for every path. Ranks are decided by the logits themselves, -0 counting as 0, which
 * gives the order of the exact probabilities. Weights {@code exp((z - max) / temperature)} are rounded to F32 and
 * summed in double precision.
 *
 * <p>There is no sort: logits are mapped to integers of the same order, and the last one kept is found digit by digit
 * in histograms of {@value #DIGIT_BITS} bits, of counts for top-k and of weights for top-p.
 */
final class Sample {
    /** Logits of one piece. */
    private static final int PIECE = 1 << 13;

    private static final int DIGIT_BITS = 11;
    private static final int DIGITS = 1 << DIGIT_BITS;
    private static final int ROUNDS = 3;

    private final long logits;
    private final int capacity;
    private final long parts;
    private final int vocabulary;
    private final long token;
    private final long logProbability;

    private final int pieces;

    /** Of each thread, the logits of a piece and the parts of their ids. */
    private final Scratch scratch;
    private final byte[][] pieceParts;

    /** One for each sequence. */
    private final Draw[] draws;

    private Sample(Op.Sample op, Binding binding) {
        logits = binding.address(op.logits());
        capacity = op.logits().rows();
        parts = binding.address(op.parts());
        vocabulary = op.logits().columns();
        token = binding.address(op.token());
        logProbability = binding.address(op.logProbability());
        pieces = (vocabulary + PIECE - 1) / PIECE;
        scratch = binding.scratch();
        scratch.reservePanel(PIECE);
        pieceParts = new byte[scratch.workers()][PIECE];
        draws = new Draw[op.token().columns()];
        Arrays.setAll(draws, Draw::new);
    }

    static List<Kernel> kernels(Op.Sample op, Binding binding) {
        Sample sample = new Sample(op, binding);
        return List.of(sample.new Largest(), sample.new Sums(), sample.new Draws());
    }

    /** Of an id that may be drawn; minus infinity for others. */
    private float logit(long row, int id) {
        return Memory.i8(parts + id) == Op.Sample.DRAWN ? Memory.f32(row + 4L * id) : Float.NEGATIVE_INFINITY;
    }

    /** Largest logit of each piece and its lowest id; NaN if there is one. */
    private final class Largest implements Kernel {
        @Override
        public int pieces(Step step) {
            return pieces * step.sequences().size();
        }

        @Override
        public void run(Step step, int piece, int worker) {
            draws[piece / pieces].findLargest(step, piece % pieces, worker);
        }
    }

    /** Sum of exp(z - max) for the log-probability, and the weights if there is something to draw. */
    private final class Sums implements Kernel {
        @Override
        public int pieces(Step step) {
            return pieces * step.sequences().size();
        }

        @Override
        public void run(Step step, int piece, int worker) {
            draws[piece / pieces].sum(step, piece % pieces, worker);
        }
    }

    private final class Draws implements Kernel {
        @Override
        public int pieces(Step step) {
            return step.sequences().size();
        }

        @Override
        public void run(Step step, int piece, int worker) {
            draws[piece].finish(step);
        }
    }

    /** The token of one sequence. */
    private final class Draw {
        private final int sequence;
        private final float[] largest = new float[pieces];
        private final int[] largestId = new int[pieces];
        private final double[] sums = new double[pieces];
        private final float[] weights = new float[vocabulary];
        private final int[] counts = new int[DIGITS];
        private final double[] masses = new double[DIGITS];

        /** The last key kept, and how many of the logits that equal it are, lowest ids first. */
        private long cutKey;
        private int cutTies;

        Draw(int sequence) {
            this.sequence = sequence;
        }

        /** Address of the sequence's last row of logits. */
        private long row(Step step) {
            int row = step.sequences().size() > 1 ? sequence : Math.min(step.rows(), capacity) - 1;
            return logits + row * 4L * vocabulary;
        }

        /** Has the thread's arrays hold a piece, and returns how many logits it has. */
        private int load(Step step, int piece, int worker) {
            int from = piece * PIECE;
            int count = Math.min(PIECE, vocabulary - from);
            Memory.copy(row(step) + 4L * from, scratch.panel(worker), 0, count);
            Memory.copy(parts + from, pieceParts[worker], count);
            return count;
        }

        void findLargest(Step step, int piece, int worker) {
            int count = load(step, piece, worker);
            float[] z = scratch.panel(worker);
            byte[] part = pieceParts[worker];
            int best = 0;
            float bestLogit = part[0] == Op.Sample.DRAWN ? z[0] : Float.NEGATIVE_INFINITY;
            for (int i = 0; i < count; i++) {
                float logit = z[i];
                if (part[i] == Op.Sample.DRAWN && logit > bestLogit) {
                    bestLogit = logit;
                    best = i;
                } else if (part[i] != Op.Sample.PADDING && logit != logit) {
                    bestLogit = logit;
                    break;
                }
            }
            largest[piece] = bestLogit;
            largestId[piece] = piece * PIECE + best;
        }

        /** Id of the largest logit, -1 if one is not a number. */
        private int best() {
            int best = 0;
            for (int piece = 0; piece < pieces; piece++) {
                if (Float.isNaN(largest[piece])) {
                    return -1;
                }
                if (largest[piece] > largest[best]) {
                    best = piece;
                }
            }
            return largestId[best];
        }

        void sum(Step step, int piece, int worker) {
            int best = best();
            if (best < 0) {
                return;
            }
            int count = load(step, piece, worker);
            float[] z = scratch.panel(worker);
            byte[] part = pieceParts[worker];
            float max = logit(row(step), best);
            double temperature = step.sequences().get(sequence).sampling().temperature();
            double sum = 0;
            for (int i = 0; i < count; i++) {
                float logit = part[i] == Op.Sample.PADDING ? Float.NEGATIVE_INFINITY : z[i];
                double difference = logit == max ? 0 : (double) logit - max;
                double exp = Math.exp(difference);
                sum += exp;
                if (temperature > 0) {
                    weights[piece * PIECE + i] = part[i] != Op.Sample.DRAWN ? 0
                            : (float) (temperature == 1 ? exp : Math.exp(difference / temperature));
                }
            }
            sums[piece] = sum;
        }

        void finish(Step step) {
            int best = best();
            if (best < 0) {
                Memory.i32(token + 4L * sequence, -1);
                Memory.f32(logProbability + 4L * sequence, Float.NaN);
                return;
            }
            long row = row(step);
            double sum = 0;
            for (int i = 0; i < pieces; i++) {
                sum += sums[i];
            }
            Step.Sequence of = step.sequences().get(sequence);
            int drawn = of.sampling().greedy() ? best : draw(row, of.sampling(), of.coin());
            float max = logit(row, best);
            float logit = logit(row, drawn);
            Memory.i32(token + 4L * sequence, drawn);
            Memory.f32(logProbability + 4L * sequence,
                    (float) ((logit == max ? 0 : (double) logit - max) - Math.log(sum)));
        }

        private int draw(long row, Sampling sampling, float coin) {
            cutKey = 0;
            cutTies = Integer.MAX_VALUE;
            if (sampling.topK() > 0 && sampling.topK() < vocabulary) {
                cutByCount(row, sampling.topK());
            }
            if (sampling.topP() < 1) {
                cutByMass(row, sampling.topP());
            }
            double sum = keptSum(row);
            double aim = coin * sum;
            double cumulated = 0;
            int ties = cutTies;
            int last = -1;
            for (int i = 0; i < vocabulary; i++) {
                long key = key(row, i);
                if (key > cutKey || key == cutKey && ties-- > 0) {
                    cumulated += weights[i];
                    if (cumulated > aim) {
                        return i;
                    }
                    last = i;
                }
            }
            return last;
        }

        private double keptSum(long row) {
            double sum = 0;
            int ties = cutTies;
            for (int i = 0; i < vocabulary; i++) {
                long key = key(row, i);
                if (key > cutKey || key == cutKey && ties-- > 0) {
                    sum += weights[i];
                }
            }
            return sum;
        }

        /** Keeps the first {@code k} by rank. */
        private void cutByCount(long row, int k) {
            long prefix = 0;
            int missing = k;
            for (int round = 0; round < ROUNDS; round++) {
                int shift = shift(round);
                Arrays.fill(counts, 0);
                for (int i = 0; i < vocabulary; i++) {
                    long key = key(row, i);
                    if (key >>> shift + DIGIT_BITS == prefix) {
                        counts[(int) (key >>> shift) & DIGITS - 1]++;
                    }
                }
                int digit = DIGITS - 1;
                while (counts[digit] < missing) {
                    missing -= counts[digit--];
                }
                prefix = prefix << DIGIT_BITS | digit;
            }
            cutKey = prefix;
            cutTies = missing;
        }

        /**
         * Of those kept, keeps the shortest beginning by rank whose weights sum to at least {@code topP} of their sum.
         */
        private void cutByMass(long row, float topP) {
            double missing = topP * keptSum(row);
            long prefix = 0;
            for (int round = 0; round < ROUNDS; round++) {
                int shift = shift(round);
                Arrays.fill(masses, 0);
                Arrays.fill(counts, 0);
                int ties = cutTies;
                for (int i = 0; i < vocabulary; i++) {
                    long key = key(row, i);
                    boolean kept = key > cutKey || key == cutKey && ties-- > 0;
                    if (kept && key >>> shift + DIGIT_BITS == prefix) {
                        int digit = (int) (key >>> shift) & DIGITS - 1;
                        masses[digit] += weights[i];
                        counts[digit]++;
                    }
                }
                int digit = DIGITS - 1;
                int lastUsed = -1;
                while (digit >= 0 && (counts[digit] == 0 || masses[digit] < missing)) {
                    if (counts[digit] > 0) {
                        missing -= masses[digit];
                        lastUsed = digit;
                    }
                    digit--;
                }
                if (digit < 0) {
                    // Rounding of the sums left a rest: the lowest one counted is the last one kept.
                    digit = lastUsed;
                    missing += masses[digit];
                }
                prefix = prefix << DIGIT_BITS | digit;
            }
            int digit = (int) prefix & DIGITS - 1;
            int ties = counts[digit];
            double each = masses[digit] / ties;
            int needed = 1;
            while (needed < ties && needed * each < missing) {
                needed++;
            }
            cutKey = prefix;
            cutTies = needed;
        }
    }

    /** Bits below the digit of a round. */
    private static int shift(int round) {
        return (ROUNDS - 1 - round) * DIGIT_BITS;
    }

    /** An unsigned 32-bit number that orders as the logit does. */
    private long key(long row, int id) {
        int bits = Float.floatToRawIntBits(logit(row, id) + 0f);
        return (bits < 0 ? ~bits : bits | 0x80000000) & 0xFFFFFFFFL;
    }
}
