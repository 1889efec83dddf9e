package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.function.BiConsumer;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;
import stormsight.backend.Backend;
import stormsight.model.ModelDirectory;

/** What commands share that open a model on a backend: the options that choose both, and what surrounds their use. */
abstract class ModelCommand {
    @Spec
    protected CommandSpec spec;

    @Mixin
    protected ModelMixin model;

    @Mixin
    protected BackendMixin backendOptions;

    /** What is done with an opened model. */
    @FunctionalInterface
    interface Work {
        void run(ModelDirectory directory, Backend backend, Progress progress);
    }

    final PrintWriter out() {
        return spec.commandLine().getOut();
    }

    final PrintWriter err() {
        return spec.commandLine().getErr();
    }

    /** The model that the command works with. */
    ModelDirectory open() {
        return model.open();
    }

    /**
     * A warning about results that are continued.
     *
     * @param unknown as {@link stormsight.model.Stamp#unknown} says it
     */
    static String begunEarlier(Path file, String unknown) {
        return "stormsight: warning: " + file + " is of an earlier version and does not say " + unknown
                + "; it is continued as if that were as it is now";
    }

    /** Opens model and backend and closes them when the work is done. */
    final void withModel(Work work) {
        withProgress((progress, _) -> {
            try (ModelDirectory directory = open(); Backend backend = backendOptions.open()) {
                work.run(directory, backend, progress);
            }
        });
    }

    /** Does work that shows its progress, and leaves the terminal sane if it is interrupted. */
    final void withProgress(BiConsumer<Progress, Interruption> work) {
        Progress progress = new Progress();
        Interruption interruption = new Interruption(progress, err());
        try {
            work.accept(progress, interruption);
        } finally {
            interruption.over();
        }
    }
}
