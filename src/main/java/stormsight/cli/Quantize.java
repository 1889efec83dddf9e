package stormsight.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.Quantization;
import stormsight.model.ModelDirectory;
import stormsight.model.family.Families;

/** Writes a checkpoint with small weights. */
@Command(
        name = "quantize",
        description = {
            "Writes a checkpoint again with its matrices in 8 bits and a scale for every 32 weights.",
            "It answers as the original does with --weights q8, but is opened at once and takes half the space."
        })
final class Quantize implements Runnable {
    enum Form {
        Q8;

        @Override
        public String toString() {
            return "q8";
        }
    }

    @Spec
    private CommandSpec spec;

    @Mixin
    private StrictMixin strict;

    @Option(
            names = "--weights",
            paramLabel = "FORM",
            defaultValue = "q8",
            description = "${COMPLETION-CANDIDATES}. Default: ${DEFAULT-VALUE}.")
    private Form form;

    @Parameters(index = "0", paramLabel = "DIR", description = "A checkpoint directory as Hugging Face publishes it.")
    private Path source;

    @Parameters(index = "1", paramLabel = "OUT", description = "A directory that is empty or does not exist yet.")
    private Path target;

    @Override
    public void run() {
        try (ModelDirectory directory = Families.openForIds(source, strict.strictness())) {
            Path begun = begin();
            Quantization.Result result;
            try {
                result = Quantization.write(
                        directory.checkpoint(), directory.matrices(), begun, Synthesize.SHARD_BYTES);
                directory.checkpoint().requireUnchanged();
                Files.deleteIfExists(target);
                Files.move(begun, target);
            } catch (IOException e) {
                delete(begun, e);
                throw new CheckpointException(target, "cannot be written: " + e.getMessage(), e);
            } catch (RuntimeException e) {
                delete(begun, e);
                throw e;
            }
            spec.commandLine()
                    .getOut()
                    .println("wrote " + target + " in " + form + ": " + result.quantized() + " tensors in 8 bits, "
                            + result.kept() + " as they were; " + Memory.text(result.bytes()) + " of weights, before "
                            + Memory.text(directory.checkpoint().fileBytes()));
        }
    }

    /** A directory beside the target, which takes its place when all is written. */
    private Path begin() {
        try {
            if (Files.exists(target)) {
                try (Stream<Path> files = Files.list(target)) {
                    if (files.findAny().isPresent()) {
                        throw new CheckpointException(target, "is not empty");
                    }
                }
            }
            Path parent = target.toAbsolutePath().getParent();
            Files.createDirectories(parent);
            return Files.createDirectory(parent.resolve(
                    target.getFileName() + ".partial-" + ProcessHandle.current().pid()));
        } catch (IOException e) {
            throw new CheckpointException(target, "cannot be written: " + e.getMessage(), e);
        }
    }

    private static void delete(Path tree, Exception reason) {
        try (Stream<Path> walk = Files.walk(tree)) {
            List<Path> files = walk.sorted(Comparator.reverseOrder()).toList();
            for (Path file : files) {
                Files.deleteIfExists(file);
            }
        } catch (IOException e) {
            reason.addSuppressed(e);
        }
    }
}
