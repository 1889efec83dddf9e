package stormsight;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;

/**
 * Changes good files the way failing disks and hostile hands do, for the fuzz targets. All choices come from one seed,
 * so that a case can be run again.
 *
 * <p>A target runs a fixed number of cases, which are the same in each build. {@code mvn test -Dtest='*FuzzTest'
 * -Dstormsight.fuzz.minutes=60} lets each of them run for that time on fresh cases instead, {@code
 * -Dstormsight.fuzz.cases=N} runs N fresh ones of each; {@code -Dstormsight.fuzz.seed=N} starts with that seed, which
 * each line of counts and each failure names.
 */
public final class Mutator {
    private static final long MINUTES = Long.getLong("stormsight.fuzz.minutes", 0);

    /** Fresh cases of each target; 0 for what it runs in an ordinary build. */
    private static final int CASES = Integer.getInteger("stormsight.fuzz.cases", 0);

    /** No case takes as long, on no machine. */
    private static final Duration HANG = Duration.ofMinutes(5);

    private static final Long SEED = Long.getLong("stormsight.fuzz.seed");

    /** Values that parsers of JSON stumble over. */
    private static final List<String> HOSTILE_JSON = List.of(
            "-1",
            "-0",
            "0",
            "1",
            "1.5",
            "1e3",
            "1e999999999",
            "2147483647",
            "2147483648",
            "4294967296",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "9".repeat(300),
            "9".repeat(5000),
            "null",
            "true",
            "NaN",
            "Infinity",
            "\"\"",
            "\"\\u0000\"",
            "\"\\ud800\"",
            "\"../x\"",
            "{}",
            "[]",
            "[[]]",
            "[0,0]",
            "[0,9223372036854775807]",
            "[9223372036854775807,9223372036854775807]",
            "[-1,-1]",
            "[2147483647,2147483647,4]",
            "[0,2147483648]",
            "[".repeat(1000) + "]".repeat(1000),
            "[".repeat(50_000),
            "{\"a\":".repeat(1000),
            "\"" + "x".repeat(20_000) + "\"",
            "{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}");

    private final Random random;

    public Mutator(long seed) {
        random = new Random(seed);
    }

    /** What is tried with one mutator. */
    public interface Case {
        Outcome run(Mutator mutator) throws Exception;
    }

    /** What may become of a mutated file; anything else is a failure. */
    public enum Outcome {
        REFUSED("refused"),
        WARNED("read with a warning"),
        READ("read");

        private final String words;

        Outcome(String words) {
            this.words = words;
        }

        /**
         * The outcome {@link #REFUSED}, after a look at what was said.
         *
         * @param start of the message: the file
         * @throws AssertionError if that is not one line that begins with the file
         */
        public static Outcome refused(Exception e, Path start) {
            String line = e.getMessage();
            assertTrue(line.startsWith(start.toString()), e::toString);
            assertFalse(line.contains("\n"), line);
            assertTrue(line.length() < 2000, line);
            return REFUSED;
        }
    }

    /** How often each outcome came. */
    public record Counts(Map<Outcome, Integer> byOutcome) {
        public int of(Outcome outcome) {
            return byOutcome.getOrDefault(outcome, 0);
        }

        public int cases() {
            return byOutcome.values().stream().mapToInt(Integer::intValue).sum();
        }

        /** Fails if mutations are found too seldom, or always: then they do not reach what they should. */
        public void assertRefused(double leastShare) {
            int refused = of(Outcome.REFUSED);
            assertTrue(refused > leastShare * cases() && refused < cases(), this::toString);
        }

        @Override
        public String toString() {
            StringBuilder line = new StringBuilder(cases() + " mutations");
            byOutcome.forEach((outcome, count) -> line.append(", ").append(count).append(' ').append(outcome.words));
            return line.toString();
        }
    }

    /**
     * Runs a target, and prints one line with its counts by outcome.
     *
     * @param name of what is mutated, for that line
     * @param seed of the first case; the next one has the next seed
     * @param cases in an ordinary build
     * @throws AssertionError with the seed of a case that threw anything or took longer than five minutes
     */
    public static Counts fuzz(String name, long seed, int cases, Case target) {
        long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(MINUTES);
        long first = SEED != null ? SEED : MINUTES > 0 || CASES > 0 ? System.nanoTime() : seed;
        long last = first + (CASES > 0 ? CASES : cases);
        Map<Outcome, Integer> byOutcome = new EnumMap<>(Outcome.class);
        Counts counts = new Counts(byOutcome);
        long current = first;
        for (; MINUTES > 0 ? System.nanoTime() < end : current < last; current++) {
            Mutator mutator = new Mutator(current);
            try {
                byOutcome.merge(assertTimeoutPreemptively(HANG, () -> target.run(mutator)), 1, Integer::sum);
            } catch (Exception | Error e) {
                System.out.println("fuzz " + name + ": " + counts + ", 1 failed, from seed " + first);
                throw new AssertionError("-Dstormsight.fuzz.seed=" + current + ": " + e.getMessage(), e);
            }
        }
        System.out.println("fuzz " + name + ": " + counts + ", 0 failed, from seed " + first);
        return counts;
    }

    public Random random() {
        return random;
    }

    /** The file after one to three changes of any kind that suits every format. */
    public byte[] bytes(byte[] original) {
        byte[] mutated = original;
        for (int changes = 1 + random.nextInt(3); changes > 0; changes--) {
            mutated = switch (random.nextInt(8)) {
                case 0, 1 -> flipped(mutated, mutated.length);
                // Headers break in more ways than what follows them.
                case 2 -> flipped(mutated, Math.min(mutated.length, 64));
                case 3 -> cut(mutated);
                case 4 -> withNumber(mutated);
                case 5 -> withoutPiece(mutated);
                case 6 -> withPieceTwice(mutated);
                default -> withNoise(mutated);
            };
        }
        return mutated;
    }

    /** One to three bits of the first {@code limit} bytes changed. */
    public byte[] flipped(byte[] original, int limit) {
        byte[] mutated = original.clone();
        for (int flips = 1 + random.nextInt(3); flips > 0 && limit > 0; flips--) {
            mutated[random.nextInt(limit)] ^= (byte) (1 << random.nextInt(8));
        }
        return mutated;
    }

    /** Cut short at any place, or longer by up to 39 zeros. */
    public byte[] cut(byte[] original) {
        return Arrays.copyOf(original, random.nextInt(original.length + 40));
    }

    /** A number that lengths and offsets go wrong with, in 1, 2, 4 or 8 bytes of either order, anywhere. */
    private byte[] withNumber(byte[] original) {
        int size = 1 << random.nextInt(4);
        if (original.length < size) {
            return original;
        }
        ByteBuffer number =
                ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(0, hostileNumber(original.length));
        byte[] mutated = original.clone();
        boolean bigEndian = random.nextBoolean();
        int at = random.nextInt(original.length - size + 1);
        for (int i = 0; i < size; i++) {
            mutated[at + i] = number.get(bigEndian ? size - 1 - i : i);
        }
        return mutated;
    }

    /** A number near a limit, or near the given size. */
    public long hostileNumber(int size) {
        return switch (random.nextInt(6)) {
            case 0 -> random.nextLong();
            case 1 -> random.nextInt(size + 1);
            case 2 -> size - 8 - random.nextInt(4);
            case 3 -> 100_000_000 + random.nextInt(2);
            case 4 -> Long.MAX_VALUE - random.nextInt(16);
            default -> (1L << random.nextInt(64)) - random.nextInt(2);
        };
    }

    private byte[] withoutPiece(byte[] original) {
        int from = random.nextInt(original.length + 1);
        int to = from + random.nextInt(original.length - from + 1);
        byte[] mutated = Arrays.copyOf(original, original.length - (to - from));
        System.arraycopy(original, to, mutated, from, original.length - to);
        return mutated;
    }

    /** A piece of the file once more behind itself or anywhere else. */
    private byte[] withPieceTwice(byte[] original) {
        int from = random.nextInt(original.length + 1);
        int to = from + random.nextInt(Math.min(original.length - from, 5000) + 1);
        int at = random.nextBoolean() ? to : random.nextInt(original.length + 1);
        byte[] mutated = new byte[original.length + to - from];
        System.arraycopy(original, 0, mutated, 0, at);
        System.arraycopy(original, from, mutated, at, to - from);
        System.arraycopy(original, at, mutated, at + to - from, original.length - at);
        return mutated;
    }

    private byte[] withNoise(byte[] original) {
        byte[] mutated = original.clone();
        int from = random.nextInt(original.length + 1);
        int to = Math.min(original.length, from + random.nextInt(40));
        int kind = random.nextInt(3);
        for (int i = from; i < to; i++) {
            mutated[i] = (byte) (kind == 0 ? 0 : kind == 1 ? 0xff : random.nextInt(256));
        }
        return mutated;
    }

    /** Replaces, removes or repeats pieces between the structural characters of a JSON text. */
    public String json(String json) {
        List<String> pieces = new ArrayList<>(Arrays.asList(json.split("(?<=[{}\\[\\]:,])|(?=[{}\\[\\]:,])")));
        for (int edits = 1 + random.nextInt(2); edits > 0; edits--) {
            int at = random.nextInt(pieces.size());
            switch (random.nextInt(6)) {
                case 0 -> pieces.remove(at);
                case 1 -> pieces.add(at, pieces.get(at));
                case 2 -> pieces.set(at, pieces.get(random.nextInt(pieces.size())));
                case 3 -> pieces.add(at, hostileJson());
                default -> {
                    // Only what stands between structural characters, so that the text stays JSON more often.
                    for (int i = at; i < pieces.size(); i++) {
                        if (!"{}[]:,".contains(pieces.get(i).strip())) {
                            pieces.set(i, hostileJson());
                            break;
                        }
                    }
                }
            }
        }
        return String.join("", pieces);
    }

    private String hostileJson() {
        return HOSTILE_JSON.get(random.nextInt(HOSTILE_JSON.size()));
    }
}
