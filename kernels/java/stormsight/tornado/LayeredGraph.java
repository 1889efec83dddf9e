package stormsight.tornado;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import uk.ac.manchester.tornado.api.TaskGraph;
import uk.ac.manchester.tornado.api.common.SchedulableTask;
import uk.ac.manchester.tornado.api.common.TaskPackage;
import uk.ac.manchester.tornado.runtime.tasks.CompilableTask;
import uk.ac.manchester.tornado.runtime.tasks.meta.ScheduleContext;

/**
 * A graph that can hold one task several times, and tasks of other graphs. Each is compiled once: TornadoVM compiles
 * what it has no code for under the task's id, but refuses two tasks of one id, which it takes for the same. It waits
 * for each graph when that was executed, so that layers in one graph are spared the waits.
 */
final class LayeredGraph extends TaskGraph {
    /** TornadoVM describes a graph in so many bytes. */
    private static final int BYTES = 8192;
    /** Of which a task takes so many, besides those of its parameters. */
    private static final int TASK_BYTES = 15;
    private static final int PARAMETER_BYTES = 5;
    /** As many tasks as TornadoVM takes at most. */
    static final int MOST_TASKS = 256;
    /** TornadoVM makes a graph of these: constants, arrays, the first use and the end of each, tasks and writes. */
    private static final int NODES = 1024;
    /** Nodes that every graph has once: where it runs, and the allocation of all arrays. */
    private static final int OTHER_NODES = 2;
    /** Arrays that a task writes at most. */
    private static final int WRITES = 4;

    /** A task that was put into a graph, under the name that it has there. */
    record Entry(ScheduleContext graph, String name, CompilableTask task) {}

    /** A task with the id of another one that does not equal it. */
    private static final class Again extends CompilableTask {
        Again(Entry entry) {
            super(entry.graph(), entry.name(), entry.task().getMethod(), entry.task().getArguments());
        }

        @Override
        public boolean equals(Object other) {
            return this == other;
        }

        @Override
        public int hashCode() {
            return System.identityHashCode(this);
        }
    }

    private final int arrays;
    private final int mostTasks;
    private final Set<Object> arguments = new HashSet<>();
    private int bytes;
    private int tasks;

    /**
     * @param arrays that it takes over or sends, whether its tasks use them or not
     * @param mostTasks up to {@link #MOST_TASKS}
     */
    LayeredGraph(String name, int arrays, int mostTasks) {
        super(name);
        this.arrays = arrays;
        this.mostTasks = mostTasks;
    }

    /** Whether there is room for one more such task. */
    boolean hasRoom(TaskPackage task) {
        List<Object> parameters = parameters(task);
        long used = arguments.size() + parameters.stream().filter(each -> !arguments.contains(each)).count();
        return bytes + TASK_BYTES + PARAMETER_BYTES * parameters.size() <= BYTES && tasks < mostTasks
                && OTHER_NODES + arrays + 2 * used + (1 + WRITES) * (tasks + 1) <= NODES;
    }

    private static List<Object> parameters(TaskPackage task) {
        List<Object> all = List.of(task.getTaskParameters());
        // The first one is the method.
        return all.subList(1, all.size());
    }

    /** Adds a task. None that was added so before may have its name. */
    Entry add(TaskPackage task) {
        addTask(task);
        count(task);
        List<SchedulableTask> all = new ArrayList<>();
        taskGraphImpl.apply(all::add);
        return new Entry((ScheduleContext) taskGraphImpl.meta(), task.getId(), (CompilableTask) all.getLast());
    }

    /** Adds a task once more that this or another graph holds. */
    void again(Entry entry, TaskPackage task) {
        taskGraphImpl.addInner(new Again(entry));
        count(task);
    }

    private void count(TaskPackage task) {
        List<Object> parameters = parameters(task);
        bytes += TASK_BYTES + PARAMETER_BYTES * parameters.size();
        tasks++;
        arguments.addAll(parameters);
    }
}
