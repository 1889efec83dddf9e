package stormsight.backend.cpu;

import java.io.BufferedReader;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import jdk.incubator.vector.FloatVector;
import stormsight.backend.BackendException;
import stormsight.backend.Ceilings;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * Products of BF16, Q8 and Q4 weights with many tokens, by the processor's own units for BF16, which the Vector API
 * does not reach: oneDNN has kernels for them. x is rounded to BF16, which makes results differ by about 1e-2 of their
 * size; sums are F32. Q8 and Q4 weights, times their scales, are rounded as x is, a piece at a time. What is
 * compiled is shared by all kernels of an executor.
 */
final class NativeProducts implements AutoCloseable {
    /**
     * Weights, in bytes, from which on a model's products are worth loading a library of 90 MB for. Below, a prefill
     * takes less than a second in Java, and small models answer as precisely as they did.
     */
    static final long LEAST_BYTES = 256L << 20;

    /** How far results may lie from exact ones, as a part of them, when x and weights in blocks are rounded. */
    private static final String ERROR = "1e-2";

    /** When they are used, for people. */
    static final String DESCRIPTION = "products of bf16, q8 and q4 weights with more than " + Step.MOST_SEQUENCES
            + " rows run on oneDNN, in bf16, in models with more than " + (LEAST_BYTES >> 20)
            + " MiB of them; --strict-math keeps 32 bits";

    /** Products narrower or shorter than that are not worth a call. */
    private static final int LEAST_SIDE = 64;

    /** The version that pom.xml names. */
    private static final String VERSION = "onednn-3.11-1.5.13";

    /** Vectors, in bits, that {@link NarrowWeights} needs. */
    private static final int LEAST_BITS = 256;

    private static final String FOLDER = "/org/bytedeco/dnnl/linux-x86_64/";

    /** Compiled for the last few numbers of tokens: prompts differ in length, and each has kernels of its own. */
    private static final int KEPT = 8;

    /** oneDNN's loops for whatever it has no kernel for. */
    private static final String REFERENCE = "ref";

    private static final long ALIGNMENT = 64;

    /** Of {@link #peak}: operands and result take 512 KiB. */
    private static final int PEAK_SIDE = 256;

    private static final int PEAK_DEPTH = 256;
    private static final int PEAK_PIECES = 64;

    private final OneDnn library;
    private final int workers;
    private final Map<OneDnn.Shape, Compiled> compiled = new HashMap<>();
    private final Map<OneDnn.Shape, String> implementations = new HashMap<>();
    private final Arena arena = Arena.ofShared();
    private final long[] scratchpads;
    private long scratchpadBytes;

    private NativeProducts(OneDnn library, int workers) {
        this.library = library;
        this.workers = workers;
        scratchpads = new long[workers];
    }

    /** The library, or one line saying why it is not used. */
    private record Loaded(Optional<OneDnn> library, String why) {
        static Loaded not(String why) {
            return new Loaded(Optional.empty(), why);
        }
    }

    /** Loaded when somebody asks, and once a process. */
    private static final class Holder {
        static final Loaded LOADED = load();

        private static Loaded load() {
            if (!Settings.linux() || !Settings.architecture().equals("amd64")) {
                return Loaded.not("oneDNN is used on Linux and x86-64 only");
            }
            URL threads = NativeProducts.class.getResource(FOLDER + "libgomp.so.1");
            URL library = NativeProducts.class.getResource(FOLDER + "libdnnl.so.3");
            if (threads == null || library == null) {
                return Loaded.not("oneDNN (org.bytedeco:dnnl, linux-x86_64) is not on the class path");
            }
            try {
                if (!flags().contains("avx512_bf16")) {
                    return Loaded.not("this processor has no units for bf16 (neither avx512_bf16 nor AMX)");
                }
                if (FloatVector.SPECIES_PREFERRED.vectorBitSize() < LEAST_BITS) {
                    return Loaded.not("this Java's vectors are narrower than " + LEAST_BITS + " bits");
                }
                if (musl()) {
                    return Loaded.not("oneDNN needs glibc, and this Java runs on musl");
                }
                SymbolLookup openMp = NativeLibrary.load(Settings.caches(), VERSION, threads);
                OneDnn loaded = new OneDnn(openMp, NativeLibrary.load(Settings.caches(), VERSION, library));
                return loaded.hasBf16()
                        ? new Loaded(Optional.of(loaded), "")
                        : Loaded.not("oneDNN finds no units for bf16 in this processor");
            } catch (NativeLibrary.UnusableException | BackendException e) {
                return Loaded.not("oneDNN cannot be used: " + e.getMessage());
            } catch (IOException e) {
                return Loaded.not("this system does not tell what its processor has: " + e.getMessage());
            }
        }

        /** What the processor has, as Linux names it. */
        private static Set<String> flags() throws IOException {
            try (BufferedReader lines = Files.newBufferedReader(Path.of("/proc/cpuinfo"))) {
                for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                    if (line.startsWith("flags")) {
                        return new HashSet<>(List.of(line.split("\\s+")));
                    }
                }
            }
            return Set.of();
        }

        private static boolean musl() throws IOException {
            try (var lines = Files.lines(Path.of("/proc/self/maps"))) {
                return lines.anyMatch(line -> line.contains("/ld-musl-"));
            }
        }
    }

    /** Why there are no native products on this machine, in one line; empty if there are. Loads the library. */
    static Optional<String> unavailable() {
        return Holder.LOADED.library.isPresent() ? Optional.empty() : Optional.of(Holder.LOADED.why);
    }

    /** Whether programs hold so many weights that native products could multiply. Loads nothing. */
    static boolean wanted(List<Program> programs, long leastBytes) {
        Set<Tensor> weights = new HashSet<>();
        for (Program program : programs) {
            for (Segment segment : program.segments()) {
                for (Op op : segment.ops()) {
                    Kind.of(op).filter(Kind::suits).ifPresent(_ -> op.reads().stream()
                            .filter(tensor -> tensor.kind() == Tensor.Kind.WEIGHT)
                            .forEach(weights::add));
                }
            }
        }
        return weights.stream().mapToLong(Tensor::bytes).sum() >= leastBytes;
    }

    /**
     * For one executor.
     *
     * @throws IllegalStateException if {@link #unavailable} says why not
     */
    static NativeProducts open(int workers) {
        return new NativeProducts(Holder.LOADED.library.orElseThrow(IllegalStateException::new), workers);
    }

    /**
     * A product as oneDNN sees it.
     *
     * @param capacity tokens at most
     * @param last SUM or ADD for a residual, MUL for a gated product, whose activation is that of the gate
     */
    private record Kind(
            DType dtype,
            int capacity,
            int depth,
            int width,
            boolean bias,
            Op.Activation activation,
            OneDnn.Last last) {
        static Optional<Kind> of(Op op) {
            return switch (op) {
                case Op.MatMul product -> {
                    OneDnn.Last last = product.residual()
                            .map(from -> from.equals(product.out()) ? OneDnn.Last.SUM : OneDnn.Last.ADD)
                            .orElse(OneDnn.Last.NONE);
                    yield Optional.of(new Kind(product.w().dtype(), product.out().rows(), product.x().columns(),
                            product.out().columns(), product.bias().isPresent(), product.activation(), last));
                }
                case Op.GatedMatMul product -> Optional.of(new Kind(product.gate().dtype(), product.out().rows(),
                        product.x().columns(), product.out().columns(), false, product.activation(),
                        OneDnn.Last.MUL));
                default -> Optional.empty();
            };
        }

        boolean suits() {
            return narrow(dtype) && !Packing.single(capacity) && depth >= LEAST_SIDE && width >= LEAST_SIDE;
        }

        /** Whether {@link NarrowWeights}, which not every processor can load, has such weights as BF16. */
        private static boolean narrow(DType dtype) {
            return switch (dtype) {
                case BF16, Q8, Q4 -> true;
                case F32, F16, I32, U8 -> false;
            };
        }

        /**
         * What a piece computes, one after the other: the gate comes first.
         *
         * @param columns of the result that a piece has
         */
        List<OneDnn.Shape> shapes(int rows, int columns) {
            return last == OneDnn.Last.MUL
                    ? List.of(
                            new OneDnn.Shape(rows, depth, columns, width, false, activation, OneDnn.Last.NONE),
                            new OneDnn.Shape(rows, depth, columns, width, false, Op.Activation.NONE, last))
                    : List.of(new OneDnn.Shape(rows, depth, columns, width, bias, activation, last));
        }
    }

    /** What is rounded for a product that has an {@link #implementation}, for people. */
    static String rounding(Op op) {
        boolean blocks = Kind.of(op).orElseThrow().dtype.isBlocked();
        return (blocks ? "weights and x" : "x") + " rounded to bf16, error about " + ERROR;
    }

    /** The kernel for a product with many tokens, as oneDNN calls it; empty if Java computes it. */
    Optional<String> implementation(Op op) {
        return Kind.of(op).flatMap(this::implementation);
    }

    private Optional<String> implementation(Kind kind) {
        if (!kind.suits()) {
            return Optional.empty();
        }
        OneDnn.Shape shape = kind.shapes(kind.capacity, Math.min(NativeMatMul.rows(kind.width), kind.width)).getLast();
        String name = implementations.computeIfAbsent(shape, library::implementation);
        return name.startsWith(REFERENCE) ? Optional.empty() : Optional.of(name);
    }

    /** @param product what {@code op}, which has an {@link #implementation}, is bound to */
    Kernel kernel(Op op, Product product, Scratch scratch) {
        Kind kind = Kind.of(op).orElseThrow();
        int rows = NativeMatMul.rows(kind.width);
        int whole = kind.width / rows;
        int rest = kind.width % rows;
        return new NativeMatMul(
                product,
                whole == 0 ? List.of() : compiled(kind, rows),
                rest == 0 ? List.of() : compiled(kind, rest),
                this,
                implementation(kind).orElseThrow(),
                scratch);
    }

    private List<Compiled> compiled(Kind kind, int columns) {
        return kind.shapes(0, columns).stream()
                .map(shape -> compiled.computeIfAbsent(shape, Compiled::new))
                .toList();
    }

    /**
     * What the units for BF16 do at most, as far as oneDNN brings them to it: products whose operands all lie in the
     * second-level cache.
     */
    Ceilings.Rate peak(Workers threads, int repetitions) {
        Compiled product = new Compiled(new OneDnn.Shape(0, PEAK_DEPTH, PEAK_SIDE, PEAK_SIDE, false,
                Op.Activation.NONE, OneDnn.Last.NONE));
        long bytes = Scratch.align((DType.BF16.elementBytes() * 2L * PEAK_DEPTH + DType.F32.elementBytes() * PEAK_SIDE)
                * PEAK_SIDE);
        try (Arena own = Arena.ofShared()) {
            long base = own.allocate(bytes * threads.count(), ALIGNMENT).address();
            OneDnn.Primitive primitive = product.of(PEAK_SIDE);
            int pieces = PEAK_PIECES * threads.count();
            long half = (long) DType.BF16.elementBytes() * PEAK_DEPTH * PEAK_SIDE;
            Kernel kernel = new Kernel() {
                @Override
                public int pieces(Step step) {
                    return pieces;
                }

                @Override
                public void run(Step step, int piece, int worker) {
                    long x = base + worker * bytes;
                    primitive.run(worker, x, x + half, x + 2 * half, scratchpad(worker), 0, 0);
                }
            };
            return new Ceilings.Rate(
                    String.format(Locale.ROOT, "BF16 products of %d x %d x %d in the cache, %s, oneDNN %s", PEAK_SIDE,
                            PEAK_DEPTH, PEAK_SIDE, Peaks.threads(threads),
                            library.implementation(product.shape.withRows(PEAK_SIDE))),
                    Peaks.rates(threads, repetitions, 2.0 * PEAK_SIDE * PEAK_SIDE * PEAK_DEPTH * pieces, kernel));
        } finally {
            product.close();
        }
    }

    /** Scratch of oneDNN's own for a thread. */
    long scratchpad(int worker) {
        return scratchpads[worker];
    }

    /** One shape, compiled for the numbers of tokens that came last. */
    final class Compiled {
        private final OneDnn.Shape shape;
        private final int[] tokens = new int[KEPT];
        private final OneDnn.Primitive[] primitives = new OneDnn.Primitive[KEPT];
        private int next;

        private Compiled(OneDnn.Shape shape) {
            this.shape = shape;
        }

        /** Must not be called while something that it returned runs. */
        OneDnn.Primitive of(int count) {
            for (int i = 0; i < KEPT; i++) {
                if (tokens[i] == count) {
                    return primitives[i];
                }
            }
            OneDnn.Primitive made = library.primitive(shape.withRows(count), workers);
            if (made.scratchpadBytes() > scratchpadBytes) {
                scratchpadBytes = made.scratchpadBytes();
                for (int i = 0; i < workers; i++) {
                    scratchpads[i] = arena.allocate(scratchpadBytes, ALIGNMENT).address();
                }
            }
            if (primitives[next] != null) {
                primitives[next].close();
            }
            primitives[next] = made;
            tokens[next] = count;
            next = (next + 1) % KEPT;
            return made;
        }

        private void close() {
            for (OneDnn.Primitive primitive : primitives) {
                if (primitive != null) {
                    primitive.close();
                }
            }
        }
    }

    @Override
    public void close() {
        compiled.values().forEach(Compiled::close);
        arena.close();
    }
}
