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
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
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
import stormsight.report.Bytes;
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

    @Mixin
    private NewCheckpointMixin checkpoint;

    @Parameters(
            arity = "0..1",
            paramLabel = "DIR",
            description = "Where to write: a directory that is empty or does not exist yet.")
    private Path argument;

    /** @throws UsageException if there is none of that name */
    static Preset preset(String like) {
        return Families.presets().stream().filter(known -> known.name().equals(like)).findFirst()
                .orElseThrow(() -> new UsageException("--like " + like + " is not known; there are "
                        + Families.presets().stream().map(Preset::name).collect(Collectors.joining(", "))));
    }

    @Override
    public void run() {
        Preset preset = preset(like);
        Path target = checkpoint.place(argument);
        List<Path> written = NewCheckpointMixin.write(target, folder -> {
            for (Map.Entry<String, Map<String, Object>> file : preset.files(type.torchName).entrySet()) {
                write(folder.resolve(file.getKey()), file.getValue());
            }
            List<Weights.Stored> weights = Families.weights(folder, type.dtype());
            requireSpace(target, folder, weights);
            writeWeights(folder, weights);
            return NewCheckpointMixin.files(folder);
        });
        PrintWriter out = spec.commandLine().getOut();
        out.println("wrote " + like + " in " + type + ", seed " + seed + ", to " + target + ":");
        for (Path file : written) {
            out.println("  " + file.getFileName() + "  " + Bytes.text(size(target.resolve(file.getFileName()))));
        }
    }

    static void write(Path file, Map<String, Object> content) throws IOException {
        Files.writeString(
                file, JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(content) + "\n");
    }

    private void requireSpace(Path target, Path folder, List<Weights.Stored> weights) throws IOException {
        long needed = weights.stream().mapToLong(Weights.Stored::parameters).sum() * type.dtype().elementBytes();
        long free = Files.getFileStore(folder).getUsableSpace();
        if (needed > free) {
            throw new OutputException(
                    target.toString(), "it needs " + Bytes.text(needed) + ", the disk has " + Bytes.text(free));
        }
    }

    private void writeWeights(Path folder, List<Weights.Stored> weights) {
        Map<String, Distribution> distributions = new HashMap<>();
        List<SafetensorsWriter.Entry> entries = new ArrayList<>();
        for (Weights.Stored weight : weights) {
            for (String name : weight.names()) {
                distributions.put(name, distribution(weight));
                entries.add(new SafetensorsWriter.Entry(name, type.dtype(), weight.shape()));
            }
        }
        SafetensorsWriter.write(folder, entries, SHARD_BYTES,
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

    private static long size(Path file) {
        try {
            return Files.size(file);
        } catch (IOException e) {
            throw new CheckpointException(file, "cannot be read: " + e.getMessage(), e);
        }
    }
}
