package stormsight.bench;

import java.io.ByteArrayInputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.util.List;
import java.util.Optional;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.Executor;
import stormsight.backend.RunListener;
import stormsight.backend.StartUp;
import stormsight.generate.Session;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.ModelDirectory;
import stormsight.model.PaliGemma;
import stormsight.model.PaliGemmaConfig;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * A model on a backend whose parts run one at a time and are timed from outside the backend: until the result is where the host can read it.
 * Everything that a part needs beside its own input is made before its clock starts.
 */
final class MeasuredModel implements AutoCloseable {
    /** The prompt of {@link Trial.Part#FIRST_TOKEN}. */
    static final String PROMPT = "caption en";

    private final Configuration configuration;
    private final ModelDirectory directory;
    private final Backend backend;
    private final PaliGemma model;
    private final Executor executor;
    private final Arena arena;
    private final Picture picture;
    private final Program projector;
    private final Tensor projected;
    private final MemorySegment patches;
    private final MemorySegment ids;
    private final MemorySegment scalar;
    private final long openNanos;
    private RgbImage pixels;
    private int[] text;
    /** Tokens of {@link #prompt(int)} that the cache begins with, or -1 if it holds something else. */
    private int cached = -1;
    /** Whether the executor knows which ids may be answered. */
    private boolean answerPartsWritten;

    private MeasuredModel(Configuration configuration, ModelDirectory directory, Backend backend, PaliGemma model, Executor executor, Arena arena,
            Picture picture, Program projector, Tensor projected, long openNanos) {
        this.configuration = configuration;
        this.directory = directory;
        this.backend = backend;
        this.model = model;
        this.executor = executor;
        this.arena = arena;
        this.picture = picture;
        this.projector = projector;
        this.projected = projected;
        this.openNanos = openNanos;
        patches = arena.allocate(model.patches().bytes(), 64);
        ids = arena.allocate(model.promptIds().bytes(), 64);
        scalar = arena.allocate(Integer.BYTES, 64);
    }

    /**
     * Opens the model and prepares its programs.
     *
     * @param limits longest prompt and answer of the trials to come
     * @throws stormsight.generate.LimitException if they pass the positions that the model knows
     * @throws stormsight.checkpoint.CheckpointException if the model cannot be read
     * @throws BackendException if the backend is not there or cannot hold the model
     */
    static MeasuredModel open(Configuration configuration, PaliGemma.Limits limits, Picture picture) {
        long start = System.nanoTime();
        ModelDirectory directory = null;
        Backend backend = null;
        Executor executor = null;
        Arena arena = Arena.ofShared();
        try {
            directory = configuration.openModel();
            backend = configuration.openBackend();
            Session.requireFits(directory, backend, limits, configuration.options());
            PaliGemma model = directory.bind(arena, limits, configuration.options());
            Op.MatMul product = projector(model);
            // Features stay on the device; a product of its own can be read and so be checked.
            Tensor projected = new Tensor("bench.projected", DType.F32, product.out().shape(), Tensor.Kind.OUTPUT, 1);
            Program projector = new Program("projector", List.of(Segment.once("bench.projector", List.of(
                    new Op.MatMul(product.x(), product.w(), product.bias(), product.activation(), product.residual(), projected)))));
            executor = backend.prepare(model.weights(), List.of(model.encode(), projector, model.prefill(), model.decode()), RunListener.NONE);
            return new MeasuredModel(configuration, directory, backend, model, executor, arena, picture, projector, projected,
                    System.nanoTime() - start);
        } catch (RuntimeException | Error e) {
            close(executor, arena, backend, directory);
            throw e;
        }
    }

    private static Op.MatMul projector(PaliGemma model) {
        return model.encode().segments().stream()
                .filter(segment -> segment.name().equals(model.projector().segment()))
                .flatMap(segment -> segment.ops().stream())
                .filter(Op.MatMul.class::isInstance)
                .map(Op.MatMul.class::cast)
                .findFirst().orElseThrow();
    }

    Configuration configuration() {
        return configuration;
    }

    PaliGemmaConfig config() {
        return directory.config();
    }

    ModelDirectory directory() {
        return directory;
    }

    PaliGemma model() {
        return model;
    }

    Backend backend() {
        return backend;
    }

    Picture picture() {
        return picture;
    }

    /** The picture, decoded when it is first asked for. */
    RgbImage pixels() {
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

    Optional<StartUp> startUp() {
        return executor.startUp();
    }

    /** Elements of all weights. */
    long parameters() {
        return PaliGemma.weights(config()).stream().mapToLong(spec -> spec.stored().elements() * spec.layers()).sum();
    }

    /** The type that most bytes of the weights have, as they are held. */
    DType dtype() {
        List<Tensor> weights = List.copyOf(model.weights().keySet());
        return weights.stream().map(Tensor::dtype).distinct()
                .max((a, b) -> Long.compare(bytes(weights, a), bytes(weights, b))).orElseThrow();
    }

    private static long bytes(List<Tensor> weights, DType dtype) {
        return weights.stream().filter(tensor -> tensor.dtype() == dtype).mapToLong(Tensor::bytes).sum();
    }

    /**
     * Runs a part once.
     *
     * @return nanoseconds
     * @throws BackendException if the device fails or computes something that is not a number
     */
    long time(Trial trial) {
        return switch (trial.part()) {
            case IMAGE_DECODE -> timed(this::decode);
            case RESIZE -> {
                RgbImage image = pixels();
                yield timed(() -> writePatches(image));
            }
            case ENCODE -> {
                writePatches(pixels());
                yield timed(this::encodePatches);
            }
            case PROJECTOR -> timed(() -> executor.run(projector, imageStep()));
            case PREFILL -> {
                int[] prompt = prompt(trial.promptTokens());
                yield timed(() -> prefill(prompt));
            }
            case DECODE -> {
                fill(trial.depth());
                text();
                yield timed(() -> decode(trial.depth(), trial.newTokens(), trial.depth()));
            }
            case PREFILL_AND_DECODE -> {
                int[] prompt = prompt(trial.promptTokens());
                yield timed(() -> {
                    prefill(prompt);
                    decode(prompt.length, trial.newTokens(), prompt.length);
                });
            }
            case FIRST_TOKEN -> timed(this::firstToken);
        };
    }

    private static long timed(Runnable part) {
        long start = System.nanoTime();
        part.run();
        return System.nanoTime() - start;
    }

    RgbImage decode() {
        return new ImageDecoder().decode(new ByteArrayInputStream(picture.file()), picture.name());
    }

    private void writePatches(RgbImage image) {
        directory.preprocessing().writePatches(image, config().vision().patchSize(), patches);
    }

    /** The picture's patches as they are timed, [image tokens, 3 * patchSize * patchSize]. */
    float[] patches() {
        writePatches(pixels());
        return patches.toArray(ValueLayout.JAVA_FLOAT);
    }

    private Step imageStep() {
        int tokens = config().vision().tokens();
        return new Step(0, tokens, tokens);
    }

    private void encodePatches() {
        executor.write(model.patches(), patches);
        executor.run(model.encode(), imageStep());
    }

    /** Encodes an image, whose features later prompts are merged with. */
    void encode(RgbImage image) {
        cached = -1;
        writePatches(image);
        encodePatches();
    }

    /** The projected features of the picture, [image tokens, hiddenSize], by the program that is timed as the projector. */
    float[] projected() {
        encode(pixels());
        executor.run(projector, imageStep());
        return read(projected);
    }

    /** The id of the first token of the prompt {@value #PROMPT} about the picture. */
    int firstToken() {
        encode(decode());
        return prefill(directory.prompt(PROMPT).ids());
    }

    /** As {@link #firstToken}, part by part, in a process in which nothing ran before. */
    Cold cold() {
        long start = System.nanoTime();
        writePatches(decode());
        long imageDone = System.nanoTime();
        encodePatches();
        long encodeDone = System.nanoTime();
        int token = prefill(directory.prompt(PROMPT).ids());
        long prefillDone = System.nanoTime();
        long compilers = ManagementFactory.getCompilationMXBean().getTotalCompilationTime() * 1_000_000;
        return new Cold(openNanos, startUp(), imageDone - start, encodeDone - imageDone, prefillDone - encodeDone, compilers, token);
    }

    /**
     * A first answer's beginning, in nanoseconds.
     *
     * @param open reading the model and preparing the backend, start-up included
     * @param image file to patches
     * @param prefill waiting for the tokenizer included
     * @param compilers time that the JVM's compilers took until then, beside the rest and in threads of their own
     * @param token id of the first token
     */
    record Cold(long open, Optional<StartUp> startUp, long image, long encode, long prefill, long compilers, int token) {}

    /**
     * A prompt of so many tokens: image, bos, text, newline. One that is too short for the image has none of it.
     *
     * @param tokens at least 1
     */
    int[] prompt(int tokens) {
        int image = config().vision().tokens();
        int first = tokens >= image + 2 ? image : 0;
        int[] prompt = new int[tokens];
        for (int n = 0; n < first; n++) {
            prompt[n] = -1 - n;
        }
        for (int i = first + 1; i < tokens; i++) {
            prompt[i] = text()[(i - first - 1) % text().length];
        }
        prompt[first] = directory.tokenizer().require("<bos>");
        if (tokens > first + 1) {
            prompt[tokens - 1] = directory.tokenizer().require("\n");
        }
        return prompt;
    }

    /** @return the id of the next token */
    int prefill(int[] prompt) {
        return prefill(prompt, prompt.length);
    }

    /** @param prefixLength tokens that all see */
    int prefill(int[] prompt, int prefixLength) {
        cached = -1;
        MemorySegment used = ids.asSlice(0, (long) prompt.length * Integer.BYTES);
        MemorySegment.copy(prompt, 0, used, ValueLayout.JAVA_INT, 0, prompt.length);
        executor.write(model.promptIds(), used);
        if (!answerPartsWritten) {
            executor.write(model.answerParts(), directory.answerParts());
            answerPartsWritten = true;
        }
        executor.run(model.prefill(), new Step(0, prompt.length, prefixLength));
        return token(model.prefill());
    }

    /** Puts the prompt of so many tokens into the cache, unless that is what it begins with. */
    void fill(int tokens) {
        if (cached != tokens) {
            if (tokens > 0) {
                prefill(prompt(tokens));
            }
            cached = tokens;
        }
    }

    /** Feeds tokens of the fixed text, one by one. */
    void decode(int position, int tokens, int prefixLength) {
        for (int i = 0; i < tokens; i++) {
            feed(text()[i % text().length], position + i, prefixLength);
        }
    }

    /**
     * Feeds one token.
     *
     * @return the id of the next one
     */
    int feed(int id, int position, int prefixLength) {
        scalar.set(ValueLayout.JAVA_INT, 0, id);
        executor.write(model.nextId(), scalar);
        executor.run(model.decode(), new Step(position, 1, prefixLength));
        return token(model.decode());
    }

    private int token(Program program) {
        executor.read(model.token(), scalar);
        int id = scalar.get(ValueLayout.JAVA_INT, 0);
        if (id < 0) {
            throw new BackendException(program.name() + " made logits that are not numbers: the weights are damaged or the device computes wrongly");
        }
        return id;
    }

    /** The token that the last prefill or decode chose. */
    int lastToken() {
        executor.read(model.token(), scalar);
        return scalar.get(ValueLayout.JAVA_INT, 0);
    }

    /** [vocabularySize], of the last prefill. */
    float[] promptLogits() {
        return read(model.promptLogits());
    }

    /** [vocabularySize], of the last decode. */
    float[] nextLogits() {
        return read(model.nextLogits());
    }

    private float[] read(Tensor output) {
        try (Arena local = Arena.ofConfined()) {
            MemorySegment data = local.allocate(output.bytes());
            executor.read(output, data);
            return data.toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    @Override
    public void close() {
        close(executor, arena, backend, directory);
    }

    /** What was opened; the rest is null. */
    private static void close(Executor executor, Arena arena, Backend backend, ModelDirectory directory) {
        try (directory; backend; arena) {
            if (executor != null) {
                executor.close();
            }
        }
    }
}
