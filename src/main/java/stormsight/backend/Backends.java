package stormsight.backend;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.ServiceLoader;
import java.util.stream.Collectors;

/** The backends on the class path. */
public final class Backends {
    /** The name that leaves the choice to {@link #open}. */
    public static final String AUTO = "auto";

    private Backends() {}

    /** All providers, the best for {@code auto} first. Asking for their priorities may start drivers. */
    public static List<BackendProvider> providers() {
        return found().stream().sorted(Comparator.comparingInt(BackendProvider::priority).reversed()).toList();
    }

    private static List<BackendProvider> found() {
        List<BackendProvider> providers = new ArrayList<>();
        ServiceLoader.load(BackendProvider.class).forEach(providers::add);
        ServiceLoader.load(OptionalProvider.class).forEach(providers::add);
        if (providers.stream().noneMatch(provider -> provider.name().equals(MissingTornado.NAME))) {
            providers.add(new MissingTornado());
        }
        return providers;
    }

    /**
     * The provider of that name, or for {@value #AUTO} the available one with the highest priority. A named backend is
     * never replaced by another one.
     *
     * @throws BackendException if there is none of that name, or it is not available
     */
    public static BackendProvider provider(String name) {
        if (name.equals(AUTO)) {
            return providers().stream()
                    .filter(provider -> provider.priority() >= 0 && provider.unavailable().isEmpty())
                    .findFirst()
                    .orElseThrow(() -> new BackendException("no backend is available"));
        }
        List<BackendProvider> providers = found();
        BackendProvider found = providers.stream()
                .filter(provider -> provider.name().equals(name))
                .findFirst()
                .orElseThrow(() -> new BackendException("backend '" + name + "' is not present; there are "
                        + providers.stream().map(BackendProvider::name).sorted().collect(Collectors.joining(", "))));
        found.unavailable().ifPresent(why -> {
            throw new BackendException("backend '" + name + "' is not available: " + why);
        });
        return found;
    }

    /**
     * Tells a backend that a model will be opened for it, see {@link BackendProvider#anticipate}. For {@value #AUTO}
     * only where no driver must be asked first which backend that is. A name that is none is left to {@link #open}.
     */
    public static void anticipate(String name, BackendOptions options, long weightBytes) {
        boolean devices = ServiceLoader.load(OptionalProvider.class).iterator().hasNext();
        ServiceLoader.load(BackendProvider.class).stream()
                .map(ServiceLoader.Provider::get)
                .filter(provider -> provider.name().equals(name)
                        || name.equals(AUTO) && !devices && provider.priority() >= 0)
                .forEach(provider -> provider.anticipate(options, weightBytes));
    }

    /**
     * Opens the backend of that name, or {@value #AUTO}.
     *
     * @throws BackendException if it is not available, or not as precise as the options want
     */
    public static Backend open(String name, BackendOptions options) {
        Backend backend = provider(name).open(options);
        if (options.precision() == Precision.BF16 && !backend.device().tensorCores()) {
            String title = backend.device().title();
            backend.close();
            throw new BackendException("bf16 as the precision is for tensor cores, which " + title
                    + " does not have: leave --precision out, or take an NVIDIA GPU from compute capability 8.0 on "
                    + "with TornadoVM's backend cuda");
        }
        return backend;
    }
}
