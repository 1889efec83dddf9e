package stormsight.model;

import java.nio.file.Path;
import java.util.BitSet;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Consumer;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.ConfigFile;
import stormsight.checkpoint.ModelFiles;
import stormsight.checkpoint.ModelPath;
import stormsight.checkpoint.StrictJson;
import stormsight.checkpoint.Strictness;
import stormsight.tokenizer.Tokenizer;

/**
 * A tokenizer.json that is read when somebody needs it, or will soon: that takes longer than opening all the rest of a
 * model.
 */
public final class LazyTokenizer {
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

    /**
     * The tokenizer of a model with an image token.
     *
     * @param rows of the embedding table; a token without one is odd, but for the image token
     * @param image how the token is spelt
     * @param imageId its id as config.json says
     */
    public static LazyTokenizer of(Path directory, int rows, String image, int imageId, Strictness strictness) {
        return new LazyTokenizer(directory, tokenizer -> {
            BitSet ids = tokenizer.spelled();
            ids.clear(imageId);
            int beyond = ids.get(rows, Math.max(rows, ids.length())).cardinality();
            if (beyond > 0) {
                strictness.odd(
                        tokenizer.file(),
                        beyond + (beyond == 1 ? " token has" : " tokens have") + " no row in the embedding table of "
                                + rows + ": they are not answered, and prompts that hold one are refused");
            }
            int found = tokenizer.require(image);
            if (found != imageId) {
                throw new CheckpointException(
                        tokenizer.file(), image + " is token " + found + ", but config.json says " + imageId);
            }
        });
    }

    /** Whether the file is there or can be made of weights in GGUF; it is not read. */
    public boolean present() {
        return ModelFiles.exists(file);
    }

    /** @throws CheckpointException if the file is not there; it is not read */
    public void requirePresent() {
        ModelPath.requireTokenizer(file.getParent());
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
        // Where the first file has such tokens, transformers does not read the second one.
        ConfigFile.readIfPresent(file.resolveSibling("tokenizer_config.json"))
                .flatMap(config -> config.objectIfPresent("added_tokens_decoder"))
                .ifPresentOrElse(
                        added -> requireKnown(added, tokenizer, added.names().stream()
                                .flatMap(id -> added.textIfPresent(id + ".content").stream())
                                .toList()),
                        () -> ConfigFile.readIfPresent(file.resolveSibling("added_tokens.json"))
                                .ifPresent(added -> requireKnown(added, tokenizer, added.names())));
        check.accept(tokenizer);
        return tokenizer;
    }

    /** transformers adds tokens that tokenizer.json does not have at all, which texts then become. */
    private static void requireKnown(ConfigFile added, Tokenizer tokenizer, List<String> tokens) {
        tokens.stream().filter(token -> tokenizer.id(token).isEmpty()).findFirst().ifPresent(token -> {
            throw new CheckpointException(
                    added.file(),
                    "the token " + StrictJson.printable(token) + " is not in " + tokenizer.file().getFileName()
                            + ": save the tokenizer anew with transformers, which adds it there");
        });
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
}
