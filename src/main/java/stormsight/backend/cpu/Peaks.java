package stormsight.backend.cpu;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import stormsight.backend.BackendException;
import stormsight.backend.Ceilings;
import stormsight.program.Step;

/**
 * Measures what the processor does at most, with all threads of a backend and with loops of the kind that its kernels
 * are made of.
 */
final class Peaks {
    /** The two loops that depend on what kernels are made of. */
    interface Loops {
        /** How a user would call them. */
        String description();

        /**
         * Reads every byte once, at four places at a time.
         *
         * @param distance bytes from one place to the next
         * @param step bytes from one time to the next
         * @param times how often
         * @return something made of all of them
         */
        long read(long address, long distance, long step, int times);

        /** Bytes that are read at one place at a time. */
        int readBytes();

        /** Multiplies and adds in one, in registers alone. @return something made of all results */
        float fma(int rounds);

        /** Floating-point operations of one round. */
        long operations();
    }

    /** A piece is small against the buffer, and large against what starting it takes. */
    static final int PIECE_BYTES = 1 << 20;

    /** Places that are read at a time. */
    private static final int PLACES = 4;

    private static final long LEAST_BYTES = 1L << 28;
    /** Times the largest cache, so that next to nothing of the buffer is still in it when a pass begins anew. */
    private static final int CACHES = 8;
    /** Part of the machine's memory that the buffer may take at most. */
    private static final int MEMORY_PART = 4;

    /** For each thread, so that one that is held up does not hold up all. */
    private static final int FMA_PIECES = 16;
    /** A piece takes some milliseconds. */
    private static final int FMA_ROUNDS = 1 << 20;
    /** Until the loops are compiled: what the first compiler makes of them runs at less than half of the speed. */
    private static final long WARM_UP_NANOS = 1_000_000_000;
    /** All loops here are the same for every step. */
    private static final Step STEP = new Step(0, 1, 0);

    private final Workers workers;
    private final Loops loops;
    private final int repetitions;

    /** Keeps what loops return, so that no compiler leaves them out. */
    private volatile double sink;

    private Peaks(Workers workers, Loops loops, int repetitions) {
        this.workers = workers;
        this.loops = loops;
        this.repetitions = repetitions;
    }

    static Ceilings measure(Workers workers, Loops loops, int repetitions, long memoryBytes) {
        if (repetitions < 1) {
            throw new IllegalArgumentException(repetitions + " repetitions");
        }
        long bytes = Math.min(Math.max(LEAST_BYTES, CACHES * largestCache()), memoryBytes / MEMORY_PART);
        return new Peaks(workers, loops, repetitions).measure(bytes - bytes % (2 * PIECE_BYTES));
    }

    /** One part of a loop, for one thread. */
    private interface Part {
        double run(int piece);
    }

    private record Loop(int pieces, Part part, Peaks peaks) implements Kernel {
        @Override
        public int pieces(Step step) {
            return pieces;
        }

        @Override
        public void run(Step step, int piece, int worker) {
            peaks.sink = part.run(piece);
        }
    }

    private Ceilings measure(long bytes) {
        String threads = threads(workers);
        String size = String.format(Locale.ROOT, "%d MiB", bytes >> 20);
        try (Arena arena = Arena.ofShared()) {
            long buffer = arena.allocate(bytes, PIECE_BYTES).address();
            int pieces = Math.toIntExact(bytes / PIECE_BYTES);
            String reading = "reading a buffer of " + size + ", " + threads + " with ";
            Ceilings.Rate stream = new Ceilings.Rate(reading + "one stream each, " + loops.description(),
                    rates(bytes, reading(buffer, pieces, loops.readBytes(), PLACES * loops.readBytes())));
            Ceilings.Rate streams = new Ceilings.Rate(reading + PLACES + " streams each, " + loops.description(),
                    rates(bytes, reading(buffer, pieces, PIECE_BYTES / PLACES, loops.readBytes())));
            List<Double> copy = rates(bytes, new Loop(pieces / 2, piece -> {
                long from = buffer + (long) piece * PIECE_BYTES;
                Memory.copy(from, from + bytes / 2, PIECE_BYTES);
                return 0;
            }, this));
            int parts = FMA_PIECES * workers.count();
            List<Double> fma = rates(loops.operations() * FMA_ROUNDS * parts,
                    new Loop(parts, _ -> loops.fma(FMA_ROUNDS), this));
            return new Ceilings(
                    stream.median() > streams.median() ? stream : streams,
                    new Ceilings.Rate("copying one half of it to the other, reads and writes counted, " + threads,
                    copy), new Ceilings.Rate("F32 multiply-adds in registers, " + threads + ", " + loops.description(),
                    fma));
        } catch (OutOfMemoryError e) {
            throw new BackendException("measuring the memory's speed needs " + bytes
                    + " bytes, which the system does not give", e);
        }
    }

    static String threads(Workers workers) {
        return workers.count() == 1 ? "1 thread" : workers.count() + " threads";
    }

    /** One after the other in a single stream, or far apart in several: processors differ in what they read ahead. */
    private Loop reading(long buffer, int pieces, long distance, long step) {
        int times = PIECE_BYTES / (PLACES * loops.readBytes());
        return new Loop(pieces, piece -> loops.read(buffer + (long) piece * PIECE_BYTES, distance, step, times), this);
    }

    private List<Double> rates(long amount, Kernel kernel) {
        return rates(workers, repetitions, amount, kernel);
    }

    /**
     * How much a kernel does in a second, once it has run for a while.
     *
     * @param amount what one run of the kernel does
     */
    static List<Double> rates(Workers workers, int repetitions, double amount, Kernel kernel) {
        for (long start = System.nanoTime(); System.nanoTime() - start < WARM_UP_NANOS;) {
            workers.run(kernel, STEP);
        }
        List<Double> rates = new ArrayList<>();
        for (int i = 0; i < repetitions; i++) {
            long start = System.nanoTime();
            workers.run(kernel, STEP);
            rates.add(amount * 1e9 / (System.nanoTime() - start));
        }
        return rates;
    }

    /** Bytes of the largest cache that the first core sees, 0 where the system does not say; only Linux does. */
    private static long largestCache() {
        Path caches = Path.of("/sys/devices/system/cpu/cpu0/cache");
        long largest = 0;
        if (Files.isDirectory(caches)) {
            try (DirectoryStream<Path> indices = Files.newDirectoryStream(caches, "index*")) {
                for (Path index : indices) {
                    String size = Files.readString(index.resolve("size")).strip();
                    if (size.matches("\\d{1,9}K")) {
                        largest = Math.max(largest, Long.parseLong(size.substring(0, size.length() - 1)) << 10);
                    }
                }
            } catch (IOException e) {
                // A container may hide parts of it: then the least size has to do.
                return largest;
            }
        }
        return largest;
    }

    /** Loops in plain Java. */
    static final class Scalar implements Loops {
        @Override
        public String description() {
            return "plain Java";
        }

        @Override
        public long read(long address, long distance, long step, int times) {
            long a = 0;
            long b = 0;
            long c = 0;
            long d = 0;
            long at = address;
            for (int i = 0; i < times; i++, at += step) {
                a ^= Memory.i64(at);
                b ^= Memory.i64(at + distance);
                c ^= Memory.i64(at + 2 * distance);
                d ^= Memory.i64(at + 3 * distance);
            }
            return a ^ b ^ c ^ d;
        }

        @Override
        public int readBytes() {
            return Long.BYTES;
        }

        @Override
        public float fma(int rounds) {
            float a = 1;
            float b = 2;
            float c = 3;
            float d = 4;
            float e = 5;
            float f = 6;
            float g = 7;
            float h = 8;
            for (int i = 0; i < rounds; i++) {
                a = Math.fma(a, 0.5f, 1);
                b = Math.fma(b, 0.5f, 1);
                c = Math.fma(c, 0.5f, 1);
                d = Math.fma(d, 0.5f, 1);
                e = Math.fma(e, 0.5f, 1);
                f = Math.fma(f, 0.5f, 1);
                g = Math.fma(g, 0.5f, 1);
                h = Math.fma(h, 0.5f, 1);
            }
            return a + b + c + d + e + f + g + h;
        }

        @Override
        public long operations() {
            return 2 * 8;
        }
    }
}
