package stormsight.cli;

import java.util.Optional;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;

/** Options that choose where a model runs. */
final class BackendMixin {
    @Option(names = "--backend", paramLabel = "NAME", defaultValue = Backends.AUTO,
            description = "Where to run: cpu, scalar (the slow reference), tornado (see 'devices'), or auto: a GPU if there is one, else cpu. "
                    + "Default: ${DEFAULT-VALUE}.")
    private String name;

    @Option(names = "--device", paramLabel = "ID", description = "A device of the backend, as 'devices' lists it.")
    private Optional<String> device = Optional.empty();

    @Spec(Spec.Target.MIXEE)
    private CommandSpec spec;

    private int threads;

    @Option(names = "--threads", paramLabel = "N", description = "Threads of a CPU backend. Default: one a core.")
    private void threads(int count) {
        checkThreads(count, spec);
        threads = count;
    }

    /** @throws ParameterException if so many threads cannot be wanted */
    static void checkThreads(int count, CommandSpec command) {
        if (count < 1 || count > BackendOptions.MOST_THREADS) {
            throw new ParameterException(command.commandLine(), "--threads " + count + " is not in 1 .. " + BackendOptions.MOST_THREADS);
        }
    }

    Backend open() {
        return Backends.open(name, new BackendOptions(threads, device));
    }
}
