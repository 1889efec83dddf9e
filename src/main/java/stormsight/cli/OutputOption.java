package stormsight.cli;

import java.nio.file.Path;
import java.util.Locale;
import stormsight.report.OutputFile;

/** Options that name a file to write, looked at before anything is computed. */
final class OutputOption {
    private OutputOption() {}

    /** @throws UsageException naming option and file, if there is no place for it */
    static void requireWritable(String option, Path file) {
        OutputFile.obstacle(file).ifPresent(obstacle -> {
            throw new UsageException(option + " " + file + " cannot be written: " + obstacle);
        });
    }

    /** @throws UsageException naming option and file, if there is no place for it or its ending is that of no figure */
    static void requirePlot(String option, Path file) {
        requireWritable(option, file);
        String name = file.toString().toLowerCase(Locale.ROOT);
        if (!name.endsWith(".svg") && !name.endsWith(".png")) {
            throw new UsageException(option + " " + file + " ends in neither .svg nor .png");
        }
    }
}
