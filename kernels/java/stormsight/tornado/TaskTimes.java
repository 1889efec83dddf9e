package stormsight.tornado;

import java.util.HashMap;
import java.util.Map;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import uk.ac.manchester.tornado.api.TornadoProfilerResult;

/** How long each task ran on the device, summed over executions: TornadoVM tells that in its log alone. */
final class TaskTimes {
    private static final String KERNEL_TIME = "TASK_KERNEL_TIME";
    /** Between the objects of two executions; what is inside of one is indented. */
    private static final String NEXT = "\n{";

    private final Map<String, Long> nanos = new HashMap<>();

    /** Adds the tasks of one execution of a graph. */
    void add(TornadoProfilerResult result) {
        add(result.getProfileLog());
    }

    /**
     * Adds the last execution of a log.
     *
     * @param log a JSON object for every execution of a graph since the profiler was first started, one after the
     *     other: by the graph's name an object of its own times and, under {@code graph.task}, its tasks'
     */
    void add(String log) {
        for (JsonNode graph : JsonMapper.shared().readTree(log.substring(log.lastIndexOf(NEXT) + 1))) {
            graph.forEachEntry((name, task) -> {
                if (task.has(KERNEL_TIME)) {
                    nanos.merge(name, task.get(KERNEL_TIME).asLong(), Long::sum);
                }
            });
        }
    }

    /** Nanoseconds of a task, 0 if it never ran. */
    long nanos(String graph, String task) {
        return nanos.getOrDefault(graph + "." + task, 0L);
    }
}
