package stormsight.backend;

import stormsight.program.Program;

/** Hears how far a run is. Called on the thread that runs, so it must be quick. */
@FunctionalInterface
public interface RunListener {
    RunListener NONE = (program, done, total) -> {};

    /**
     * @param done parts finished: layers, counted over all segments of the program, or what a backend makes of several
     * @param total parts of the program
     */
    void finished(Program program, int done, int total);
}
