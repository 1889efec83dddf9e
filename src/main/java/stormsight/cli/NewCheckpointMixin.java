package stormsight.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.OptionalLong;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import picocli.CommandLine.Option;
import stormsight.checkpoint.CheckpointException;
import stormsight.report.OutputFile;

/**
 * The folder that a command writes a checkpoint to. It is written under a hidden name first and takes its place when it
 * is whole: nobody takes what a killed process left for a checkpoint.
 */
final class NewCheckpointMixin {
    private static final Pattern PROCESS = Pattern.compile("\\d{1,18}");
    /** A folder without it is no checkpoint. */
    private static final String CONFIG = "config.json";

    @Option(
            names = {"-o", "--out"},
            paramLabel = "DIR",
            description = "Where to write: another way to name the directory.")
    private Path out;

    /** Fills a folder. */
    @FunctionalInterface
    interface Content<R> {
        /** Writes everything into an empty folder. */
        R to(Path folder) throws IOException;
    }

    /**
     * The place that was named, one way or the other.
     *
     * @param argument the directory as an argument, or null
     * @throws UsageException if there is none, or there are two
     */
    Path place(Path argument) {
        if (argument == null && out == null) {
            throw new UsageException("the directory to write to is missing; name it last, or with --out");
        }
        if (argument != null && out != null) {
            throw new UsageException("there are two directories to write to, " + argument + " and --out " + out);
        }
        return argument == null ? out : argument;
    }

    /**
     * Writes a checkpoint.
     *
     * @param target a directory that is empty or does not exist yet
     * @throws UsageException if it is not empty
     * @throws OutputException if it is no directory, or somebody else wrote to it meanwhile
     * @throws stormsight.report.FigureException if it cannot be written; whatever {@code content} throws otherwise. In
     *     all cases nothing that was written stays, and what others wrote does.
     */
    static <R> R write(Path target, Content<R> content) {
        try {
            boolean exists = Files.exists(target);
            Path place = exists ? target.toRealPath() : target.toAbsolutePath().normalize();
            if (exists) {
                requireEmpty(target);
            } else {
                Files.createDirectories(place.getParent());
                deleteLeft(place.getParent(), place.getFileName());
            }
            // A folder that exists is kept: it may be where somebody's shell stands, or a disk.
            Path begun = Files.createDirectory((exists ? place : place.getParent())
                    .resolve(partial(place.getFileName()) + ProcessHandle.current().pid()));
            // Ctrl-C runs no finally.
            Thread atExit = new Thread(() -> delete(begun), "stormsight-new-checkpoint");
            Runtime.getRuntime().addShutdownHook(atExit);
            try {
                R result = filled(begun, target, content);
                if (exists) {
                    moveFiles(begun, place);
                } else {
                    Files.move(begun, place);
                }
                return result;
            } catch (FileAlreadyExistsException e) {
                throw new OutputException(target.toString(), "somebody else wrote to it meanwhile; name a new folder");
            } finally {
                delete(begun);
                removeHook(atExit);
            }
        } catch (IOException e) {
            throw OutputFile.unwritable(target, e);
        }
    }

    /** Messages about a file in the new folder name the place where the user looks for it. */
    private static <R> R filled(Path begun, Path target, Content<R> content) throws IOException {
        try {
            return content.to(begun);
        } catch (CheckpointException e) {
            throw e.renamed(begun, target);
        } catch (UncheckedIOException e) {
            throw e.getCause();
        }
    }

    private static void requireEmpty(Path target) throws IOException {
        if (!Files.isDirectory(target)) {
            throw new OutputException(target.toString(), "it is not a directory");
        }
        Path name = target.toRealPath().getFileName();
        deleteLeft(target, name);
        List<Path> files = files(target);
        if (files.isEmpty()) {
            return;
        }
        OptionalLong writer = files.size() == 1 ? writer(files.getFirst(), name) : OptionalLong.empty();
        throw new UsageException(
                writer.isPresent() && runs(writer.getAsLong())
                        ? "the process " + writer.getAsLong() + " writes to " + target + "; wait for it or name a new "
                                + "folder. If it does something else, delete " + files.getFirst()
                        : target + " is not empty; name a new folder");
    }

    /** What processes that were killed had begun of this folder. */
    private static void deleteLeft(Path folder, Path name) throws IOException {
        for (Path file : files(folder)) {
            OptionalLong writer = writer(file, name);
            if (writer.isPresent() && !runs(writer.getAsLong())) {
                delete(file);
            }
        }
    }

    /** What the hidden name of a folder begins with, before the process. */
    private static String partial(Path name) {
        return "." + name + ".partial-";
    }

    /** The process that began a folder of this name; none if the file is something else. */
    private static OptionalLong writer(Path file, Path name) {
        String hidden = file.getFileName().toString();
        if (!hidden.startsWith(partial(name))) {
            return OptionalLong.empty();
        }
        String process = hidden.substring(partial(name).length());
        return PROCESS.matcher(process).matches()
                ? OptionalLong.of(Long.parseLong(process))
                : OptionalLong.empty();
    }

    private static boolean runs(long process) {
        return ProcessHandle.of(process).isPresent();
    }

    /** All or none. */
    private static void moveFiles(Path from, Path to) throws IOException {
        List<Path> moved = new ArrayList<>();
        try {
            for (Path file : files(from)) {
                if (!file.endsWith(CONFIG)) {
                    moved.add(Files.move(file, to.resolve(file.getFileName())));
                }
            }
            Files.move(from.resolve(CONFIG), to.resolve(CONFIG));
        } catch (IOException e) {
            // They would lie in the checkpoint of whoever was first.
            moved.forEach(NewCheckpointMixin::delete);
            throw e;
        }
    }

    /** What lies in a folder, by name. */
    static List<Path> files(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.sorted().toList();
        }
    }

    /** What cannot be deleted is deleted when the folder is written to again. */
    private static void delete(Path tree) {
        if (!Files.exists(tree)) {
            return;
        }
        try (Stream<Path> walk = Files.walk(tree)) {
            for (Path file : walk.sorted(Comparator.reverseOrder()).toList()) {
                Files.deleteIfExists(file);
            }
        } catch (IOException e) {
            // Its name says what it is.
        }
    }

    private static void removeHook(Thread atExit) {
        try {
            Runtime.getRuntime().removeShutdownHook(atExit);
        } catch (IllegalStateException e) {
            // It runs.
        }
    }
}
