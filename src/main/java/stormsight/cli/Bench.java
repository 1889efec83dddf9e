package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import stormsight.bench.Benchmark;
import stormsight.bench.Configuration;
import stormsight.bench.Regressions;
import stormsight.bench.ResultFigure;
import stormsight.bench.ResultFile;
import stormsight.bench.Row;
import stormsight.report.OutputFile;
import tools.jackson.databind.JsonNode;

/** Times the parts of an answer. */
@Command(
        name = "bench",
        description = {
            "Times the parts of an answer, or of an embedding. Numbers may be lists and ranges: 64,128 or 16-64*2 or "
                    + "1-4+1.",
            "Warm rows, each timed after its result has been checked: image decode (file to pixels), resize (pixels "
                    + "to patches), encode (patches to features), projector (a part of encode), ppN (prefill of N "
                    + "tokens), tgN@D (N tokens decoded after D), first token (image file and prompt 'caption en' to "
                    + "the first token). With --parallel 8, pp and tg are also measured with 8 sequences in one run, "
                    + "as ppN x8 and tgN@D x8, after their results were found equal to the sequences' one by one; on "
                    + "a device, equal but for rounding.",
            "Of models that compare or name images instead: image (patches to embedding or scores), image file (file "
                    + "to the same), text (a text to its embedding), and of BLIP-2 pair (a text, with an image that is "
                    + "encoded, to whether they match), with images, texts or pairs a second.",
            "Cold rows, each in a new process with the flags of this one, with files that are in the system's cache: "
                    + "jvm (until main runs), load (model and buffers), on a device runtime, lowering, upload and "
                    + "compile, then image, encode, prefill, and their sum as first token, which is compared with the "
                    + "warm one afterwards. JVM JIT is what the JVM's compilers took beside that in threads of their "
                    + "own; device JIT and device driver, the device's compilers, are parts of compile and upload.",
            "A regression, with --against: the 95%% interval of the ratio of times (Welch, on logarithms) lies above "
                    + "1 and the ratio above --tolerance. The ratio is time now / time in the file; only where a row "
                    + "is called faster, it and its interval are the other way round."
        })
final class Bench implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Mixin
    private MeasuringMixin measuring;

    @Option(
            names = "--cold",
            paramLabel = "N",
            defaultValue = "3",
            description = "Cold starts to measure; 0 for none. Default: ${DEFAULT-VALUE}.")
    private int cold;

    @Option(
            names = "--format",
            paramLabel = "FORMAT",
            description = "${COMPLETION-CANDIDATES}. Default: md, or as the ending of --out says.")
    private ResultFile.Format format;

    @Option(
            names = "--plot",
            paramLabel = "FILE",
            description =
                    "Draw the warm rows as bars, .svg or .png; cold rows go into a file beside it, with -cold before "
                            + "the ending.")
    private Path plot;

    @Option(
            names = "--against",
            paramLabel = "FILE",
            description = "Compare with the rows of a result file (json); exit code 8 if one is slower.")
    private Path against;

    @Option(names = "--tolerance", paramLabel = "SHARE", defaultValue = "0.05",
            description = "By how much a row may be slower than in the file, beyond noise. Default: ${DEFAULT-VALUE}.")
    private double tolerance;

    @Override
    public Integer call() {
        if (cold < 0 || cold > 1000) {
            throw new UsageException("--cold " + cold + " is not in 0 .. 1000");
        }
        if (!(tolerance >= 0)) {
            throw new UsageException("--tolerance " + tolerance + " is negative");
        }
        Benchmark.Plan plan = measuring.plan(cold, 1);
        List<JsonNode> recorded = recorded();
        measuring.out().ifPresent(file -> OutputOption.requireWritable("--out", file));
        if (plot != null) {
            OutputOption.requirePlot("--plot", plot);
        }
        PrintWriter out = spec.commandLine().getOut();
        Benchmark benchmark = new Benchmark(
                Environment.javaCommand(Measure.NAME),
                Environment.machine(),
                measuring.log(),
                measuring::progress,
                measuring::step);
        List<Row> rows = new ArrayList<>();
        List<Configuration> configurations = measuring.configurations();
        if (!plan.sizes().isDefault()) {
            configurations.stream().filter(Benchmark::encodes).findFirst().ifPresent(configuration -> {
                throw new UsageException("-p, -n, -d, -b, -pg and --prompt-tokens are sizes of prompts and answers, "
                        + "which " + configuration.label() + " does not have");
            });
        }
        for (Configuration configuration : configurations) {
            rows.addAll(benchmark.run(configuration, plan));
        }
        measuring.stepsDone();
        measuring.out().ifPresent(file -> OutputFile.write(file, ResultFile.text(rows, fileFormat(file))));
        if (plot != null) {
            ResultFigure.write(plot, rows);
        }
        ResultFile.Format shown = format == null || measuring.out().isPresent() ? ResultFile.Format.MD : format;
        out.print(ResultFile.text(rows, shown));
        out.flush();
        return against != null
                ? compare(
                        rows,
                        recorded,
                        shown == ResultFile.Format.MD ? out : spec.commandLine().getErr())
                : 0;
    }

    private List<JsonNode> recorded() {
        try {
            return against == null ? List.of() : ResultFile.read(against);
        } catch (IllegalArgumentException e) {
            throw new UsageException("--against " + e.getMessage());
        }
    }

    private ResultFile.Format fileFormat(Path file) {
        if (format != null) {
            return format;
        }
        String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
        for (ResultFile.Format known : ResultFile.Format.values()) {
            if (name.endsWith("." + known)) {
                return known;
            }
        }
        return ResultFile.Format.JSON;
    }

    private int compare(List<Row> rows, List<JsonNode> recorded, PrintWriter out) {
        Regressions regressions = Regressions.of(rows, recorded, tolerance);
        out.println();
        out.print(regressions.markdown());
        out.flush();
        if (regressions.found().isEmpty()) {
            throw new UsageException("--against " + against + ": no row can be compared, see above");
        }
        return regressions.any() ? Main.SLOWER : 0;
    }
}
