package stormsight.cli;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;
import stormsight.bench.MeasuringService;

/** The process that bench and compare start for each configuration. */
@Command(name = Measure.NAME, hidden = true, description = "Measures what bench and compare ask for on standard input.")
final class Measure implements Runnable {
    static final String NAME = "measure";

    @Spec
    private CommandSpec spec;

    @Override
    public void run() {
        MeasuringService.serve(
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)),
                spec.commandLine().getOut());
    }
}
