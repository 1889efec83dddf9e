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
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.zip.CRC32;
import stormsight.checkpoint.Adapter;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.HostTensor;
import stormsight.checkpoint.ModelFiles;
import stormsight.checkpoint.Strictness;
import stormsight.checkpoint.TensorInfo;
import stormsight.image.RgbImage;
import stormsight.program.Op;
import stormsight.program.Tensor;
import stormsight.tokenizer.Tokenizer;

/** An opened checkpoint directory: the model that it describes, and its mapped weights. {@code Families} opens one. */
public final class ModelDirectory implements AutoCloseable {
    /** Of each tensor, in bytes: enough to tell weights apart, and little to read of a large checkpoint. */
    private static final int FINGERPRINTED = 1 << 16;

    private static final List<String> BESIDES = List.of(
            "preprocessor_config.json",
            "processor_config.json",
            "generation_config.json",
            "tokenizer.json",
            "spiece.model",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "chat_template.jinja",
            "chat_template.json");

    /** How big_vision calls the mask decoder of PaliGemma. */
    public static final String MASK_DECODER = ModelFiles.MASK_DECODER;

    private final Path path;
    private final Model model;
    private final Checkpoint checkpoint;
    private final boolean rawPrompts;
    private Optional<Path> maskDecoder = Optional.empty();

    /**
     * A model's programs and the values of their weights, for a backend to prepare.
     *
     * @param parameters numbers in the weights
     */
    public record Bound(Passes passes, Map<Tensor, HostTensor> weights, long parameters) {}

    /** Owns model and checkpoint from here on. */
    public ModelDirectory(Path path, Model model, Checkpoint checkpoint) {
        this(path, model, checkpoint, false);
    }

    private ModelDirectory(Path path, Model model, Checkpoint checkpoint, boolean rawPrompts) {
        this.path = path;
        this.model = model;
        this.checkpoint = checkpoint;
        this.rawPrompts = rawPrompts;
    }

    /**
     * The same with prompts as they stand, see {@link Processor#raw}. Takes the place of this one, which is not used
     * on.
     */
    public ModelDirectory withRawPrompts() {
        ModelDirectory raw = new ModelDirectory(path, model, checkpoint, true);
        raw.maskDecoder = maskDecoder;
        return raw;
    }

    /** Chooses the file that decodes masks; otherwise {@value #MASK_DECODER} beside the checkpoint, if it is there. */
    public void decodeMasksWith(Path file) {
        maskDecoder = Optional.of(file);
    }

    /** The file that decodes masks, if there is one. */
    public Optional<Path> maskDecoder() {
        return maskDecoder.or(() ->
                Optional.of(ModelFiles.located(path.resolve(MASK_DECODER))).filter(Files::exists));
    }

    /**
     * The same with an adapter merged into its weights when they are bound, which copies the matrices that it changes.
     * Takes the place of this one, and ends its use if the adapter is refused.
     *
     * @param adapter a folder as PEFT saves it
     * @throws CheckpointException if it is no adapter that can be read, or was made for another model
     */
    public ModelDirectory withAdapter(Path adapter) {
        try {
            Adapter opened = Adapter.open(adapter);
            try {
                checkpoint.adapt(opened, matrices());
            } catch (RuntimeException | Error e) {
                opened.close();
                throw e;
            }
            return this;
        } catch (RuntimeException | Error e) {
            checkpoint.close();
            throw e;
        }
    }

    public Path path() {
        return path;
    }

    public Checkpoint checkpoint() {
        return checkpoint;
    }

    /** @throws CheckpointException if it does not generate text */
    public VisionLanguageModel model() {
        if (model instanceof VisionLanguageModel generates) {
            return generates;
        }
        throw new CheckpointException(path, "is a model that does not answer questions: ask it with " + switch (model) {
            case DualEncoder _ -> "'match', 'classify' or 'embed'";
            case Matcher _ -> "'match'";
            default -> "'classify'";
        });
    }

    /** @throws CheckpointException if it does not compare images with texts */
    public DualEncoder dualEncoder() {
        if (model instanceof DualEncoder encoder) {
            return encoder;
        }
        throw new CheckpointException(path, model instanceof Matcher
                ? "makes several vectors of an image, so that only 'match' compares them with texts; here a model "
                        + "such as SigLIP or CLIP is needed"
                : "is no model that compares images with texts, such as SigLIP or CLIP");
    }

    /** @throws CheckpointException if it does not read an image and a text together */
    public Matcher matcher() {
        if (model instanceof Matcher matcher) {
            return matcher;
        }
        throw new CheckpointException(path, "is no model that reads an image and a text together, such as BLIP-2");
    }

    /** @throws CheckpointException if it has no labels */
    public Classifier classifier() {
        if (model instanceof Classifier classifier) {
            return classifier;
        }
        throw new CheckpointException(path, "is no model with labels of its own, such as ViT");
    }

    /** Whatever it does. */
    public Model anyModel() {
        return model;
    }

    public Description describe() {
        return model().describe();
    }

    public Processor processor() {
        Processor processor = model().processor();
        return rawPrompts ? processor.raw() : processor;
    }

    public Tokenizer tokenizer() {
        return processor().tokenizer();
    }

    /**
     * Begins to read the tokenizer: that takes longer than all the rest of preparing a model, and neither a backend
     * that prepares nor encode needs it. Begun before a model is open, it would take processors from that.
     */
    public void readTokenizer() {
        processor().readTokenizer();
    }

    /**
     * Looks whether the checkpoint holds what the model needs, and settings that are not used. Of values, only
     * the ends of files are read.
     *
     * @param strictness what becomes of what is odd and passed over
     * @throws CheckpointException naming the tensors that are missing, of another shape or type, or odd
     */
    public void check(Strictness strictness) {
        Weights weights = Weights.of(checkpoint, Options.DEFAULT);
        model.declare(weights);
        weights.check(strictness);
        checkpoint.checkEnds(strictness);
        if (model instanceof VisionLanguageModel) {
            GenerationConfig.check(path, strictness);
        }
    }

    /** @throws CheckpointException if a file that is read later is not there */
    public void requireFiles() {
        model.requireFiles();
    }

    /** The model's programs without values, to count what they would cost. */
    public Passes unbound(Limits limits, Options options) {
        return model().build(Weights.of(checkpoint, options), limits, options);
    }

    /** Names of the weights that programs read as matrices in the type of the files. */
    public Set<String> matrices() {
        Weights weights = Weights.of(checkpoint, Options.DEFAULT);
        model.declare(weights);
        return weights.stored().stream()
                .filter(weight -> weight.use() == Weights.Use.MATRIX)
                .flatMap(weight -> weight.names().stream())
                .collect(Collectors.toUnmodifiableSet());
    }

    /** Numbers in all weights. */
    public long parameters() {
        Weights weights = Weights.of(checkpoint, Options.DEFAULT);
        model.declare(weights);
        return weights.parameters();
    }

    /**
     * The model with its weights, for a backend to prepare.
     *
     * @param arena shared; owns what is computed from weights
     */
    public Bound bind(Arena arena, Limits limits, Options options) {
        Weights weights = Weights.bound(checkpoint, arena, options);
        Passes passes = model().build(weights, limits, options);
        return new Bound(passes, weights.values(), weights.parameters());
    }

    /**
     * The views of an image that is asked about.
     *
     * @param name of the image, for people
     * @throws stormsight.image.ImageException with the name if the model cannot take its shape
     */
    public Views views(RgbImage image, String name) {
        return Views.of(processor()::views, image, name);
    }

    /** The same of several, named by their numbers. */
    public List<Views> views(List<RgbImage> images) {
        return Views.of(processor()::views, images);
    }

    /**
     * A prompt about images, see {@link Processor#prompt}.
     *
     * @throws CheckpointException if the text holds a token that has no row in the embedding table, or spells the image
     *     token where the family puts no image
     */
    public Prompt prompt(String text, List<Views> images) {
        Prompt prompt = processor().prompt(text, images);
        int rows = describe().decoder().vocabularySize();
        for (int id : prompt.ids()) {
            if (id >= 0 && id == describe().imageToken()) {
                throw new CheckpointException(
                        processor().hasTokenizer() ? tokenizer().file() : path,
                        "the prompt spells " + (processor().hasTokenizer() ? tokenizer().token(id) : "token " + id)
                                + ", which stands for an image, and this model takes none there; ask without it");
            }
            if (id >= rows) {
                throw new CheckpointException(
                        tokenizer().file(),
                        "the prompt holds token " + id + ", \"" + tokenizer().token(id)
                                + "\", but the embedding table has " + rows + " rows; ask without it");
            }
        }
        return prompt;
    }

    /**
     * Ids that may be answered: those with a row in the embedding table that the tokenizer names, except for the image
     * token and padding. Where the tokenizer names more than the table has rows, the table was not made larger for
     * tokens that were added: its rows behind the image token still are the padding of the first conversion. Where
     * there is no tokenizer, all of them.
     */
    public BitSet answerable() {
        Description model = describe();
        int rows = model.decoder().vocabularySize();
        BitSet ids = new BitSet();
        if (processor().hasTokenizer()) {
            Tokenizer names = tokenizer();
            int named = names.size() > Math.max(rows, model.imageToken() + 1)
                    ? Math.min(rows, firstBehindText())
                    : Math.min(rows, names.size());
            ids.or(names.spelled());
            ids.clear(named, Math.max(named, ids.length()));
        } else {
            ids.set(0, rows);
        }
        if (model.imageToken() >= 0) {
            ids.clear(model.imageToken());
        }
        // Some fine-tunes pad with the token that ends an answer.
        if (model.padToken() >= 0 && !model.endIds().contains(model.padToken())) {
            ids.clear(model.padToken());
        }
        return ids;
    }

    /**
     * Ids whose logits count for the probabilities of tokens: those below the image token, or all where some behind it
     * may be answered. The rows from there on are random where no training used them; where one did, transformers'
     * softmax is over the whole table.
     */
    public int counted() {
        return counted(answerable());
    }

    private int counted(BitSet answerable) {
        int rows = describe().decoder().vocabularySize();
        return answerable.length() > firstBehindText() ? rows : Math.min(rows, firstBehindText());
    }

    /** The image token, or the end of the embedding table where there is none. */
    private int firstBehindText() {
        Description model = describe();
        return model.imageToken() >= 0 ? model.imageToken() : model.decoder().vocabularySize();
    }

    /** Value of {@link Passes#answerParts}, to be written before the first prefill. Waits for the tokenizer. */
    public MemorySegment answerParts() {
        byte[] parts = new byte[describe().decoder().vocabularySize()];
        Arrays.fill(parts, Op.Sample.PADDING);
        BitSet drawn = answerable();
        Arrays.fill(parts, 0, counted(drawn), Op.Sample.COUNTED);
        for (int from = drawn.nextSetBit(0), to; from >= 0; from = drawn.nextSetBit(to)) {
            to = drawn.nextClearBit(from);
            Arrays.fill(parts, from, to, Op.Sample.DRAWN);
        }
        return MemorySegment.ofArray(parts);
    }

    /** The most tokens that a prompt of this text about one image can have. Needs no tokenizer. */
    public int promptTokensAtMost(String text) {
        return Math.addExact(processor().imageTokens(), processor().textTokensAtMost(text));
    }

    /**
     * Limits of questions about one image that nobody knows yet: texts and answers of so many tokens, or of fewer where
     * the model has too few positions, of which answers get half at least.
     */
    public Limits limitsWithin(int textTokens, int newTokens) {
        int image = processor().imageTokens();
        int positions = Math.max(2, describe().decoder().positions() - image);
        int answer = Math.min(newTokens, Math.max(positions / 2, positions - textTokens));
        return processor().limits(image + Math.min(textTokens, positions - answer), answer);
    }

    /**
     * Tells checkpoints apart without reading all of them: a checksum of config.json, of the names, shapes and places
     * of all tensors, and of the first 64 KiB of each one's values; the same of an adapter, and its scales.
     */
    public String fingerprint() {
        CRC32 sum = new CRC32();
        try {
            sum.update(ModelFiles.bytes(path.resolve("config.json")));
        } catch (IOException e) {
            throw new CheckpointException(path.resolve("config.json"), "cannot be read: " + e.getMessage(), e);
        }
        update(sum, checkpoint);
        checkpoint.adapter().ifPresent(adapter -> {
            sum.update(adapter.scales().toString().getBytes(StandardCharsets.UTF_8));
            update(sum, adapter.file());
        });
        return Long.toHexString(sum.getValue());
    }

    /**
     * A checksum of what answers and embeddings depend on beside the weights and config.json: how texts become ids and
     * images patches, and which tokens end an answer.
     */
    public String besides() {
        CRC32 sum = new CRC32();
        for (String name : BESIDES) {
            Path file = path.resolve(name);
            try {
                if (ModelFiles.exists(file) && !Files.isDirectory(ModelFiles.located(file))) {
                    sum.update(name.getBytes(StandardCharsets.UTF_8));
                    sum.update(ModelFiles.bytes(file));
                }
            } catch (IOException e) {
                throw new CheckpointException(file, "cannot be read: " + e.getMessage(), e);
            }
        }
        return Long.toHexString(sum.getValue());
    }

    private static void update(CRC32 sum, Checkpoint tensors) {
        for (String name : new TreeSet<>(tensors.names())) {
            TensorInfo tensor = tensors.info(name);
            sum.update((name + tensor.shape() + tensor.offset()).getBytes(StandardCharsets.UTF_8));
            sum.update(tensors.bytes(name, 0, (int) Math.min(tensor.bytes(), FINGERPRINTED)));
        }
    }

    /**
     * Ends the use of the model.
     *
     * @throws CheckpointException if its weights were changed since they were opened, so that nobody knows what was
     *     computed with
     */
    @Override
    public void close() {
        try (checkpoint) {
            checkpoint.requireUnchanged();
        }
    }
}
