package stormsight.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.Precision;
import stormsight.checkpoint.ModelPath;
import stormsight.image.Resampling;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.family.EmbeddedModel;
import stormsight.model.family.Families;
import stormsight.program.DType;

/**
 * A model and where it runs.
 *
 * @param model directory of a checkpoint; empty for the embedded model
 * @param adapter directory of an adapter that is merged into the model
 * @param device empty for the backend's default
 * @param threads 0 for one per core
 * @param weights what matrices are turned into when they are loaded; empty where they stay as they are stored
 * @param resampling empty for what the checkpoint says
 */
public record Configuration(
        Optional<String> model,
        Optional<String> adapter,
        String backend,
        Optional<String> device,
        int threads,
        Optional<DType> weights,
        Optional<Resampling> resampling,
        boolean slidingWindow,
        boolean finalSoftCap,
        Precision precision) {
    public Configuration withModel(String directory) {
        return new Configuration(
                Optional.of(directory), adapter, backend, device, threads, weights, resampling,
                slidingWindow, finalSoftCap,
                precision);
    }

    public Configuration withAdapter(String directory) {
        return new Configuration(
                model, Optional.of(directory), backend, device, threads, weights, resampling,
                slidingWindow, finalSoftCap,
                precision);
    }

    public Configuration withBackend(String name) {
        return new Configuration(
                model, adapter, name, device, threads, weights, resampling, slidingWindow, finalSoftCap,
                precision);
    }

    public Configuration withDevice(String id) {
        return new Configuration(
                model, adapter, backend, Optional.of(id), threads, weights, resampling, slidingWindow, finalSoftCap,
                precision);
    }

    public Configuration withThreads(int count) {
        return new Configuration(
                model, adapter, backend, device, count, weights, resampling, slidingWindow, finalSoftCap,
                precision);
    }

    public Configuration withWeights(Optional<DType> chosen) {
        return new Configuration(
                model, adapter, backend, device, threads, chosen, resampling, slidingWindow, finalSoftCap,
                precision);
    }

    public Configuration withPrecision(Precision chosen) {
        return new Configuration(
                model, adapter, backend, device, threads, weights, resampling, slidingWindow, finalSoftCap, chosen);
    }

    ModelDirectory openModel() {
        ModelDirectory opened = model.map(directory -> Families.open(Path.of(directory), resampling))
                .orElseGet(() -> EmbeddedModel.open(resampling));
        return adapter.map(directory -> opened.withAdapter(Path.of(directory))).orElse(opened);
    }

    Backend openBackend() {
        return Backends.open(backend, backendOptions());
    }

    private BackendOptions backendOptions() {
        return new BackendOptions(threads, device, precision);
    }

    /** Lets the backend begin to load what it will need for the model. */
    void anticipate() {
        model.ifPresent(directory ->
                Backends.anticipate(backend, backendOptions(), ModelPath.weightBytes(Path.of(directory))));
    }

    Options options() {
        return Options.DEFAULT.withSlidingWindow(slidingWindow).withFinalSoftCap(finalSoftCap).withWeights(weights);
    }

    /** The model's name, and its adapter's, without the directories that lead to them. */
    String modelName() {
        return model.map(Configuration::folderName).orElse(EmbeddedModel.NAME)
                + adapter.map(directory -> " + " + folderName(directory)).orElse("");
    }

    /** The name of a directory without those that lead to it, as plots and result files travel. */
    public static String folderName(String directory) {
        return Path.of(directory).toAbsolutePath().normalize().getFileName().toString();
    }

    /**
     * With the model's directory as the file system knows it, so that two are equal however it was written; as it is if
     * there is no such directory. A file in one keeps its name: in a cache it leads to one that has none.
     */
    public Configuration located() {
        try {
            if (model.isEmpty()) {
                return this;
            }
            Path named = Path.of(model.get());
            Path real = Files.isRegularFile(named)
                    ? named.toAbsolutePath().getParent().toRealPath().resolve(named.getFileName())
                    : named.toRealPath();
            return withModel(real.toString());
        } catch (IOException e) {
            // Whoever opens it says what is wrong.
            return this;
        }
    }

    /** The same model on another backend, to compare with: its default device, a thread a core and strict math. */
    Configuration on(String otherBackend) {
        return new Configuration(
                model, adapter, otherBackend, Optional.empty(), 0, weights, resampling, slidingWindow, finalSoftCap,
                Precision.STRICT);
    }

    /** How users would write it: {@code backend=cpu}, {@code threads=2}, {@code weights=q8} and so on. */
    List<String> keys() {
        List<String> keys = new ArrayList<>(List.of(
                "model=" + model.map(Configuration::folderName).orElse(EmbeddedModel.NAME), "backend=" + backend));
        adapter.ifPresent(directory -> keys.add("adapter=" + folderName(directory)));
        device.ifPresent(id -> keys.add("device=" + id));
        if (threads > 0) {
            keys.add("threads=" + threads);
        }
        keys.add("weights=" + weights.map(DType::label).orElse("stored"));
        switch (precision) {
            case STRICT -> keys.add("math=strict");
            case BF16 -> keys.add("math=bf16");
            case FAST -> {}
        }
        return keys;
    }

    /** All keys in one line. */
    public String label() {
        return String.join(" ", keys());
    }
}
