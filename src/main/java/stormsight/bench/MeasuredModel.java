package stormsight.bench;

import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.stream.IntStream;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.RunListener;
import stormsight.generate.Generator;
import stormsight.image.RgbImage;
import stormsight.model.Description;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Passes;
import stormsight.model.Prompt;
import stormsight.model.Stage;
import stormsight.model.Views;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Sampling;
import stormsight.program.Segment;
import stormsight.program.Step;
import stormsight.program.Tensor;

/** A model that answers. */
final class MeasuredModel implements Measured {
    /** The prompt of {@link Trial.Part#FIRST_TOKEN}. */
    static final String PROMPT = "caption en";

    /** Tokens of an answer that are checked. */
    static final int CHECKED_TOKENS = 4;

    private final Configuration configuration;
    private final ModelDirectory directory;
    private final Backend backend;
    private final Generator generator;
    private final Picture picture;
    private final Program projector;
    private final Tensor projected;
    private final long openNanos;
    private RgbImage pixels;
    private Views views;
    private int[] text;
    /** Of each slot, tokens of {@link #prompt(int, int)} that it begins with, or -1 if it holds something else. */
    private final int[] cached;

    private MeasuredModel(
            Configuration configuration,
            ModelDirectory directory,
            Backend backend,
            Generator generator,
            Picture picture,
            Program projector,
            Tensor projected,
            long openNanos) {
        this.configuration = configuration;
        this.directory = directory;
        this.backend = backend;
        this.generator = generator;
        this.picture = picture;
        this.projector = projector;
        this.projected = projected;
        this.openNanos = openNanos;
        cached = new int[generator.passes().limits().sequences()];
        Arrays.fill(cached, -1);
    }

    /**
     * Opens the model and prepares its programs.
     *
     * @param limits longest prompt and answer of the trials to come, in tokens
     * @throws stormsight.generate.LimitException if they pass the positions that the model knows
     * @throws stormsight.checkpoint.CheckpointException if the model cannot be read
     * @throws BackendException if the backend is not there or cannot hold the model
     */
    static MeasuredModel open(Configuration configuration, Limits limits, Picture picture) {
        long start = System.nanoTime();
        ModelDirectory directory = null;
        Backend backend = null;
        try {
            configuration.anticipate();
            directory = configuration.openModel();
            backend = configuration.openBackend();
            // The programs are the same with values and without.
            Passes passes = directory.unbound(limits, configuration.options());
            Stage last = passes.encodeStages().getLast();
            // Features stay on the device; a product of its own can be read and so be checked.
            Tensor projected = last.result().as("bench.projected", Tensor.Kind.OUTPUT, 1);
            Program projector = new Program(
                    "projector",
                    List.of(Segment.once(
                            "bench.projector", projector(passes.encode().program(), last, projected))));
            Generator generator = Generator.open(
                    directory,
                    backend,
                    limits,
                    configuration.options(),
                    RunListener.NONE,
                    List.of(),
                    _ -> List.of(projector));
            return new MeasuredModel(
                    configuration,
                    directory,
                    backend,
                    generator,
                    picture,
                    projector,
                    projected,
                    System.nanoTime() - start);
        } catch (RuntimeException | Error e) {
            close(null, backend, directory);
            throw e;
        }
    }

    /** The last stage of encode, whose last product goes where it can be read. */
    private static List<Op> projector(Program encode, Stage stage, Tensor projected) {
        return encode.segments().stream()
                .filter(segment -> segment.name().equals(stage.segment()))
                .flatMap(segment -> segment.ops().stream())
                .filter(op -> !(op instanceof Op.Store))
                .map(op -> op instanceof Op.MatMul product && product.out().equals(stage.result())
                        ? new Op.MatMul(
                                product.x(),
                                product.w(),
                                product.bias(),
                                product.activation(),
                                product.residual(),
                                projected)
                        : op)
                .toList();
    }

    @Override
    public Configuration configuration() {
        return configuration;
    }

    Description description() {
        return directory.describe();
    }

    ModelDirectory directory() {
        return directory;
    }

    Passes passes() {
        return generator.passes();
    }

    @Override
    public boolean roundsActivations() {
        return generator.roundsActivations();
    }

    @Override
    public Backend backend() {
        return backend;
    }

    @Override
    public Picture picture() {
        return picture;
    }

    @Override
    public String family() {
        return description().family();
    }

    @Override
    public RgbImage pixels() {
        if (pixels == null) {
            pixels = decode();
        }
        return pixels;
    }

    /** Ids of the fixed text. */
    int[] text() {
        if (text == null) {
            text = directory.tokenizer().encode(FillerText.text());
        }
        return text;
    }

    /** How long {@link #open} took, in nanoseconds. */
    long openNanos() {
        return openNanos;
    }

    @Override
    public long parameters() {
        return generator.parameters();
    }

    @Override
    public DType dtype() {
        return Measured.dtype(generator.weights().keySet());
    }

    @Override
    public long time(Trial trial) {
        return switch (trial.part()) {
            case IMAGE_DECODE -> Measured.timed(this::decode);
            case RESIZE -> {
                RgbImage image = pixels();
                yield Measured.timed(() -> writePatches(image));
            }
            case ENCODE -> {
                Views cut = writePatches(pixels());
                yield Measured.timed(() -> generator.encodeLoaded(List.of(cut)));
            }
            case PROJECTOR -> Measured.timed(this::project);
            case PREFILL -> {
                List<Prompt> prompts = prompts(trial);
                yield Measured.timed(() -> prefill(prompts));
            }
            case DECODE -> {
                fill(trial.depth(), trial.sequences());
                text();
                yield Measured.timed(() -> decode(trial.depth(), trial.newTokens(), trial.depth(), trial.sequences()));
            }
            case PREFILL_AND_DECODE -> {
                List<Prompt> prompts = prompts(trial);
                yield Measured.timed(() -> {
                    prefill(prompts);
                    decode(trial.promptTokens(), trial.newTokens(), trial.promptTokens(), trial.sequences());
                });
            }
            case FIRST_TOKEN -> Measured.timed(this::first);
            case IMAGE, TEXT, PAIR, IMAGE_FILE -> throw notHere(trial);
        };
    }

    private static IllegalArgumentException notHere(Trial trial) {
        return new IllegalArgumentException(trial.name() + " is of models that answer nothing");
    }

    /** What an answer's tokens run is the same program: the first few show whether it is right. */
    @Override
    public float[] result(Trial trial) {
        return switch (trial.part()) {
            case IMAGE_DECODE, RESIZE -> throw new IllegalArgumentException(trial.name() + " runs on no backend");
            case ENCODE, PROJECTOR -> projected();
            case PREFILL -> {
                encode(pixels());
                prefill(prompt(trial.promptTokens()));
                yield promptLogits();
            }
            case DECODE, PREFILL_AND_DECODE -> {
                encode(pixels());
                fill(trial.depth(), 1);
                decode(trial.depth(), Math.min(trial.newTokens(), CHECKED_TOKENS), trial.depth(), 1);
                yield nextLogits();
            }
            case FIRST_TOKEN -> {
                first();
                yield promptLogits();
            }
            case IMAGE, TEXT, PAIR, IMAGE_FILE -> throw notHere(trial);
        };
    }

    @Override
    public double operations(Trial trial) {
        double encode = Measured.operations(passes().encode().program(), passes().encodeStep(0));
        return switch (trial.part()) {
            case IMAGE_DECODE, RESIZE -> 0;
            case ENCODE, PROJECTOR -> encode;
            default -> {
                int rows = Math.max(2, Math.max(trial.promptTokens(), trial.depth()));
                yield encode + Measured.operations(passes().prefill().program(), new Step(0, rows, rows))
                        + CHECKED_TOKENS
                                * Measured.operations(passes().decode().program(), new Step(rows, 1, rows));
            }
        };
    }

    @Override
    public MeasuredModel on(String otherBackend) {
        return open(configuration.on(otherBackend), passes().limits(), picture);
    }

    /** The projector may have fewer rows than the tower, such as those of queries. */
    private void project() {
        generator.run(projector, new Step(0, projected.rows(), projected.rows()));
    }

    @Override
    public Views views() {
        if (views == null) {
            views = directory.processor().views(pixels());
        }
        return views;
    }

    private Views writePatches(RgbImage image) {
        Views cut = directory.processor().views(image);
        for (int view = cut.count() - 1; view >= 0; view--) {
            generator.load(cut, view);
        }
        return cut;
    }

    @Override
    public float[] patches() {
        writePatches(pixels());
        return generator.loaded();
    }

    /** Encodes an image, whose features later prompts are merged with. */
    Views encode(RgbImage image) {
        Arrays.fill(cached, -1);
        Views cut = writePatches(image);
        generator.encodeLoaded(List.of(cut));
        return cut;
    }

    /**
     * The projected features of the picture's last view, [rows, hiddenSize], by the program that is timed as the
     * projector.
     */
    float[] projected() {
        encode(pixels());
        project();
        return generator.read(projected);
    }

    /** The id of the first token of the prompt {@value #PROMPT} about the picture. */
    @Override
    public int first() {
        Views cut = encode(decode());
        return prefill(directory.prompt(PROMPT, List.of(cut)));
    }

    @Override
    public Cold cold() {
        long start = System.nanoTime();
        Views cut = writePatches(decode());
        long imageDone = System.nanoTime();
        generator.encodeLoaded(List.of(cut));
        long encodeDone = System.nanoTime();
        int token = prefill(directory.prompt(PROMPT, List.of(cut)));
        long prefillDone = System.nanoTime();
        long compilers = ManagementFactory.getCompilationMXBean().getTotalCompilationTime() * 1_000_000;
        return new Cold(
                openNanos,
                generator.startUp(),
                imageDone - start,
                encodeDone - imageDone,
                prefillDone - encodeDone,
                compilers,
                token);
    }

    /**
     * A prompt of so many tokens: the picture's, then the fixed text. One that is too short for the picture has none of
     * it.
     *
     * @param tokens at least 1
     */
    Prompt prompt(int tokens) {
        return prompt(tokens, 0);
    }

    /** The same for one of several sequences: each has another text. */
    Prompt prompt(int tokens, int sequence) {
        int[] image = tokens >= views().length() + 2 ? views().ids(0) : new int[0];
        int[] ids = Arrays.copyOf(image, tokens);
        for (int i = image.length; i < tokens; i++) {
            ids[i] = word(i - image.length, sequence);
        }
        return new Prompt(ids, List.of(), prefixLength(tokens));
    }

    private List<Prompt> prompts(Trial trial) {
        return IntStream.range(0, trial.sequences())
                .mapToObj(sequence -> prompt(trial.promptTokens(), sequence))
                .toList();
    }

    /** A token of the fixed text, which begins elsewhere for each sequence. */
    private int word(int place, int sequence) {
        return text()[(place + sequence) % text().length];
    }

    /** Of a prompt of which so many tokens see each other, if the model is not causal. */
    int prefixLength(int tokens) {
        return description().causal() ? 0 : tokens;
    }

    /** @return the id of the next token */
    int prefill(Prompt prompt) {
        return prefill(prompt, 0);
    }

    /** The same into a slot of several. */
    int prefill(Prompt prompt, int slot) {
        cached[slot] = -1;
        generator.prefill(prompt, slot);
        return generator.token();
    }

    /** As {@link Generator#follow}. */
    void follow(Prompt prompt, Generator.Continuation continuation) {
        cached[0] = -1;
        generator.follow(prompt, continuation);
    }

    /** As {@link Generator#force}. */
    void force(Prompt prompt, List<Integer> tokens, BiConsumer<Tensor, Integer> listener) {
        cached[0] = -1;
        generator.force(prompt, tokens, listener);
    }

    private void prefill(List<Prompt> prompts) {
        for (int slot = 0; slot < prompts.size(); slot++) {
            prefill(prompts.get(slot), slot);
        }
    }

    /**
     * Puts prompts of so many tokens into the cache, each into the slot of its number, unless that is what it begins
     * with.
     */
    void fill(int tokens, int sequences) {
        for (int slot = 0; slot < sequences; slot++) {
            if (cached[slot] != tokens) {
                if (tokens > 0) {
                    prefill(prompt(tokens, slot), slot);
                }
                cached[slot] = tokens;
            }
        }
    }

    /**
     * Feeds tokens of the fixed text, one by one, to so many sequences together, each in the slot of its number.
     *
     * @param prompt tokens of the prompt before them
     */
    void decode(int position, int tokens, int prompt, int sequences) {
        int[] together = IntStream.range(0, sequences).toArray();
        for (int i = 0; i < tokens; i++) {
            feed(i, position + i, prefixLength(prompt), together, together);
        }
    }

    /**
     * As {@link #decode(int, int, int, int)} for one sequence alone.
     *
     * @param slot where its prompt is
     */
    void decodeAlone(int position, int tokens, int prompt, int sequence, int slot) {
        for (int i = 0; i < tokens; i++) {
            feed(i, position + i, prefixLength(prompt), new int[] {sequence}, new int[] {slot});
        }
    }

    /** Feeds each sequence its word of that place. */
    private void feed(int place, int position, int prefixLength, int[] sequences, int[] slots) {
        int[] ids = new int[sequences.length];
        List<Step.Sequence> steps = new ArrayList<>();
        for (int i = 0; i < ids.length; i++) {
            ids[i] = word(place, sequences[i]);
            steps.add(new Step.Sequence(slots[i], position, 1, prefixLength, 0, Sampling.GREEDY));
        }
        generator.decode(ids, new Step(steps));
        generator.tokens(ids.length);
    }

    /**
     * Feeds one token.
     *
     * @return the id of the next one
     */
    int feed(int id, int position, int prefixLength) {
        generator.decode(id, position, prefixLength);
        return generator.token();
    }

    /** The token that the last prefill or decode chose. */
    int lastToken() {
        return generator.drawn();
    }

    /** [vocabularySize] of logits. */
    float[] firstRow(Tensor logits) {
        return Arrays.copyOf(generator.read(logits), logits.columns());
    }

    /** [vocabularySize], of a prefill that ran last. */
    float[] promptLogits() {
        return generator.read(passes().prefill().output());
    }

    /** The tokens that the last decode chose for so many sequences. */
    int[] lastTokens(int sequences) {
        return generator.tokens(sequences);
    }

    /** [vocabularySize], of the last decode. */
    float[] nextLogits() {
        return firstRow(passes().decode().output());
    }

    /** [sequences][vocabularySize], of the last decode. */
    float[][] nextLogits(int sequences) {
        Tensor logits = passes().decode().output();
        float[] all = generator.read(logits);
        float[][] rows = new float[sequences][];
        for (int i = 0; i < sequences; i++) {
            rows[i] = Arrays.copyOfRange(all, i * logits.columns(), (i + 1) * logits.columns());
        }
        return rows;
    }

    @Override
    public void close() {
        close(generator, backend, directory);
    }

    /** What was opened; the rest is null. */
    private static void close(Generator generator, Backend backend, ModelDirectory directory) {
        try (directory; backend) {
            if (generator != null) {
                generator.close();
            }
        }
    }
}
