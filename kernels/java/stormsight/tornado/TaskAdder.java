package stormsight.tornado;

import uk.ac.manchester.tornado.api.TaskGraph;

/** Adds one task to a graph: {@code (graph, name) -> graph.task(name, MatMul::f32, context, step, ...)}. */
@FunctionalInterface
public interface TaskAdder {
    void add(TaskGraph graph, String name);
}
