package stormsight.backend;

import java.util.List;
import java.util.Optional;

/**
 * Offers a backend to {@link Backends}; found through {@link java.util.ServiceLoader}. Creating a provider and asking
 * for its name must neither fail nor load a driver: a provider that cannot work here says so in {@link #unavailable}.
 */
public interface BackendProvider {
    /** As {@code --backend} takes it. */
    String name();

    /**
     * Where {@code auto} places the devices of this backend: the highest among the available ones wins, a negative one
     * is never taken.
     */
    int priority();

    /** One line saying why nothing can run here and what would help, or empty. */
    Optional<String> unavailable();

    /** Devices, the default one first; empty if {@link #unavailable} says why. */
    List<DeviceInfo> devices();

    /** What people who ask for devices should know beside them, one line each. May load native code. */
    default List<String> notes() {
        return List.of();
    }

    /**
     * Called before a model is opened that may be run here: what takes long to load and is needed then may begin to be
     * loaded on another thread. Whether that fails, {@link #open} and what follows it tell.
     *
     * @param weightBytes of the model
     */
    default void anticipate(BackendOptions options, long weightBytes) {}

    /** @throws BackendException if it is not available or has no such device */
    Backend open(BackendOptions options);
}
