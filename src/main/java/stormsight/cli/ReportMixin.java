package stormsight.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import stormsight.backend.DeviceInfo;
import stormsight.report.HtmlReport;
import stormsight.report.ReportData.Fact;
import stormsight.report.MapStyle;
import stormsight.report.ReportData;

/** The option that asks for a report. */
final class ReportMixin {
    @Spec(Spec.Target.MIXEE)
    private CommandSpec spec;

    @Option(
            names = "--html",
            paramLabel = "FILE",
            description =
                    "Write a report as well: one page with sliders, maps, curves and the numbers behind them, which "
                            + "needs no network.")
    private Path file;

    boolean isWanted() {
        return file != null;
    }

    /** Before anything is computed. */
    void requireWritable() {
        if (file != null) {
            OutputOption.requireWritable("--html", file);
        }
    }

    /** Writes the report if it was asked for, with model, device, command and version below the page's own facts. */
    void write(ReportData page, String model, DeviceInfo device) {
        write(page, MapStyle.DEFAULT, model, device);
    }

    /** The same with maps in a style. */
    void write(ReportData page, MapStyle style, String model, DeviceInfo device) {
        if (file == null) {
            return;
        }
        HtmlReport.write(file, page.with(facts(spec, model, device)), style);
    }

    /** How a page came about: model, device, command and version. */
    static List<Fact> facts(CommandSpec command, String model, DeviceInfo device) {
        return List.of(
                new Fact("Model", model),
                new Fact("Device", device.title()),
                new Fact("Command", "stormsight " + command.commandLine().getParseResult().originalArgs().stream()
                        .map(ReportMixin::quoted).collect(Collectors.joining(" ")), true),
                new Fact("Version", "stormsight " + Version.text()));
    }

    /** As a shell takes it. */
    private static String quoted(String argument) {
        return argument.matches("[\\w@%+=:,./-]+") ? argument : "'" + argument.replace("'", "'\\''") + "'";
    }
}
