package stormsight.cli;

import java.util.Iterator;
import java.util.Optional;
import java.util.stream.Stream;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.BackendProvider;
import stormsight.backend.Backends;
import stormsight.backend.DeviceInfo;
import stormsight.backend.Precision;

/** Options that choose where a model runs. */
final class BackendMixin {
    static final String PROCESSOR = "cpu";

    /** Names of the backends, for completion. */
    static final class Names implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return Stream.concat(
                            Stream.of(Backends.AUTO),
                            Backends.providers().stream().map(BackendProvider::name))
                    .iterator();
        }
    }

    /** What devices are called on this machine, for completion. */
    static final class Devices implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return Backends.providers().stream().filter(provider -> provider.unavailable().isEmpty())
                    .flatMap(provider -> provider.devices().stream()).map(DeviceInfo::id).distinct().iterator();
        }
    }

    @Option(
            names = "--backend",
            paramLabel = "NAME",
            defaultValue = Backends.AUTO,
            completionCandidates = Names.class,
            description =
                    "Where to run: cpu, scalar (the slow reference), tornado (see 'devices'), or auto: a GPU if there "
                            + "is one, else cpu. Default: ${DEFAULT-VALUE}.")
    private String name;

    @Option(
            names = "--device",
            paramLabel = "ID",
            completionCandidates = Devices.class,
            description = "A device of the backend, as 'devices' lists it.")
    private Optional<String> device = Optional.empty();

    @Mixin
    private PrecisionMixin precision;

    @Spec(Spec.Target.MIXEE)
    private CommandSpec spec;

    private int threads;

    @Option(
            names = {"-t", "--threads"},
            paramLabel = "N",
            description = "Threads of a CPU backend. Default: one per core.")
    private void threads(int count) {
        checkThreads(count, spec);
        threads = count;
    }

    /** @throws ParameterException if so many threads cannot be wanted */
    static void checkThreads(int count, CommandSpec command) {
        if (count < 1 || count > BackendOptions.MOST_THREADS) {
            throw new ParameterException(
                    command.commandLine(), "--threads " + count + " is not in 1 .. " + BackendOptions.MOST_THREADS);
        }
    }

    Backend open() {
        return open(precision());
    }

    /** The processor in 32 bits where no option says otherwise; devices as {@link #open}. */
    Backend openToVerify() {
        Precision chosen = precision();
        return open(chosen == Precision.FAST && Backends.provider(name).name().equals(PROCESSOR) ? Precision.STRICT
                : chosen);
    }

    /** Threads of this process, one per core if nobody says. */
    int threads() {
        return threads > 0 ? threads : Runtime.getRuntime().availableProcessors();
    }

    /** How precise products are to be. */
    Precision precision() {
        return precision.precision();
    }

    private Backend open(Precision chosen) {
        return Backends.open(name, new BackendOptions(threads, device, chosen));
    }
}
