package stormsight.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MachineTest {
    @TempDir
    private Path folder;

    private Path jar;

    @BeforeEach
    void unpack() throws IOException {
        jar = Files.createFile(Files.createDirectory(folder.resolve("target")).resolve("stormsight.jar"));
    }

    private Optional<String> commit() {
        return Machine.here("1.0", "an OS", "a processor", jar).commit();
    }

    @Test
    void anArchiveSaysItsCommit() throws IOException {
        Files.writeString(folder.resolve("commit"), "0123456789ab+\n");
        assertEquals(Optional.of("0123456789ab+"), commit());
    }

    @Test
    void anotherFileOfThatNameIsNoCommit() throws IOException {
        Files.writeString(folder.resolve("commit"), "to do: commit\n");
        assertEquals(Optional.empty(), commit());
    }

    @Test
    void withoutGitAndFileItIsNotKnown() {
        assertEquals(Optional.empty(), commit());
    }
}
