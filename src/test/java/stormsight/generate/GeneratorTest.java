package stormsight.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
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
import stormsight.checkpoint.JsonRecord;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Options.PromptRows;
import stormsight.model.Prompt;
import stormsight.model.Views;
import stormsight.model.Weights;
import stormsight.model.family.EmbeddedModel;
import stormsight.model.family.Families;
import stormsight.program.DType;
import stormsight.program.Sampling;

class GeneratorTest {
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
        try (ModelDirectory directory = Families.open(Goldens.folder(golden), Optional.empty())) {
            Views image = directory.processor().views(image());
            Prompt prompt = directory.processor().prompt("caption en", List.of(image));
            int length = prompt.length();
            try (Generator generator = Generator.open(directory, backend, new Limits(length + NEW_TOKENS, NEW_TOKENS),
                    Options.DEFAULT.withSlidingWindow(true).withPromptRows(PromptRows.LOGITS), RunListener.NONE,
                    List.of())) {
                generator.encodeViews(List.of(image));
                int[] sequence = Arrays.copyOf(prompt.ids(), length + NEW_TOKENS);
                generator.prefill(prompt);
                float[][] cached = new float[NEW_TOKENS][];
                for (int s = 0; s < NEW_TOKENS; s++) {
                    sequence[length + s] = 130 + 7 * s;
                    generator.decode(sequence[length + s], length + s, length);
                    cached[s] = generator.read(generator.passes().decode().output());
                }
                generator.prefill(new Prompt(sequence, List.of(), length));
                float[] all = generator.read(generator.passes().prefill().output());
                for (int s = 0; s < NEW_TOKENS; s++) {
                    int from = (length + s) * cached[s].length;
                    assertArrayEquals(
                            Arrays.copyOfRange(all, from, from + cached[s].length), cached[s], ROUNDING, "token " + s);
                }
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"paligemma-mqa", "paligemma2"})
    void positionsFromZeroAndFromOneAgree(String golden) {
        assertArrayEquals(promptLogits(golden, Options.DEFAULT.withFirstPosition(0)),
                promptLogits(golden, Options.DEFAULT.withFirstPosition(1)), ROUNDING);
    }

    /**
     * The last token alone goes through the end of the last layer, whatever room there is for others, and ends as it
     * does among all tokens. Keys and values are those of all of them.
     */
    @ParameterizedTest
    @ValueSource(strings = {"paligemma-mqa", "paligemma-gqa", "paligemma2-window", "llava-chat", "blip2-opt"})
    void theLastTokenNeedsNoOthersBehindTheLastAttention(String golden) {
        float[] all = lastLogits(golden, PromptRows.LOGITS, 1);
        assertArrayEquals(all, lastLogits(golden, PromptRows.STATES, 1), ROUNDING);
        assertArrayEquals(all, lastLogits(golden, PromptRows.LAST, 1), ROUNDING);
        assertArrayEquals(all, lastLogits(golden, PromptRows.LAST, 3), ROUNDING);
    }

    /** Of a prompt's last token, then of the token that it predicts. */
    private static float[] lastLogits(String golden, PromptRows rows, int sequences) {
        try (ModelDirectory directory = Families.open(Goldens.folder(golden), Optional.empty())) {
            Views image = directory.processor().views(image());
            Prompt prompt = directory.processor().prompt("caption en", List.of(image));
            try (Generator generator = Generator.open(directory, backend,
                    new Limits(prompt.length(), 2).withSequences(sequences), Options.DEFAULT.withPromptRows(rows),
                    RunListener.NONE, List.of())) {
                generator.encodeViews(List.of(image));
                generator.prefill(prompt);
                float[] first = generator.read(generator.passes().prefill().output());
                int vocabulary = generator.passes().prefill().output().columns();
                generator.decode(generator.token(), prompt.length(), prompt.prefixLength());
                float[] second = generator.read(generator.passes().decode().output());
                float[] both = Arrays.copyOfRange(first, first.length - vocabulary, first.length + vocabulary);
                System.arraycopy(second, 0, both, vocabulary, vocabulary);
                return both;
            }
        }
    }

    @Test
    void shardsAndOneFileAreTheSame() {
        assertArrayEquals(promptLogits("paligemma-mqa", Options.DEFAULT),
                promptLogits("paligemma-sharded", Options.DEFAULT));
    }

    @ParameterizedTest
    @ValueSource(strings = {"paligemma-mqa", "paligemma-bf16", "paligemma2"})
    void quantizedWeightsPointTheSameWay(String golden) {
        float[] stored = promptLogits(golden, Options.DEFAULT);
        float[] quantized = promptLogits(golden, Options.DEFAULT.withWeights(Optional.of(DType.Q8)));
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

    /** Eleven questions in three slots, of answers of different lengths: each as it is alone, to the last bit. */
    @ParameterizedTest
    @ValueSource(strings = {"cpu", "scalar"})
    void manyAtATimeAreAnsweredAsAlone(String name) {
        try (Backend device = Backends.open(name, BackendOptions.DEFAULT);
                ModelDirectory directory = Families.open(Goldens.folder("paligemma2"), Optional.empty());
                Generator one = Generator.open(
                        directory, device, new Limits(64, 16), Options.DEFAULT, RunListener.NONE, List.of());
                Generator many = Generator.open(
                        directory,
                        device,
                        new Limits(64, 16).withSequences(3),
                        Options.DEFAULT,
                        RunListener.NONE,
                        List.of())) {
            List<RgbImage> images =
                    List.of(image(), new ImageDecoder().decode(Path.of("src/test/resources/images/adam7.png")));
            List<Asked> asked = new ArrayList<>();
            for (int i = 0; i < 11; i++) {
                Sampling sampling = i % 3 == 0 ? Sampling.GREEDY : new Sampling(1.5f, 40, 0.9f);
                asked.add(new Asked(
                        directory,
                        new Request(
                                images.get(i / 6), i % 2 == 0 ? "caption en" : "detect cat", 1 + i % 8, sampling, i)));
            }
            Asked tooLong = new Asked(directory, new Request(image(), "caption en", 100, Sampling.GREEDY, 0));
            asked.add(4, tooLong);
            many.answer(asked.iterator());
            assertTrue(tooLong.refused instanceof LimitException, String.valueOf(tooLong.refused));
            asked.remove(tooLong);
            for (Asked question : asked) {
                Answer alone = one.answer(question.prepared.request(), AnswerListener.NONE);
                assertEquals(alone.tokens(), question.answer.tokens());
                assertEquals(alone.text(), question.answer.text());
                assertEquals(alone.text(), question.text.toString());
                assertEquals(alone.stop(), question.answer.stop());
            }
        }
    }

    /** The answer ends before the text, wherever tokens begin; nothing of it is told before that is known. */
    @Test
    void textsEndAnAnswer() {
        try (ModelDirectory directory = EmbeddedModel.open(Optional.empty());
                Generator generator = Generator.open(
                        directory, backend, new Limits(300, 40), Options.DEFAULT, RunListener.NONE, List.of())) {
            RgbImage image = EmbeddedModel.examples().getFirst().decode();
            Request request = new Request(image, "caption en", 40, Sampling.GREEDY, 0);
            Answer whole = generator.answer(request, AnswerListener.NONE);
            String text = whole.text();
            assertTrue(text.length() > 12, text);
            for (int from = 1; from < text.length() - 3; from++) {
                String stop = text.substring(from, from + 3);
                StringBuilder told = new StringBuilder();
                Answer answer = generator.answer(
                        new Request(
                                List.of(image), "caption en", 40, Sampling.GREEDY, 0, List.of("never so", stop), 1),
                        told::append);
                assertEquals(Answer.Stop.TEXT, answer.stop());
                assertEquals(text.substring(0, text.indexOf(stop)), answer.text());
                assertEquals(answer.text(), told.toString());
                assertEquals(whole.tokens().subList(0, answer.tokens().size()), answer.tokens());
            }
            StringBuilder told = new StringBuilder();
            String partly = text.substring(text.length() - 4) + "?";
            Answer answer = generator.answer(
                    new Request(List.of(image), "caption en", 40, Sampling.GREEDY, 0, List.of(partly), 1),
                    told::append);
            assertEquals(text, answer.text());
            assertEquals(text, told.toString());
            assertEquals(Answer.Stop.END, answer.stop());
        }
    }

    /** Greedy answers with a penalty, as transformers gives them; one by one, and with others that have none beside. */
    @Test
    void repeatsAsLittleAsTransformers() throws IOException {
        JsonRecord recorded = JsonRecord.read(Goldens.folder("repetition").resolve("expected.json"));
        for (String golden : List.of("paligemma-mqa", "llava-chat")) {
            JsonRecord expected = JsonRecord.read(Goldens.folder(golden).resolve("expected.json"));
            List<Asked> asked = new ArrayList<>();
            List<List<Integer>> wanted = new ArrayList<>();
            try (ModelDirectory directory =
                            Families.open(Goldens.folder(golden), Optional.empty()).withRawPrompts();
                    Generator generator = Generator.open(
                            directory,
                            backend,
                            new Limits(160, 16, 1, 3),
                            Options.DEFAULT,
                            RunListener.NONE,
                            List.of())) {
                for (JsonRecord each : recorded.get("cases").elements()) {
                    if (!each.get("golden").text().equals(golden)) {
                        continue;
                    }
                    JsonRecord prompt = expected.get("prompts")
                            .elements()
                            .get(each.get("prompt").index(expected.get("prompts").elements().size()));
                    int image = prompt.find("images").map(images -> images.indices(9)[0]).orElse(0);
                    Path folder = Goldens.folder(golden);
                    RgbImage pixels = new ImageDecoder().decode(
                            golden.equals("llava-chat") ? folder.resolve("input_" + image + ".png")
                                    : folder.resolve("input.png"));
                    asked.add(new Asked(directory, new Request(List.of(pixels), prompt.get("text").text(), 16,
                            Sampling.GREEDY, 0, List.of(), (float) each.get("penalty").number())));
                    wanted.add(Arrays.stream(each.get("greedy").indices(1 << 20)).boxed().toList());
                    asked.add(new Asked(directory, new Request(pixels, prompt.get("text").text(), 7, Sampling.GREEDY,
                            0)));
                    wanted.add(Arrays.stream(prompt.get("greedy").indices(1 << 20)).limit(7).boxed().toList());
                }
                assertTrue(asked.size() >= 16, asked.size() + " requests");
                generator.answer(asked.iterator());
                for (int i = 0; i < asked.size(); i++) {
                    assertEquals(
                            wanted.get(i),
                            asked.get(i).answer.tokens().stream().map(Answer.Token::id).toList(),
                            golden + ", request " + i);
                }
                Answer.Token first = asked.getFirst().answer.tokens().getFirst();
                assertEquals(
                        asked.get(1).answer.tokens().getFirst().logProbability(), first.logProbability(), 1e-6);
            }
        }
    }

    /** Sampling draws among what the penalty leaves: one that forbids to repeat lets no token come twice. */
    @Test
    void samplingIsPenalised() {
        try (ModelDirectory directory = Families.open(Goldens.folder("paligemma-mqa"), Optional.empty());
                Generator generator = generator(directory)) {
            for (int seed = 0; seed < 6; seed++) {
                Request request = new Request(
                        List.of(image()), "caption en", 12, new Sampling(1, 3, 1), seed, List.of(), 1e6f);
                List<Integer> ids = generator.answer(request, AnswerListener.NONE).tokens().stream()
                        .map(Answer.Token::id)
                        .toList();
                assertEquals(ids.size(), ids.stream().distinct().count(), ids.toString());
                assertEquals(
                        ids,
                        generator.answer(request, AnswerListener.NONE).tokens().stream()
                                .map(Answer.Token::id)
                                .toList());
            }
        }
    }

    private static final class Asked implements Question {
        private final Prepared prepared;
        private final StringBuilder text = new StringBuilder();
        private Answer answer;
        private RuntimeException refused;

        Asked(ModelDirectory directory, Request request) {
            prepared = Generator.prepare(directory, request);
        }

        @Override
        public Prepared prepared() {
            return prepared;
        }

        @Override
        public void text(String piece) {
            text.append(piece);
        }

        @Override
        public void answered(Answer given) {
            answer = given;
        }

        @Override
        public void refused(RuntimeException why) {
            refused = why;
        }
    }

    @Test
    void requestsDoNotDependOnEachOther() {
        List<String> prompts =
                List.of("answer en where is the cat sitting?", "caption en", "detect cat ; dog ; bird", "caption en");
        try (ModelDirectory directory = Families.open(Goldens.folder("paligemma-mqa"), Optional.empty());
                Generator shared = generator(directory)) {
            for (String prompt : prompts) {
                Answer alone;
                try (Generator fresh = generator(directory)) {
                    alone = fresh.answer(request(prompt, Sampling.GREEDY, 0), AnswerListener.NONE);
                }
                assertEquals(
                        alone.tokens(),
                        shared.answer(request(prompt, Sampling.GREEDY, 0), AnswerListener.NONE)
                                .tokens());
            }
        }
    }

    @Test
    void theSameSeedGivesTheSameAnswer() {
        try (ModelDirectory directory = Families.open(Goldens.folder("paligemma-mqa"), Optional.empty());
                Generator generator = generator(directory)) {
            Sampling sampling = new Sampling(1.5f, 40, 0.95f);
            Set<List<Answer.Token>> answers = new HashSet<>();
            for (long seed = 0; seed < 5; seed++) {
                List<Answer.Token> first = generator
                        .answer(request("caption en", sampling, seed), AnswerListener.NONE)
                        .tokens();
                assertEquals(
                        first,
                        generator
                                .answer(request("caption en", sampling, seed), AnswerListener.NONE)
                                .tokens());
                answers.add(first);
            }
            assertTrue(answers.size() > 1, "five seeds gave the same answer");
        }
    }

    @Test
    void piecesMakeUpTheText() {
        try (ModelDirectory directory = Families.open(Goldens.folder("paligemma-gqa"), Optional.empty());
                Generator generator = generator(directory)) {
            StringBuilder pieces = new StringBuilder();
            Answer answer = generator.answer(request("caption en", new Sampling(2, 0, 1), 3), pieces::append);
            assertEquals(answer.text(), pieces.toString());
            int[] ids = answer.tokens().stream().mapToInt(Answer.Token::id).toArray();
            assertEquals(directory.tokenizer().decode(ids, true), answer.text());
        }
    }

    @Test
    void refusesWhatDoesNotFit() {
        try (ModelDirectory directory = Families.open(Goldens.folder("paligemma-mqa"), Optional.empty());
                Generator generator = generator(directory)) {
            String longPrompt = "cat ".repeat(200);
            LimitException e = assertThrows(LimitException.class,
                    () -> generator.answer(request(longPrompt, Sampling.GREEDY, 0), AnswerListener.NONE));
            assertTrue(e.getMessage().contains("64"), e.getMessage());
            int positions = directory.describe().decoder().positions();
            assertThrows(LimitException.class, () -> Generator.open(directory, backend, new Limits(positions, 1),
                    Options.DEFAULT, RunListener.NONE, List.of()));
        }
    }

    @Test
    void saysSoWhenLogitsAreNotNumbers(@TempDir Path folder) throws IOException {
        Goldens.copy("paligemma-mqa", folder);
        Goldens.change(folder, "multi_modal_projector.linear.bias", Float.NaN);
        try (ModelDirectory directory = Families.open(folder, Optional.empty());
                Generator generator = generator(directory)) {
            BackendException e = assertThrows(BackendException.class,
                    () -> generator.answer(request("caption en", Sampling.GREEDY, 0), AnswerListener.NONE));
            assertTrue(e.getMessage().contains("not numbers"), e.getMessage());
        }
    }

    /**
     * Weights that were made for the model, as Gemma's 1 + w, are freed though the backend cannot free what it
     * prepared, and its failure is told.
     */
    @Test
    void closingGoesOnWhereTheExecutorFails() {
        try (ModelDirectory directory = Families.open(Goldens.folder("paligemma-mqa"), Optional.empty())) {
            List<MemorySegment> weights = new ArrayList<>();
            Generator generator = Generator.open(
                    directory, failing(weights), new Limits(64, 16), Options.DEFAULT, RunListener.NONE, List.of());
            assertTrue(weights.stream().allMatch(weight -> weight.scope().isAlive()));
            assertEquals("cannot be freed", assertThrows(BackendException.class, generator::close).getMessage());
            assertTrue(weights.stream().anyMatch(weight -> !weight.scope().isAlive()));
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

    private static float[] promptLogits(String golden, Options options) {
        try (ModelDirectory directory = Families.open(Goldens.folder(golden), Optional.empty())) {
            Views image = directory.processor().views(image());
            Prompt prompt = directory.processor().prompt("caption en", List.of(image));
            try (Generator generator = Generator.open(
                    directory,
                    backend,
                    new Limits(prompt.length(), 1),
                    options.withPromptRows(PromptRows.LOGITS),
                    RunListener.NONE,
                    List.of())) {
                generator.encodeViews(List.of(image));
                generator.prefill(prompt);
                return generator.read(generator.passes().prefill().output());
            }
        }
    }

    private static Generator generator(ModelDirectory directory) {
        return Generator.open(directory, backend, new Limits(64, 16), Options.DEFAULT, RunListener.NONE, List.of());
    }

    private static Request request(String prompt, Sampling sampling, long seed) {
        return new Request(image(), prompt, 12, sampling, seed);
    }

    private static RgbImage image() {
        return new ImageDecoder().decode(Goldens.folder("paligemma-mqa").resolve("input.png"));
    }
}
