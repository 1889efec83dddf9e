package stormsight.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.Proxy;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.BiFunction;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.Goldens;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.Executor;
import stormsight.backend.RunListener;
import stormsight.checkpoint.HostTensor;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.ModelDirectory;
import stormsight.model.PaliGemma;
import stormsight.program.Sampling;
import stormsight.program.Step;
import stormsight.program.Tensor;

class SessionTest {
    /** Sums in another order: one row at a time, or all at once. */
    private static final float ROUNDING = 2e-5f;
    /** Rounding to 8 bits in networks so narrow (48) that little averages out; 0.9979 is the smallest of the three. */
    private static final double QUANTIZED_COSINE = 0.997;
    private static final int NEW_TOKENS = 8;

    private static Backend backend;

    @BeforeAll
    static void open() {
        backend = Backends.open("cpu", BackendOptions.DEFAULT);
    }

    @AfterAll
    static void close() {
        backend.close();
    }

    @ParameterizedTest
    @ValueSource(strings = {"paligemma-mqa", "paligemma-gqa", "paligemma2", "paligemma2-window"})
    void cachedDecodeEqualsFullRecompute(String golden) {
        try (ModelDirectory directory = ModelDirectory.open(Goldens.folder(golden), Optional.empty()); Arena arena = Arena.ofShared()) {
            int[] prompt = directory.prompt("caption en").ids();
            PaliGemma model = PaliGemma.bind(directory.config(), directory.checkpoint(), arena,
                    new PaliGemma.Limits(prompt.length + NEW_TOKENS, NEW_TOKENS), PaliGemma.Options.DEFAULT.withSlidingWindow(true).withEveryRow(true));
            try (Executor executor = backend.prepare(model.weights(), model.programs(), RunListener.NONE)) {
                encode(directory, model, executor, arena);
                int[] sequence = Arrays.copyOf(prompt, prompt.length + NEW_TOKENS);
                prefill(model, executor, arena, prompt, prompt.length);
                float[][] cached = new float[NEW_TOKENS][];
                for (int s = 0; s < NEW_TOKENS; s++) {
                    sequence[prompt.length + s] = 130 + 7 * s;
                    executor.write(model.nextId(), arena.allocateFrom(ValueLayout.JAVA_INT, sequence[prompt.length + s]));
                    executor.run(model.decode(), new Step(prompt.length + s, 1, prompt.length));
                    cached[s] = floats(executor, model.nextLogits(), 0, directory.config().text().vocabularySize(), arena);
                }
                prefill(model, executor, arena, sequence, prompt.length);
                for (int s = 0; s < NEW_TOKENS; s++) {
                    float[] recomputed = floats(executor, model.promptLogits(), prompt.length + s, cached[s].length, arena);
                    assertArrayEquals(recomputed, cached[s], ROUNDING, "token " + s);
                }
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"paligemma-mqa", "paligemma2"})
    void positionsFromZeroAndFromOneAgree(String golden) {
        assertArrayEquals(promptLogits(golden, PaliGemma.Options.DEFAULT.withFirstPosition(0)),
                promptLogits(golden, PaliGemma.Options.DEFAULT.withFirstPosition(1)), ROUNDING);
    }

    @Test
    void shardsAndOneFileAreTheSame() {
        assertArrayEquals(promptLogits("paligemma-mqa", PaliGemma.Options.DEFAULT),
                promptLogits("paligemma-sharded", PaliGemma.Options.DEFAULT));
    }

    @ParameterizedTest
    @ValueSource(strings = {"paligemma-mqa", "paligemma-bf16", "paligemma2"})
    void quantizedWeightsPointTheSameWay(String golden) {
        float[] stored = promptLogits(golden, PaliGemma.Options.DEFAULT);
        float[] quantized = promptLogits(golden, PaliGemma.Options.DEFAULT.withQuantized(true));
        double product = 0;
        double storedSquares = 0;
        double quantizedSquares = 0;
        for (int i = 0; i < stored.length; i++) {
            product += (double) stored[i] * quantized[i];
            storedSquares += (double) stored[i] * stored[i];
            quantizedSquares += (double) quantized[i] * quantized[i];
        }
        double cosine = product / Math.sqrt(storedSquares * quantizedSquares);
        assertTrue(cosine > QUANTIZED_COSINE && cosine < 1, "cosine " + cosine);
    }

    @Test
    void requestsDoNotDependOnEachOther() {
        List<String> prompts = List.of("answer en where is the cat sitting?", "caption en", "detect cat ; dog ; bird", "caption en");
        try (ModelDirectory directory = ModelDirectory.open(Goldens.folder("paligemma-mqa"), Optional.empty());
                Session shared = session(directory)) {
            for (String prompt : prompts) {
                Answer alone;
                try (Session fresh = session(directory)) {
                    alone = fresh.answer(request(prompt, Sampling.GREEDY, 0), AnswerListener.NONE);
                }
                assertEquals(alone.tokens(), shared.answer(request(prompt, Sampling.GREEDY, 0), AnswerListener.NONE).tokens());
            }
        }
    }

    @Test
    void theSameSeedGivesTheSameAnswer() {
        try (ModelDirectory directory = ModelDirectory.open(Goldens.folder("paligemma-mqa"), Optional.empty());
                Session session = session(directory)) {
            Sampling sampling = new Sampling(1.5f, 40, 0.95f);
            Set<List<Answer.Token>> answers = new HashSet<>();
            for (long seed = 0; seed < 5; seed++) {
                List<Answer.Token> first = session.answer(request("caption en", sampling, seed), AnswerListener.NONE).tokens();
                assertEquals(first, session.answer(request("caption en", sampling, seed), AnswerListener.NONE).tokens());
                answers.add(first);
            }
            assertTrue(answers.size() > 1, "five seeds gave the same answer");
        }
    }

    @Test
    void piecesMakeUpTheText() {
        try (ModelDirectory directory = ModelDirectory.open(Goldens.folder("paligemma-gqa"), Optional.empty());
                Session session = session(directory)) {
            StringBuilder pieces = new StringBuilder();
            Answer answer = session.answer(request("caption en", new Sampling(2, 0, 1), 3), pieces::append);
            assertEquals(answer.text(), pieces.toString());
            int[] ids = answer.tokens().stream().mapToInt(Answer.Token::id).toArray();
            assertEquals(directory.tokenizer().decode(ids, true), answer.text());
        }
    }

    @Test
    void refusesWhatDoesNotFit() {
        try (ModelDirectory directory = ModelDirectory.open(Goldens.folder("paligemma-mqa"), Optional.empty());
                Session session = session(directory)) {
            String longPrompt = "cat ".repeat(200);
            LimitException e = assertThrows(LimitException.class,
                    () -> session.answer(request(longPrompt, Sampling.GREEDY, 0), AnswerListener.NONE));
            assertTrue(e.getMessage().contains("64"), e.getMessage());
            int positions = directory.config().text().maxPositions();
            assertThrows(LimitException.class, () -> Session.open(directory, backend, new PaliGemma.Limits(positions, 1),
                    PaliGemma.Options.DEFAULT, RunListener.NONE));
        }
    }

    @Test
    void saysSoWhenLogitsAreNotNumbers(@TempDir Path folder) throws IOException {
        Goldens.copy("paligemma-mqa", folder);
        Goldens.change(folder, "multi_modal_projector.linear.bias", Float.NaN);
        try (ModelDirectory directory = ModelDirectory.open(folder, Optional.empty()); Session session = session(directory)) {
            BackendException e = assertThrows(BackendException.class,
                    () -> session.answer(request("caption en", Sampling.GREEDY, 0), AnswerListener.NONE));
            assertTrue(e.getMessage().contains("not numbers"), e.getMessage());
        }
    }

    private interface Opening {
        AutoCloseable open(ModelDirectory directory, Backend backend, PaliGemma.Limits limits);
    }

    /** Weights that were made for the model, as Gemma's 1 + w, are freed though the backend cannot free what it prepared, and its failure is told. */
    @Test
    void closingGoesOnWhereTheExecutorFails() {
        List<Opening> openings = List.of(
                (directory, failing, limits) -> Session.open(directory, failing, limits, PaliGemma.Options.DEFAULT, RunListener.NONE),
                (directory, failing, limits) -> ModelRun.open(directory, failing, limits, PaliGemma.Options.DEFAULT, PaliGemma::programs));
        try (ModelDirectory directory = ModelDirectory.open(Goldens.folder("paligemma-mqa"), Optional.empty())) {
            for (Opening opening : openings) {
                List<MemorySegment> weights = new ArrayList<>();
                AutoCloseable session = opening.open(directory, failing(weights), new PaliGemma.Limits(64, 16));
                assertTrue(weights.stream().allMatch(weight -> weight.scope().isAlive()));
                assertEquals("cannot be freed", assertThrows(BackendException.class, session::close).getMessage());
                assertTrue(weights.stream().anyMatch(weight -> !weight.scope().isAlive()));
            }
        }
    }

    /** A backend whose executors cannot be closed. */
    private static Backend failing(List<MemorySegment> weights) {
        return proxy(Backend.class, (called, arguments) -> {
            if (!called.equals("prepare")) {
                return backend.device();
            }
            ((Map<?, ?>) arguments[0]).values().forEach(weight -> weights.addAll(((HostTensor) weight).layers()));
            return proxy(Executor.class, (_, _) -> {
                throw new BackendException("cannot be freed");
            });
        });
    }

    private static <T> T proxy(Class<T> type, BiFunction<String, Object[], Object> does) {
        return type.cast(Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type},
                (_, method, arguments) -> does.apply(method.getName(), arguments)));
    }

    private static float[] promptLogits(String golden, PaliGemma.Options options) {
        try (ModelDirectory directory = ModelDirectory.open(Goldens.folder(golden), Optional.empty()); Arena arena = Arena.ofShared()) {
            int[] prompt = directory.prompt("caption en").ids();
            PaliGemma model = PaliGemma.bind(directory.config(), directory.checkpoint(), arena,
                    new PaliGemma.Limits(prompt.length, 1), options.withEveryRow(true));
            try (Executor executor = backend.prepare(model.weights(), model.programs(), RunListener.NONE)) {
                encode(directory, model, executor, arena);
                prefill(model, executor, arena, prompt, prompt.length);
                return floats(executor, model.promptLogits(), 0, prompt.length * directory.config().text().vocabularySize(), arena);
            }
        }
    }

    private static void encode(ModelDirectory directory, PaliGemma model, Executor executor, Arena arena) {
        MemorySegment patches = arena.allocate(model.patches().bytes());
        directory.preprocessing().writePatches(image(), directory.config().vision().patchSize(), patches);
        executor.write(model.patches(), patches);
        int tokens = directory.config().vision().tokens();
        executor.run(model.encode(), new Step(0, tokens, tokens));
    }

    private static void prefill(PaliGemma model, Executor executor, Arena arena, int[] ids, int prefixLength) {
        executor.write(model.promptIds(), arena.allocateFrom(ValueLayout.JAVA_INT, ids));
        executor.run(model.prefill(), new Step(0, ids.length, prefixLength));
    }

    private static float[] floats(Executor executor, Tensor tensor, int row, int count, Arena arena) {
        MemorySegment all = arena.allocate(tensor.bytes());
        executor.read(tensor, all);
        long from = (long) row * tensor.columns() * Float.BYTES;
        return all.asSlice(from, (long) count * Float.BYTES).toArray(ValueLayout.JAVA_FLOAT);
    }

    private static Session session(ModelDirectory directory) {
        return Session.open(directory, backend, new PaliGemma.Limits(64, 16), PaliGemma.Options.DEFAULT, RunListener.NONE);
    }

    private static Request request(String prompt, Sampling sampling, long seed) {
        return new Request(image(), prompt, 12, sampling, seed);
    }

    private static RgbImage image() {
        return new ImageDecoder().decode(Goldens.folder("paligemma-mqa").resolve("input.png"));
    }
}
