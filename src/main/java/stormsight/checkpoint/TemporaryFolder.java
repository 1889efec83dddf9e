package stormsight.checkpoint;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/**
 * The temporary folder of this process, deleted when it ends. A process that is killed deletes nothing, so that the
 * next one that makes a folder deletes what is left. A lock tells folders that are in use: the system frees it,
 * whatever a process dies of.
 */
public final class TemporaryFolder {
    private static final String PREFIX = "stormsight-";
    private static final String LOCK = "in-use";
    /** A folder without a lock may have been made this very moment. */
    private static final Duration BEING_MADE = Duration.ofMinutes(10);

    /** Null until there is something to do when the process ends. */
    private static Thread ending;
    private static final List<Runnable> FIRST = new ArrayList<>();
    private static Path folder;
    /** Held until the process ends. */
    @SuppressWarnings("unused")
    private static FileLock held;

    private TemporaryFolder() {}

    /**
     * A new, empty folder in it, which only this user can read.
     *
     * @throws IOException if there is no room for one
     */
    public static synchronized Path create() throws IOException {
        if (folder == null) {
            addEnding();
            Path made = Files.createTempDirectory(PREFIX);
            while (!hold(made)) {
                made = Files.createTempDirectory(PREFIX);
            }
            folder = made;
            sweep(made);
        }
        return Files.createTempDirectory(folder, "");
    }

    /** Locks a new folder; false if another process took it for left and deletes it. */
    private static boolean hold(Path made) throws IOException {
        Path file = made.resolve(LOCK);
        try {
            FileChannel channel =
                    FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
            held = channel.tryLock();
            if (held == null) {
                channel.close();
            }
        } catch (IOException e) {
            delete(made);
            throw e;
        }
        return held != null && Files.exists(file);
    }

    /** Work that may still read files in it when the process is asked to end: the folder is deleted behind that. */
    public static synchronized void finishFirst(Runnable work) {
        FIRST.add(work);
        addEnding();
    }

    private static void addEnding() {
        if (ending == null) {
            ending = new Thread(TemporaryFolder::end, "stormsight-ending");
            Runtime.getRuntime().addShutdownHook(ending);
        }
    }

    private static void end() {
        List<Runnable> first;
        synchronized (TemporaryFolder.class) {
            first = List.copyOf(FIRST);
        }
        try {
            first.forEach(Runnable::run);
        } finally {
            synchronized (TemporaryFolder.class) {
                if (folder != null) {
                    delete(folder);
                }
            }
        }
    }

    /** Deletes what killed processes of this user left beside a folder. */
    static void sweep(Path own) {
        try (DirectoryStream<Path> found = Files.newDirectoryStream(own.getParent(), PREFIX + "*")) {
            for (Path other : found) {
                if (!other.equals(own)
                        && Files.isDirectory(other, LinkOption.NOFOLLOW_LINKS)
                        && Files.getOwner(other).equals(Files.getOwner(own))) {
                    deleteIfLeft(other);
                }
            }
        } catch (IOException e) {
            // Others may delete it at this moment. The next process looks again.
        }
    }

    private static void deleteIfLeft(Path other) throws IOException {
        Path lock = other.resolve(LOCK);
        if (!Files.isRegularFile(lock, LinkOption.NOFOLLOW_LINKS)) {
            if (Files.getLastModifiedTime(other).toInstant().isBefore(Instant.now().minus(BEING_MADE))) {
                delete(other);
            }
            return;
        }
        // Locked until it is gone, so that a process that has just made it sees that.
        try (FileChannel channel = FileChannel.open(lock, StandardOpenOption.WRITE)) {
            if (channel.tryLock() != null) {
                delete(other);
            }
        }
    }

    /** What cannot be deleted stays for the next process. */
    private static void delete(Path tree) {
        List<Path> files;
        try (Stream<Path> walk = Files.walk(tree)) {
            files = walk.sorted(Comparator.reverseOrder()).toList();
        } catch (IOException e) {
            return;
        }
        for (Path file : files) {
            try {
                Files.deleteIfExists(file);
            } catch (IOException e) {
                return;
            }
        }
    }
}
