package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.Goldens;
import stormsight.Mutator;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.bench.ResultFile;
import stormsight.checkpoint.CheckpointException;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.family.Families;
import stormsight.study.Example;
import stormsight.verify.GoldenCheck;

/** Records from outside, in any state, end in a value or in one line that names the file. */
class RecordsFuzzTest {
    private static final int CASES = 1000;
    /** Each opens a model. */
    private static final int MODELS = 200;
    /** Each runs one. */
    private static final int GOLDENS = 6;

    @TempDir
    private Path folder;

    private int refused;

    private interface Reading {
        void run() throws IOException;
    }

    private void check(Path file, Reading reading) throws IOException {
        try {
            reading.run();
        } catch (IllegalArgumentException | CheckpointException e) {
            refused++;
            assertTrue(e.getMessage().startsWith(folder.toString()), () -> file + ": " + e);
            assertFalse(e.getMessage().contains("\n"), e.getMessage());
            assertTrue(e.getMessage().length() < 2000, e.getMessage());
        }
    }

    private static byte[] mutated(Mutator mutator, String json) {
        byte[] original = json.getBytes(StandardCharsets.UTF_8);
        return switch (mutator.random().nextInt(4)) {
            case 0 -> mutator.bytes(original);
            case 1 -> mutator.cut(original);
            default -> mutator.json(json).getBytes(StandardCharsets.UTF_8);
        };
    }

    private void assertSomeOf(int cases) {
        assertTrue(refused > cases / 4 && refused < cases, refused + " of " + cases + " refused");
    }

    @Test
    void dataSets() throws IOException {
        Path file = folder.resolve("set.jsonl");
        String json = """
                {"image": "a/b.png", "question": "what?", "answer": "Yes", "boxes": [[1, 2.5, 3, 4], [0, 0, 9, 9]], "category": "color"}
                {"question": "who?", "answer": "no", "image": "c.png", "mask": "m.png"}
                """;
        assertSomeOf(Mutator.fuzz(11_000_000, CASES, mutator -> {
            Files.write(file, mutated(mutator, json));
            check(file, () -> Example.read(file));
        }));
    }

    @Test
    void results() throws IOException {
        Path file = folder.resolve("results.json");
        String json =
                "{\"format\": \"stormsight-results-1\", \"rows\": [{\"name\": \"encode\", \"cold\": false, "
                        + "\"samples\": [1.5, 2, 3e-1]}, {\"name\": \"pp16\", \"samples\": [0]}]}";
        assertSomeOf(Mutator.fuzz(12_000_000, CASES, mutator -> {
            Files.write(file, mutated(mutator, json));
            check(file, () -> ResultFile.read(file));
        }));
    }

    /** Sizes that no model has: nothing overflows, and nothing is allocated for them. */
    @Test
    void configurations() throws IOException {
        Goldens.copy("paligemma2", folder);
        String[] files = {"config.json", "config.json", "preprocessor_config.json", "generation_config.json"};
        String[] texts = new String[files.length];
        for (int i = 0; i < files.length; i++) {
            texts[i] = Files.readString(folder.resolve(files[i]));
        }
        int cases = Mutator.fuzz(13_000_000, MODELS, mutator -> {
            int chosen = mutator.random().nextInt(files.length);
            Path file = folder.resolve(files[chosen]);
            Files.write(file, mutated(mutator, texts[chosen]));
            try {
                check(file, () -> {
                    try (ModelDirectory directory = Families.open(folder, Optional.empty())) {
                        directory.unbound(new Limits(directory.processor().imageTokens() + 8, 8, 1), Options.DEFAULT);
                    }
                });
            } finally {
                Files.writeString(file, texts[chosen]);
            }
        });
        assertSomeOf(cases);
    }

    @Test
    void recordedValues() throws IOException {
        Goldens.copy("paligemma-bf16", folder);
        Path file = folder.resolve("expected.json");
        String json = Files.readString(file);
        try (Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
            Mutator.fuzz(14_000_000, GOLDENS, mutator -> {
                Files.write(file, mutated(mutator, json));
                check(file, () -> GoldenCheck.run(folder, backend, true, result -> {}));
            });
        }
    }
}
