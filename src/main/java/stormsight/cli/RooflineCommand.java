package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import stormsight.backend.Backend;
import stormsight.bench.OpRow;
import stormsight.bench.Roofline;
import stormsight.bench.RooflineReport;
import stormsight.model.ModelDirectory;
import stormsight.model.Passes;
import stormsight.report.OutputFile;

/** Shows how close each operation of a model comes to what its device can do. */
@Command(
        name = "roofline",
        description =
                "Measures what a device does at most, reading memory and multiplying, then times each operation of a "
                        + "model's encode, prefill and decode and shows it as a share of its ceiling: the longer of "
                        + "moving its bytes and computing its operations. A share above 100%% means that data came "
                        + "from a cache. Image and prompt are random: how long operations take does not depend on "
                        + "them.")
final class RooflineCommand extends ModelCommand implements Runnable {
    @Option(names = "--prompt-tokens", paramLabel = "N", defaultValue = "16",
            description = "Tokens of the prompt without the image's. Default: ${DEFAULT-VALUE}.")
    private int promptTokens;

    @Option(names = {"-n", "--max-new-tokens", "--max-tokens"}, paramLabel = "N", defaultValue = "8",
            description = "Tokens decoded one after the other in a pass. Default: ${DEFAULT-VALUE}.")
    private int newTokens;

    @Option(
            names = {"-r", "--repetitions"},
            paramLabel = "N",
            defaultValue = "5",
            description =
                    "Passes that are timed, and measurements of each ceiling; medians count. Default: "
                            + "${DEFAULT-VALUE}.")
    private int repetitions;

    @Option(names = "--warm-up", paramLabel = "SECONDS", defaultValue = "5",
            description = "How long passes run before they are timed; at least one does. Default: ${DEFAULT-VALUE}.")
    private double warmUp;

    @Option(
            names = "--format",
            paramLabel = "FORMAT",
            description =
                    "md: tables; json: as bench/results/schema.json describes. Default: md, or as the ending of --out "
                            + "says.")
    private OutputOption.Format format;

    @Option(
            names = {"-o", "--out"},
            paramLabel = "FILE",
            description =
                    "Write the results into a file as well, in the format that its ending says unless --format is "
                            + "given.")
    private Path out;

    @Option(
            names = "--plot",
            paramLabel = "FILE",
            description =
                    "Also draw rates over operations per byte, below the ceiling, as .svg or .png. Operations that "
                            + "only move are left out.")
    private Path plot;

    @Override
    public void run() {
        if (promptTokens < 1 || newTokens < 1 || repetitions < 1) {
            throw new UsageException("--prompt-tokens, --new-tokens and --repetitions must be positive");
        }
        if (!(warmUp >= 0)) {
            throw new UsageException("--warm-up " + warmUp + " is not a number of seconds from 0 on");
        }
        if (plot != null) {
            OutputOption.requirePlot("--plot", plot);
        }
        if (out != null) {
            OutputOption.requireWritable("--out", out);
        }
        PrintWriter err = err();
        try (ModelDirectory directory = model.open(); Backend backend = backendOptions.open()) {
            int prompt = Math.addExact(directory.processor().imageTokens(), promptTokens);
            Roofline roofline = Roofline.measure(
                    directory,
                    backend,
                    model.options(),
                    new Roofline.Plan(prompt, newTokens, warmUp, repetitions),
                    what -> err.println("roofline: " + what));
            RooflineReport report = new RooflineReport(
                    model.name(),
                    new OpRow.Model(model.shortName(), directory.describe().family(), directory.parameters()),
                    Environment.machine(),
                    backend.device(),
                    roofline);
            if (out != null) {
                OutputFile.write(out, text(report, OutputOption.format(out, format)));
            }
            out().print(text(report, out != null || format == null ? OutputOption.Format.MD : format));
            if (plot != null) {
                report.draw(plot);
            }
        }
    }

    private static String text(RooflineReport report, OutputOption.Format as) {
        return switch (as) {
            case MD -> report.markdown();
            case JSON -> report.json();
        };
    }
}
