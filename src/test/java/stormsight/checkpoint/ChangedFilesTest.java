package stormsight.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.Goldens;
import stormsight.model.ModelDirectory;
import stormsight.model.family.Families;

/**
 * Files that a second download, a failing disk or somebody else changes while a model is used: one message, and never
 * the end of the JVM.
 */
class ChangedFilesTest {
    private static final String NORM = "language_model.model.norm.weight";

    @TempDir
    private Path folder;

    private Path weights;

    @BeforeEach
    void copy() throws IOException {
        Goldens.copy("paligemma-mqa", folder);
        weights = folder.resolve("model.safetensors");
    }

    private void cut(long bytes) throws IOException {
        try (RandomAccessFile file = new RandomAccessFile(weights.toFile(), "rw")) {
            file.setLength(bytes);
        }
    }

    /** A download that stopped in a file that had its size already. */
    @Test
    void aFileThatEndsInZerosIsNamed() throws IOException {
        Path shapes = Path.of("models", "shapes", "model.safetensors");
        long bytes = Files.size(shapes);
        for (double kept : new double[] {0.1, 0.5, 0.9}) {
            Files.copy(shapes, weights, StandardCopyOption.REPLACE_EXISTING);
            cut((long) (bytes * kept));
            cut(bytes);
            try (Checkpoint checkpoint = Checkpoint.open(folder)) {
                assertProblem(
                        weights + ": tensor vision_tower.vision_model.encoder.layers.3.",
                        () -> checkpoint.checkEnds(Strictness.STRICT));
                assertProblem("end in zeros", () -> checkpoint.checkEnds(Strictness.STRICT));
            }
        }
    }

    /** Biases of zeros, and vectors that end a file, are none of it. */
    @Test
    void noOtherFileIsNamed() {
        List<Path> folders = Stream.concat(
                        Stream.concat(Goldens.MODELS.stream(), Goldens.ENCODERS.stream()).map(Goldens::folder),
                        Stream.of(Path.of("models", "shapes"), Path.of("models", "shapes-dual")))
                .toList();
        for (Path each : folders) {
            try (Checkpoint checkpoint = Checkpoint.open(each)) {
                checkpoint.checkEnds(Strictness.STRICT);
            }
        }
    }

    /** Whole pages must go: what is left of the last one reads as zeros. */
    @Test
    void aMappingThatWasCutIsAMessage() throws IOException {
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            // Compiled code notices the fault later than interpreted code.
            for (int i = 0; i < 50_000; i++) {
                checkpoint.bytes(NORM, 0, 48);
            }
            cut(10_000);
            String problem =
                    "model.safetensors: tensor " + NORM + " cannot be read: the file was cut short while it was used";
            for (int i = 0; i < 20_000; i += 1000) {
                assertProblem(problem, () -> checkpoint.bytes(NORM, 0, 48));
            }
            assertProblem(problem, () -> checkpoint.f32(List.of(NORM), w -> 1 + w));
            assertProblem(
                    "tensor " + NORM + " cannot be read",
                    () -> checkpoint.sameValues(NORM, "language_model.model.layers.0.input_layernorm.weight"));
            assertProblem(
                    "was changed while it was used (it had 574912 bytes and has 10000)", checkpoint::requireUnchanged);
        }
    }

    /** What is copied is read long after the header, and read again where that failed. */
    @Test
    void ggufThatWasCutIsAMessage() throws IOException {
        Path gguf = folder.resolve("gguf");
        GgufFiles.convert(Path.of("models/shapes"), gguf, "gemma", "Q8_0");
        weights = gguf.resolve("model.gguf");
        long bytes = Files.size(weights);
        try (Checkpoint checkpoint = Checkpoint.open(gguf)) {
            cut(10_000);
            for (int i = 0; i < 3; i++) {
                for (String name : List.of(NORM, "language_model.model.embed_tokens.weight")) {
                    assertProblem("cannot be read: the file was cut short while it was used",
                            () -> checkpoint.bytes(name, 0, 48));
                    assertProblem("cannot be read: the file was cut short while it was used",
                            () -> checkpoint.tensor(name));
                }
            }
            assertProblem(
                    "model.gguf: was changed while it was used (it had " + bytes + " bytes and has 10000)",
                    checkpoint::requireUnchanged);
        }
    }

    @Test
    void theFingerprintOfAFileThatWasCutIsAMessage() throws IOException {
        ModelDirectory directory = Families.open(folder, Optional.empty());
        cut(10_000);
        assertProblem("cannot be read: the file was cut short", directory::fingerprint);
        assertProblem("was changed while it was used", directory::close);
    }

    @Test
    void whatIsWrittenAgainIsNoticedAtTheEnd() throws IOException {
        ModelDirectory directory = Families.open(folder, Optional.empty());
        Files.setLastModifiedTime(weights, FileTime.fromMillis(Files.getLastModifiedTime(weights).toMillis() + 5000));
        assertProblem(
                "model.safetensors: was changed while it was used (it was written again): results may be wrong, run "
                        + "it again",
                directory::close);
    }

    /** A file may merely have been touched while a device failed. */
    @Test
    void whatFailedMeanwhileIsKept() throws IOException {
        RuntimeException failure = new IllegalStateException("the device is lost");
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            assertSame(failure, checkpoint.explained(failure));
            Files.setLastModifiedTime(
                    weights, FileTime.fromMillis(Files.getLastModifiedTime(weights).toMillis() + 5000));
            RuntimeException explained = checkpoint.explained(failure);
            assertInstanceOf(CheckpointException.class, explained);
            assertEquals(List.of(failure), List.of(explained.getSuppressed()));
        }
    }

    /** What was mapped stays. */
    @Test
    void whatIsDeletedIsStillThere() throws IOException {
        try (ModelDirectory directory = Families.open(folder, Optional.empty())) {
            String before = directory.fingerprint();
            Files.delete(weights);
            assertEquals(before, directory.fingerprint());
        }
    }

    private static void assertProblem(String problem, Runnable use) {
        String message = assertThrows(CheckpointException.class, use::run).getMessage();
        assertTrue(message.contains(problem), message);
    }
}
