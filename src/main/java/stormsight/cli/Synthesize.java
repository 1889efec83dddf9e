package stormsight.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.RandomWeights.Distribution;
import stormsight.checkpoint.RandomWeights;
import stormsight.checkpoint.SafetensorsWriter;
import stormsight.model.Preset;
import stormsight.model.Weights;
import stormsight.model.family.Families;
import stormsight.program.DType;
import tools.jackson.databind.json.JsonMapper;

/** Writes a checkpoint of random weights. */
@Command(
        name = "synthesize",
        description = {
            "Writes a checkpoint of random weights in the original layout, to measure full-size speed without a "
                    + "download. Its answers mean nothing."
        })
final class Synthesize implements Runnable {
    /** Names of the presets, for --help and completion. */
    static final class Presets implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return Families.presets().stream().map(Preset::name).iterator();
        }
    }

    enum Type {
        F32("float32"),
        F16("float16"),
        BF16("bfloat16");

        private final String torchName;

        Type(String torchName) {
            this.torchName = torchName;
        }

        private DType dtype() {
            return DType.valueOf(name());
        }
    }

    /** As published checkpoints are split. */
    static final long SHARD_BYTES = 5_000_000_000L;

    @Spec
    private CommandSpec spec;

    @Option(names = "--like", paramLabel = "NAME", required = true, completionCandidates = Presets.class,
            description = "The model to imitate: ${COMPLETION-CANDIDATES}.")
    private String like;

    @Option(
            names = "--dtype",
            paramLabel = "TYPE",
            defaultValue = "BF16",
            description = "${COMPLETION-CANDIDATES}. Default: ${DEFAULT-VALUE}.")
    private Type type;

    @Option(
            names = "--seed",
            paramLabel = "N",
            defaultValue = "0",
            description = "The same seed writes the same files. Default: ${DEFAULT-VALUE}.")
    private long seed;

    @Parameters(paramLabel = "DIR", description = "A directory that is empty or does not exist yet.")
    private Path target;

    @Override
    public void run() {
        Preset preset = Families.presets().stream().filter(known -> known.name().equals(like)).findFirst()
                .orElseThrow(() -> new UsageException("--like " + like + " is not known; there are "
                        + Families.presets().stream().map(Preset::name).collect(Collectors.joining(", "))));
        List<Path> written = new ArrayList<>();
        boolean created = !Files.exists(target);
        try {
            createEmpty();
            for (Map.Entry<String, Map<String, Object>> file : preset.files(type.torchName).entrySet()) {
                write(written, file.getKey(), file.getValue());
            }
            List<Weights.Stored> weights = Families.weights(target, type.dtype());
            requireSpace(weights);
            written.addAll(writeWeights(weights));
        } catch (IOException e) {
            undo(written, created, e);
            throw new CheckpointException(target, "cannot be written: " + e.getMessage(), e);
        } catch (RuntimeException e) {
            undo(written, created, e);
            throw e;
        }
        PrintWriter out = spec.commandLine().getOut();
        out.println("wrote " + like + " in " + type + ", seed " + seed + ", to " + target + ":");
        written.forEach(file -> out.println("  " + file.getFileName() + "  " + Memory.text(size(file))));
    }

    private void createEmpty() throws IOException {
        Files.createDirectories(target);
        try (Stream<Path> files = Files.list(target)) {
            if (files.findAny().isPresent()) {
                throw new CheckpointException(target, "is not empty");
            }
        }
    }

    private void write(List<Path> written, String name, Map<String, Object> content) throws IOException {
        Path file = target.resolve(name);
        written.add(file);
        Files.writeString(
                file, JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(content) + "\n");
    }

    private void requireSpace(List<Weights.Stored> weights) throws IOException {
        long needed = weights.stream().mapToLong(Weights.Stored::parameters).sum() * type.dtype().elementBytes();
        long free = Files.getFileStore(target).getUsableSpace();
        if (needed > free) {
            throw new CheckpointException(
                    target, "needs " + Memory.text(needed) + ", the disk has " + Memory.text(free));
        }
    }

    private List<Path> writeWeights(List<Weights.Stored> weights) {
        Map<String, Distribution> distributions = new HashMap<>();
        List<SafetensorsWriter.Entry> entries = new ArrayList<>();
        for (Weights.Stored weight : weights) {
            for (String name : weight.names()) {
                distributions.put(name, distribution(weight));
                entries.add(new SafetensorsWriter.Entry(name, type.dtype(), weight.shape()));
            }
        }
        return SafetensorsWriter.write(target, entries, SHARD_BYTES,
                new RandomWeights(seed, entry -> distributions.get(entry.name())));
    }

    /**
     * Products keep the size of what they multiply, norms are near one: activations stay as large as in a trained
     * model.
     */
    private static Distribution distribution(Weights.Stored weight) {
        return switch (weight.use()) {
            case MATRIX ->
                new Distribution(0, (float) (1
                        / Math.sqrt((double) weight.shape().elements()
                                / weight.shape().dimension(0))));
            case VECTOR ->
                weight.name().toLowerCase(Locale.ROOT).contains("norm") && weight.name().endsWith(".weight")
                        ? new Distribution(1, 0.1f)
                        : new Distribution(0, 0.02f);
            case ONE_PLUS -> new Distribution(0, 0.1f);
        };
    }

    /** Leaves the place as it was found. */
    private void undo(List<Path> written, boolean created, Exception reason) {
        try {
            for (Path file : written) {
                Files.deleteIfExists(file);
            }
            if (created) {
                Files.deleteIfExists(target);
            }
        } catch (IOException e) {
            reason.addSuppressed(e);
        }
    }

    private static long size(Path file) {
        try {
            return Files.size(file);
        } catch (IOException e) {
            throw new CheckpointException(file, "cannot be read: " + e.getMessage(), e);
        }
    }
}
