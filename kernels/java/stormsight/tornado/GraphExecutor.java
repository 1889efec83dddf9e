package stormsight.tornado;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import stormsight.backend.BackendException;
import stormsight.backend.Executor;
import stormsight.backend.RunListener;
import stormsight.backend.RunProfile;
import stormsight.backend.StartUp;
import stormsight.checkpoint.HostTensor;
import stormsight.program.Program;
import stormsight.program.Step;
import stormsight.program.StepLimits;
import stormsight.program.Tensor;
import uk.ac.manchester.tornado.api.ImmutableTaskGraph;
import uk.ac.manchester.tornado.api.TaskGraph;
import uk.ac.manchester.tornado.api.TornadoExecutionPlan;
import uk.ac.manchester.tornado.api.TornadoExecutionResult;
import uk.ac.manchester.tornado.api.enums.DataTransferMode;
import uk.ac.manchester.tornado.api.enums.ProfilerMode;
import uk.ac.manchester.tornado.api.exceptions.TornadoExecutionPlanException;
import uk.ac.manchester.tornado.api.exceptions.TornadoInternalError;
import uk.ac.manchester.tornado.api.types.arrays.TornadoNativeArray;

/**
 * Programs as the graphs of one execution plan.
 *
 * <p>In TornadoVM a graph takes buffers over from the graph that ran just before it. Here each graph does that once,
 * while it is prepared: graphs run in a chain in which every one takes all buffers from its predecessor. From then on a
 * graph knows its buffers, and takes nothing but the {@link Residency#anchor}, an array of one element, from whichever
 * graph ran before. Compute graphs stand in the chain in reverse, so that the order in which they later run differs
 * from that of the chain.
 */
final class GraphExecutor implements Executor {
    /** A graph of the plan. */
    private record Member(TaskGraph graph, int launches, List<TornadoNativeArray> sent) {}

    private final Runtime.Device device;
    private final Residency residency;
    private final RunListener listener;
    private final boolean capture;
    private final List<Member> members = new ArrayList<>();
    private final Map<String, Integer> indices = new LinkedHashMap<>();
    private final Map<Program, Lowering.Lowered> lowered = new LinkedHashMap<>();
    private final Map<Program, StepLimits> limits = new LinkedHashMap<>();
    private TornadoExecutionPlan plan;
    private int stepGraph;
    private int inputGraph;
    private boolean inputsWritten;
    /** Of the graph that ran last, which holds all buffers as every graph does. */
    private TornadoExecutionResult last;
    private Profile profile = new Profile();
    private boolean profiling;
    /** Where the times of tasks are added up, or null. */
    private TaskTimes taskTimes;
    private StartUp startUp;

    private GraphExecutor(Runtime.Device device, Residency residency, RunListener listener, boolean capture) {
        this.device = device;
        this.residency = residency;
        this.listener = listener;
        this.capture = capture;
    }

    /**
     * Sends weights and compiles.
     *
     * @param capture whether compute graphs are captured as CUDA graphs; their kernels are not timed then
     * @param join whether a kernel may do what several operations are, and a graph what several layers are; they are
     *     not timed apart then
     * @param mostTasks of a graph, up to {@link LayeredGraph#MOST_TASKS}
     */
    static GraphExecutor prepare(Runtime.Device device, Map<Tensor, HostTensor> weights, List<Program> programs,
            RunListener listener, boolean capture, boolean join, int mostTasks) {
        Residency residency = Residency.of(device.info(), weights, programs);
        GraphExecutor executor = new GraphExecutor(device, residency, listener, capture);
        try (Filling filling = Filling.start(residency.loads())) {
            long start = System.nanoTime();
            executor.build(programs, join, mostTasks);
            long built = System.nanoTime();
            executor.startProfile();
            executor.load(filling, 0, 1);
            long started = System.nanoTime();
            executor.compile();
            long compiled = System.nanoTime();
            executor.load(filling, 1, residency.loads().size());
            long loaded = System.nanoTime();
            if (capture) {
                // Its clocks would be captured with the kernels.
                executor.stopProfile();
            }
            executor.runEmpty();
            long ready = System.nanoTime();
            Profile profile = executor.stopProfile();
            executor.startUp = new StartUp(Runtime.startNanos(), built - start, filling.nanos(),
                    started - built + loaded - compiled, compiled - started + ready - loaded, profile.jitNanos(),
                    profile.driverNanos(), executor.lowered.values().stream()
                            .flatMap(program -> program.tasks().stream())
                            .filter(Lowering.Task::isNew)
                            .mapToInt(_ -> 1).sum());
            return executor;
        } catch (RuntimeException | Error e) {
            executor.close();
            throw e;
        }
    }

    private void build(List<Program> programs, boolean join, int mostTasks) {
        Lowering lowering = new Lowering(residency, device, join, mostTasks);
        for (Residency.Load load : residency.loads()) {
            add(lowering.transfers("load" + members.size()), 1, load.arrays());
        }
        stepGraph = add(lowering.transfers("step"), 1, residency.stepArrays());
        if (!residency.largeInputs().isEmpty()) {
            inputGraph = add(lowering.transfers("inputs"), 1, List.copyOf(residency.largeInputs().values()));
        }
        List<Lowering.Graph> compute = new ArrayList<>();
        for (Program program : programs) {
            Lowering.Lowered result = lowering.lower(program);
            lowered.put(program, result);
            limits.put(program, StepLimits.of(program));
            compute.addAll(result.graphs());
        }
        compute.reversed().forEach(graph -> add(graph.graph(), graph.launches().size(), List.of()));

        List<TornadoNativeArray> known = new ArrayList<>();
        ImmutableTaskGraph[] graphs = new ImmutableTaskGraph[members.size()];
        for (int i = 0; i < graphs.length; i++) {
            Member member = members.get(i);
            TaskGraph graph = member.graph;
            for (int j = 0; j < graphs.length; j++) {
                if (j == i - 1) {
                    graph.consumeFromDevice(members.get(j).graph.getTaskGraphName(), known.toArray());
                } else if (i > 0) {
                    graph.consumeFromDevice(members.get(j).graph.getTaskGraphName(), residency.anchor());
                }
            }
            if (!member.sent.isEmpty()) {
                graph.transferToDevice(DataTransferMode.EVERY_EXECUTION, member.sent.toArray());
                graph.persistOnDevice(member.sent.toArray());
                known.addAll(member.sent);
            }
            graphs[i] = graph.snapshot();
        }
        plan = new TornadoExecutionPlan(graphs);
        plan.withDevice(device.tornado());
        plan.withGridScheduler(lowering.grids());
        if (capture) {
            compute.forEach(graph -> plan.withGraph(indices.get(graph.name())).withCUDAGraph());
        }
    }

    private int add(TaskGraph graph, int launches, List<TornadoNativeArray> sent) {
        int index = members.size();
        members.add(new Member(graph, launches, sent));
        indices.put(graph.getTaskGraphName(), index);
        return index;
    }

    private void load(Filling filling, int from, int to) {
        // TornadoVM locks host memory for this driver until the plan is closed, see cuda.args; here that cannot be
        // turned off.
        boolean keep = device.language().equals("ptx");
        for (int i = from; i < to; i++) {
            filling.await(i);
            execute(i, 1, "sending the weights");
            filling.sent(i, keep);
        }
    }

    /** Compiles all graphs but the first, which has run. */
    private void compile() {
        for (int i = 1; i < members.size(); i++) {
            try {
                plan.withGraph(i).withPreCompilation();
            } catch (RuntimeException | TornadoInternalError e) {
                throw failure(i, describe(members.get(i).graph.getTaskGraphName()), e);
            }
            // A result shows the plan's selected graph, whatever ran when it was made; compiling makes none of its own.
            profile.addCompilation(last.getProfilerResult());
        }
    }

    /**
     * Runs every graph once over no rows: it takes its buffers over then, and some drivers put off part of compiling
     * until a kernel is launched.
     */
    private void runEmpty() {
        residency.step().clear();
        for (int i = residency.loads().size(); i < members.size(); i++) {
            execute(i, 1, describe(members.get(i).graph.getTaskGraphName()));
        }
    }

    private void execute(int graph, int repeat, String what) {
        try {
            // Through the plan that withGraph returns: a plan keeps every result it gave, and this one is dropped.
            TornadoExecutionPlan selected = plan.withGraph(graph);
            for (int i = 0; i < repeat; i++) {
                last = selected.execute();
                if (profiling) {
                    profile.add(isCaptured(graph) ? 0 : members.get(graph).launches, last.getProfilerResult());
                }
                if (taskTimes != null) {
                    taskTimes.add(last.getProfilerResult());
                }
            }
        } catch (RuntimeException | TornadoInternalError e) {
            throw failure(graph, what, e);
        }
    }

    /**
     * Whether the graph's kernels are launched together, without a frame each. Graphs that only send are not: what they
     * send changes.
     */
    private boolean isCaptured(int graph) {
        return capture && members.get(graph).sent.isEmpty();
    }

    /** What failed, by the task that TornadoVM names if it could not be compiled. */
    private BackendException failure(int graph, String what, Throwable e) {
        String message = String.valueOf(e.getMessage());
        String name = members.get(graph).graph.getTaskGraphName();
        for (Lowering.Lowered program : lowered.values()) {
            for (Lowering.Task task : program.tasks()) {
                if (message.contains("compile task " + task.id() + " ")) {
                    return new BackendException(task.program() + ", " + task.segment() + ": kernel " + task.kernel()
                            + " does not compile for " + device.info().name() + ": " + Runtime.reason(e), e);
                }
            }
        }
        if (message.contains("compile task " + name + ".")) {
            // A graph that only sends. Drivers that compile nothing fail here first.
            return new BackendException(what + ": kernel nothing does not compile for " + device.info().name() + ": "
                    + Runtime.reason(e), e);
        }
        return new BackendException(what + " failed on " + device.info().name() + ": " + Runtime.reason(e), e);
    }

    private String describe(String graph) {
        for (Lowering.Lowered program : lowered.values()) {
            for (Lowering.Graph each : program.graphs()) {
                if (each.name().equals(graph)) {
                    return each.launches().stream().map(task -> task.program() + ", " + task.segment()).distinct()
                            .collect(Collectors.joining(" and "));
                }
            }
        }
        return graph;
    }

    /** From now on, counts what crosses to and from the device and how long kernels run. Slows runs down. */
    void startProfile() {
        profile = new Profile();
        profiling = true;
        plan.withProfiler(ProfilerMode.SILENT);
    }

    Profile stopProfile() {
        profiling = false;
        plan.withoutProfiler();
        return profile;
    }

    /** Where the time of preparation went. */
    @Override
    public Optional<StartUp> startUp() {
        return Optional.of(startUp);
    }

    @Override
    public void run(Program program, Step step) {
        Lowering.Lowered target = lowered.get(program);
        if (target == null) {
            throw new IllegalArgumentException("program " + program.name() + " was not prepared");
        }
        limits.get(program).check(program, step);
        if (inputsWritten) {
            execute(inputGraph, 1, "sending the inputs");
            inputsWritten = false;
        }
        residency.step().set(step, target.firstLayer(), target.firstNumber());
        execute(stepGraph, 1, "sending the step");
        int total = target.graphs().stream().mapToInt(Lowering.Graph::repeat).sum();
        int done = 0;
        for (Lowering.Graph graph : target.graphs()) {
            execute(indices.get(graph.name()), graph.repeat(), describe(graph.name()));
            done += graph.repeat();
            listener.finished(program, done, total);
        }
    }

    /** The whole run is timed without the profiler, which slows it down; its operations in a second one. */
    @Override
    public RunProfile profile(Program program, Step step) {
        if (capture) {
            throw new IllegalStateException("prepared to launch kernels together; they cannot be timed");
        }
        long start = System.nanoTime();
        run(program, step);
        long total = System.nanoTime() - start;
        TaskTimes times = new TaskTimes();
        startProfile();
        taskTimes = times;
        try {
            run(program, step);
        } finally {
            taskTimes = null;
            stopProfile();
        }
        return new RunProfile(program, step, total, entries(lowered.get(program), times));
    }

    /**
     * Tasks that follow each other and are of one operation, or of none, are one entry; so are those of a segment that
     * was split.
     */
    private static List<RunProfile.Entry> entries(Lowering.Lowered program, TaskTimes times) {
        Map<List<Object>, RunProfile.Entry> entries = new LinkedHashMap<>();
        for (Lowering.Graph graph : program.graphs()) {
            List<Lowering.Task> tasks = graph.launches();
            int from = 0;
            for (int to = 1; to <= tasks.size(); to++) {
                Lowering.Task first = tasks.get(from);
                if (to < tasks.size() && tasks.get(to).op() == first.op()
                        && tasks.get(to).segment().equals(first.segment())) {
                    continue;
                }
                List<Lowering.Task> same = tasks.subList(from, to);
                RunProfile.Entry entry = new RunProfile.Entry(first.segment(), Optional.ofNullable(first.op()),
                        same.stream().map(Lowering.Task::kernel).collect(Collectors.joining(" + ")), graph.repeat(),
                        same.stream().mapToLong(task -> times.nanos(task.graph(), task.name())).sum());
                entries.merge(List.of(entry.segment(), entry.op()), entry,
                        (a, b) -> new RunProfile.Entry(a.segment(), a.op(), a.kernel(), a.calls() + b.calls(),
                        a.nanos() + b.nanos()));
                from = to;
            }
        }
        return List.copyOf(entries.values());
    }

    @Override
    public void write(Tensor input, MemorySegment from) {
        check(input, Tensor.Kind.INPUT, from);
        long offset = 0;
        for (TornadoNativeArray array : residency.arrays(input)) {
            long bytes = Math.min(array.getNumBytesOfSegment(), from.byteSize() - offset);
            if (bytes > 0) {
                MemorySegment.copy(from, offset, array.getSegment(), 0, bytes);
                offset += bytes;
            }
        }
        inputsWritten |= residency.largeInputs().containsKey(input);
    }

    @Override
    public void read(Tensor output, MemorySegment to) {
        check(output, Tensor.Kind.OUTPUT, to);
        long offset = 0;
        for (TornadoNativeArray array : residency.arrays(output)) {
            long bytes = Math.min(array.getNumBytesOfSegment(), to.byteSize() - offset);
            if (bytes > 0) {
                fetch(array);
                MemorySegment.copy(array.getSegment(), 0, to, offset, bytes);
                offset += bytes;
            }
        }
    }

    private void fetch(TornadoNativeArray array) {
        last.transferToHost(array);
        if (profiling) {
            profile.addRead(array.getNumBytesOfSegmentWithHeader());
        }
    }

    private void check(Tensor tensor, Tensor.Kind kind, MemorySegment segment) {
        if (tensor.kind() != kind || !residency.holds(tensor)) {
            throw new IllegalArgumentException(tensor + " is no " + kind + " of a prepared program");
        }
        if (segment.byteSize() > tensor.bytes()) {
            throw new IllegalArgumentException(segment.byteSize() + " bytes, " + tensor + " has " + tensor.bytes());
        }
    }

    @Override
    public boolean roundsActivations() {
        return device.roundsActivations();
    }

    @Override
    public long allocatedBytes() {
        return residency.deviceBytes();
    }

    @Override
    public void close() {
        try {
            if (plan != null) {
                plan.withAllGraphs();
                plan.close();
            }
        } catch (TornadoExecutionPlanException e) {
            throw new BackendException("freeing " + device.info().name() + " failed: " + Runtime.reason(e), e);
        } finally {
            residency.close();
        }
    }
}
