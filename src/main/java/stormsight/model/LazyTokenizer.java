package stormsight.model;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Consumer;
import stormsight.checkpoint.CheckpointException;
import stormsight.tokenizer.Tokenizer;

/** A tokenizer.json that is read when somebody needs it, or will soon: that takes longer than opening all the rest of a model. */
public final class LazyTokenizer implements AutoCloseable {
    private final Path file;
    private final Consumer<Tokenizer> check;

    /** Null until somebody needs it, or will soon. */
    private CompletableFuture<Tokenizer> reading;

    /**
     * @param directory of the checkpoint
     * @param check throws if the tokenizer does not belong to the model
     */
    public LazyTokenizer(Path directory, Consumer<Tokenizer> check) {
        file = directory.resolve("tokenizer.json");
        this.check = check;
    }

    /** Whether the file is there; it is not read. */
    public boolean present() {
        return Files.exists(file);
    }

    /** @throws CheckpointException if the file is not there; it is not read */
    public void requirePresent() {
        if (!present()) {
            throw new CheckpointException(file, "no such file");
        }
    }

    /** Begins to read it, in a thread of its own. */
    public synchronized CompletableFuture<Tokenizer> read() {
        if (reading == null) {
            reading = CompletableFuture.supplyAsync(this::open);
        }
        return reading;
    }

    private Tokenizer open() {
        Tokenizer tokenizer = Tokenizer.open(file);
        try {
            check.accept(tokenizer);
            return tokenizer;
        } catch (RuntimeException | Error e) {
            tokenizer.close();
            throw e;
        }
    }

    /**
     * Waits until it is read.
     *
     * @throws CheckpointException if tokenizer.json is broken or does not belong to the model
     */
    public Tokenizer get() {
        try {
            return read().join();
        } catch (CompletionException e) {
            if (e.getCause() instanceof CheckpointException broken) {
                throw broken;
            }
            throw e;
        }
    }

    @Override
    public synchronized void close() {
        Tokenizer opened = reading == null ? null : reading.exceptionally(_ -> null).join();
        if (opened != null) {
            opened.close();
        }
    }
}
