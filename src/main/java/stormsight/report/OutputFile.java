package stormsight.report;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Optional;

/**
 * How files are written here: beside their place under another name, and moved there when they are whole. A failure on the way leaves an
 * older file as it was.
 */
public final class OutputFile {
    private OutputFile() {}

    /** Gives what a file is to hold. */
    @FunctionalInterface
    public interface Content {
        /** Writes everything; the stream is buffered and is closed by the caller. */
        void to(OutputStream out) throws IOException;
    }

    /** Why a file could not be written, as far as that can be known before; what is no regular file is written in place. */
    public static Optional<String> obstacle(Path file) {
        Path directory = file.toAbsolutePath().getParent();
        // The root has no parent.
        if (Files.isDirectory(file) || directory == null) {
            return Optional.of("it is a directory");
        }
        if (!Files.isDirectory(directory)) {
            return Optional.of("no such directory");
        }
        boolean inPlace = Files.exists(file) && !Files.isRegularFile(file);
        return Files.isWritable(inPlace ? file : directory) ? Optional.empty() : Optional.of("permission denied");
    }

    /** Writes text as UTF-8. @throws FigureException as {@link #write(Path, Content)} */
    public static void write(Path file, String text) {
        write(file, out -> out.write(text.getBytes(StandardCharsets.UTF_8)));
    }

    /**
     * Writes a file or replaces one. What is no regular file, such as a pipe, is written in place.
     *
     * @throws FigureException naming the file if its directory is missing or it cannot be written; whatever {@code content} throws
     *     otherwise. In both cases an older file is left as it was.
     */
    public static void write(Path file, Content content) {
        try {
            if (Files.isDirectory(file)) {
                throw new FigureException(file, "cannot be written: it is a directory", null);
            }
            if (Files.exists(file) && !Files.isRegularFile(file)) {
                fill(file, content, StandardOpenOption.WRITE);
                return;
            }
            // A link stays a link.
            Path target = Files.exists(file) ? file.toRealPath() : file.toAbsolutePath();
            Path begun = target.resolveSibling("." + target.getFileName() + "." + ProcessHandle.current().pid() + "." + System.nanoTime());
            try {
                fill(begun, content, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
                Files.move(begun, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
            } finally {
                Files.deleteIfExists(begun);
            }
        } catch (NoSuchFileException e) {
            throw new FigureException(file, "cannot be written: no such directory", e);
        } catch (AccessDeniedException e) {
            throw new FigureException(file, "cannot be written: permission denied", e);
        } catch (IOException e) {
            throw new FigureException(file, "cannot be written: " + e.getMessage(), e);
        }
    }

    private static void fill(Path file, Content content, StandardOpenOption... options) throws IOException {
        try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(file, options), 1 << 16)) {
            content.to(out);
        }
    }
}
