package stormsight.generate;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.Executor;
import stormsight.backend.RunListener;
import stormsight.backend.StartUp;
import stormsight.model.ModelDirectory;
import stormsight.model.PaliGemma;
import stormsight.program.DType;
import stormsight.program.Program;
import stormsight.program.Sampling;
import stormsight.program.Step;
import stormsight.program.Tensor;
import stormsight.tokenizer.PaliGemmaPrompt;
import stormsight.tokenizer.StreamingDetokenizer;

/**
 * A model prepared on a backend, ready to answer. Requests come one at a time; each starts with an empty cache. Closing it frees the executor, not the
 * model's files and not the backend.
 */
public final class Session implements AutoCloseable {
    private final ModelDirectory directory;
    private final PaliGemma model;
    private final Executor executor;
    private final Arena arena;
    private final MemorySegment patches;
    private final MemorySegment ids;
    private final MemorySegment scalar;

    /** Whether the executor knows which ids may be answered. */
    private boolean answerPartsWritten;

    private Session(ModelDirectory directory, PaliGemma model, Executor executor, Arena arena) {
        this.directory = directory;
        this.model = model;
        this.executor = executor;
        this.arena = arena;
        patches = arena.allocate(model.patches().bytes(), 64);
        ids = arena.allocate(model.promptIds().bytes(), 64);
        scalar = arena.allocate(Integer.BYTES, 64);
    }

    /**
     * Prepares the model's programs.
     *
     * @param limits longest prompt and answer of the requests to come
     * @throws LimitException if they pass the positions that the model knows
     * @throws stormsight.checkpoint.CheckpointException if the weights are not what the model needs
     * @throws BackendException if the device cannot hold or compile the model
     */
    public static Session open(ModelDirectory directory, Backend backend, PaliGemma.Limits limits, PaliGemma.Options options,
            RunListener listener) {
        requireFits(directory, backend, limits, options);
        Arena arena = Arena.ofShared();
        try {
            PaliGemma model = directory.bind(arena, limits, options);
            return new Session(directory, model, backend.prepare(model.weights(), model.programs(), listener), arena);
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    /**
     * Whether model and device have room, before anything is computed; the backend looks again, at what it really allocates.
     *
     * @throws LimitException if the limits pass the positions that the model knows
     * @throws BackendException if the device has too little memory
     */
    public static void requireFits(ModelDirectory directory, Backend backend, PaliGemma.Limits limits, PaliGemma.Options options) {
        int positions = directory.config().text().maxPositions();
        long tokens = (long) limits.promptTokens() + limits.newTokens();
        if (tokens > positions) {
            throw new LimitException("a prompt of " + limits.promptTokens() + " tokens and an answer of up to " + limits.newTokens()
                    + " need " + tokens + " positions, the model has " + positions);
        }
        PaliGemma model = PaliGemma.unbound(directory.config(), directory.checkpoint()::weightType, limits, options);
        // Weights that are used in place need not be in memory all at once.
        long needed = model.programs().stream()
                .flatMap(program -> program.tensors().stream())
                .distinct()
                .filter(tensor -> tensor.kind() != Tensor.Kind.WEIGHT || options.quantized())
                .mapToLong(Tensor::bytes)
                .sum();
        long memory = backend.device().memoryBytes();
        if (needed > memory) {
            throw new BackendException("the model needs " + needed + " bytes for " + limits.capacity() + " tokens"
                    + (options.quantized() ? " and weights in " + DType.Q8 : "") + ", " + backend.device().name() + " has " + memory);
        }
    }

    public PaliGemma model() {
        return model;
    }

    /** Bytes that the backend holds beside the weights that it uses in place. */
    public long allocatedBytes() {
        return executor.allocatedBytes();
    }

    /** Where the time of preparing the backend went, if it says so. */
    public Optional<StartUp> startUp() {
        return executor.startUp();
    }

    /**
     * Answers a request.
     *
     * @throws LimitException if prompt and answer do not fit what the session was opened for
     * @throws IllegalArgumentException if the prompt holds the image token
     * @throws BackendException if the device fails or computes something that is not a number
     */
    public Answer answer(Request request, AnswerListener listener) {
        long start = System.nanoTime();
        directory.preprocessing().writePatches(request.image(), model.config().vision().patchSize(), patches);
        executor.write(model.patches(), patches);
        long imageDone = System.nanoTime();

        int imageTokens = model.config().vision().tokens();
        executor.run(model.encode(), new Step(0, imageTokens, imageTokens));
        long encodeDone = System.nanoTime();

        PaliGemmaPrompt prompt = directory.prompt(request.prompt());
        int promptTokens = prompt.length();
        checkFits(promptTokens, request.maxTokens());
        Run run = new Run(request, listener, promptTokens);
        MemorySegment used = ids.asSlice(0, (long) promptTokens * Integer.BYTES);
        MemorySegment.copy(prompt.ids(), 0, used, ValueLayout.JAVA_INT, 0, promptTokens);
        executor.write(model.promptIds(), used);
        if (!answerPartsWritten) {
            executor.write(model.answerParts(), directory.answerParts());
            answerPartsWritten = true;
        }
        boolean more = run.step(model.prefill(), 0, promptTokens);
        long prefillDone = System.nanoTime();

        while (more) {
            scalar.set(ValueLayout.JAVA_INT, 0, run.lastId());
            executor.write(model.nextId(), scalar);
            more = run.step(model.decode(), promptTokens + run.drawn() - 1, 1);
        }
        long done = System.nanoTime();
        return run.answer(new Answer.Timings(imageDone - start, encodeDone - imageDone, prefillDone - encodeDone,
                prefillDone - start, done - prefillDone));
    }

    private void checkFits(int promptTokens, int maxTokens) {
        if (promptTokens > model.limits().promptTokens()) {
            throw new LimitException("the prompt has " + promptTokens + " tokens with its image, the session takes "
                    + model.limits().promptTokens());
        }
        // The last token of an answer is never fed back, so it needs no place.
        if (promptTokens + maxTokens - 1 > model.limits().capacity()) {
            throw new LimitException("a prompt of " + promptTokens + " tokens and an answer of up to " + maxTokens
                    + " pass the cache of " + model.limits().capacity());
        }
    }

    @Override
    public void close() {
        try (arena) {
            executor.close();
        }
    }

    /** The tokens of one answer as they come. */
    private final class Run {
        private final Request request;
        private final AnswerListener listener;
        private final int promptTokens;
        private final Random coins;
        private final StreamingDetokenizer detokenizer = new StreamingDetokenizer(directory.tokenizer());
        private final StringBuilder text = new StringBuilder();
        private final List<Answer.Token> tokens = new ArrayList<>();
        private Answer.Stop stop;

        Run(Request request, AnswerListener listener, int promptTokens) {
            this.request = request;
            this.listener = listener;
            this.promptTokens = promptTokens;
            coins = new Random(request.seed());
        }

        /** Runs a program for the next token and says whether the answer goes on. */
        boolean step(Program program, int position, int rows) {
            Sampling sampling = request.sampling();
            executor.run(program, new Step(position, rows, promptTokens, sampling.greedy() ? 0 : coins.nextFloat(), sampling));
            int id = readInt(model.token());
            if (id < 0) {
                throw new BackendException(program.name() + " made logits that are not numbers at token " + (tokens.size() + 1)
                        + " of the answer: the weights are damaged or the device computes wrongly");
            }
            executor.read(model.logProbability(), scalar);
            tokens.add(new Answer.Token(id, directory.tokenizer().token(id), scalar.get(ValueLayout.JAVA_FLOAT, 0)));
            if (model.config().endIds().contains(id)) {
                stop = Answer.Stop.END;
            } else {
                print(detokenizer.push(id));
                if (tokens.size() == request.maxTokens()) {
                    stop = Answer.Stop.LENGTH;
                }
            }
            return stop == null;
        }

        int lastId() {
            return tokens.getLast().id();
        }

        int drawn() {
            return tokens.size();
        }

        Answer answer(Answer.Timings timings) {
            print(detokenizer.flush());
            return new Answer(text.toString(), tokens, stop, promptTokens, timings);
        }

        private int readInt(Tensor tensor) {
            executor.read(tensor, scalar);
            return scalar.get(ValueLayout.JAVA_INT, 0);
        }

        private void print(String piece) {
            if (!piece.isEmpty()) {
                text.append(piece);
                listener.text(piece);
            }
        }
    }
}
