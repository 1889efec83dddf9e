package stormsight.backend.cpu;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import stormsight.backend.BackendException;
import stormsight.backend.Executor;
import stormsight.backend.RunListener;
import stormsight.backend.RunProfile;
import stormsight.checkpoint.HostTensor;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Step;
import stormsight.program.StepLimits;
import stormsight.program.Tensor;

/**
 * Programs as flat lists of kernels, one list a layer, over one block of native memory. Weights are read where they
 * are.
 */
final class CpuExecutor implements Executor {
    private static final long ALIGNMENT = 64;

    private final Arena arena;
    private final long allocatedBytes;
    private final Map<Tensor, Long> addresses;
    private final Prepared[] programs;
    private final RunListener listener;
    private final Workers workers;

    /** Null if all kernels are Java's. */
    private final NativeKernels natives;

    private final boolean roundsActivations;

    /** Kept reachable: kernels know the addresses alone. */
    private final Map<Tensor, HostTensor> weights;

    private boolean closed;

    private CpuExecutor(Arena arena, long allocatedBytes, Map<Tensor, Long> addresses, Prepared[] programs,
            RunListener listener, Workers workers, NativeKernels natives, Map<Tensor, HostTensor> weights) {
        this.arena = arena;
        this.allocatedBytes = allocatedBytes;
        this.addresses = addresses;
        this.programs = programs;
        this.listener = listener;
        this.workers = workers;
        this.natives = natives;
        roundsActivations = natives != null
                && Arrays.stream(programs).map(Prepared::program).anyMatch(natives::rounds);
        this.weights = weights;
    }

    /**
     * One layer of a segment.
     *
     * @param ops of each kernel, the operation that it is of, counted over all segments of the program
     */
    private record Layer(String segment, Kernel[] kernels, int[] ops) {}

    /** @param layers in order, over all segments */
    private record Prepared(Program program, StepLimits limits, Layer[] layers) {}

    /** @param natives for operations with many rows, closed with the executor; null for none */
    static CpuExecutor prepare(Map<Tensor, HostTensor> weights, List<Program> programs, RunListener listener, Path path,
            Workers workers, NativeKernels natives, long memoryBytes) {
        Set<Tensor> tensors = new LinkedHashSet<>();
        programs.forEach(program -> tensors.addAll(program.tensors()));
        Map<String, Tensor> names = new HashMap<>();
        Map<Tensor, Long> offsets = new LinkedHashMap<>();
        Map<Tensor, HostTensor> used = new HashMap<>();
        long bytes = 0;
        for (Tensor tensor : tensors) {
            Tensor other = names.put(tensor.name(), tensor);
            if (other != null) {
                throw new IllegalArgumentException("two tensors of one name: " + tensor + " " + tensor.kind() + ", "
                        + other + " " + other.kind());
            }
            if (tensor.kind() == Tensor.Kind.WEIGHT) {
                used.put(tensor, checkedWeight(tensor, weights.get(tensor)));
            } else {
                offsets.put(tensor, bytes);
                bytes = Math.addExact(bytes, Scratch.align(tensor.bytes()));
            }
        }
        List<StepLimits> limits = programs.stream().map(StepLimits::of).toList();

        // A first round, over addresses that nothing uses yet, finds out how much scratch the kernels want.
        Scratch wanted = new Scratch(workers.count());
        programs.forEach(program -> layers(program, offsets, used, wanted, path, natives));
        long allocated = Math.addExact(bytes, wanted.nativeBytes());
        long total = Math.addExact(allocated, wanted.heapBytes());
        if (total > memoryBytes) {
            throw new BackendException("activations and caches need " + total + " bytes, this machine has "
                    + memoryBytes);
        }
        Arena arena = Arena.ofShared();
        boolean done = false;
        try {
            long base = arena.allocate(Math.max(allocated, 1), ALIGNMENT).address();
            Map<Tensor, Long> addresses = new HashMap<>();
            offsets.forEach((tensor, offset) -> addresses.put(tensor, base + offset));
            Scratch scratch = new Scratch(workers.count());
            Prepared[] prepared = new Prepared[programs.size()];
            for (int i = 0; i < prepared.length; i++) {
                Program program = programs.get(i);
                prepared[i] = new Prepared(program, limits.get(i),
                        layers(program, addresses, used, scratch, path, natives));
            }
            scratch.place(base + bytes);
            CpuExecutor executor = new CpuExecutor(arena, total, addresses, prepared, listener, workers,
                    natives, used);
            done = true;
            return executor;
        } catch (OutOfMemoryError e) {
            throw new BackendException("activations and caches need " + total
                    + " bytes, which the system does not give", e);
        } finally {
            if (!done) {
                arena.close();
            }
        }
    }

    private static HostTensor checkedWeight(Tensor tensor, HostTensor value) {
        if (value == null) {
            throw new IllegalArgumentException("no value for weight " + tensor);
        }
        if (value.dtype() != tensor.dtype() || !value.shape().equals(tensor.shape())
                || value.layers().size() != tensor.layers()) {
            throw new IllegalArgumentException("weight " + tensor + " was given " + value.dtype() + value.shape()
                    + " x " + value.layers().size());
        }
        for (MemorySegment layer : value.layers()) {
            if (!layer.isNative()) {
                throw new IllegalArgumentException("weight " + tensor + " does not lie in native memory");
            }
        }
        return value;
    }

    private static Layer[] layers(Program program, Map<Tensor, Long> addresses, Map<Tensor, HostTensor> weights,
            Scratch scratch, Path path, NativeKernels natives) {
        List<Layer> layers = new ArrayList<>();
        boolean exact = natives != null && natives.multiplies(program);
        Packs packs = new Packs(natives, exact);
        int firstOp = 0;
        for (Segment segment : program.segments()) {
            for (int layer = 0; layer < segment.layers(); layer++) {
                Binding binding = new Binding(addresses, weights, scratch, segment.firstLayer() + layer, path, packs,
                        natives, exact);
                List<Kernel> list = new ArrayList<>();
                List<Integer> ops = new ArrayList<>();
                packs.forget();
                for (int i = 0; i < segment.ops().size(); i++) {
                    Op op = segment.ops().get(i);
                    if (!(op instanceof Op.MatMul || op instanceof Op.GatedMatMul)) {
                        packs.forget();
                    }
                    for (Kernel kernel : kernels(op, binding)) {
                        list.add(kernel);
                        ops.add(firstOp + i);
                    }
                }
                layers.add(new Layer(segment.name(), list.toArray(Kernel[]::new),
                        ops.stream().mapToInt(Integer::intValue).toArray()));
            }
            firstOp += segment.ops().size();
        }
        return layers.toArray(Layer[]::new);
    }

    private static List<Kernel> kernels(Op op, Binding binding) {
        return switch (op) {
            case Op.Embed embed -> List.of(new Rows.Embed(embed, binding));
            case Op.MatMul matMul -> Product.kernels(matMul, binding);
            case Op.GatedMatMul gated -> Product.kernels(gated, binding);
            case Op.LayerNorm norm -> List.of(Norm.kernel(norm, binding));
            case Op.RmsNorm norm -> List.of(Norm.kernel(norm, binding));
            case Op.Rope rope -> List.of(Rotation.kernel(rope, binding));
            case Op.Store store -> List.of(new Rows.Store(store, binding));
            case Op.Attention attention -> List.of(Attention.kernel(attention, binding));
            case Op.BlockedAttention attention -> List.of(Attention.kernel(attention, binding));
            case Op.AttentionWeights weights -> Tap.kernels(weights, binding);
            case Op.AttentionPeak peak -> Tap.kernels(peak, binding);
            case Op.RowMax max -> max.layers().contains(binding.layer()) ? List.of(new Rows.Max(max, binding))
                    : List.of();
            case Op.Copy copy -> List.of(new Rows.Copy(copy, binding));
            case Op.Gather gather -> List.of(new Rows.Gather(gather, binding));
            case Op.LastRow last -> List.of(new Rows.Last(last, binding));
            case Op.MeanRows mean -> List.of(new Rows.Mean(mean, binding));
            case Op.SoftCap cap -> List.of(Cap.kernel(cap, binding));
            case Op.Sample sample -> Sample.kernels(sample, binding);
        };
    }

    @Override
    public void run(Program program, Step step) {
        run(prepared(program), program, step, null);
    }

    @Override
    public RunProfile profile(Program program, Step step) {
        Prepared prepared = prepared(program);
        long[] nanos = new long[program.segments().stream().mapToInt(segment -> segment.ops().size()).sum()];
        long start = System.nanoTime();
        run(prepared, program, step, nanos);
        long total = System.nanoTime() - start;
        List<RunProfile.Entry> entries = new ArrayList<>();
        int layer = 0;
        for (Segment segment : program.segments()) {
            for (Op op : segment.ops()) {
                int index = entries.size();
                entries.add(new RunProfile.Entry(segment.name(), Optional.of(op),
                        kernels(prepared.layers[layer], index).map(kernel -> kernel.name(step))
                                .collect(Collectors.joining(" + ")),
                        segment.layers(), nanos[index],
                        kernels(prepared.layers[layer], index).anyMatch(kernel -> kernel.bf16(step))));
            }
            layer += segment.layers();
        }
        return new RunProfile(program, step, total, entries);
    }

    private static Stream<Kernel> kernels(Layer layer, int op) {
        return IntStream.range(0, layer.ops.length)
                .filter(i -> layer.ops[i] == op)
                .mapToObj(i -> layer.kernels[i]);
    }

    /**
     * @param nanos where the time of each operation is added up, so that all of the run is on one account; null to run
     * without a clock
     */
    private void run(Prepared prepared, Program program, Step step, long[] nanos) {
        prepared.limits.check(program, step);
        Layer[] layers = prepared.layers;
        long last = nanos == null ? 0 : System.nanoTime();
        for (int layer = 0; layer < layers.length; layer++) {
            Kernel[] kernels = layers[layer].kernels;
            for (int i = 0; i < kernels.length; i++) {
                try {
                    workers.run(kernels[i], step);
                } catch (InternalError e) {
                    // What the virtual machine throws when a mapped file was cut short under it.
                    throw new BackendException(program.name() + ", segment " + layers[layer].segment
                            + ": cannot read memory", e);
                }
                if (nanos != null) {
                    long now = System.nanoTime();
                    nanos[layers[layer].ops[i]] += now - last;
                    last = now;
                }
            }
            listener.finished(program, layer + 1, layers.length);
        }
    }

    private Prepared prepared(Program program) {
        checkOpen();
        for (Prepared prepared : programs) {
            if (prepared.program == program) {
                return prepared;
            }
        }
        for (Prepared prepared : programs) {
            if (prepared.program.equals(program)) {
                return prepared;
            }
        }
        throw new IllegalArgumentException("program " + program.name() + " was not prepared");
    }

    @Override
    public void write(Tensor input, MemorySegment from) {
        long address = address(input, Tensor.Kind.INPUT, from.byteSize());
        MemorySegment.copy(from, 0, Memory.ALL, address, from.byteSize());
    }

    @Override
    public void read(Tensor output, MemorySegment to) {
        long address = address(output, Tensor.Kind.OUTPUT, to.byteSize());
        MemorySegment.copy(Memory.ALL, address, to, 0, to.byteSize());
    }

    private long address(Tensor tensor, Tensor.Kind kind, long bytes) {
        checkOpen();
        Long address = addresses.get(tensor);
        if (tensor.kind() != kind || address == null) {
            throw new IllegalArgumentException(tensor + " " + tensor.kind() + " is no " + kind
                    + " of a prepared program");
        }
        if (bytes > tensor.bytes()) {
            throw new IllegalArgumentException(bytes + " bytes, " + tensor + " has " + tensor.bytes());
        }
        return address;
    }

    private void checkOpen() {
        if (closed) {
            throw new IllegalStateException("executor is closed");
        }
    }

    @Override
    public boolean roundsActivations() {
        return roundsActivations;
    }

    @Override
    public long allocatedBytes() {
        return allocatedBytes;
    }

    @Override
    public void close() {
        if (!closed) {
            closed = true;
            arena.close();
            if (natives != null) {
                natives.close();
            }
        }
    }
}
