package stormsight.model;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Optional;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.stream.IntStream;
import java.util.zip.CRC32;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.ConfigFile;
import stormsight.checkpoint.Strictness;
import stormsight.checkpoint.TensorInfo;
import stormsight.image.Preprocessing;
import stormsight.image.Resampling;
import stormsight.program.Op;
import stormsight.tokenizer.PaliGemmaPrompt;
import stormsight.tokenizer.Tokenizer;

/** An opened checkpoint directory: configuration, mapped weights, tokenizer, how images are prepared. */
public final class ModelDirectory implements AutoCloseable {
    /** Of each tensor, in bytes: enough to tell weights apart, and little to read of a large checkpoint. */
    private static final int FINGERPRINTED = 1 << 16;

    private static final String TOKENIZER = "tokenizer.json";

    private final Path path;
    private final PaliGemmaConfig config;
    private final Checkpoint checkpoint;
    private final Preprocessing preprocessing;
    private final Strictness strictness;

    /** Null until somebody needs it, or will soon. */
    private CompletableFuture<Tokenizer> tokenizer;

    private ModelDirectory(Path path, PaliGemmaConfig config, Checkpoint checkpoint, Preprocessing preprocessing, Strictness strictness) {
        this.path = path;
        this.config = config;
        this.checkpoint = checkpoint;
        this.preprocessing = preprocessing;
        this.strictness = strictness;
    }

    /**
     * Opens a directory in the layout of Hugging Face and checks that it holds what the model needs. Weights are mapped, not read.
     *
     * @param resize how images are resized, if not as the directory says
     * @param strictness what becomes of what is odd about the files and changes no answer
     * @throws CheckpointException naming the file, and the tensor if there is one
     */
    public static ModelDirectory open(Path path, Optional<Resampling> resize, Strictness strictness) {
        if (!Files.isDirectory(path)) {
            throw new CheckpointException(path, Files.exists(path) ? "is not a directory" : "no such directory");
        }
        PaliGemmaConfig config = PaliGemmaConfig.read(path);
        Preprocessing stored = preprocessing(path, config);
        Preprocessing preprocessing = resize.map(stored::with).orElse(stored);
        Checkpoint checkpoint = Checkpoint.open(path, strictness);
        try {
            PaliGemmaConfig checked = PaliGemma.check(config, checkpoint, strictness);
            Path tokenizerFile = path.resolve(TOKENIZER);
            if (!Files.exists(tokenizerFile)) {
                throw new CheckpointException(tokenizerFile, "no such file");
            }
            return new ModelDirectory(path, checked, checkpoint, preprocessing, strictness);
        } catch (RuntimeException | Error e) {
            checkpoint.close();
            throw e;
        }
    }

    /** The same, and what is odd is logged. */
    public static ModelDirectory open(Path path, Optional<Resampling> resize) {
        return open(path, resize, Strictness.LENIENT);
    }

    private static Tokenizer tokenizer(Path file, PaliGemmaConfig config, Strictness strictness) {
        Tokenizer tokenizer = Tokenizer.open(file);
        try {
            int rows = config.text().vocabularySize();
            long beyond = IntStream.range(rows, tokenizer.size()).filter(id -> id != config.imageTokenId() && !tokenizer.token(id).isEmpty()).count();
            if (beyond > 0) {
                strictness.odd(file, beyond + (beyond == 1 ? " token has" : " tokens have") + " no row in the embedding table of " + rows
                        + ": they are not answered, and prompts that hold one are refused");
            }
            int image = tokenizer.require("<image>");
            if (image != config.imageTokenId()) {
                throw new CheckpointException(file, "<image> is token " + image + ", but config.json says " + config.imageTokenId());
            }
            return tokenizer;
        } catch (RuntimeException | Error e) {
            tokenizer.close();
            throw e;
        }
    }

    /** From preprocessor_config.json, or processor_config.json as transformers 5 writes it, or the values of all published checkpoints. */
    private static Preprocessing preprocessing(Path path, PaliGemmaConfig config) {
        int size = config.vision().imageSize();
        return ConfigFile.readIfPresent(path.resolve("preprocessor_config.json"))
                .or(() -> ConfigFile.readIfPresent(path.resolve("processor_config.json"))
                        .flatMap(file -> file.objectIfPresent("image_processor")))
                .map(file -> preprocessing(file, size))
                .orElseGet(() -> Preprocessing.siglip(size));
    }

    private static Preprocessing preprocessing(ConfigFile file, int size) {
        for (String side : List.of("height", "width")) {
            int found = file.integer("size." + side, size);
            if (found != size) {
                throw file.invalid("size." + side, found + " pixels, but the vision tower takes " + size);
            }
        }
        for (String step : List.of("do_resize", "do_rescale", "do_normalize")) {
            if (!file.bool(step, true)) {
                throw file.invalid(step, "false is not supported");
            }
        }
        // Numbers of Pillow's filters.
        Resampling resampling = switch (file.integer("resample", 3)) {
            case 2 -> Resampling.BILINEAR;
            case 3 -> Resampling.BICUBIC;
            default -> throw file.invalid("resample", "only 2 (bilinear) and 3 (bicubic) are supported");
        };
        return new Preprocessing(size, Preprocessing.Fit.STRETCH, resampling, file.number("rescale_factor", 1 / 255.0),
                channels(file, "image_mean"), deviations(file));
    }

    private static List<Double> deviations(ConfigFile file) {
        List<Double> values = channels(file, "image_std");
        if (values.stream().anyMatch(value -> value <= 0)) {
            throw file.invalid("image_std", values + " are not all positive");
        }
        return values;
    }

    private static List<Double> channels(ConfigFile file, String key) {
        if (!file.has(key)) {
            return List.of(0.5, 0.5, 0.5);
        }
        List<Double> values = file.numbers(key);
        if (values.size() != SiglipConfig.CHANNELS) {
            throw file.invalid(key, values.size() + " values, " + SiglipConfig.CHANNELS + " expected");
        }
        return values;
    }

    public Path path() {
        return path;
    }

    public PaliGemmaConfig config() {
        return config;
    }

    public Checkpoint checkpoint() {
        return checkpoint;
    }

    /**
     * The model with its weights, for a backend to prepare. Begins to read the tokenizer: that takes longer than all the rest, and neither a backend that
     * prepares nor encode needs it. Begun earlier, it would take processors from opening the model.
     *
     * @throws CheckpointException if the weights are not what the model needs
     */
    public PaliGemma bind(Arena arena, PaliGemma.Limits limits, PaliGemma.Options options) {
        PaliGemma model = PaliGemma.bind(config, checkpoint, arena, limits, options);
        readTokenizer();
        return model;
    }

    private synchronized CompletableFuture<Tokenizer> readTokenizer() {
        if (tokenizer == null) {
            tokenizer = CompletableFuture.supplyAsync(() -> tokenizer(path.resolve(TOKENIZER), config, strictness));
        }
        return tokenizer;
    }

    /**
     * Waits until it is read.
     *
     * @throws CheckpointException if tokenizer.json is broken or does not belong to this model
     */
    public Tokenizer tokenizer() {
        try {
            return readTokenizer().join();
        } catch (CompletionException e) {
            if (e.getCause() instanceof CheckpointException broken) {
                throw broken;
            }
            throw e;
        }
    }

    public Preprocessing preprocessing() {
        return preprocessing;
    }

    /**
     * Tells checkpoints apart without reading all of them: a checksum of config.json, of the names, shapes and places of all tensors, and of the first
     * 64 KiB of each one's values.
     */
    public String fingerprint() {
        CRC32 sum = new CRC32();
        try {
            sum.update(Files.readAllBytes(path.resolve("config.json")));
        } catch (IOException e) {
            throw new CheckpointException(path.resolve("config.json"), "cannot be read: " + e.getMessage(), e);
        }
        for (String name : new TreeSet<>(checkpoint.names())) {
            TensorInfo tensor = checkpoint.info(name);
            sum.update((name + tensor.shape() + tensor.offset()).getBytes(StandardCharsets.UTF_8));
            sum.update(checkpoint.data(name).asSlice(0, Math.min(tensor.bytes(), FINGERPRINTED)).asByteBuffer());
        }
        return Long.toHexString(sum.getValue());
    }

    /** Most tokens that a prompt of this text can have: no token stands for less than a byte of the text, in which spaces become U+2581. */
    public int promptTokensAtMost(String text) {
        return config.vision().tokens() + text.replace(' ', '\u2581').getBytes(StandardCharsets.UTF_8).length + 2;
    }

    /**
     * Image tokens, bos, text, newline.
     *
     * @throws IllegalArgumentException if the text holds the image token
     * @throws CheckpointException if the text holds a token that has no row in the embedding table
     */
    public PaliGemmaPrompt prompt(String text) {
        PaliGemmaPrompt prompt = new PaliGemmaPrompt(tokenizer(), config.vision().tokens(), text);
        for (int id : prompt.ids()) {
            if (id >= config.text().vocabularySize()) {
                throw new CheckpointException(path.resolve(TOKENIZER), "the prompt holds token " + id + ", \"" + tokenizer().token(id)
                        + "\", but the embedding table has " + config.text().vocabularySize() + " rows; ask without it");
            }
        }
        return prompt;
    }

    /**
     * Ids that may be answered: those with a row in the embedding table that the tokenizer names, except for the image token and padding. Where the
     * tokenizer names more than the table has rows, the table was not made larger for tokens that were added: its rows behind the image token still are
     * the padding of the first conversion.
     */
    public BitSet answerable() {
        Tokenizer names = tokenizer();
        int rows = config.text().vocabularySize();
        int named = names.size() > Math.max(rows, config.imageTokenId() + 1) ? Math.min(rows, config.imageTokenId()) : Math.min(rows, names.size());
        BitSet ids = new BitSet();
        IntStream.range(0, named).filter(id -> !names.token(id).isEmpty()).forEach(ids::set);
        ids.clear(config.imageTokenId());
        // Some fine-tunes pad with the token that ends an answer.
        if (config.padId() >= 0 && !config.endIds().contains(config.padId())) {
            ids.clear(config.padId());
        }
        return ids;
    }

    /**
     * Ids whose logits count for the probabilities of tokens: those below the image token, or all where some behind it may be answered. The rows from there
     * on are random where no training used them; where one did, transformers' softmax is over the whole table.
     */
    public int counted() {
        int rows = config.text().vocabularySize();
        return answerable().length() > config.imageTokenId() ? rows : Math.min(rows, config.imageTokenId());
    }

    /** Value of {@link PaliGemma#answerParts}, to be written before the first prefill. Waits for the tokenizer. */
    public MemorySegment answerParts() {
        byte[] parts = new byte[config.text().vocabularySize()];
        Arrays.fill(parts, Op.Sample.PADDING);
        Arrays.fill(parts, 0, counted(), Op.Sample.COUNTED);
        answerable().stream().forEach(id -> parts[id] = Op.Sample.DRAWN);
        return MemorySegment.ofArray(parts);
    }

    @Override
    public synchronized void close() {
        try (checkpoint) {
            Tokenizer opened = tokenizer == null ? null : tokenizer.exceptionally(_ -> null).join();
            if (opened != null) {
                opened.close();
            }
        }
    }
}
