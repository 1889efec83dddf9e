package stormsight.cli;

import java.io.PrintWriter;

/**
 * Leaves the terminal sane when the process is interrupted: no half-drawn bar, no shell prompt behind half an answer.
 */
final class Interruption {
    private final Thread hook;
    private volatile boolean streaming;

    Interruption(Progress progress, PrintWriter err) {
        hook = new Thread(() -> {
            progress.clear();
            if (streaming && Environment.terminal()) {
                err.println();
                err.flush();
            }
        }, "interruption");
        Runtime.getRuntime().addShutdownHook(hook);
    }

    /** Part of an answer is on the screen. */
    void streaming() {
        streaming = true;
    }

    /** The answer is complete. */
    void over() {
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            // The process is ending already: the hook does its work.
            streaming = true;
        }
    }
}
