package stormsight.tornado;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Stream;
import stormsight.backend.BackendException;
import stormsight.backend.DeviceInfo;
import stormsight.backend.DeviceMemory;
import stormsight.checkpoint.HostTensor;
import stormsight.program.DType;
import stormsight.program.Program;
import stormsight.program.Shape;
import stormsight.program.StepLimits;
import stormsight.program.Tensor;
import uk.ac.manchester.tornado.api.types.arrays.ByteArray;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.LongArray;
import uk.ac.manchester.tornado.api.types.arrays.TornadoNativeArray;

/**
 * Where every tensor of some programs lies: which arrays hold it, and what of them is kept in host memory. An array is
 * the name of one buffer on the device; all graphs share it. Weights, caches, activations and the decode tables are
 * sent once, in the {@link #loads}, and their host memory is freed then; INPUT and OUTPUT tensors keep theirs.
 *
 * <p>A stack whose elements or bytes pass what one array or one allocation holds is split: array n holds the layers
 * from n x {@link #chunkLayers}.
 */
final class Residency implements AutoCloseable {
    /** What an array starts with, written by TornadoVM. */
    private static final long HEADER = TornadoNativeArray.ARRAY_HEADER;
    private static final ValueLayout.OfShort SHORT =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    /** Inputs up to that size are sent with every step, larger ones when they were written. */
    static final long SMALL_INPUT_BYTES = 64;
    /** Host memory that one load takes at most, unless one array alone is larger. */
    private static final long LOAD_BYTES = 1L << 30;
    /**
     * The same for the first load: a device must have run something before its compilers can be timed, so this one is
     * waited for.
     */
    private static final long FIRST_LOAD_BYTES = 1L << 26;
    /** Arrays of one load: TornadoVM gives a graph's description {@code 8192} bytes. */
    private static final int LOAD_ARRAYS = 200;

    /** The arrays of a tensor, one a chunk of layers. */
    private record Place(List<TornadoNativeArray> arrays, List<FloatArray> scales) {}

    /** Arrays that are sent together, and how to fill their host memory. */
    static final class Load {
        private final Arena arena = Arena.ofShared();
        private final List<TornadoNativeArray> arrays = new ArrayList<>();
        private final List<Runnable> fills = new ArrayList<>();
        private long bytes;

        List<TornadoNativeArray> arrays() {
            return arrays;
        }

        long bytes() {
            return bytes;
        }

        /** To be called once, by any thread. */
        void fill() {
            fills.forEach(Runnable::run);
            fills.clear();
        }

        void free() {
            arena.close();
        }
    }

    private final DeviceInfo device;
    private final Map<Tensor, HostTensor> weights;
    private final int chunkLayers;
    private final Arena arena = Arena.ofShared();
    private final Map<Tensor, Place> places = new LinkedHashMap<>();
    private final List<Load> loads = new ArrayList<>();
    private final List<TornadoNativeArray> stepArrays = new ArrayList<>();
    private final Map<Tensor, TornadoNativeArray> largeInputs = new LinkedHashMap<>();
    private final StepBuffer step;
    private final FloatArray none = new FloatArray(1);
    private final IntArray noInts = new IntArray(1);
    private final LongArray noLongs = new LongArray(1);
    private final ByteArray noBytes = new ByteArray(4);
    private final IntArray anchor = new IntArray(1);
    private final Map<List<Integer>, IntArray> constants = new LinkedHashMap<>();
    private final FloatArray bf16Table = new FloatArray(512);
    private final FloatArray f16Table = new FloatArray(64);
    private final FloatArray scratch;
    private final List<LongArray> parts;
    private final List<LongArray> planes;
    private long deviceBytes;

    /**
     * Places for the tensors of some programs.
     *
     * @throws IllegalArgumentException if a weight is missing, or its type or shape differs from its tensor's
     * @throws BackendException if the device is too small
     */
    static Residency of(DeviceInfo device, Map<Tensor, HostTensor> weights, List<Program> programs) {
        programs.stream().flatMap(program -> program.tensors().stream()).forEach(tensor ->
                checkWeight(tensor, weights));
        return new Residency(device, weights, programs);
    }

    /** The same places, with nothing to load. */
    static Residency unfilled(DeviceInfo device, List<Program> programs) {
        return new Residency(device, Map.of(), programs);
    }

    private Residency(DeviceInfo device, Map<Tensor, HostTensor> weights, List<Program> programs) {
        this.device = Lowering.used(device, programs);
        this.weights = weights;
        Set<Tensor> tensors = new LinkedHashSet<>();
        programs.forEach(program -> tensors.addAll(program.tensors()));
        checkNames(tensors);
        Scratch space = programs.stream().map(program -> Lowering.scratch(program, this.device)).reduce(Scratch.NONE,
                Scratch::or);
        checkFits(tensors, space.bytes());
        chunkLayers = chunkLayers(tensors);
        DecodeTables.fillBf16(bf16Table);
        DecodeTables.fillF16(f16Table);
        List.of(none, noInts, noLongs, noBytes, anchor, bf16Table, f16Table).forEach(this::kept);
        programs.stream().flatMap(program -> Lowering.constants(program, this.device).stream())
                .filter(numbers -> !numbers.isEmpty()).forEach(this::addConstants);
        tensors.forEach(tensor -> places.put(tensor, place(tensor)));
        scratch = room((long) space.floats() * Float.BYTES, FloatArray::fromSegmentShallow);
        parts = Stream.of(space.parts(), space.moreParts()).map(this::longs).toList();
        planes = Stream.of(space.planes(), space.morePlanes()).map(this::longs).toList();
        step = new StepBuffer(
                programs.stream().mapToInt(program -> StepLimits.of(program).sequences()).max().orElse(1));
        stepArrays.add(step.ints());
        stepArrays.add(step.floats());
    }

    private LongArray longs(int count) {
        return room((long) count * Long.BYTES, LongArray::fromSegmentShallow);
    }

    private void addConstants(List<Integer> numbers) {
        constants.computeIfAbsent(numbers, _ -> {
            IntArray array = new IntArray(numbers.size());
            for (int i = 0; i < numbers.size(); i++) {
                array.set(i, numbers.get(i));
            }
            kept(array);
            return array;
        });
    }

    private static void checkWeight(Tensor tensor, Map<Tensor, HostTensor> weights) {
        if (tensor.kind() != Tensor.Kind.WEIGHT) {
            return;
        }
        HostTensor value = weights.get(tensor);
        if (value == null) {
            throw new IllegalArgumentException("no value for the weight " + tensor);
        }
        if (value.dtype() != tensor.dtype() || !value.shape().equals(tensor.shape())
                || value.layers().size() != tensor.layers()) {
            throw new IllegalArgumentException("the value of " + tensor + " is " + value.dtype() + value.shape() + " x "
                    + value.layers().size());
        }
    }

    private static void checkNames(Set<Tensor> tensors) {
        Map<String, Tensor> byName = new LinkedHashMap<>();
        for (Tensor tensor : tensors) {
            Tensor other = byName.put(tensor.name(), tensor);
            if (other != null) {
                throw new IllegalArgumentException("two tensors of one name: " + tensor + " and " + other);
            }
        }
    }

    private void checkFits(Set<Tensor> tensors, long scratchBytes) {
        long needed = tensors.stream().mapToLong(Residency::bytes).sum() + scratchBytes;
        if (device.memoryBytes() > 0 && needed > device.memoryBytes()) {
            long weightBytes = tensors.stream().filter(t ->
                    t.kind() == Tensor.Kind.WEIGHT).mapToLong(Residency::bytes).sum();
            throw new BackendException(String.format(
                    Locale.ROOT,
                    "the model needs %.2f GB on the device (%.2f GB of weights, %.2f GB of caches and activations), "
                            + "%s has %.2f GB",
                    needed / 1e9,
                    weightBytes / 1e9,
                    (needed - weightBytes) / 1e9,
                    device.name(),
                    device.memoryBytes() / 1e9));
        }
        deviceBytes = needed;
    }

    /** Bytes that a tensor takes on the device, where all scales have 32 bits. */
    private static long bytes(Tensor tensor) {
        Shape shape = tensor.shape();
        long scales = shape.rows() * tensor.dtype().scalesPerRow(shape) * tensor.layers();
        return tensor.bytes() + scales * (Float.BYTES - tensor.dtype().scaleType().elementBytes());
    }

    /** As few arrays a stack as possible, of about equal size. */
    private int chunkLayers(Set<Tensor> tensors) {
        int most = 1;
        int chunk = Integer.MAX_VALUE;
        for (Tensor tensor : tensors) {
            most = Math.max(most, tensor.layers());
            long elements = Math.max(1, tensor.shape().elements());
            long bytes = Math.max(1, tensor.dtype().elementBytes(tensor.shape()));
            long fit = Integer.MAX_VALUE / elements;
            if (device.maxAllocationBytes() > 0) {
                fit = Math.min(fit, (device.maxAllocationBytes() - HEADER - 1) / bytes);
            }
            if (fit < 1) {
                throw new BackendException(String.format(Locale.ROOT,
                        "%s takes %.2f GB, %s allocates at most %.2f GB at once", tensor, bytes / 1e9, device.name(),
                        device.maxAllocationBytes() / 1e9));
            }
            if (tensor.layers() > 1) {
                chunk = (int) Math.min(chunk, fit);
            }
        }
        int chunks = Math.ceilDiv(most, Math.min(chunk, most));
        return Math.ceilDiv(most, chunks);
    }

    private Place place(Tensor tensor) {
        List<TornadoNativeArray> arrays = new ArrayList<>();
        List<FloatArray> scales = new ArrayList<>();
        for (int first = 0; first < tensor.layers(); first += chunkLayers) {
            int layers = Math.min(chunkLayers, tensor.layers() - first);
            arrays.add(array(tensor, first, layers));
            if (tensor.dtype().isBlocked()) {
                scales.add(scales(tensor, first, layers));
            }
        }
        return new Place(arrays, scales);
    }

    private TornadoNativeArray array(Tensor tensor, int first, int layers) {
        Shape shape = tensor.shape();
        long layerBytes = tensor.dtype().elementBytes(shape);
        long bytes = HEADER + layerBytes * layers;
        if (tensor.kind() == Tensor.Kind.WEIGHT) {
            // Elements may be packed in words: whole ones.
            bytes = Math.ceilDiv(bytes, Long.BYTES) * Long.BYTES;
        }
        switch (tensor.kind()) {
            case INPUT, OUTPUT -> {
                TornadoNativeArray array = wrap(tensor.dtype(), HostMemory.allocate(arena, bytes));
                if (tensor.kind() == Tensor.Kind.OUTPUT) {
                    kept(array);
                } else if (tensor.bytes() <= SMALL_INPUT_BYTES) {
                    stepArrays.add(array);
                } else {
                    largeInputs.put(tensor, array);
                }
                return array;
            }
            case WEIGHT, ACTIVATION, CACHE -> {
                Load load = load(bytes);
                TornadoNativeArray array = wrap(tensor.dtype(), HostMemory.allocate(load.arena, bytes));
                load.arrays.add(array);
                if (weights.containsKey(tensor)) {
                    List<MemorySegment> values = weights.get(tensor).layers();
                    load.fills.add(() -> {
                        for (int i = 0; i < layers; i++) {
                            MemorySegment.copy(values.get(first + i), 0, array.getSegmentWithHeader(),
                                    HEADER + i * layerBytes, layerBytes);
                        }
                    });
                }
                return array;
            }
        }
        throw new IllegalStateException(tensor.kind().toString());
    }

    /** As F32, whatever their type. */
    private FloatArray scales(Tensor tensor, int first, int layers) {
        Shape shape = tensor.shape();
        long offset = tensor.dtype().scalesOffset(shape);
        int layerScales = Math.toIntExact(shape.rows() * tensor.dtype().scalesPerRow(shape));
        long layerBytes = (long) layerScales * Float.BYTES;
        Load load = load(HEADER + layerBytes * layers);
        FloatArray array = FloatArray.fromSegmentShallow(HostMemory.allocate(load.arena, HEADER + layerBytes * layers));
        load.arrays.add(array);
        if (weights.containsKey(tensor)) {
            List<MemorySegment> values = weights.get(tensor).layers();
            load.fills.add(() -> {
                for (int i = 0; i < layers; i++) {
                    if (tensor.dtype().scaleType() == DType.BF16) {
                        for (int s = 0; s < layerScales; s++) {
                            array.set(i * layerScales + s, Float.intBitsToFloat(
                                    values.get(first + i).get(SHORT, offset + 2L * s) << Short.SIZE));
                        }
                    } else {
                        MemorySegment.copy(values.get(first + i), offset, array.getSegmentWithHeader(),
                                HEADER + i * layerBytes, layerBytes);
                    }
                }
            });
        }
        return array;
    }

    /** Weights of less than 32 bits are packed into words. */
    private static TornadoNativeArray wrap(DType dtype, MemorySegment memory) {
        return switch (dtype) {
            case F32 -> FloatArray.fromSegmentShallow(memory);
            case I32 -> IntArray.fromSegmentShallow(memory);
            case U8 -> ByteArray.fromSegmentShallow(memory);
            default -> LongArray.fromSegmentShallow(memory);
        };
    }

    /** An array whose values come from kernels; at least one word. */
    private <T extends TornadoNativeArray> T room(long bytes, Function<MemorySegment, T> wrap) {
        long size = HEADER + Math.max(bytes, Long.BYTES);
        Load load = load(size);
        T array = wrap.apply(HostMemory.allocate(load.arena, size));
        load.arrays.add(array);
        return array;
    }

    /** An array whose host memory stays. */
    private void kept(TornadoNativeArray array) {
        load(array.getNumBytesOfSegmentWithHeader()).arrays.add(array);
    }

    private Load load(long bytes) {
        long limit = loads.size() == 1 ? FIRST_LOAD_BYTES : LOAD_BYTES;
        if (loads.isEmpty() || loads.getLast().bytes + bytes > limit || loads.getLast().arrays.size() == LOAD_ARRAYS) {
            loads.add(new Load());
        }
        Load load = loads.getLast();
        load.bytes += bytes;
        return load;
    }

    /** What is sent once, in this order. */
    List<Load> loads() {
        return loads;
    }

    /** What is sent before every run. */
    List<TornadoNativeArray> stepArrays() {
        return stepArrays;
    }

    /** Inputs that are sent, all together, before the first run after one of them was written. */
    Map<Tensor, TornadoNativeArray> largeInputs() {
        return Collections.unmodifiableMap(largeInputs);
    }

    /** How many arrays there are. */
    int count() {
        return loads.stream().mapToInt(load -> load.arrays.size()).sum() + stepArrays.size() + largeInputs.size();
    }

    /** An array that every graph has, so that a graph can take it from whichever ran before. */
    IntArray anchor() {
        return anchor;
    }

    FloatArray none() {
        return none;
    }

    IntArray noInts() {
        return noInts;
    }

    LongArray noLongs() {
        return noLongs;
    }

    ByteArray noBytes() {
        return noBytes;
    }

    /** The device as the programs use it. */
    DeviceInfo device() {
        return device;
    }

    IntArray constants(List<Integer> numbers) {
        return constants.get(numbers);
    }

    FloatArray bf16Table() {
        return bf16Table;
    }

    FloatArray f16Table() {
        return f16Table;
    }

    FloatArray scratch() {
        return scratch;
    }

    LongArray parts(int index) {
        return parts.get(index);
    }

    LongArray planes(int index) {
        return planes.get(index);
    }

    StepBuffer step() {
        return step;
    }

    /** Layers of a stack that one array holds. */
    int chunkLayers() {
        return chunkLayers;
    }

    /**
     * The array of a tensor that holds the layers from {@code chunk * chunkLayers()}, or all of one that is no stack.
     */
    TornadoNativeArray array(Tensor tensor, int chunk) {
        List<TornadoNativeArray> arrays = find(tensor).arrays;
        return arrays.get(tensor.layers() == 1 ? 0 : chunk);
    }

    /** The scales of a tensor of a blocked type, split as its array is. */
    FloatArray scales(Tensor tensor, int chunk) {
        List<FloatArray> scales = find(tensor).scales;
        return scales.get(tensor.layers() == 1 ? 0 : chunk);
    }

    /** All arrays of a tensor, in order of layers. */
    List<TornadoNativeArray> arrays(Tensor tensor) {
        return find(tensor).arrays;
    }

    boolean holds(Tensor tensor) {
        return places.containsKey(tensor);
    }

    private Place find(Tensor tensor) {
        Place place = places.get(tensor);
        if (place == null) {
            throw new IllegalArgumentException(tensor + " is in none of the prepared programs");
        }
        return place;
    }

    /** What everything takes on the device, in the buffers in which it lies. */
    DeviceMemory memory() {
        List<DeviceMemory.Buffer> buffers = new ArrayList<>();
        places.forEach((tensor, place) -> {
            for (int i = 0; i < place.arrays.size(); i++) {
                int layers = Math.min(chunkLayers, tensor.layers() - i * chunkLayers);
                buffers.add(buffer(tensor.name(), place.arrays.get(i), tensor.shape().elements() * layers));
                if (!place.scales.isEmpty()) {
                    FloatArray scales = place.scales.get(i);
                    buffers.add(buffer("scales of " + tensor.name(), scales, scales.getSize()));
                }
            }
        });
        List<DeviceMemory.Buffer> between = Stream.concat(Stream.of(scratch),
                Stream.concat(parts.stream(), planes.stream())).map(array ->
                buffer("scratch", array, array.getSize())).toList();
        buffers.addAll(between);
        return DeviceMemory.of(places.keySet(), Residency::bytes,
                between.stream().mapToLong(DeviceMemory.Buffer::bytes).sum(), buffers);
    }

    private static DeviceMemory.Buffer buffer(String holds, TornadoNativeArray array, long elements) {
        return new DeviceMemory.Buffer(holds, array.getNumBytesOfSegmentWithHeader(), elements);
    }

    /** Bytes that the tensors take on the device. */
    long deviceBytes() {
        return deviceBytes;
    }

    /** Frees what the host holds. */
    @Override
    public void close() {
        arena.close();
        for (Load load : loads) {
            if (load.arena.scope().isAlive()) {
                load.free();
            }
        }
    }
}
