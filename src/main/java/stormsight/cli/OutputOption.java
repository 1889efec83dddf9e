package stormsight.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import stormsight.report.OutputFile;

/** Options that name a file to write, looked at before anything is computed. */
final class OutputOption {
    /** How results are written. */
    enum Format {
        MD,
        JSON;

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    private OutputOption() {}

    /** The format of a file: the chosen one, if any, else as its name says, JSON where that says nothing. */
    static Format format(Path file, Format chosen) {
        return chosen != null
                ? chosen
                : file.toString().toLowerCase(Locale.ROOT).endsWith(".md") ? Format.MD : Format.JSON;
    }

    /** @throws OutputException naming option and file, if there is no place for it */
    static void requireWritable(String option, Path file) {
        OutputFile.obstacle(file).ifPresent(obstacle -> {
            throw new OutputException(option + " " + file, obstacle);
        });
    }

    /** @throws OutputException naming option and folder, if nothing can be written into it, or it cannot be made */
    static void requireFolder(String option, Path folder) {
        OutputFile.folderObstacle(folder).ifPresent(obstacle -> {
            throw new OutputException(option + " " + folder, obstacle);
        });
    }

    /**
     * @throws OutputException naming option and folder, if it cannot be made
     * @throws UsageException naming both, if there is something in it
     */
    static void requireNewFolder(String option, Path folder) {
        requireFolder(option, folder);
        try {
            if (Files.exists(folder) && !NewCheckpointMixin.files(folder).isEmpty()) {
                throw new UsageException(option + " " + folder + " is not empty; name a new folder");
            }
        } catch (IOException e) {
            throw OutputFile.unwritable(folder, e);
        }
    }

    /**
     * @throws OutputException naming option and file, if there is no place for it
     * @throws UsageException naming both, if its ending is that of no figure
     */
    static void requirePlot(String option, Path file) {
        requireWritable(option, file);
        String name = file.toString().toLowerCase(Locale.ROOT);
        if (!name.endsWith(".svg") && !name.endsWith(".png")) {
            throw new UsageException(option + " " + file + " ends in neither .svg nor .png");
        }
    }
}
