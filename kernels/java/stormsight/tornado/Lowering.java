package stormsight.tornado;

import static uk.ac.manchester.tornado.api.common.TaskPackage.createPackage;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import stormsight.backend.BackendException;
import stormsight.backend.DeviceInfo;
import stormsight.backend.PlannedLaunch;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Tensor;
import stormsight.tornado.kernel.Attention;
import stormsight.tornado.kernel.Control;
import stormsight.tornado.kernel.Embed;
import stormsight.tornado.kernel.InputNorm;
import stormsight.tornado.kernel.MatMul;
import stormsight.tornado.kernel.MmaProjections;
import stormsight.tornado.kernel.Norm;
import stormsight.tornado.kernel.Projections;
import stormsight.tornado.kernel.Result;
import stormsight.tornado.kernel.Rope;
import stormsight.tornado.kernel.Rows;
import stormsight.tornado.kernel.Sample;
import uk.ac.manchester.tornado.api.GridScheduler;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.TaskGraph;
import uk.ac.manchester.tornado.api.WorkerGrid;
import uk.ac.manchester.tornado.api.WorkerGrid1D;
import uk.ac.manchester.tornado.api.WorkerGrid2D;
import uk.ac.manchester.tornado.api.common.TaskPackage;
import uk.ac.manchester.tornado.api.types.arrays.ByteArray;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.LongArray;

/**
 * Turns programs into task graphs. All that a program does follows each other in as few graphs as TornadoVM's limits
 * allow, since the host waits for each; identical layers are the same tasks again, which are compiled once, and so is
 * whatever else is the same task. Where the times of operations are to be told apart, only identical layers share
 * tasks: they are a graph of their own that runs once a layer.
 */
final class Lowering {
    /**
     * For a device that states no limit, and where, unlike with CUDA and PTX, each kernel has a limit of its own, which
     * TornadoVM does not tell; all GPUs allow groups of 256.
     */
    private static final int COMMON_LANES = 256;

    /**
     * A task as {@code plan} shows it.
     *
     * @param graph that holds it first
     * @param isNew whether it is compiled for this: others before may have been the same task
     * @param times how often a run of its program launches it
     */
    record Task(String program, String segment, Op op, List<Op> with, String graph, String name, boolean isNew,
            String kernel, Geometry geometry, int times) {
        /** As TornadoVM calls what it compiles. */
        String id() {
            return graph + "." + name;
        }

        /** How it is launched. */
        PlannedLaunch planned() {
            return new PlannedLaunch(program, segment, times, Optional.ofNullable(op), with, kernel,
                    geometry.toString(), geometry.groupSize(), geometry.localBytes());
        }
    }

    /** A graph, how often a run of its program executes it, and what it launches each time. */
    record Graph(LayeredGraph graph, int repeat, List<Task> launches) {
        String name() {
            return graph.getTaskGraphName();
        }
    }

    /** The graphs of a program in the order in which they run, and the tasks in them, each once. */
    record Lowered(Program program, List<Graph> graphs, List<Task> tasks, int firstLayer, int firstNumber) {
        /** How many graphs a run launches beside those that send the step and the inputs. */
        int launches() {
            return graphs.stream().mapToInt(Graph::repeat).sum();
        }
    }

    /**
     * Layers of a segment in one chunk of the stacks: {@code layer} indexes the chunk's arrays, {@code number} the
     * model.
     */
    private record Section(Segment segment, int chunk, int layer, int number, int layers) {
        int end() {
            return layer + layers;
        }
    }

    /** A task that a graph holds. */
    private record Placed(String graph, LayeredGraph.Entry entry) {}

    private final Residency residency;
    private final Runtime.Device device;
    private final boolean join;
    private final int mostTasks;
    private final GridScheduler grids = new GridScheduler();
    private final KernelContext context = new KernelContext();
    /** By geometry, method and arguments. */
    private final Map<List<Object>, Placed> known = new HashMap<>();
    private int number;

    /**
     * @param join whether a kernel may do what several operations are, and a graph what several layers are; their times
     *     cannot be told apart then
     * @param mostTasks of a graph, up to {@link LayeredGraph#MOST_TASKS}
     * @throws BackendException if activations are to be rounded for tensor cores, which the programs do not use
     */
    Lowering(Residency residency, Runtime.Device device, boolean join, int mostTasks) {
        if (device.roundsActivations() && !residency.device().tensorCores()) {
            throw new BackendException("bf16 as the precision is for tensor cores, which weights of 32 bits do not "
                    + "run on: leave --precision out, or take --weights q8");
        }
        this.residency = residency;
        this.device = device;
        this.join = join;
        this.mostTasks = mostTasks;
    }

    /**
     * A device as programs use it: as if it had no tensor cores where the weights of all products have 32 bits:
     * whoever keeps as many wants the precision.
     */
    static DeviceInfo used(DeviceInfo device, List<Program> programs) {
        List<DType> types = programs.stream().flatMap(program -> program.segments().stream())
                .flatMap(segment -> segment.ops().stream()).mapMulti((Op op, Consumer<DType> each) -> {
                    if (op instanceof Op.MatMul product) {
                        each.accept(product.w().dtype());
                    } else if (op instanceof Op.GatedMatMul product) {
                        each.accept(product.gate().dtype());
                    }
                }).toList();
        return types.isEmpty() || types.stream().anyMatch(type -> type != DType.F32) ? device
                : device.withoutNativeTypes();
    }

    /** What the kernels of a program's operations leave to each other. */
    static Scratch scratch(Program program, DeviceInfo device) {
        Scratch most = Scratch.NONE;
        for (Segment segment : program.segments()) {
            List<Op> ops = segment.ops();
            for (int i = 0; i < ops.size(); i++) {
                Result result = Result.of(ops.subList(i, ops.size()), program, device);
                most = most.or(scratch(ops.get(i), device)).or(result.scratch(ops.get(i)))
                        .or(MmaProjections.of(ops.subList(i, ops.size()), program, device).map(joined ->
                                joined.scratch(device)).orElse(Scratch.NONE));
            }
        }
        return most;
    }

    /** What the kernels of an operation leave to each other. */
    private static Scratch scratch(Op op, DeviceInfo device) {
        return switch (op) {
            case Op.MatMul matMul -> MatMul.scratch(matMul, device);
            case Op.GatedMatMul gatedMatMul -> MatMul.scratch(gatedMatMul, device);
            case Op.Sample sample -> Scratch.ofFloats(Sample.scratch(sample));
            case Op.Attention attention -> Attention.scratch(attention, device);
            case Op.BlockedAttention blocked -> Attention.scratch(blocked.attention(), device);
            case Op.Embed _, Op.LayerNorm _, Op.RmsNorm _, Op.Rope _, Op.Store _, Op.AttentionWeights _,
                    Op.AttentionPeak _, Op.RowMax _, Op.Copy _, Op.Gather _, Op.LastRow _, Op.MeanRows _,
                    Op.SoftCap _ -> Scratch.NONE;
        };
    }

    /**
     * Lists of numbers that the kernels of a program's operations read from arrays: because there is any number of
     * them, or so that the same code serves several operations.
     */
    static List<List<Integer>> constants(Program program, DeviceInfo device) {
        List<List<Integer>> all = new ArrayList<>();
        for (Segment segment : program.segments()) {
            List<Op> ops = segment.ops();
            for (int i = 0; i < ops.size(); i++) {
                all.addAll(constants(ops.get(i), device));
                MmaProjections.of(ops.subList(i, ops.size()), program, device).ifPresent(joined ->
                        all.add(joined.sizes(device)));
            }
        }
        return all;
    }

    private static List<List<Integer>> constants(Op op, DeviceInfo device) {
        return switch (op) {
            case Op.MatMul matMul -> MatMul.constants(matMul, device);
            case Op.GatedMatMul gatedMatMul -> MatMul.constants(gatedMatMul, device);
            case Op.Attention attention -> List.of(Attention.windows(attention));
            case Op.BlockedAttention blocked -> constants(blocked.attention(), device);
            case Op.AttentionWeights weights ->
                List.of(Attention.chosen(weights), Attention.windows(weights.attention()));
            case Op.AttentionPeak peak -> List.of(Attention.chosen(peak), Attention.windows(peak.attention()));
            case Op.RowMax max -> List.of(Rows.chosen(max));
            case Op.Embed _, Op.LayerNorm _, Op.RmsNorm _, Op.Rope _, Op.Store _, Op.Copy _, Op.Gather _, Op.LastRow _,
                    Op.MeanRows _, Op.SoftCap _, Op.Sample _ -> List.of();
        };
    }

    /** The launch geometry of all tasks. */
    GridScheduler grids() {
        return grids;
    }

    /** A graph that does nothing but hold transfers. */
    TaskGraph transfers(String name) {
        TaskGraph graph = new TaskGraph(name);
        graph.task("nothing", Control::nothing, context, residency.anchor());
        grid(name + ".nothing", Control.ONE_ITEM);
        return graph;
    }

    Lowered lower(Program program) {
        List<Section> sections = new ArrayList<>();
        program.segments().forEach(segment -> split(segment, sections));
        ProgramTasks tasks = new ProgramTasks(program);
        for (int i = 0; i < sections.size(); i++) {
            Section section = sections.get(i);
            Section next = i + 1 < sections.size() ? sections.get(i + 1) : null;
            tasks.lower(section);
            if (section.layers > 1 || next != null && (next.layer != section.layer || next.number != section.number)) {
                tasks.advance(section.end(), next);
            }
            tasks.place();
        }
        tasks.close(1);
        return new Lowered(program, tasks.graphs, tasks.all, sections.getFirst().layer, sections.getFirst().number);
    }

    private void split(Segment segment, List<Section> sections) {
        int end = segment.firstLayer() + segment.layers();
        int number = segment.firstLayer();
        while (number < end) {
            int chunk = number / residency.chunkLayers();
            int layer = number % residency.chunkLayers();
            int layers = Math.min(residency.chunkLayers() - layer, end - number);
            sections.add(new Section(segment, chunk, layer, number, layers));
            number += layers;
        }
    }

    private void grid(String task, Geometry geometry) {
        WorkerGrid grid;
        if (geometry.globalY() == 1) {
            grid = new WorkerGrid1D(geometry.globalX());
        } else {
            grid = new WorkerGrid2D(geometry.globalX(), geometry.globalY());
        }
        grid.setGlobalWork(geometry.globalX(), geometry.globalY(), 1);
        grid.setLocalWork(geometry.localX(), geometry.localY(), 1);
        grids.addWorkerGrid(task, grid);
    }

    /** The tasks of a program while they are put into graphs. */
    private final class ProgramTasks implements Tasks {
        /** A task that is in no graph yet, but for those. */
        private record Prepared(Op op, List<Op> with, String kernel, Geometry geometry, TaskPackage code) {
            /** What tasks have in common that can be compiled as one. */
            List<Object> sameAs() {
                List<Object> all = new ArrayList<>(List.of(geometry));
                for (Object each : code.getTaskParameters()) {
                    all.add(each instanceof Number ? each : new Same(each));
                }
                return all;
            }
        }

        /** The method, an array, the context: each equals itself alone. */
        private record Same(Object object) {
            @Override
            public boolean equals(Object other) {
                return other instanceof Same same && same.object == object;
            }

            @Override
            public int hashCode() {
                return System.identityHashCode(object);
            }
        }

        private final Program program;
        private final List<Graph> graphs = new ArrayList<>();
        private final List<Task> all = new ArrayList<>();
        /** Of the running section, once. */
        private final List<Prepared> prepared = new ArrayList<>();
        private final List<Task> launches = new ArrayList<>();
        private LayeredGraph open;
        private int names;
        private Section section;
        private Op op;
        /** Operations that the next tasks perform besides that one. */
        private List<Op> with = List.of();
        /** What each of {@link Tasks#parts} holds, or null. */
        private final Tensor[] split = new Tensor[2];
        /** Keys and values that {@link Tasks#planes} hold for the running operation, and for the next one. */
        private List<Tensor> inPlanes = List.of();
        private List<Tensor> nextInPlanes = List.of();
        private Result result = Result.FLOATS;

        ProgramTasks(Program program) {
            this.program = program;
        }

        /** Prepares the tasks of one layer of a section. */
        void lower(Section next) {
            section = next;
            // All layers are alike, whatever went before the first.
            Arrays.fill(split, null);
            lower(section.segment.ops());
        }

        /** Puts what was prepared into graphs, for all layers of the section. */
        void place() {
            boolean apart = !join && section.layers > 1;
            if (apart) {
                close(1);
            }
            int inGraphs = apart ? 1 : section.layers;
            List<Task> tasks = new ArrayList<>();
            List<LayeredGraph.Entry> entries = new ArrayList<>();
            for (int layer = 0; layer < inGraphs; layer++) {
                for (int i = 0; i < prepared.size(); i++) {
                    Prepared each = prepared.get(i);
                    if (open == null || !open.hasRoom(each.code)) {
                        if (apart && i > 0) {
                            throw new BackendException(program.name() + ", " + section.segment.name() + " takes "
                                    + prepared.size() + " tasks a layer, too many for one graph");
                        }
                        close(1);
                        open = new LayeredGraph("g" + number++, residency.count(), mostTasks);
                    }
                    if (layer == 0) {
                        Optional<Placed> before = join ? Optional.ofNullable(known.get(each.sameAs()))
                                : Optional.empty();
                        Placed placed = before.orElseGet(() -> add(each));
                        before.ifPresent(same -> open.again(same.entry, each.code));
                        tasks.add(task(each, placed, before.isEmpty()));
                        entries.add(placed.entry);
                    } else {
                        open.again(entries.get(i), each.code);
                    }
                    launches.add(tasks.get(i));
                }
            }
            if (apart) {
                close(section.layers);
            }
            all.addAll(tasks);
            prepared.clear();
        }

        /** A task that no graph holds goes into the open one. */
        private Placed add(Prepared task) {
            String name = open.getTaskGraphName();
            grid(name + "." + task.code.getId(), task.geometry);
            Placed placed = new Placed(name, open.add(task.code));
            known.put(task.sameAs(), placed);
            return placed;
        }

        private Task task(Prepared of, Placed placed, boolean isNew) {
            return new Task(program.name(), section.segment.name(), of.op, of.with, placed.graph, placed.entry.name(),
                    isNew, of.kernel, of.geometry, section.layers);
        }

        /** Ends the open graph, if there is one. */
        void close(int repeat) {
            if (open != null) {
                graphs.add(new Graph(open, repeat, List.copyOf(launches)));
                launches.clear();
                open = null;
            }
        }

        private void lower(List<Op> ops) {
            int done = 0;
            while (done < ops.size()) {
                done += lowerFirst(ops.subList(done, ops.size()));
            }
        }

        /** Lowers the first operations of a list, and tells how many. */
        private int lowerFirst(List<Op> ops) {
            Optional<InputNorm> norm = join ? InputNorm.of(ops, program) : Optional.empty();
            Optional<Op.RmsNorm> computed = norm.map(InputNorm::op);
            int norms = norm.isPresent() ? 1 : 0;
            Optional<Projections> projections =
                    join ? Projections.of(ops.subList(norms, ops.size()), program) : Optional.empty();
            if (projections.isPresent()) {
                List<Op> all = ops.subList(0, norms + Projections.OPS);
                together(all);
                projections.get().lower(computed, this);
                return all.size();
            }
            Optional<MmaProjections> joined =
                    join ? MmaProjections.of(ops, program, residency.device()) : Optional.empty();
            if (joined.isPresent()) {
                together(joined.get().ops());
                joined.get().lower(this);
                return joined.get().ops().size();
            }
            if (norm.isPresent()) {
                List<Op> products = norm.get().products();
                for (Op product : products) {
                    together(product == products.getFirst() ? List.of(computed.get(), product) : List.of(product));
                    lower(product, computed);
                }
                return 1 + products.size();
            }
            together(List.of(ops.getFirst()));
            result = join ? Result.of(ops, program, residency.device()) : Result.FLOATS;
            lower(ops.getFirst(), Optional.empty());
            return 1;
        }

        /** What the next tasks do. */
        private void together(List<Op> ops) {
            op = ops.getFirst();
            with = ops.subList(1, ops.size());
            result = Result.FLOATS;
            inPlanes = nextInPlanes;
            nextInPlanes = List.of();
            for (int i = 0; i < split.length; i++) {
                Tensor tensor = split[i];
                if (tensor != null && ops.stream().anyMatch(each -> each.writes().contains(tensor))) {
                    split[i] = null;
                }
            }
        }

        /** @param norm of the one row that a product reads, which it computes for itself */
        private void lower(Op next, Optional<Op.RmsNorm> norm) {
            switch (next) {
                case Op.Embed embed -> Embed.lower(embed, this);
                case Op.MatMul matMul -> MatMul.lower(matMul, norm, this);
                case Op.GatedMatMul gatedMatMul -> MatMul.lower(gatedMatMul, norm, this);
                case Op.LayerNorm layerNorm -> Norm.lower(layerNorm, this);
                case Op.RmsNorm rmsNorm -> Norm.lower(rmsNorm, this);
                case Op.Rope rope -> Rope.lower(rope, this);
                case Op.Store store -> Rows.lower(store, this);
                case Op.Attention attention -> Attention.lower(attention, this);
                case Op.BlockedAttention blocked -> Attention.lower(blocked, this);
                case Op.AttentionWeights weights -> Attention.lower(weights, this);
                case Op.AttentionPeak peak -> Attention.lower(peak, this);
                case Op.RowMax max -> Rows.lower(max, this);
                case Op.Copy copy -> Rows.lower(copy, this);
                case Op.Gather gather -> Rows.lower(gather, this);
                case Op.LastRow lastRow -> Rows.lower(lastRow, this);
                case Op.MeanRows mean -> Rows.lower(mean, this);
                case Op.SoftCap softCap -> Rows.lower(softCap, this);
                case Op.Sample sample -> Sample.lower(sample, this);
            }
        }

        void advance(int end, Section next) {
            op = null;
            with = List.of();
            int layer = next == null ? 0 : next.layer;
            int number = next == null ? 0 : next.number;
            task("advance", Control.ONE_ITEM,
                    name -> createPackage(name, Control::advance, context, step(), end, layer, number));
        }

        @Override
        public KernelContext context() {
            return context;
        }

        @Override
        public IntArray step() {
            return residency.step().ints();
        }

        @Override
        public FloatArray sampling() {
            return residency.step().floats();
        }

        @Override
        public FloatArray floats(Tensor tensor) {
            return (FloatArray) residency.array(tensor, section.chunk);
        }

        @Override
        public IntArray ints(Tensor tensor) {
            return (IntArray) residency.array(tensor, section.chunk);
        }

        @Override
        public LongArray words(Tensor tensor) {
            return (LongArray) residency.array(tensor, section.chunk);
        }

        @Override
        public ByteArray bytes(Tensor tensor) {
            return (ByteArray) residency.array(tensor, section.chunk);
        }

        @Override
        public FloatArray scales(Tensor tensor) {
            return residency.scales(tensor, section.chunk);
        }

        @Override
        public FloatArray none() {
            return residency.none();
        }

        @Override
        public IntArray noInts() {
            return residency.noInts();
        }

        @Override
        public LongArray noLongs() {
            return residency.noLongs();
        }

        @Override
        public ByteArray noBytes() {
            return residency.noBytes();
        }

        @Override
        public IntArray constants(List<Integer> numbers) {
            return residency.constants(numbers);
        }

        @Override
        public int stride(Tensor tensor) {
            return tensor.layers() == 1 ? 0 : Math.toIntExact(tensor.shape().elements());
        }

        @Override
        public int slotStride(Tensor tensor) {
            return tensor.slots() == 1 ? 0 : Math.multiplyExact(tensor.slotRows(), tensor.columns());
        }

        @Override
        public int scaleStride(Tensor tensor) {
            return tensor.layers() == 1 ? 0
                    : Math.toIntExact(tensor.rows() * tensor.dtype().scalesPerRow(tensor.shape()));
        }

        @Override
        public FloatArray bf16Table() {
            return residency.bf16Table();
        }

        @Override
        public FloatArray f16Table() {
            return residency.f16Table();
        }

        @Override
        public FloatArray scratch() {
            return residency.scratch();
        }

        @Override
        public LongArray parts(int index) {
            return residency.parts(index);
        }

        @Override
        public LongArray planes(int index) {
            return residency.planes(index);
        }

        @Override
        public OptionalInt partsOf(Tensor x) {
            return IntStream.range(0, split.length).filter(i -> x.equals(split[i])).findFirst();
        }

        @Override
        public void setParts(Tensor x, int index) {
            split[index] = x;
        }

        @Override
        public boolean areSplit(Tensor keys, Tensor values) {
            return inPlanes.equals(List.of(keys, values));
        }

        @Override
        public void setSplit(Tensor keys, Tensor values) {
            nextInPlanes = List.of(keys, values);
        }

        @Override
        public Result result() {
            return result;
        }

        @Override
        public DeviceInfo device() {
            return residency.device();
        }

        @Override
        public boolean roundsActivations() {
            return device.roundsActivations();
        }

        @Override
        public int mostLanes() {
            int stated = device.info().maxWorkGroupSize();
            int most = stated > 0 ? stated : COMMON_LANES;
            boolean equal = List.of("cuda", "ptx").contains(device.language());
            return Integer.highestOneBit(equal ? most : Math.min(most, COMMON_LANES));
        }

        @Override
        public String language() {
            return device.language();
        }

        @Override
        public void task(String kernel, Geometry geometry, TaskFactory factory) {
            geometry.check(program.name() + ", " + section.segment.name() + ", " + kernel, device.info());
            prepared.add(new Prepared(op, with, kernel, geometry,
                    factory.create(kernel.replace('.', '_') + names++)));
        }
    }
}
