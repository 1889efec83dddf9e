package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import stormsight.study.ExampleResult;
import stormsight.study.Findings;
import stormsight.study.Outcome;
import tools.jackson.databind.json.JsonMapper;

/** Options that say where the findings of an experiment go. */
final class FindingsMixin {
    @Spec(Spec.Target.MIXEE)
    private CommandSpec spec;

    @Mixin
    private ReportMixin html;

    @Option(
            names = {"-o", "--out"},
            paramLabel = "DIR",
            description = "Where curves (SVG, PNG), numbers (CSV, JSON) and the result of every example go. "
                    + "The same command goes on where it was stopped.")
    private Path out;

    @Option(names = "--json", description = "Print one JSON object instead of a table.")
    private boolean json;

    /** Before anything is computed. */
    void check(ExampleMixin examples) {
        html.requireWritable();
        if (out != null) {
            OutputOption.requireFolder("--out", out);
        } else if (examples.isDataset()) {
            throw new UsageException("--dataset needs --out");
        }
    }

    Optional<Path> folder() {
        return Optional.ofNullable(out);
    }

    /**
     * Tells failures on standard error, writes the files and the page, and tells JSON or a table on standard output.
     */
    <R extends ExampleResult> void tell(ExampleMixin examples, Findings<R> findings) {
        Outcome<R> outcome = findings.outcome();
        outcome.failures().forEach(spec.commandLine().getErr()::println);
        String object =
                JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(findings.json(Version.text()));
        folder().ifPresent(folder -> findings.write(folder, object));
        if (html.isWanted()) {
            html.write(findings.page(examples.image()), outcome.model(), outcome.device());
        }
        PrintWriter standard = spec.commandLine().getOut();
        if (json) {
            standard.println(object);
        } else {
            findings.print(standard);
        }
        standard.flush();
    }
}
