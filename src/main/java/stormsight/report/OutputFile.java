package stormsight.report;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * How files are written here: beside their place under another name, and moved there when they are whole. A failure on
 * the way leaves an older file as it was.
 */
public final class OutputFile {
    private static final String UNWRITABLE = "cannot be written: ";
    private static final String DENIED = "permission denied";

    /** Files that are written at this moment. */
    private static final Set<Path> BEGUN = ConcurrentHashMap.newKeySet();

    static {
        // Ctrl-C runs no finally.
        Runtime.getRuntime()
                .addShutdownHook(
                        new Thread(() -> BEGUN.forEach(file -> file.toFile().delete()), "stormsight-output-files"));
    }

    private OutputFile() {}

    /** Gives what a file is to hold. */
    @FunctionalInterface
    public interface Content {
        /** Writes everything; the stream is buffered and is closed by the caller. */
        void to(OutputStream out) throws IOException;
    }

    /** Why a file could not be written, as far as that can be known before. Folders on the way to it may be missing. */
    public static Optional<String> obstacle(Path file) {
        if (Files.isDirectory(file)) {
            return Optional.of("it is a directory");
        }
        if (isSpecial(file)) {
            return Files.isWritable(file) ? Optional.empty() : Optional.of(DENIED);
        }
        Path folder = file.toAbsolutePath().getParent();
        // The root has no parent.
        return folder == null ? Optional.of("it is a directory") : folderObstacle(folder);
    }

    /** Why nothing could be written into a folder, which may be missing. Nothing is made yet. */
    public static Optional<String> folderObstacle(Path folder) {
        Path existing = folder.toAbsolutePath();
        while (existing != null && !Files.exists(existing)) {
            existing = existing.getParent();
        }
        if (existing == null || !Files.isDirectory(existing)) {
            return Optional.of(existing + " is not a directory");
        }
        return Files.isWritable(existing) ? Optional.empty() : Optional.of(DENIED);
    }

    /** Writes text as UTF-8. @throws FigureException as {@link #write(Path, Content)} */
    public static void write(Path file, String text) {
        write(file, out -> out.write(text.getBytes(StandardCharsets.UTF_8)));
    }

    /**
     * Writes a file or replaces one, and makes the folders that it needs. What is no regular file, such as a pipe, is
     * written in place.
     *
     * @throws FigureException naming the file if it cannot be written; whatever {@code content} throws otherwise. In
     *     both cases an older file is left as it was.
     */
    public static void write(Path file, Content content) {
        try {
            obstacle(file).ifPresent(obstacle -> {
                throw new FigureException(file, UNWRITABLE + obstacle, null);
            });
            if (isSpecial(file)) {
                fill(file, content, StandardOpenOption.WRITE);
                return;
            }
            Path target = target(file);
            Files.createDirectories(target.getParent());
            deleteLeft(target);
            Path begun = target.resolveSibling(
                    begunPrefix(target) + ProcessHandle.current().pid() + "." + System.nanoTime());
            BEGUN.add(begun);
            try {
                fill(begun, content, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
                Files.move(begun, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
            } finally {
                Files.deleteIfExists(begun);
                BEGUN.remove(begun);
            }
        } catch (IOException e) {
            throw unwritable(file, e);
        }
    }

    /** Whether there is something that is neither a file nor a folder; looked at once, as it may go at any time. */
    private static boolean isSpecial(Path file) {
        try {
            return Files.readAttributes(file, BasicFileAttributes.class).isOther();
        } catch (IOException e) {
            return false;
        }
    }

    /** Where the file is, or is to be: a link stays a link. */
    private static Path target(Path file) throws IOException {
        try {
            return file.toRealPath();
        } catch (NoSuchFileException e) {
            return file.toAbsolutePath();
        }
    }

    /** What to say of a file or folder that cannot be written. */
    public static FigureException unwritable(Path file, IOException e) {
        String reason = switch (e) {
            case AccessDeniedException _ -> DENIED;
            case NoSuchFileException _ -> "no such directory";
            case FileAlreadyExistsException inTheWay -> inTheWay.getFile() + " is not a directory";
            case FileSystemException system when system.getReason() != null -> system.getReason();
            default -> e.getMessage() == null ? e.toString() : e.getMessage();
        };
        return new FigureException(file, UNWRITABLE + reason, e);
    }

    private static String begunPrefix(Path target) {
        return "." + target.getFileName() + ".";
    }

    /** What processes that were killed had begun of this file. */
    private static void deleteLeft(Path target) throws IOException {
        Pattern begun = Pattern.compile(Pattern.quote(begunPrefix(target)) + "(\\d{1,18})\\.-?\\d+");
        try (DirectoryStream<Path> siblings = Files.newDirectoryStream(target.getParent(), ".*")) {
            for (Path sibling : siblings) {
                Matcher left = begun.matcher(sibling.getFileName().toString());
                if (left.matches() && ProcessHandle.of(Long.parseLong(left.group(1))).isEmpty()) {
                    Files.deleteIfExists(sibling);
                }
            }
        }
    }

    private static void fill(Path file, Content content, StandardOpenOption... options) throws IOException {
        try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(file, options), 1 << 16)) {
            content.to(out);
        }
    }
}
