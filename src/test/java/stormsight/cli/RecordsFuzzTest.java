package stormsight.cli;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.Goldens;
import stormsight.Mutator;
import stormsight.Mutator.Outcome;
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

    private interface Reading {
        void run() throws IOException;
    }

    private Outcome check(Reading reading) throws IOException {
        try {
            reading.run();
            return Outcome.READ;
        } catch (IllegalArgumentException | CheckpointException e) {
            return Outcome.refused(e, folder);
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

    @Test
    void dataSets() throws IOException {
        Path file = folder.resolve("set.jsonl");
        String json = """
                {"image": "a/b.png", "question": "what?", "answer": "Yes", "boxes": [[1, 2.5, 3, 4], [0, 0, 9, 9]], "category": "color"}
                {"question": "who?", "answer": "no", "image": "c.png", "mask": "m.png"}
                """;
        Mutator.fuzz("data set", 11_000_000, CASES, mutator -> {
            Files.write(file, mutated(mutator, json));
            return check(() -> Example.read(file));
        }).assertRefused(0.25);
    }

    @Test
    void results() throws IOException {
        Path file = folder.resolve("results.json");
        String json =
                "{\"format\": \"stormsight-results-1\", \"rows\": [{\"name\": \"encode\", \"cold\": false, "
                        + "\"samples\": [1.5, 2, 3e-1]}, {\"name\": \"pp16\", \"samples\": [0]}]}";
        Mutator.fuzz("results.json", 12_000_000, CASES, mutator -> {
            Files.write(file, mutated(mutator, json));
            return check(() -> ResultFile.read(file));
        }).assertRefused(0.25);
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
        Mutator.fuzz("configuration of a model", 13_000_000, MODELS, mutator -> {
            int chosen = mutator.random().nextInt(files.length);
            Path file = folder.resolve(files[chosen]);
            Files.write(file, mutated(mutator, texts[chosen]));
            try {
                return check(() -> {
                    try (ModelDirectory directory = Families.open(folder, Optional.empty())) {
                        directory.unbound(new Limits(directory.processor().imageTokens() + 8, 8, 1), Options.DEFAULT);
                    }
                });
            } finally {
                Files.writeString(file, texts[chosen]);
            }
        }).assertRefused(0.25);
    }

    @Test
    void recordedValues() throws IOException {
        Goldens.copy("paligemma-bf16", folder);
        Path file = folder.resolve("expected.json");
        String json = Files.readString(file);
        try (Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
            Mutator.fuzz("expected.json", 14_000_000, GOLDENS, mutator -> {
                Files.write(file, mutated(mutator, json));
                return check(() -> GoldenCheck.run(folder, backend, true, result -> {}));
            });
        }
    }
}
