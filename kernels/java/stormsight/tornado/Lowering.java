package stormsight.tornado;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
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
import stormsight.tornado.kernel.Norm;
import stormsight.tornado.kernel.Projections;
import stormsight.tornado.kernel.Rope;
import stormsight.tornado.kernel.Rows;
import stormsight.tornado.kernel.Sample;
import uk.ac.manchester.tornado.api.GridScheduler;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.TaskGraph;
import uk.ac.manchester.tornado.api.WorkerGrid;
import uk.ac.manchester.tornado.api.WorkerGrid1D;
import uk.ac.manchester.tornado.api.WorkerGrid2D;
import uk.ac.manchester.tornado.api.types.arrays.ByteArray;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.LongArray;

/**
 * Turns programs into task graphs. Identical layers become one graph that runs once a layer, or, unrolled, tasks of
 * their own; what runs once is joined with its neighbours.
 */
final class Lowering {
    /**
     * TornadoVM describes a graph in 8192 bytes, of which a task takes 15 and 5 a parameter, with at most 20 of those;
     * it also limits a graph to 256 tasks.
     */
    private static final int GRAPH_TASKS = 8192 / (15 + 5 * 20);
    /**
     * Tasks that an operation becomes at most: a gated product for tensor cores that splits x, decodes both weights and
     * sums parts.
     */
    private static final int MOST_TASKS = 5;
    /**
     * For a device that states no limit, and where, unlike with CUDA and PTX, each kernel has a limit of its own, which
     * TornadoVM does not tell; all GPUs allow groups of 256.
     */
    private static final int COMMON_LANES = 256;

    /** A task as {@code plan} shows it. */
    record Task(String program, String segment, Op op, List<Op> with, String graph, String name, String kernel,
            Geometry geometry) {}

    /** A graph, how often a run of its program executes it, and the tasks in it. */
    record Graph(TaskGraph graph, int repeat, List<Task> tasks) {
        String name() {
            return graph.getTaskGraphName();
        }

        /** How a task of it is launched. */
        PlannedLaunch planned(Task task) {
            return new PlannedLaunch(task.program(), task.segment(), repeat, Optional.ofNullable(task.op()),
                    task.with(), task.kernel(), task.geometry().toString(), task.geometry().groupSize(),
                    task.geometry().localBytes());
        }
    }

    /** The graphs of a program in the order in which they run. */
    record Lowered(Program program, List<Graph> graphs, int firstLayer, int firstNumber) {
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

    private final Residency residency;
    private final Runtime.Device device;
    private final boolean unroll;
    private final boolean fuse;
    private final GridScheduler grids = new GridScheduler();
    private final KernelContext context = new KernelContext();
    private int graphs;

    /**
     * @param unroll whether layers become tasks of their own
     * @param fuse whether a kernel may do what several operations are, whose times cannot be told apart then
     */
    Lowering(Residency residency, Runtime.Device device, boolean unroll, boolean fuse) {
        this.residency = residency;
        this.device = device;
        this.unroll = unroll;
        this.fuse = fuse;
    }

    /**
     * A device as programs use it: as if it had no tensor cores where the weights of all products have 32 bits, for who
     * keeps as many wants the precision.
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

    /** What the kernels of an operation leave to each other. */
    static Scratch scratch(Op op, DeviceInfo device) {
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
     * Lists of numbers that the kernels of an operation read from arrays: because there is any number of them, or so
     * that the same code serves several operations.
     */
    static List<List<Integer>> constants(Op op, DeviceInfo device) {
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
        List<Graph> lowered = new ArrayList<>();
        GraphTasks open = null;
        for (int i = 0; i < sections.size(); i++) {
            Section section = sections.get(i);
            Section next = i + 1 < sections.size() ? sections.get(i + 1) : null;
            if (section.layers > 1) {
                close(open, 1, lowered);
                open = null;
                GraphTasks loop = new GraphTasks(program, section);
                loop.lower(section.segment.ops());
                loop.advance(section.end(), next);
                close(loop, section.layers, lowered);
                continue;
            }
            if (open != null && open.tasks.size() + MOST_TASKS * section.segment.ops().size() + 1 > GRAPH_TASKS) {
                close(open, 1, lowered);
                open = null;
            }
            if (open == null) {
                open = new GraphTasks(program, section);
            }
            open.section = section;
            open.lower(section.segment.ops());
            if (next != null && (next.layer != section.layer || next.number != section.number)) {
                open.advance(section.end(), next);
            }
        }
        close(open, 1, lowered);
        return new Lowered(program, lowered, sections.getFirst().layer, sections.getFirst().number);
    }

    private static void close(GraphTasks graph, int repeat, List<Graph> lowered) {
        if (graph != null) {
            lowered.add(new Graph(graph.graph, repeat, List.copyOf(graph.tasks)));
        }
    }

    private void split(Segment segment, List<Section> sections) {
        int end = segment.firstLayer() + segment.layers();
        int most = unroll ? 1 : residency.chunkLayers();
        int number = segment.firstLayer();
        while (number < end) {
            int chunk = number / residency.chunkLayers();
            int layer = number % residency.chunkLayers();
            int layers = Math.min(Math.min(most, residency.chunkLayers() - layer), end - number);
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

    /** One graph while operations are added to it. */
    private final class GraphTasks implements Tasks {
        private final Program program;
        private final TaskGraph graph;
        private final List<Task> tasks = new ArrayList<>();
        private Section section;
        private Op op;
        /** Operations that the next tasks perform besides that one. */
        private List<Op> with = List.of();
        /** What {@link Tasks#parts} holds, or null. */
        private Tensor split;

        GraphTasks(Program program, Section first) {
            this.program = program;
            graph = new TaskGraph("g" + graphs++);
            section = first;
        }

        void lower(List<Op> ops) {
            int done = 0;
            while (done < ops.size()) {
                done += lowerFirst(ops.subList(done, ops.size()));
            }
        }

        /** Lowers the first operations of a list, and tells how many. */
        private int lowerFirst(List<Op> ops) {
            Optional<InputNorm> norm = fuse ? InputNorm.of(ops, program) : Optional.empty();
            Optional<Op.RmsNorm> computed = norm.map(InputNorm::op);
            int norms = norm.isPresent() ? 1 : 0;
            Optional<Projections> projections =
                    fuse ? Projections.of(ops.subList(norms, ops.size()), program) : Optional.empty();
            if (projections.isPresent()) {
                List<Op> all = ops.subList(0, norms + Projections.OPS);
                together(all);
                projections.get().lower(computed, this);
                // Its results may be what was split.
                split = null;
                return all.size();
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
            lower(ops.getFirst(), Optional.empty());
            return 1;
        }

        /** What the next tasks do. */
        private void together(List<Op> ops) {
            op = ops.getFirst();
            with = ops.subList(1, ops.size());
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
            if (split != null && next.writes().contains(split)) {
                split = null;
            }
        }

        void advance(int end, Section next) {
            op = null;
            with = List.of();
            int layer = next == null ? 0 : next.layer;
            int number = next == null ? 0 : next.number;
            task("advance", Control.ONE_ITEM,
                    (target, name) -> target.task(name, Control::advance, context, step(), end, layer, number));
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
        public LongArray parts() {
            return residency.parts();
        }

        @Override
        public LongArray planes(int index) {
            return residency.planes(index);
        }

        @Override
        public boolean holdsParts(Tensor x) {
            return x.equals(split);
        }

        @Override
        public void setParts(Tensor x) {
            split = x;
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
        public void task(String kernel, Geometry geometry, TaskAdder adder) {
            geometry.check(program.name() + ", " + section.segment.name() + ", " + kernel, device.info());
            if (tasks.size() == GRAPH_TASKS) {
                throw new BackendException(program.name() + ", " + section.segment.name() + " takes more than "
                        + GRAPH_TASKS + " tasks a layer, too many for one graph");
            }
            String name = kernel.replace('.', '_') + tasks.size();
            adder.add(graph, name);
            grid(graph.getTaskGraphName() + "." + name, geometry);
            tasks.add(new Task(program.name(), section.segment.name(), op, with, graph.getTaskGraphName(), name, kernel,
                    geometry));
        }
    }
}
