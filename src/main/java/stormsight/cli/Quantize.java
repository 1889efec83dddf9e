package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import stormsight.checkpoint.Quantization;
import stormsight.model.ModelDirectory;
import stormsight.model.family.Families;
import stormsight.program.DType;
import stormsight.report.Bytes;

/** Writes a checkpoint with small weights. */
@Command(
        name = "quantize",
        description = {
            "Writes a checkpoint again with its matrices in 8 or 4 bits and a scale for every 32 weights.",
            "It answers as the original does with --weights q8 or q4, but is opened at once and takes less space.",
            "Matrices that GGUF holds in blocks keep the levels that they have there, whatever --weights says."
        })
final class Quantize implements Runnable {
    @Spec
    private CommandSpec spec;

    @Mixin
    private StrictMixin strict;

    @Mixin
    private NewCheckpointMixin checkpoint;

    @Option(
            names = "--weights",
            paramLabel = "FORM",
            defaultValue = "q8",
            converter = WeightForm.Converter.class,
            completionCandidates = WeightForm.Small.class,
            description = "${COMPLETION-CANDIDATES}. Default: ${DEFAULT-VALUE}.")
    private WeightForm form;

    @Option(
            names = "--adapter",
            paramLabel = "DIR",
            description = "A LoRA adapter as PEFT saves it, for this model: merged into the weights before they are "
                    + "turned, so that the result needs none. The matrices that it changes are copied into memory.")
    private Path adapter;

    @Parameters(
            index = "0",
            paramLabel = "DIR",
            description = "A checkpoint directory as Hugging Face publishes it, or a decoder's GGUF file.")
    private Path source;

    @Parameters(
            index = "1",
            arity = "0..1",
            paramLabel = "OUT",
            description = "Where to write: a directory that is empty or does not exist yet.")
    private Path argument;

    @Override
    public void run() {
        DType type = form.type().orElseThrow(() -> new UsageException("--weights " + form + " changes nothing"));
        Path target = checkpoint.place(argument);
        try (ModelDirectory directory = open()) {
            Quantization.Result result = NewCheckpointMixin.write(target, folder -> {
                Quantization.Result written = Quantization.write(
                        directory.checkpoint(), directory.matrices(), type, folder, Synthesize.SHARD_BYTES);
                directory.checkpoint().requireUnchanged();
                return written;
            });
            PrintWriter out = spec.commandLine().getOut();
            out.println("wrote " + target + ": " + result.blocked().entrySet().stream()
                            .map(each -> each.getValue() + (each.getValue() == 1 ? " tensor" : " tensors") + " in "
                                    + each.getKey().label() + ", ")
                            .collect(Collectors.joining())
                    + result.kept() + " as they were; " + Bytes.text(result.bytes()) + " of weights, before "
                    + Bytes.text(directory.checkpoint().fileBytes()));
            if (result.untouched() > 0) {
                out.println(result.untouched() + (result.untouched() == 1 ? " tensor keeps" : " tensors keep")
                        + " the blocks that GGUF has; --weights " + form + " is for those without");
            }
        }
    }

    private ModelDirectory open() {
        ModelDirectory directory = Families.openForIds(source, strict.strictness());
        return adapter == null ? directory : directory.withAdapter(adapter);
    }
}
