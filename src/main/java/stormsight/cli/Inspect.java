package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import stormsight.backend.DeviceInfo;
import stormsight.checkpoint.Checkpoint;
import stormsight.generate.LimitException;
import stormsight.model.Description;
import stormsight.model.Encoding;
import stormsight.model.ImageEncoder;
import stormsight.model.Limits;
import stormsight.model.Model;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.VisionLanguageModel;
import stormsight.model.Weights;
import stormsight.model.family.EmbeddedModel;
import stormsight.model.family.Families;
import stormsight.program.DType;
import stormsight.program.Program;
import stormsight.program.Tensor;
import stormsight.report.Bytes;

/** Shows what a checkpoint is and what running it takes. */
@Command(
        name = "inspect",
        description =
                "Shows what a checkpoint holds, how much memory it takes to run, and whether it fits this machine.")
final class Inspect implements Runnable {
    @Spec
    private CommandSpec spec;

    @Mixin
    private LengthMixin length;

    @Mixin
    private StrictMixin strict;

    @Mixin
    private JsonMixin json;

    @Option(names = {"-m", "--model"}, paramLabel = "DIR", description = "The same as DIR.")
    private Path model;

    @Option(names = "--adapter", paramLabel = "DIR",
            description = "A LoRA adapter as PEFT saves it, for this model: says what it changes and what that takes.")
    private Path adapter;

    @Parameters(paramLabel = "DIR", arity = "0..1",
            description = "A checkpoint directory as Hugging Face publishes it. Default: the small embedded model.")
    private Path path;

    /**
     * Bytes of a run.
     *
     * @param cacheTypes of what the cache holds
     * @param memory of this machine
     */
    private record Sizes(
            Limits limits, long weights, long cache, Set<DType> cacheTypes, long activations, long memory) {
        String verdict() {
            return weights + cache + activations <= memory ? "fits" : cache + activations <= memory
                    ? "the weights do not fit and will be read from disk again and again" : "does not fit";
        }
    }

    @Override
    public void run() {
        length.check();
        if (path != null && model != null) {
            throw new UsageException("DIR and --model are both given");
        }
        Path chosen = path != null ? path : model;
        try (ModelDirectory directory = open(chosen)) {
            String name = chosen == null ? EmbeddedModel.NAME : chosen.toString();
            if (directory.anyModel() instanceof ImageEncoder encoder) {
                tell(spec.commandLine().getOut(), name, directory, encoder);
                return;
            }
            long capacity = (long) directory.processor().imageTokens() + length.promptTokens() + length.maxTokens();
            if (capacity > directory.describe().decoder().positions()) {
                throw new LimitException(
                        capacity + " tokens of image, prompt and answer need as many positions, but the model has "
                                + directory.describe().decoder().positions());
            }
            PrintWriter out = spec.commandLine().getOut();
            Sizes sizes = sizes(directory);
            if (json.isWanted()) {
                JsonMixin.print(out, json(name, directory, sizes));
            } else {
                print(out, name, directory, sizes);
            }
        }
    }

    private ModelDirectory open(Path chosen) {
        ModelDirectory directory = chosen == null
                ? EmbeddedModel.open(Optional.empty())
                : Families.open(chosen, Optional.empty(), strict.strictness());
        return adapter == null ? directory : directory.withAdapter(adapter);
    }

    private Sizes sizes(ModelDirectory directory) {
        Limits limits = length.limits(directory.processor());
        return sizes(limits, directory.unbound(limits, Options.DEFAULT).programs());
    }

    private static Sizes sizes(Limits limits, List<Program> programs) {
        Map<Tensor.Kind, Long> bytes = new EnumMap<>(Tensor.Kind.class);
        Set<DType> cacheTypes = EnumSet.noneOf(DType.class);
        programs.stream().flatMap(program -> program.tensors().stream()).distinct().forEach(tensor -> {
            bytes.merge(tensor.kind(), tensor.bytes(), Long::sum);
            if (tensor.kind() == Tensor.Kind.CACHE) {
                cacheTypes.add(tensor.dtype());
            }
        });
        long cache = bytes.getOrDefault(Tensor.Kind.CACHE, 0L);
        long weights = bytes.getOrDefault(Tensor.Kind.WEIGHT, 0L);
        long all = bytes.values().stream().mapToLong(Long::longValue).sum();
        return new Sizes(limits, weights, cache, cacheTypes, all - weights - cache,
                DeviceInfo.hostMemoryBytes());
    }

    /** How many tensors the files have of each type. */
    private static Map<String, Integer> types(Checkpoint checkpoint) {
        Map<String, Integer> types = new TreeMap<>();
        checkpoint.names().forEach(name -> types.merge(checkpoint.info(name).type().name(), 1, Integer::sum));
        return types;
    }

    private static String head(ModelDirectory directory) {
        if (directory.describe().decoder().tied()) {
            return "head tied to the embeddings";
        }
        Model configured = Families.configured(directory.path());
        boolean tied = configured instanceof VisionLanguageModel model && model.describe().decoder().tied();
        return "a head of its own"
                + (tied ? ", which differs from the embeddings although the configuration ties the two" : "");
    }

    private static void print(PrintWriter out, String name, ModelDirectory directory, Sizes sizes) {
        Description described = directory.describe();
        line(out, "model", name + ", " + described.family());
        directory.model().parts().forEach((part, text) -> line(out, part, text));
        line(
                out,
                "vocabulary",
                "%d rows, %d tokens, %d of which can be answered, %s"
                        .formatted(
                                described.decoder().vocabularySize(),
                                directory.tokenizer().size(),
                                directory.answerable().cardinality(),
                                head(directory)));
        held(out, directory, sizes);
        line(
                out,
                "cache",
                Bytes.text(sizes.cache) + " for " + sizes.limits.capacity() + " tokens in "
                        + sizes.cacheTypes.stream().map(DType::toString).collect(Collectors.joining(" and ")));
        line(
                out,
                "activations",
                Bytes.text(sizes.activations) + " for a prompt of up to " + sizes.limits.promptTokens() + " tokens");
        line(out, "this machine", Bytes.text(sizes.memory) + " of memory: " + sizes.verdict());
    }

    /** Lines about the files. */
    private static void held(PrintWriter out, ModelDirectory directory, Sizes sizes) {
        line(out, "parameters", String.format(Locale.ROOT, "%,d", directory.parameters()));
        line(
                out,
                "tensors",
                types(directory.checkpoint()).entrySet().stream()
                                .map(entry -> entry.getValue() + " " + entry.getKey())
                                .collect(Collectors.joining(", "))
                        + ", " + Bytes.text(directory.checkpoint().fileBytes()) + " in files");
        long copied = directory.checkpoint().adaptedBytes();
        long otherBlocks = directory.checkpoint().otherBlocksBytes();
        line(out, "weights", Bytes.text(sizes.weights) + ", used in place from the files, except for small ones"
                + (otherBlocks == 0 ? "" : ", " + Bytes.text(otherBlocks) + " that are taken apart when they are read")
                + (copied == 0 ? "" : " and " + Bytes.text(copied) + " that the adapter changes"));
        directory.checkpoint().adapter().ifPresent(changes -> line(
                out,
                "adapter",
                String.format(
                        Locale.ROOT,
                        "LoRA %s of rank %s: %,d parameters for %d matrices%s",
                        changes.directory(),
                        changes.ranks().stream().map(String::valueOf).collect(Collectors.joining(", ")),
                        changes.parameters(),
                        changes.weights().size(),
                        changes.base().map(base -> ", made for " + base).orElse(""))));
    }

    /** What an adapter changes, if there is one. */
    private static void putAdapter(Map<String, Object> object, ModelDirectory directory) {
        directory.checkpoint().adapter().ifPresent(changes -> {
            Map<String, Object> adapter = new LinkedHashMap<>();
            adapter.put("directory", changes.directory().toString());
            adapter.put("type", "LORA");
            adapter.put("base_model", changes.base());
            adapter.put("ranks", changes.ranks());
            adapter.put("parameters", changes.parameters());
            adapter.put("matrices", changes.weights());
            adapter.put("bytes_copied", directory.checkpoint().adaptedBytes());
            object.put("adapter", adapter);
        });
    }

    /** A model that does not answer has no cache and no prompt. */
    private void tell(PrintWriter out, String name, ModelDirectory directory, ImageEncoder encoder) {
        Sizes sizes = sizes(
                new Limits(2, 1),
                encoder.encodings(Weights.of(directory.checkpoint(), Options.DEFAULT)).stream()
                        .map(Encoding::program)
                        .toList());
        if (json.isWanted()) {
            Map<String, Object> object = new LinkedHashMap<>();
            object.put("model", name);
            object.put("family", encoder.title());
            object.put("parts", encoder.parts());
            object.put("parameters", directory.parameters());
            object.put("tensors", types(directory.checkpoint()));
            putAdapter(object, directory);
            object.put(
                    "bytes",
                    Map.of(
                            "files",
                            directory.checkpoint().fileBytes(),
                            "weights",
                            sizes.weights,
                            "activations",
                            sizes.activations,
                            "machine",
                            sizes.memory));
            object.put("verdict", sizes.verdict());
            object.put("version", Version.text());
            JsonMixin.print(out, object);
            return;
        }
        line(out, "model", name + ", " + encoder.title());
        encoder.parts().forEach((part, text) -> line(out, part, text));
        held(out, directory, sizes);
        line(out, "activations", Bytes.text(sizes.activations));
        line(out, "this machine", Bytes.text(sizes.memory) + " of memory: " + sizes.verdict());
    }

    private static Map<String, Object> json(String name, ModelDirectory directory, Sizes sizes) {
        Description described = directory.describe();
        Map<String, Object> vocabulary = new LinkedHashMap<>();
        vocabulary.put("rows", described.decoder().vocabularySize());
        vocabulary.put("tokens", directory.tokenizer().size());
        vocabulary.put("can_be_answered", directory.answerable().cardinality());
        vocabulary.put("head", head(directory));
        Map<String, Object> bytes = new LinkedHashMap<>();
        bytes.put("files", directory.checkpoint().fileBytes());
        bytes.put("weights", sizes.weights);
        bytes.put("cache", sizes.cache);
        bytes.put("activations", sizes.activations);
        bytes.put("machine", sizes.memory);
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("model", name);
        object.put("family", described.family());
        object.put("vision", described.vision());
        object.put("decoder", described.decoder());
        object.put("parts", directory.model().parts());
        object.put("vocabulary", vocabulary);
        object.put("parameters", directory.parameters());
        object.put("tensors", types(directory.checkpoint()));
        putAdapter(object, directory);
        object.put("prompt_tokens", sizes.limits.promptTokens());
        object.put("capacity_tokens", sizes.limits.capacity());
        object.put("bytes", bytes);
        object.put("verdict", sizes.verdict());
        object.put("version", Version.text());
        return object;
    }

    private static void line(PrintWriter out, String name, String value) {
        out.println(String.format(Locale.ROOT, "%-13s %s", name, value));
    }
}
