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
import stormsight.model.Description;
import stormsight.model.Limits;
import stormsight.model.Model;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.VisionLanguageModel;
import stormsight.model.family.Families;
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
        try (ModelDirectory directory = Families.open(path, Optional.empty(), strict.strictness())) {
            long capacity = (long) directory.processor().imageTokens() + length.promptTokens() + length.maxTokens();
            if (capacity > directory.describe().decoder().positions()) {
                throw new LimitException(capacity + " tokens of image, prompt and answer need as many positions, the model has "
                        + directory.describe().decoder().positions());
            }
            print(spec.commandLine().getOut(), directory);
        }
    }

    private void print(PrintWriter out, ModelDirectory directory) {
        Description model = directory.describe();
        Checkpoint checkpoint = directory.checkpoint();
        line(out, "model", model.family());
        directory.model().parts().forEach((name, text) -> line(out, name, text));
        line(out, "vocabulary", "%d rows, %d tokens, %d of them may be answered, %s".formatted(model.decoder().vocabularySize(),
                directory.tokenizer().size(), directory.answerable().cardinality(), head(directory)));
        line(out, "parameters", String.format(Locale.ROOT, "%,d", directory.parameters()));
        Map<String, Integer> types = new TreeMap<>();
        checkpoint.names().forEach(name -> types.merge(checkpoint.info(name).type().name(), 1, Integer::sum));
        line(out, "tensors", types.entrySet().stream().map(entry -> entry.getValue() + " " + entry.getKey())
                .collect(Collectors.joining(", ")) + ", " + Memory.text(checkpoint.fileBytes()) + " in files");
        memory(out, directory);
    }

    private static String head(ModelDirectory directory) {
        if (directory.describe().decoder().tied()) {
            return "tied head";
        }
        try (Model configured = Families.configured(directory.path())) {
            boolean tied = configured instanceof VisionLanguageModel model && model.describe().decoder().tied();
            return "own head" + (tied ? ", which differs from the table although config.json ties the two" : "");
        }
    }

    private void memory(PrintWriter out, ModelDirectory directory) {
        Limits limits = length.limits(directory.processor());
        Set<Tensor> tensors = new LinkedHashSet<>();
        directory.unbound(limits, Options.DEFAULT).programs().forEach(program -> tensors.addAll(program.tensors()));
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
