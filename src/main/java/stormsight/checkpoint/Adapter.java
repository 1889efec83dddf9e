package stormsight.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import java.util.stream.IntStream;
import stormsight.program.DType;
import stormsight.program.Shape;

/**
 * A LoRA adapter as PEFT saves it: for some matrices W of a model two small ones, A and B, and a scale s, so that the
 * adapted model is the one with {@code W + s B A} in their place. A {@link Checkpoint} that {@link Checkpoint#adapt
 * takes} it merges each matrix when it is bound.
 *
 * @see <a href="https://arxiv.org/abs/2106.09685">LoRA</a>
 */
public final class Adapter implements AutoCloseable {
    private static final ValueLayout.OfFloat FLOAT =
            ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort SHORT =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final int ALIGNMENT = 64;
    /** Numbers of a matrix that one thread merges at a time, at least a row. */
    private static final int PIECE = 1 << 16;

    /** In front of the names that a model has itself. */
    private static final String BASE = "base_model.model.";

    /** A module's name, A or B, and perhaps the name that an adapter had in its program. */
    private static final Pattern FACTOR = Pattern.compile("(.+)\\.lora_([AB])(?:\\.[^.]+)?\\.weight");

    /** Ways to begin that leave the model as it is; others take a part out of it that no file holds. */
    private static final Set<String> BEGINNINGS = Set.of("true", "false", "gaussian", "eva", "orthogonal");

    /**
     * What is added to a matrix.
     *
     * @param a [rank, columns]
     * @param b [rows, rank]
     */
    private record Factors(TensorInfo a, TensorInfo b, double scale) {
        int rank() {
            return a.shape().dimension(0);
        }

        /** Of the matrix, seen as one. */
        Shape shape() {
            return Shape.of(b.shape().dimension(0), a.shape().matrix().columns());
        }
    }

    private final Path directory;
    private final Optional<String> base;
    private final Checkpoint file;
    /** By the names of weights, as {@link Checkpoint} knows them. */
    private final Map<String, Factors> factors;

    private Adapter(Path directory, Optional<String> base, Checkpoint file, Map<String, Factors> factors) {
        this.directory = directory;
        this.base = base;
        this.file = file;
        this.factors = factors;
    }

    /**
     * Opens a folder with {@code adapter_config.json} and {@code adapter_model.safetensors}.
     *
     * @throws CheckpointException naming the file, and tensor or key, if it is no LoRA adapter, or of a kind that is
     *     more than a sum with B A
     */
    public static Adapter open(Path named) {
        Path directory = ModelPath.resolveAdapter(named);
        ConfigFile config = ConfigFile.read(directory.resolve(ModelPath.ADAPTER));
        requireLora(config);
        Checkpoint file = Checkpoint.openFile(directory.resolve(ModelPath.ADAPTER_WEIGHTS));
        try {
            return new Adapter(
                    directory, config.textIfPresent("base_model_name_or_path"), file, factors(config, file));
        } catch (RuntimeException | Error e) {
            file.close();
            throw e;
        }
    }

    private static void requireLora(ConfigFile config) {
        String type = config.text("peft_type");
        if (!type.equals("LORA")) {
            throw refused(config, "peft_type", StrictJson.printable(type) + " is not read here, only LORA");
        }
        if (config.bool("use_dora", false)) {
            throw refused(config, "use_dora", "DoRA is not read here, as it also scales each column");
        }
        for (String key : config.names()) {
            if (key.startsWith("use_") && !key.equals("use_rslora") && config.isTrue(key)) {
                throw refused(config, key, "this variant of LoRA is not read here");
            }
        }
        if (!config.text("bias", "none").equals("none") || config.isTrue("lora_bias")) {
            throw refused(config, config.isTrue("lora_bias") ? "lora_bias" : "bias",
                    "adapters that change biases are not read here");
        }
        if (config.bool("fan_in_fan_out", false)) {
            throw refused(config, "fan_in_fan_out", "matrices that are stored the other way round are not read here");
        }
        for (String key : List.of("modules_to_save", "trainable_token_indices", "target_parameters",
                "layer_replication", "alora_invocation_tokens")) {
            // An empty list of modules saves none.
            if (config.has(key) && !(key.equals("modules_to_save") && config.texts(key).isEmpty())) {
                throw refused(config, key, "adapters that change more than sums with B A do are not read here");
            }
        }
        config.scalar("init_lora_weights").filter(beginning -> !BEGINNINGS.contains(beginning)).ifPresent(beginning -> {
            throw refused(config, "init_lora_weights", StrictJson.printable(beginning)
                    + " changes the model, too, which this file does not hold");
        });
    }

    private static CheckpointException refused(ConfigFile config, String key, String problem) {
        return config.invalid(key, problem + "; merge it into its model with peft, "
                + "merge_and_unload().save_pretrained(NEW_FOLDER), and name that folder with --model");
    }

    private static Map<String, Factors> factors(ConfigFile config, Checkpoint file) {
        Map<String, TensorInfo[]> pairs = new LinkedHashMap<>();
        for (String name : file.names()) {
            Matcher factor = FACTOR.matcher(name);
            TensorInfo info = file.info(name);
            if (name.contains("lora_magnitude_vector")) {
                throw refused(config, "use_dora", "tensor " + info.label() + " is of DoRA, which is not read here");
            }
            if (!factor.matches() || !name.startsWith(BASE)) {
                throw new CheckpointException(info.file(), "tensor " + info.label()
                        + " is neither lora_A.weight nor lora_B.weight of a module of " + BASE
                        + ": such an adapter is not read here; merge it into its model with peft");
            }
            TensorInfo[] pair =
                    pairs.computeIfAbsent(factor.group(1).substring(BASE.length()), _ -> new TensorInfo[2]);
            int which = factor.group(2).equals("A") ? 0 : 1;
            if (pair[which] != null) {
                throw new CheckpointException(
                        info.file(),
                        "tensors " + pair[which].label() + " and " + info.label() + " are the same factor");
            }
            pair[which] = info;
        }
        if (pairs.isEmpty()) {
            throw new CheckpointException(file.source(), "no tensors: the adapter changes nothing");
        }
        Scales scales = new Scales(config);
        Map<String, Factors> factors = new LinkedHashMap<>();
        pairs.forEach((module, pair) -> {
            Factors made = factors(module, pair, scales, file);
            Factors other = factors.putIfAbsent(TensorNames.published(module + ".weight"), made);
            if (other != null) {
                throw new CheckpointException(file.source(), "tensors " + other.a().label() + " and "
                        + made.a().label() + " are of the same weight");
            }
        });
        return factors;
    }

    private static Factors factors(String module, TensorInfo[] pair, Scales scales, Checkpoint file) {
        TensorInfo there = pair[0] == null ? pair[1] : pair[0];
        if (pair[0] == null || pair[1] == null) {
            throw new CheckpointException(there.file(), "tensor " + there.label() + " is there without its lora_"
                    + (pair[0] == null ? "A" : "B"));
        }
        for (TensorInfo info : pair) {
            if (file.weightType(info.name()).isEmpty() || info.shape().rank() < 2) {
                throw new CheckpointException(info.file(), "tensor " + info.label() + " is " + info.type() + " "
                        + info.shape() + ", a matrix of F32, F16, BF16 or F64 expected");
            }
        }
        int rank = scales.rank(module);
        if (pair[0].shape().dimension(0) != rank || pair[1].shape().matrix().columns() != rank) {
            TensorInfo wrong = pair[0].shape().dimension(0) != rank ? pair[0] : pair[1];
            throw new CheckpointException(wrong.file(), "tensor " + wrong.label() + " is " + wrong.shape()
                    + ", of rank " + rank + " expected, as " + ModelPath.ADAPTER + " says");
        }
        return new Factors(pair[0], pair[1], scales.scale(module));
    }

    /** What a configuration says of ranks and scales. */
    private static final class Scales {
        private final ConfigFile config;
        private final double rank;
        private final double alpha;
        private final boolean byRoot;
        private final Map<String, Double> ranks;
        private final Map<String, Double> alphas;

        Scales(ConfigFile config) {
            this.config = config;
            rank = config.integer("r");
            alpha = config.number("lora_alpha");
            byRoot = config.bool("use_rslora", false);
            ranks = config.numbersByName("rank_pattern");
            alphas = config.numbersByName("alpha_pattern");
        }

        int rank(String module) {
            double chosen = chosen("rank_pattern", ranks, module, rank);
            if (!(chosen >= 1 && chosen <= Integer.MAX_VALUE && chosen == Math.rint(chosen))) {
                throw config.invalid("r", "the rank of " + StrictJson.printable(module) + " is " + chosen
                        + ", a positive integer expected");
            }
            return (int) chosen;
        }

        double scale(String module) {
            double of = chosen("alpha_pattern", alphas, module, alpha);
            return of / (byRoot ? Math.sqrt(rank(module)) : rank(module));
        }

        /** As PEFT chooses: the first pattern that matches the whole path, or its end from a dot on. */
        private double chosen(String key, Map<String, Double> patterns, String module, double otherwise) {
            for (Map.Entry<String, Double> pattern : patterns.entrySet()) {
                try {
                    if (Pattern.matches("(.*\\.)?(" + pattern.getKey() + ")", module)) {
                        return pattern.getValue();
                    }
                } catch (PatternSyntaxException e) {
                    throw config.invalid(key, '"' + StrictJson.printable(pattern.getKey())
                            + "\" is no regular expression");
                }
            }
            return otherwise;
        }
    }

    public Path directory() {
        return directory;
    }

    /** The model that it was made for, as its trainer named it. */
    public Optional<String> base() {
        return base;
    }

    /** Names of the weights that it changes, as {@link Checkpoint} knows them. */
    public Set<String> weights() {
        return Collections.unmodifiableSet(factors.keySet());
    }

    /** Numbers in all factors. */
    public long parameters() {
        return factors.values().stream()
                .mapToLong(each -> each.a().shape().elements() + each.b().shape().elements())
                .sum();
    }

    /** Ranks of the factors, without repetition, the lowest first. */
    public List<Integer> ranks() {
        return factors.values().stream().map(Factors::rank).distinct().sorted().toList();
    }

    /** Of the weights' values, see {@code ModelDirectory.fingerprint}. */
    public Checkpoint file() {
        return file;
    }

    /** What a scale makes of a sum is not in the file of factors: all scales, in the order of {@link #weights}. */
    public List<Double> scales() {
        return factors.values().stream().map(Factors::scale).toList();
    }

    /**
     * Holds the adapter against a model.
     *
     * @param matrices names of the weights that the model multiplies with
     * @throws CheckpointException if it changes others, or of other shapes: it was made for another model
     */
    void requireFor(Checkpoint model, Set<String> matrices) {
        List<String> problems = new ArrayList<>();
        factors.forEach((name, each) -> {
            if (!matrices.contains(name)) {
                problems.add("tensor " + each.a().label() + (name.equals(TensorNames.HEAD)
                        ? " is of the head, which is tied to the embeddings in this model"
                        : " is of " + StrictJson.printable(name) + ", which this model does not have"));
            } else if (!each.shape().equals(model.info(name).shape().matrix())) {
                problems.add("tensor " + each.a().label() + " is of a matrix " + each.shape() + ", the model has "
                        + model.info(name).shape().matrix());
            }
        });
        if (!problems.isEmpty()) {
            throw new CheckpointException(file.source(), problems.getFirst()
                    + (problems.size() == 1 ? "" : " (and " + (problems.size() - 1) + " more)")
                    + "; the adapter was made for "
                    + base.map(name -> StrictJson.printable(name) + ": name that model")
                            .orElse("another model: name it")
                    + " with --model");
        }
    }

    /** Whether it changes a weight. */
    boolean changes(String weight) {
        return factors.containsKey(weight);
    }

    /**
     * A weight with what the adapter adds: summed in F32 and then rounded to the type. Rows are shared among the
     * machine's cores.
     *
     * @param type of weights
     * @param arena owns the result; allows access by other threads
     */
    MemorySegment merged(Checkpoint model, String weight, DType type, Arena arena) {
        TensorInfo info = model.info(weight);
        Shape matrix = info.shape().matrix();
        if (type.isBlocked()) {
            try (Arena scratch = Arena.ofShared()) {
                MemorySegment sums = merged(model, weight, DType.F32, scratch);
                return Blocks.quantize(HostTensor.of(DType.F32, matrix, sums), type, arena).layers().getFirst();
            }
        }
        Factors of = factors.get(weight);
        float[] a = file.decode(of.a());
        float[] b = file.decode(of.b());
        int columns = matrix.columns();
        int together = Math.max(1, PIECE / columns);
        int rows = Math.toIntExact(matrix.rows());
        MemorySegment to = arena.allocate(type.bytes(matrix), ALIGNMENT);
        IntStream.range(0, (rows + together - 1) / together).parallel().forEach(piece -> {
            int first = piece * together;
            int count = Math.min(together, rows - first);
            float[] values = model.decode(info, (long) first * columns, count * columns);
            for (int row = 0; row < count; row++) {
                add(values, row * columns, columns, a, b, (first + row) * of.rank(), of.rank(), (float) of.scale());
            }
            write(values, type, to, (long) first * columns * type.elementBytes());
        });
        return to;
    }

    private static void add(
            float[] values, int at, int columns, float[] a, float[] b, int bAt, int rank, float scale) {
        float[] sum = new float[columns];
        for (int k = 0; k < rank; k++) {
            float factor = b[bAt + k];
            int aAt = k * columns;
            for (int column = 0; column < columns; column++) {
                sum[column] += factor * a[aAt + column];
            }
        }
        for (int column = 0; column < columns; column++) {
            values[at + column] += scale * sum[column];
        }
    }

    private static void write(float[] values, DType type, MemorySegment to, long at) {
        if (type == DType.F32) {
            MemorySegment.copy(values, 0, to, FLOAT, at, values.length);
            return;
        }
        short[] halves = new short[values.length];
        for (int i = 0; i < values.length; i++) {
            halves[i] = type == DType.F16 ? Float.floatToFloat16(values[i]) : (short) RandomWeights.bf16(values[i]);
        }
        MemorySegment.copy(halves, 0, to, SHORT, at, halves.length);
    }

    /** Unmaps the file. */
    @Override
    public void close() {
        file.close();
    }
}
