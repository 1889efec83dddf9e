package stormsight.cli;

import com.sun.management.OperatingSystemMXBean;
import java.io.PrintWriter;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import stormsight.checkpoint.Checkpoint;
import stormsight.generate.LimitException;
import stormsight.model.GemmaConfig;
import stormsight.model.ModelDirectory;
import stormsight.model.PaliGemma;
import stormsight.model.PaliGemmaConfig;
import stormsight.model.SiglipConfig;
import stormsight.model.WeightSpec;
import stormsight.program.DType;
import stormsight.program.Tensor;

/** Shows what a checkpoint is and what running it takes. */
@Command(name = "inspect", description = "Shows what a checkpoint is, what running it takes and whether it fits this machine.")
final class Inspect implements Runnable {
    @Spec
    private CommandSpec spec;

    @Mixin
    private LengthMixin length;

    @Mixin
    private StrictMixin strict;

    @Parameters(paramLabel = "DIR", description = "A checkpoint directory as Hugging Face has it.")
    private Path path;

    @Override
    public void run() {
        length.check();
        try (ModelDirectory directory = ModelDirectory.open(path, Optional.empty(), strict.strictness())) {
            long capacity = (long) directory.config().vision().tokens() + length.promptTokens() + length.maxTokens();
            if (capacity > directory.config().text().maxPositions()) {
                throw new LimitException(capacity + " tokens of image, prompt and answer need as many positions, the model has "
                        + directory.config().text().maxPositions());
            }
            print(spec.commandLine().getOut(), directory);
        }
    }

    private void print(PrintWriter out, ModelDirectory directory) {
        PaliGemmaConfig config = directory.config();
        Checkpoint checkpoint = directory.checkpoint();
        SiglipConfig vision = config.vision();
        GemmaConfig text = config.text();
        line(out, "model", config.family());
        line(out, "vision", "SigLIP, %d layers, width %d, %d heads of %d, MLP %d, %d x %d px in patches of %d: %d tokens".formatted(
                vision.layers(), vision.hiddenSize(), vision.heads(), vision.headDim(), vision.intermediateSize(),
                vision.imageSize(), vision.imageSize(), vision.patchSize(), vision.tokens()));
        line(out, "decoder", "%s, %d layers, width %d, %d query heads and %d key-value heads of %d, MLP %d, %d positions".formatted(
                text.version() == GemmaConfig.Version.GEMMA2 ? "Gemma 2" : "Gemma 1", text.layers(), text.hiddenSize(),
                text.heads().queryHeads(), text.heads().keyValueHeads(), text.heads().headDim(), text.intermediateSize(),
                text.maxPositions()));
        line(out, "vocabulary", "%d rows, %d tokens, %d of them may be answered, %s".formatted(
                text.vocabularySize(), directory.tokenizer().size(), directory.answerable().cardinality(), head(directory)));
        line(out, "parameters", String.format(Locale.ROOT, "%,d",
                PaliGemma.weights(config).stream().mapToLong(WeightSpec::parameters).sum()));
        Map<String, Integer> types = new TreeMap<>();
        checkpoint.names().forEach(name -> types.merge(checkpoint.info(name).type().name(), 1, Integer::sum));
        line(out, "tensors", types.entrySet().stream().map(entry -> entry.getValue() + " " + entry.getKey())
                .collect(Collectors.joining(", ")) + ", " + Memory.text(checkpoint.fileBytes()) + " in files");
        memory(out, config, checkpoint);
    }

    private static String head(ModelDirectory directory) {
        if (directory.config().text().tied()) {
            return "tied head";
        }
        return "own head" + (PaliGemmaConfig.read(directory.path()).text().tied() ? ", which differs from the table although config.json ties the two" : "");
    }

    private void memory(PrintWriter out, PaliGemmaConfig config, Checkpoint checkpoint) {
        PaliGemma.Limits limits = length.limits(config);
        PaliGemma model = PaliGemma.unbound(config, checkpoint::weightType, limits, PaliGemma.Options.DEFAULT);
        Set<Tensor> tensors = new LinkedHashSet<>();
        model.programs().forEach(program -> tensors.addAll(program.tensors()));
        long weights = 0;
        long cache = 0;
        long activations = 0;
        for (Tensor tensor : tensors) {
            switch (tensor.kind()) {
                case WEIGHT -> weights += tensor.bytes();
                case CACHE -> cache += tensor.bytes();
                case ACTIVATION, INPUT, OUTPUT -> activations += tensor.bytes();
            }
        }
        long total = weights + cache + activations;
        line(out, "weights", Memory.text(weights) + ", used in place from the files but for the small ones");
        line(out, "cache", Memory.text(cache) + " for " + limits.capacity() + " tokens in " + DType.F32);
        line(out, "activations", Memory.text(activations) + " for a prompt of up to " + limits.promptTokens() + " tokens");
        long memory = ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class).getTotalMemorySize();
        line(out, "this machine", Memory.text(memory) + " of memory: " + (total <= memory ? "fits"
                : cache + activations <= memory ? "weights do not fit, they will be read from disk again and again" : "does not fit"));
    }

    private static void line(PrintWriter out, String name, String value) {
        out.println(String.format(Locale.ROOT, "%-13s %s", name, value));
    }
}
