package stormsight.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OutputFileTest {
    @TempDir
    private Path directory;

    @Test
    void aFailureLeavesTheOldFileAndNothingElse() throws IOException {
        Path file = directory.resolve("a.txt");
        OutputFile.write(file, "old");
        assertThrows(IllegalStateException.class, () -> OutputFile.write(file, out -> {
            out.write(new byte[1 << 20]);
            throw new IllegalStateException("on the way");
        }));
        FigureException e = assertThrows(FigureException.class, () -> OutputFile.write(file, out -> {
            throw new IOException("disk full");
        }));
        assertEquals(file + ": cannot be written: disk full", e.getMessage());
        assertEquals("old", Files.readString(file));
        OutputFile.write(file, "new");
        assertEquals("new", Files.readString(file));
        try (Stream<Path> files = Files.list(directory)) {
            assertEquals(List.of(file), files.toList());
        }
    }

    @Test
    void saysWhyAFileCannotBeWritten() {
        OutputFile.write(directory.resolve("in the way"), "a file");
        Path below = directory.resolve("in the way/folder/a.txt");
        FigureException e = assertThrows(FigureException.class, () -> OutputFile.write(below, "a"));
        assertEquals(
                below + ": cannot be written: " + directory.resolve("in the way") + " is not a directory",
                e.getMessage());
        assertEquals(Optional.of(directory.resolve("in the way") + " is not a directory"), OutputFile.obstacle(below));
        e = assertThrows(FigureException.class, () -> OutputFile.write(directory, "a"));
        assertEquals(directory + ": cannot be written: it is a directory", e.getMessage());
    }

    @Test
    void foldersOnTheWayAreMade() throws IOException {
        Path file = directory.resolve("new/folder/a.txt");
        assertEquals(Optional.empty(), OutputFile.obstacle(file));
        assertTrue(Files.notExists(directory.resolve("new")));
        OutputFile.write(file, "a");
        assertEquals("a", Files.readString(file));
    }

    /** The words of the system, without the name under which a file is begun. */
    @Test
    void aFullDiskIsSaid() {
        Path file = directory.resolve("a.txt");
        assertEquals(
                file + ": cannot be written: No space left on device",
                OutputFile.unwritable(
                                file,
                                new FileSystemException(directory + "/.a.txt.1.2", null, "No space left on device"))
                        .getMessage());
    }

    /** What a killed process had begun goes when the file is written again; that of a process that lives stays. */
    @Test
    void halfFilesOfKilledProcessesAreDeleted() throws IOException, InterruptedException {
        Process ended = new ProcessBuilder(ProcessHandle.current().info().command().orElseThrow(), "-version").start();
        ended.waitFor();
        Path left = Files.createFile(directory.resolve(".a.txt." + ended.pid() + ".17"));
        Path living = Files.createFile(directory.resolve(".a.txt." + ProcessHandle.current().pid() + ".17"));
        Path other = Files.createFile(directory.resolve(".b.txt." + ended.pid() + ".17"));
        OutputFile.write(directory.resolve("a.txt"), "a");
        assertTrue(Files.notExists(left));
        assertTrue(Files.exists(living));
        assertTrue(Files.exists(other));
    }

    @Test
    void aLinkStaysALink() throws IOException {
        Path file = directory.resolve("a.txt");
        OutputFile.write(file, "old");
        Path link = Files.createSymbolicLink(directory.resolve("link.txt"), file);
        OutputFile.write(link, "new");
        assertTrue(Files.isSymbolicLink(link));
        assertEquals("new", Files.readString(file));
    }

    /** What is no file is not replaced by one. */
    @Test
    void aDeviceIsWrittenTo() {
        Path device = Path.of("/dev/null");
        assumeTrue(Files.isWritable(device), "this system has no /dev/null");
        OutputFile.write(device, "a");
        assertTrue(!Files.isRegularFile(device));
    }
}
