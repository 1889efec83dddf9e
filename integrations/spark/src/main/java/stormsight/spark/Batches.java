package stormsight.spark;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.function.Function;

/** Works at several elements at a time and hands on the results in their order, without reading far ahead. */
final class Batches<T, R> implements Iterator<R> {
    private final Iterator<T> elements;
    private final Function<T, R> work;
    private final int most;
    private final Deque<FutureTask<R>> begun = new ArrayDeque<>();

    /** @param most elements that are worked at */
    Batches(Iterator<T> elements, Function<T, R> work, int most) {
        this.elements = elements;
        this.work = work;
        this.most = most;
    }

    @Override
    public boolean hasNext() {
        return !begun.isEmpty() || elements.hasNext();
    }

    @Override
    public R next() {
        while (begun.size() < most && elements.hasNext()) {
            T element = elements.next();
            FutureTask<R> task = new FutureTask<>(() -> work.apply(element));
            Thread.ofVirtual().start(task);
            begun.add(task);
        }
        try {
            return begun.remove().get();
        } catch (ExecutionException e) {
            throw e.getCause() instanceof RuntimeException problem ? problem : new IllegalStateException(e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("the task was cancelled", e);
        }
    }
}
