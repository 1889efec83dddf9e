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
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import jdk.incubator.vector.FloatVector;
import stormsight.backend.BackendException;
import stormsight.backend.Ceilings;
import stormsight.backend.NativeCall;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * Kernels for operations with many rows by oneDNN. Products of BF16, Q8 and Q4 weights run on the processor's own units
 * for BF16, which the Vector API does not reach. x is rounded to BF16, which makes results differ by about 1e-2 of
 * their size; sums are F32. Q8 and Q4 weights, times their scales, are rounded as x is, a piece at a time. Products of
 * F32 weights are F32 here as well, 8 to 31% faster than Java's, and a row's do not depend on how many rows there are.
 *
 * <p>Beside them, attention, norms and products of a prompt's last token are oneDNN's as well, as exact as in F32: it
 * compiles a kernel at once, where loops over vectors wait for the JVM's compiler and take many times as long until
 * then. A new process encodes an image for a 3B model in less than half of the time. What is compiled is shared by all
 * kernels of an executor.
 */
final class NativeKernels implements AutoCloseable {
    /**
     * Weights, in bytes, from which on a model's products are worth loading a library of 90 MB for. Below, a prefill
     * takes less than a second in Java, and small models answer as precisely as they did.
     */
    static final long LEAST_BYTES = 256L << 20;

    /** How far results may lie from exact ones, as a part of them, when x and weights in blocks are rounded. */
    private static final String ERROR = "1e-2";

    /** When they are used, for people. */
    static final String DESCRIPTION = "products of bf16, q8 and q4 weights with more than " + Step.MOST_SEQUENCES
            + " rows run on oneDNN, in bf16, and those of f32 weights in 32 bits, in models with more than "
            + (LEAST_BYTES >> 20) + " MiB of them, and attention, norms and products of a prompt's last token beside"
            + " them in 32 bits; --strict-math keeps 32 bits in all of them";

    /** Products narrower or shorter than that are not worth a call. */
    private static final int LEAST_SIDE = 64;

    /** The version that pom.xml names. */
    private static final String VERSION = "onednn-3.11-1.5.13";

    /** Vectors, in bits, that {@link NarrowWeights} needs. */
    private static final int LEAST_BITS = 256;

    private static final String FOLDER = "/org/bytedeco/dnnl/linux-x86_64/";

    /**
     * Compiled at a time. Prompts differ in length, and each has its own; a pass over an image and a prompt takes some
     * 300, which would all be compiled anew each time if fewer were kept.
     */
    private static final int KEPT = 1024;

    /** oneDNN's loops for whatever it has no kernel for. */
    private static final String REFERENCE = "ref";

    private static final long ALIGNMENT = 64;

    /** Of {@link #peak}: operands and result take 512 KiB. */
    private static final int PEAK_SIDE = 256;

    private static final int PEAK_DEPTH = 256;
    private static final int PEAK_PIECES = 64;

    private final OneDnn library;
    private final int workers;

    /** In the order of their last use. */
    private final LinkedHashMap<OneDnn.Work, OneDnn.Primitive> primitives = new LinkedHashMap<>(KEPT, 0.75f, true);

    private final Map<OneDnn.Work, String> implementations = new HashMap<>();
    private final Arena arena = Arena.ofShared();
    private final FirstRead firstRead;
    /** Of the scratchpads. */
    private Arena pads = Arena.ofShared();
    private final long[] scratchpads;
    private long scratchpadBytes;

    private NativeKernels(OneDnn library, int workers) {
        this.library = library;
        this.workers = workers;
        firstRead = new FirstRead(arena, workers);
        scratchpads = new long[workers];
    }

    /** The library, or one line saying why it is not used. */
    private record Loaded(Optional<OneDnn> library, String why) {
        static Loaded not(String why) {
            return new Loaded(Optional.empty(), why);
        }
    }

    /** Loaded when somebody asks, and once a process. Whoever asks gets what loading threw, wherever it ran. */
    private static final class Holder {
        private static final FutureTask<Loaded> LOADED = new FutureTask<>(Holder::load);

        static Loaded loaded() {
            LOADED.run();
            try {
                return LOADED.get();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new BackendException("interrupted while oneDNN was loaded", e);
            } catch (ExecutionException e) {
                switch (e.getCause()) {
                    case RuntimeException problem -> throw problem;
                    case Error error -> throw error;
                    case null, default -> throw new IllegalStateException(e);
                }
            }
        }

        private static Loaded load() {
            if (!NativeCall.possible()) {
                return Loaded.not("oneDNN is used on Linux and x86-64 only");
            }
            URL threads = NativeKernels.class.getResource(FOLDER + "libgomp.so.1");
            URL library = NativeKernels.class.getResource(FOLDER + "libdnnl.so.3");
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

    /** Why there are no native kernels on this machine, in one line; empty if there are. Loads the library. */
    static Optional<String> unavailable() {
        Loaded loaded = Holder.loaded();
        return loaded.library.isPresent() ? Optional.empty() : Optional.of(loaded.why);
    }

    /** Begins to load the library, on a thread of its own. */
    static void begin() {
        Thread.ofPlatform().daemon().name("stormsight-native").start(Holder.LOADED);
    }

    /** Whether programs hold so many weights that native kernels could multiply. Loads nothing. */
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
    static NativeKernels open(int workers) {
        return new NativeKernels(Holder.loaded().library.orElseThrow(IllegalStateException::new), workers);
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
                case Op.MatMul product when !mapped(product.x()) -> {
                    OneDnn.Last last = product.residual()
                            .map(from -> from.equals(product.out()) ? OneDnn.Last.SUM : OneDnn.Last.ADD)
                            .orElse(OneDnn.Last.NONE);
                    yield Optional.of(new Kind(product.w().dtype(), product.out().rows(), product.x().columns(),
                            product.out().columns(), product.bias().isPresent(), product.activation(), last));
                }
                case Op.GatedMatMul product when !mapped(product.x()) ->
                        Optional.of(new Kind(product.gate().dtype(), product.out().rows(), product.x().columns(),
                                product.out().columns(), false, product.activation(), OneDnn.Last.MUL));
                default -> Optional.empty();
            };
        }

        boolean suits() {
            return known(dtype) && !Packing.single(capacity) && isLarge();
        }

        /** Whether one token is worth a kernel of its own: with weights as they lie in memory. */
        boolean suitsAlone() {
            return dtype == DType.BF16 && capacity == 1 && isLarge();
        }

        private boolean isLarge() {
            return depth >= LEAST_SIDE && width >= LEAST_SIDE;
        }

        /** Whether {@link NarrowWeights}, which not every processor can load, has such weights as oneDNN takes them. */
        private static boolean known(DType dtype) {
            return switch (dtype) {
                case F32, BF16, Q8, Q4 -> true;
                case F16, I32, U8 -> false;
            };
        }

        /**
         * What a piece computes, one after the other: the gate comes first.
         *
         * @param columns of the result that a piece has
         */
        List<OneDnn.Product> work(int rows, int columns) {
            int type = Narrow.narrows(dtype) ? OneDnn.BF16 : OneDnn.F32;
            OneDnn.Matrix x = OneDnn.Matrix.dense(type, rows, depth);
            OneDnn.Matrix w = OneDnn.Matrix.dense(type, columns, depth).transposed();
            OneDnn.Matrix out = OneDnn.Matrix.part(OneDnn.F32, rows, columns, width);
            List<OneDnn.Function> functions = OneDnn.Function.of(activation);
            return last == OneDnn.Last.MUL
                    ? List.of(
                            new OneDnn.Product(x, w, false, functions, OneDnn.Last.NONE, out),
                            new OneDnn.Product(x, w, false, List.of(), last, out))
                    : List.of(new OneDnn.Product(x, w, bias, functions, last, out));
        }
    }

    /** What is rounded for an operation that has an {@link #implementation} or an {@link #exact} one, for people. */
    static String rounding(Op op) {
        Optional<DType> dtype = Kind.of(op).map(Kind::dtype).filter(Narrow::narrows);
        if (dtype.isEmpty()) {
            return "in 32 bits";
        }
        if (Kind.of(op).filter(Kind::suitsAlone).isPresent()) {
            return "x in three parts of bf16, exact to 32 bits";
        }
        return (dtype.get().isBlocked() ? "weights and x" : "x") + " rounded to bf16, error about " + ERROR;
    }

    /** The kernel for an operation with many rows, as oneDNN calls it; empty if Java computes it. */
    Optional<String> implementation(Op op) {
        return switch (op) {
            case Op.Attention attention -> implementation(attention.out(), NativeAttention.work(attention));
            case Op.BlockedAttention blocked -> implementation(blocked.attention());
            case Op.LayerNorm norm when !mapped(norm.x()) -> implementation(norm.out(), NativeNorm.work(norm));
            case Op.RmsNorm norm when norm.residual().isEmpty() && !mapped(norm.x()) ->
                    implementation(norm.out(), NativeNorm.work(norm));
            default -> Kind.of(op).flatMap(this::implementation);
        };
    }

    /**
     * Whether a program has products of many rows here. Such a program is the first that a process runs: operations of
     * one row have {@link #exact} kernels then, too, for steps with many rows.
     */
    boolean multiplies(Program program) {
        return products(program).findAny().isPresent();
    }

    /** Whether a program has such products whose x is rounded. */
    boolean rounds(Program program) {
        return products(program).anyMatch(product -> Narrow.narrows(product.dtype));
    }

    private Stream<Kind> products(Program program) {
        return program.segments().stream()
                .flatMap(segment -> segment.ops().stream())
                .flatMap(op -> Kind.of(op).stream())
                .filter(product -> implementation(product).isPresent());
    }

    /** The kernel for an operation of one row, which rounds nothing; empty if Java computes it. */
    Optional<String> exact(Op op) {
        return switch (op) {
            case Op.LayerNorm norm when norm.out().rows() == 1 && !mapped(norm.x()) ->
                    implementation(NativeNorm.work(norm));
            case Op.RmsNorm norm when norm.out().rows() == 1 && norm.residual().isEmpty() && !mapped(norm.x()) ->
                    implementation(NativeNorm.work(norm));
            default -> Kind.of(op).filter(Kind::suitsAlone).flatMap(product ->
                    implementation(NativeMatVec.work(product.work(1, Math.min(NativeMatVec.ROWS, product.width)))));
        };
    }

    /** Whether it may be a part of a file: native code that reads one ends the process if it was cut short. */
    private static boolean mapped(Tensor x) {
        return x.kind() == Tensor.Kind.WEIGHT;
    }

    /** All of the works that an operation is made of, if out has many rows and oneDNN is fast at each. */
    private Optional<String> implementation(Tensor out, List<OneDnn.Work> works) {
        if (Packing.single(out.rows())) {
            return Optional.empty();
        }
        return implementation(works);
    }

    private Optional<String> implementation(List<OneDnn.Work> works) {
        List<Optional<String>> names = works.stream().map(this::implementation).toList();
        return names.stream().allMatch(Optional::isPresent)
                ? Optional.of(names.stream().map(Optional::get).distinct().collect(Collectors.joining(" + ")))
                : Optional.empty();
    }

    private Optional<String> implementation(Kind kind) {
        if (!kind.suits()) {
            return Optional.empty();
        }
        return implementation(
                kind.work(kind.capacity, Math.min(NativeMatMul.rows(kind.dtype, kind.width), kind.width)).getLast());
    }

    /** As oneDNN calls what it has for some work; empty if that is slow. */
    private Optional<String> implementation(OneDnn.Work work) {
        String name = implementations.computeIfAbsent(work, library::implementation);
        return name.startsWith(REFERENCE) ? Optional.empty() : Optional.of(name);
    }

    /** @param product what {@code op}, which has an {@link #implementation}, is bound to */
    Kernel kernel(Op op, Product product, Scratch scratch) {
        Kind kind = Kind.of(op).orElseThrow();
        return new NativeMatMul(product, kind::work, this, implementation(kind).orElseThrow(), scratch);
    }

    /** @param product what {@code op}, which has an {@link #exact} kernel, is bound to */
    Kernel exactKernel(Op op, Product product, Scratch scratch) {
        Kind kind = Kind.of(op).orElseThrow();
        return new NativeMatVec(product, kind::work, this, exact(op).orElseThrow(), scratch);
    }

    /**
     * What the units for BF16 do at most, as far as oneDNN brings them to it: products whose operands all lie in the
     * second-level cache.
     */
    Ceilings.Rate peak(Workers threads, int repetitions) {
        OneDnn.Work work = new OneDnn.Product(
                OneDnn.Matrix.dense(OneDnn.BF16, PEAK_SIDE, PEAK_DEPTH),
                OneDnn.Matrix.dense(OneDnn.BF16, PEAK_SIDE, PEAK_DEPTH).transposed(), false, List.of(),
                OneDnn.Last.NONE, OneDnn.Matrix.dense(OneDnn.F32, PEAK_SIDE, PEAK_SIDE));
        long bytes = Scratch.align((DType.BF16.elementBytes() * 2L * PEAK_DEPTH + DType.F32.elementBytes() * PEAK_SIDE)
                * PEAK_SIDE);
        try (Arena own = Arena.ofShared()) {
            long base = own.allocate(bytes * threads.count(), ALIGNMENT).address();
            OneDnn.Primitive primitive = primitive(work);
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
                    primitive.run(worker, scratchpad(worker), x, x + half, x + 2 * half, 0, 0);
                }
            };
            return new Ceilings.Rate(
                    String.format(Locale.ROOT, "BF16 products of %d x %d x %d in the cache, %s, oneDNN %s", PEAK_SIDE,
                            PEAK_DEPTH, PEAK_SIDE, Peaks.threads(threads),
                            library.implementation(work)),
                    Peaks.rates(threads, repetitions, 2.0 * PEAK_SIDE * PEAK_SIDE * PEAK_DEPTH * pieces, kernel));
        }
    }

    /** How a kernel reads its weights. */
    FirstRead.Weights weights() {
        return firstRead.new Weights();
    }

    /** Scratch of oneDNN's own for a thread. */
    long scratchpad(int worker) {
        return scratchpads[worker];
    }

    /** Work, compiled. Must not be called while a kernel runs that had it from here before. */
    OneDnn.Primitive primitive(OneDnn.Work work) {
        OneDnn.Primitive known = primitives.get(work);
        if (known != null) {
            return known;
        }
        OneDnn.Primitive made = library.primitive(work, workers);
        if (made.scratchpadBytes() > scratchpadBytes) {
            scratchpadBytes = made.scratchpadBytes();
            pads.close();
            pads = Arena.ofShared();
            for (int i = 0; i < workers; i++) {
                scratchpads[i] = pads.allocate(scratchpadBytes, ALIGNMENT).address();
            }
        }
        if (primitives.size() == KEPT) {
            primitives.pollFirstEntry().getValue().close();
        }
        primitives.put(work, made);
        return made;
    }

    @Override
    public void close() {
        primitives.values().forEach(OneDnn.Primitive::close);
        pads.close();
        arena.close();
    }
}
