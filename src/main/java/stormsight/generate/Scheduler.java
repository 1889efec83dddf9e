package stormsight.generate;

import java.time.Duration;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/**
 * Answers the requests of many threads with one generator, which lives on a thread of its own: as many at a time as its
 * limits have sequences, the others wait in line and begin in the order in which they came. Safe for use by several
 * threads.
 */
public final class Scheduler implements AutoCloseable {
    private final BlockingQueue<Pending> line;
    private final Thread worker;
    /** The generator, as soon as it is open. */
    private final CompletableFuture<Generator> opened = new CompletableFuture<>();
    private volatile boolean closed;
    private final Set<Pending> running = ConcurrentHashMap.newKeySet();

    /** What happens to a request. */
    public sealed interface Event {
        /** The next piece of the answer's text, never empty. */
        record Text(String piece) implements Event {}

        /** The answer is complete; nothing follows. */
        record Done(Answer answer) implements Event {}

        /** There will be no answer; nothing follows. */
        record Failed(Throwable reason) implements Event {}
    }

    /** A request that was taken. One thread waits for its events; any thread may cancel it. */
    public final class Pending implements Question {
        private final Prepared prepared;
        private final BlockingQueue<Event> events = new LinkedBlockingQueue<>();
        private volatile boolean cancelled;

        private Pending(Prepared prepared) {
            this.prepared = prepared;
        }

        /**
         * What happens next.
         *
         * @return empty if nothing happened in that time
         */
        public Optional<Event> next(Duration atMost) throws InterruptedException {
            return Optional.ofNullable(events.poll(atMost.toNanos(), TimeUnit.NANOSECONDS));
        }

        /**
         * Waits for the answer.
         *
         * @param listener is called on this thread; the request is cancelled if it throws
         * @throws LimitException if prompt and answer do not fit what the generator was opened for
         * @throws stormsight.backend.BackendException if the device fails
         * @throws CancellationException if the request was cancelled, or the scheduler closed
         */
        public Answer await(AnswerListener listener) throws InterruptedException {
            try {
                while (true) {
                    switch (events.take()) {
                        case Event.Text text -> listener.text(text.piece());
                        case Event.Done done -> {
                            return done.answer();
                        }
                        case Event.Failed failed -> throw thrown(failed.reason());
                    }
                }
            } finally {
                cancel();
            }
        }

        /** Ends the request: if it still waits at once, else before its next token. */
        public void cancel() {
            cancelled = true;
            line.remove(this);
            end(new Event.Failed(new CancellationException("cancelled")));
        }

        private void end(Event event) {
            running.remove(this);
            events.add(event);
        }

        @Override
        public Prepared prepared() {
            return prepared;
        }

        @Override
        public void text(String piece) {
            events.add(new Event.Text(piece));
        }

        @Override
        public boolean wanted() {
            return !cancelled;
        }

        @Override
        public void answered(Answer answer) {
            end(new Event.Done(answer));
        }

        @Override
        public void refused(RuntimeException why) {
            end(new Event.Failed(why));
        }
    }

    private Scheduler(Supplier<Generator> opening, int waiting) {
        line = new LinkedBlockingQueue<>(waiting);
        worker = Thread.ofPlatform().name("scheduler").daemon().start(() -> run(opening));
    }

    /**
     * Opens a generator on a thread of its own and waits until it is there.
     *
     * @param waiting most requests that wait beside the one that is answered
     * @throws RuntimeException what opening threw
     */
    public static Scheduler open(Supplier<Generator> opening, int waiting) {
        Scheduler scheduler = new Scheduler(opening, waiting);
        try {
            scheduler.opened.join();
            return scheduler;
        } catch (CompletionException e) {
            throw thrown(e.getCause());
        }
    }

    private static RuntimeException thrown(Throwable e) {
        return switch (e) {
            case Error error -> throw error;
            case RuntimeException problem -> problem;
            default -> new IllegalStateException(e);
        };
    }

    private void run(Supplier<Generator> opening) {
        try (Generator generator = opening.get()) {
            opened.complete(generator);
            while (!closed) {
                serve(generator, line.take());
            }
        } catch (InterruptedException e) {
            throw new IllegalStateException("somebody interrupted the thread of a scheduler", e);
        } catch (RuntimeException | Error e) {
            if (!opened.completeExceptionally(e)) {
                throw e;
            }
        } finally {
            closed = true;
            line.forEach(Pending::cancel);
        }
    }

    /** Answers a request and all that come meanwhile. */
    private void serve(Generator generator, Pending first) {
        try {
            generator.answer(new Iterator<Pending>() {
                private Pending next = first;

                @Override
                public boolean hasNext() {
                    while (next == null || !next.wanted()) {
                        next = line.poll();
                        if (next == null) {
                            return false;
                        }
                    }
                    return true;
                }

                @Override
                public Pending next() {
                    if (!hasNext()) {
                        throw new NoSuchElementException();
                    }
                    Pending begun = next;
                    next = null;
                    running.add(begun);
                    // Cancelled since it was looked at, it would stay among those that run.
                    if (closed || !begun.wanted()) {
                        begun.cancel();
                    }
                    return begun;
                }
            });
        } catch (RuntimeException | Error e) {
            // Whoever waits is told; the next requests may be better ones.
            running.forEach(pending -> pending.end(new Event.Failed(e)));
        }
    }

    /** Of the model, the limits it was opened for, and the memory it takes; not to be asked. */
    public Generator generator() {
        return opened.join();
    }

    /**
     * Takes a request. Its images are cut on this thread.
     *
     * @return empty if as many wait as may
     * @throws IllegalArgumentException if the text cannot be a prompt
     * @throws CancellationException if the scheduler is closed
     */
    public Optional<Pending> submit(Request request) {
        return submit(new Pending(Generator.prepare(generator().directory(), request).small()));
    }

    /**
     * Takes a request about the very images of one that was taken before: they are not cut again, nor encoded again if
     * nothing else is answered between the two.
     *
     * @return see {@link #submit(Request)}
     */
    public Optional<Pending> submit(Request request, Pending before) {
        generator().directory().processor().check(request.prompt(), request.images().size());
        return submit(new Pending(new Prepared(request, before.prepared.images(), 0).small()));
    }

    private Optional<Pending> submit(Pending pending) {
        boolean taken = !closed && line.offer(pending);
        if (closed) {
            // Closed since, so that nobody may look at the line again.
            pending.cancel();
            throw new CancellationException("the model is closed");
        }
        return taken ? Optional.of(pending) : Optional.empty();
    }

    /** Requests that wait for their turn. */
    public int waiting() {
        return line.size();
    }

    /** Requests that are being answered. */
    public int running() {
        return running.size();
    }

    /** Cancels all requests and frees the generator. Waits for a step that runs. */
    @Override
    public void close() {
        closed = true;
        line.forEach(Pending::cancel);
        running.forEach(Pending::cancel);
        // Wakes the thread where it waits for a request.
        Pending none = new Pending(null);
        none.cancelled = true;
        line.offer(none);
        boolean interrupted = false;
        while (worker.isAlive()) {
            try {
                worker.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
