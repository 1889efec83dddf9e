package stormsight.cli;

import java.io.PrintWriter;
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
