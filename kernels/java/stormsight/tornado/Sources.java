package stormsight.tornado;

import java.io.OutputStream;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import stormsight.backend.BackendException;
import stormsight.backend.KernelSource;
import stormsight.program.Program;
import uk.ac.manchester.tornado.api.ImmutableTaskGraph;
import uk.ac.manchester.tornado.api.TornadoExecutionPlan;
import uk.ac.manchester.tornado.api.exceptions.TornadoExecutionPlanException;
import uk.ac.manchester.tornado.api.exceptions.TornadoInternalError;

/**
 * The code that TornadoVM generates for a device. It gives that away only by printing it while it compiles, so what is
 * printed is caught here; nothing is sent to the device and nothing is launched.
 */
final class Sources {
    private static final Pattern ENTRY = Pattern.compile(
            "(?:__kernel void|extern \"C\" __global__ void|\\.visible \\.entry|kernel void)\\s+(\\w+)");
    private static final String OPENCL_FLAGS = "tornado.opencl.compiler.flags";
    /** TornadoVM's own, as of 5.2. */
    private static final String DEFAULT_OPENCL_FLAGS = "-cl-mad-enable -cl-fast-relaxed-math -w";

    private record Code(String entryPoint, String text) {}

    private Sources() {}

    /**
     * One for each task of the programs, in order.
     *
     * @throws BackendException if the device cannot hold the programs, or a kernel does not compile
     */
    static List<KernelSource> of(Runtime.Device device, List<Program> programs) {
        try (Residency residency = Residency.unfilled(device.info(), programs)) {
            Lowering lowering = new Lowering(residency, device, true, LayeredGraph.MOST_TASKS);
            List<Lowering.Lowered> lowered = programs.stream().map(lowering::lower).toList();
            List<Lowering.Graph> graphs = lowered.stream().flatMap(program -> program.graphs().stream()).toList();
            List<Lowering.Task> tasks = lowered.stream().flatMap(program -> program.tasks().stream()).toList();
            ImmutableTaskGraph[] snapshots = graphs.stream()
                    .map(graph -> graph.graph().snapshot())
                    .toArray(ImmutableTaskGraph[]::new);
            try (TornadoExecutionPlan plan = new TornadoExecutionPlan(snapshots)) {
                plan.withDevice(device.tornado());
                plan.withGridScheduler(lowering.grids());
                plan.withPrintKernel();
                Map<String, Code> codes = new HashMap<>();
                for (int i = 0; i < graphs.size(); i++) {
                    String graph = graphs.get(i).name();
                    addCodes(tasks.stream().filter(task -> task.isNew() && task.graph().equals(graph)).toList(),
                            printed(plan, i), codes);
                }
                return tasks.stream().map(task -> {
                    Code code = codes.get(task.id());
                    return new KernelSource(task.planned(), device.language(), code.entryPoint, flags(device),
                            task.geometry().groupSize(), task.geometry().localBytes(), code.text);
                }).toList();
            }
        } catch (TornadoExecutionPlanException | TornadoInternalError e) {
            throw new BackendException("compiling for " + device.info().name() + " failed: " + Runtime.reason(e), e);
        }
    }

    /** What TornadoVM prints while it compiles a graph: a text for each task. */
    private static List<String> printed(TornadoExecutionPlan plan, int graph) {
        List<String> printed = new ArrayList<>();
        PrintStream standard = System.out;
        System.setOut(new PrintStream(OutputStream.nullOutputStream()) {
            @Override
            public void println(String text) {
                printed.add(text);
            }
        });
        try {
            plan.withGraph(graph).withPreCompilation();
        } finally {
            System.setOut(standard);
        }
        return printed;
    }

    /**
     * The last task of a graph is compiled and printed even if it was before.
     *
     * @param codes by task
     */
    private static void addCodes(List<Lowering.Task> tasks, List<String> printed, Map<String, Code> codes) {
        int found = 0;
        for (String text : printed) {
            Matcher entry = ENTRY.matcher(text);
            if (entry.find() && found < tasks.size()) {
                codes.put(tasks.get(found).id(), new Code(entry.group(1), text));
                found++;
            }
        }
        if (found != tasks.size()) {
            throw new BackendException("TornadoVM showed the code of " + found + " of "
                    + tasks.size() + " kernels; is tornado.print.kernel.dir set, which sends it elsewhere?");
        }
    }

    private static String flags(Runtime.Device device) {
        return device.language().equals("opencl") ? System.getProperty(OPENCL_FLAGS, DEFAULT_OPENCL_FLAGS) : "";
    }
}
