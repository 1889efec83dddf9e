package stormsight.cli;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintWriter;
import java.util.Locale;
import stormsight.backend.RunListener;
import stormsight.program.Program;

/** A progress bar on standard error for passes that take long; silent where that is no terminal. */
final class Progress implements RunListener {
    private static final int WIDTH = 30;
    /** A pass that is done within this time shows nothing. */
    private static final long PATIENCE_NANOS = 300_000_000;
    private static final String CLEAR_LINE = "\r\u001b[K";

    /** Past what shows control characters in place of sending them. */
    private final PrintWriter err = new PrintWriter(new FileOutputStream(FileDescriptor.err));
    private final boolean visible = Environment.terminal();
    private long start;
    private boolean shown;
    private int firstItem;

    @Override
    public void finished(Program program, int done, int total) {
        // A pass over one row is a step of an answer, which shows its own progress as text.
        if (!visible || program.name().equals("decode")) {
            return;
        }
        long now = System.nanoTime();
        if (done <= 1) {
            start = now;
        }
        if (done == total) {
            clear();
        } else if (now - start > PATIENCE_NANOS) {
            int filled = WIDTH * done / total;
            err.print(CLEAR_LINE + String.format(Locale.ROOT, "%-8s [%s%s] %d/%d", program.name(), "#".repeat(filled),
                    " ".repeat(WIDTH - filled), done, total));
            err.flush();
            shown = true;
        }
    }

    /** A count of examples on the line of the bar; a pass that takes long draws over it. */
    void example(int number, int all) {
        if (visible && all > 1) {
            err.print(CLEAR_LINE + "example " + number + " of " + all);
            err.flush();
            shown = true;
        }
    }

    /** What is done next. */
    void step(String what) {
        if (visible) {
            err.print(CLEAR_LINE + what);
            err.flush();
            shown = true;
        }
    }

    /** Frees the line of whatever stands on it, where an error ends the command that drew it. */
    static void clearLine() {
        new Progress().clearShown();
    }

    private void clearShown() {
        shown = visible;
        clear();
    }

    /**
     * A count of items on the line of the bar, with their rate and the time that is left. The clock starts with the
     * first one that is told.
     */
    void item(int number, int all) {
        if (!visible || all == 1) {
            return;
        }
        long now = System.nanoTime();
        if (!shown) {
            start = now;
            firstItem = number;
        }
        double seconds = (now - start) / 1e9;
        double rate = (number - firstItem) / seconds;
        err.print(CLEAR_LINE + number + " of " + all
                + (number == firstItem
                        ? ""
                        : String.format(Locale.ROOT, ", %.1f a second, %.0f s left", rate, (all - number + 1) / rate)));
        err.flush();
        shown = true;
    }

    /** Takes the bar away, so that the line is free again. */
    void clear() {
        if (shown) {
            err.print(CLEAR_LINE);
            err.flush();
            shown = false;
        }
    }
}
