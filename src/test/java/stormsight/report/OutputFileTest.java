package stormsight.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
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
        Path missing = directory.resolve("missing").resolve("a.txt");
        FigureException e = assertThrows(FigureException.class, () -> OutputFile.write(missing, "a"));
        assertEquals(missing + ": cannot be written: no such directory", e.getMessage());
        e = assertThrows(FigureException.class, () -> OutputFile.write(directory, "a"));
        assertEquals(directory + ": cannot be written: it is a directory", e.getMessage());
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
