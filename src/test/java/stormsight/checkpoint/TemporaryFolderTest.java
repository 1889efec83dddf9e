package stormsight.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Folders of processes that ended go, those of processes that live stay. */
@Timeout(60)
class TemporaryFolderTest {
    @TempDir
    private Path parent;

    /** A process of its own, whose temporary folder lies in {@link #parent}. */
    public static final class Waiting {
        public static void main(String[] arguments) throws IOException {
            Path file = Files.writeString(TemporaryFolder.create().resolve("file"), "content");
            TemporaryFolder.finishFirst(() -> System.out.println(Files.exists(file) ? "still there" : "gone"));
            System.out.println("made");
            System.in.read();
        }
    }

    private Process start() throws IOException {
        Process process = new ProcessBuilder(
                        ProcessHandle.current().info().command().orElseThrow(),
                        "-Djava.io.tmpdir=" + parent,
                        "-cp",
                        System.getProperty("java.class.path"),
                        Waiting.class.getName())
                .start();
        assertEquals("made", process.inputReader().readLine());
        return process;
    }

    private List<Path> folders() throws IOException {
        try (Stream<Path> files = Files.list(parent)) {
            return files.filter(file -> file.getFileName().toString().startsWith("stormsight-")).toList();
        }
    }

    @Test
    void aKilledProcessesFolderIsDeletedByTheNext() throws Exception {
        Process killed = start();
        List<Path> left = folders();
        killed.destroyForcibly();
        assertTrue(killed.waitFor(20, TimeUnit.SECONDS));
        assertEquals(left, folders());
        Process living = start();
        List<Path> used = folders();
        assertEquals(1, used.size());
        assertNotEquals(left, used);
        Process ending = start();
        assertEquals(2, folders().size());
        ending.getOutputStream().close();
        assertEquals(0, ending.waitFor());
        assertEquals(used, folders());
        // By its handle: the process itself would close what it says.
        living.toHandle().destroy();
        living.waitFor();
        assertEquals("still there", living.inputReader().readLine());
        assertEquals(List.of(), folders());
    }

    @Test
    void whatHasNoLockStaysForMinutes() throws IOException {
        Path own = Files.createDirectory(parent.resolve("own"));
        Path made = Files.createDirectory(parent.resolve("stormsight-new"));
        Path old = Files.createDirectories(parent.resolve("stormsight-old/folder")).getParent();
        Files.setLastModifiedTime(old, FileTime.from(Instant.now().minus(Duration.ofHours(1))));
        Path file = Files.createFile(parent.resolve("stormsight-file"));
        Path outside = Files.createDirectory(parent.resolve("outside"));
        Path link = Files.createSymbolicLink(parent.resolve("stormsight-link"), outside);
        TemporaryFolder.sweep(own);
        assertTrue(Files.exists(made));
        assertFalse(Files.exists(old));
        assertTrue(Files.exists(file));
        assertTrue(Files.exists(link, LinkOption.NOFOLLOW_LINKS) && Files.exists(outside));
    }

    @Test
    void nobodyElseReadsIt() throws IOException {
        Path folder = TemporaryFolder.create();
        assertEquals("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(folder)));
        assertNotEquals(folder, TemporaryFolder.create());
    }
}
