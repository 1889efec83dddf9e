package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static stormsight.cli.MainTest.fails;
import static stormsight.cli.MainTest.run;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.SafetensorsWriter;
import stormsight.report.FigureException;

class NewCheckpointMixinTest {
    @TempDir
    private Path folder;

    private static List<String> names(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    /** Whoever is killed at any moment leaves no config.json in the place, nor a place that was not there. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void nothingLooksLikeACheckpointBeforeItIsWhole(boolean exists) throws IOException {
        Path place = folder.resolve("new");
        if (exists) {
            Files.createDirectory(place);
        }
        NewCheckpointMixin.write(place, begun -> {
            Files.writeString(begun.resolve("config.json"), "{}");
            Files.writeString(begun.resolve("model.safetensors"), "weights");
            assertEquals(exists, Files.exists(place));
            assertFalse(Files.exists(place.resolve("config.json")));
            assertFalse(Files.exists(place.resolve("model.safetensors")));
            assertTrue(begun.getFileName().toString().startsWith("."), begun::toString);
            return begun;
        });
        assertEquals(List.of("config.json", "model.safetensors"), names(place));
        assertEquals(List.of("new"), names(folder));
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aFailureLeavesThePlaceAsItWas(boolean exists) throws IOException {
        Path place = folder.resolve("new");
        if (exists) {
            Files.createDirectory(place);
        }
        FigureException e = assertThrows(FigureException.class, () -> NewCheckpointMixin.write(place, begun -> {
            Files.writeString(begun.resolve("config.json"), "{}");
            throw new IOException("the disk is full");
        }));
        assertTrue(e.getMessage().contains(place + ": cannot be written: the disk is full"), e.getMessage());
        assertEquals(exists ? List.of("new") : List.of(), names(folder));
        assertEquals(List.of(), exists ? names(place) : List.of());
    }

    /** The hidden folder is gone when somebody reads the message. */
    @Test
    void messagesNameThePlaceThatTheUserNamed() {
        Path place = folder.resolve("new");
        CheckpointException e = assertThrows(CheckpointException.class, () -> NewCheckpointMixin.write(place, begun -> {
            throw new CheckpointException(begun.resolve("model.safetensors"), "cannot be read");
        }));
        assertEquals(place.resolve("model.safetensors") + ": cannot be read", e.getMessage());
        FigureException full = assertThrows(FigureException.class, () -> NewCheckpointMixin.write(place, begun -> {
            throw new FileSystemException(begun.resolve("config.json").toString(), null, "no space is left");
        }));
        assertEquals(place + ": cannot be written: no space is left", full.getMessage());
        FigureException denied = assertThrows(FigureException.class, () -> NewCheckpointMixin.write(place, begun -> {
            throw new AccessDeniedException(begun.resolve("config.json").toString());
        }));
        assertEquals(place + ": cannot be written: permission denied", denied.getMessage());
    }

    /** As everywhere else, and not as if the model that is read were broken. */
    @Test
    void weightsThatCannotBeWrittenAreNoFaultOfTheModel() {
        Path place = folder.resolve("new");
        FigureException e = assertThrows(FigureException.class, () -> NewCheckpointMixin.write(place, begun -> {
            SafetensorsWriter.write(begun.resolve("gone"), List.of(), 1, (tensor, first, piece) -> {});
            return begun;
        }));
        assertEquals(place + ": cannot be written: no such directory", e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void twoThatWriteToOnePlaceAreTold(boolean exists) throws IOException {
        Path place = folder.resolve("new");
        if (exists) {
            Files.createDirectory(place);
        }
        OutputException late = assertThrows(OutputException.class, () -> NewCheckpointMixin.write(place, begun -> {
            Files.writeString(begun.resolve("config.json"), "second");
            Files.writeString(begun.resolve("merges.txt"), "second");
            Files.writeString(begun.resolve("model.safetensors"), "second");
            Files.createDirectories(place);
            Files.writeString(place.resolve("model.safetensors"), "first");
            return Files.writeString(place.resolve("config.json"), "first");
        }));
        assertEquals(
                place + " cannot be written: somebody else wrote to it meanwhile; name a new folder",
                late.getMessage());
        for (String name : List.of("config.json", "model.safetensors")) {
            assertEquals("first", Files.readString(place.resolve(name)));
        }
        assertEquals(List.of("config.json", "model.safetensors"), names(place));
    }

    @Test
    void aPlaceThatIsWrittenToIsNotCalledFull() throws IOException {
        Path place = Files.createDirectory(folder.resolve("new"));
        long other = ProcessHandle.current().parent().orElseThrow().pid();
        Files.createDirectory(place.resolve(".new.partial-" + other));
        UsageException e = assertThrows(UsageException.class, () -> NewCheckpointMixin.write(place, begun -> begun));
        assertTrue(e.getMessage().startsWith("the process " + other + " writes to " + place), e.getMessage());
    }

    /** Nobody would wait for its end in vain. */
    @Test
    void anotherHiddenFolderIsNoWriter() throws IOException {
        Path place = Files.createDirectory(folder.resolve("new"));
        long other = ProcessHandle.current().parent().orElseThrow().pid();
        Files.createDirectory(place.resolve(".old.partial-" + other));
        UsageException e = assertThrows(UsageException.class, () -> NewCheckpointMixin.write(place, begun -> begun));
        assertEquals(place + " is not empty; name a new folder", e.getMessage());
    }

    /** A process that was killed deletes nothing; the next one that writes to the same place does. */
    @Test
    void whatAKilledProcessLeftIsDeleted() throws Exception {
        Process ended = new ProcessBuilder("true").start();
        ended.waitFor();
        Path left = Files.createDirectory(folder.resolve(".new.partial-" + ended.pid()));
        Files.writeString(left.resolve("config.json"), "{}");
        Path running = Files.createDirectory(
                folder.resolve(".new.partial-" + ProcessHandle.current().parent().orElseThrow().pid()));
        Path others = Files.createDirectory(folder.resolve(".other.partial-" + ended.pid()));
        NewCheckpointMixin.write(folder.resolve("new"), begun -> Files.writeString(begun.resolve("config.json"), "{}"));
        assertFalse(Files.exists(left));
        assertTrue(Files.exists(running));
        assertTrue(Files.exists(others));
    }

    @Test
    void placesAreNamedEitherWay() throws IOException {
        String named = folder.resolve("named").toString();
        MainTest.Run run = run("synthesize", "--like", "tiny", "-o", named);
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(0, run("quantize", named, "--out", folder.resolve("q8").toString()).exitCode());
        assertTrue(Files.exists(folder.resolve("q8/config.json")));
        fails(2, "name it last, or with --out", "synthesize", "--like", "tiny");
        fails(2, "two directories to write to", "synthesize", "--like", "tiny", named, "-o", named);
        String file = folder.resolve("named/config.json").toString();
        fails(1, "is not a directory", "synthesize", "--like", "tiny", file);
        fails(1, file + " is not a directory", "synthesize", "--like", "tiny", file + "/below");
        fails(2, named + " is not empty; name a new folder", "synthesize", "--like", "tiny", named);
    }
}
