package stormsight;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import stormsight.model.family.EmbeddedModel;

/** The library, as programs use it. */
@Timeout(120)
class StormsightTest {
    private static final Path KITCHEN = Path.of("examples", "kitchen.png");
    private static final Path GRAVEL = Path.of("examples", "gravel.png");
    private static final String CAPTION = "a red triangle, a purple star and a blue triangle";
    private static final int THREADS = 16;

    private static Stormsight model;

    @BeforeAll
    static void open() {
        model = Stormsight.embedded().backend("cpu").threads(2).open();
    }

    @AfterAll
    static void close() {
        model.close();
        model.close();
    }

    private static StormsightException.Kind kindOf(Runnable call) {
        return assertThrows(StormsightException.class, call::run).kind();
    }

    @Test
    void piecesMakeTheAnswer() {
        List<String> pieces = new ArrayList<>();
        Answer answer = model.ask(Question.of(Image.read(KITCHEN), "caption en"), pieces::add);
        assertEquals(CAPTION, answer.text());
        assertEquals(CAPTION, String.join("", pieces));
        assertTrue(pieces.size() > 5, pieces.toString());
        assertTrue(answer.complete());
        assertTrue(answer.tokens().stream().allMatch(token -> token.logProbability() <= 0));
        Answer cut = model.ask(Question.of(Image.read(KITCHEN), "caption en").withMaxTokens(3));
        assertFalse(cut.complete());
        assertEquals(answer.tokens().subList(0, 3), cut.tokens());
    }

    @Test
    void imagesOfEveryOriginAreTheSame() throws IOException {
        for (Image image : List.of(Image.read(KITCHEN), Image.decode(Files.readAllBytes(KITCHEN)),
                Image.of(ImageIO.read(KITCHEN.toFile())))) {
            assertEquals(CAPTION, model.ask(image, "caption en").text());
        }
    }

    /** Every example question, asked by many threads at once: each gets the answer that it gets alone. */
    @Test
    void threadsGetTheirOwnAnswers() throws InterruptedException {
        List<EmbeddedModel.Example> examples = EmbeddedModel.examples();
        Map<String, Image> images = examples.stream()
                .map(EmbeddedModel.Example::image)
                .distinct()
                .collect(Collectors.toMap(name -> name, name -> Image.read(Path.of("examples", name))));
        List<Question> questions = examples.stream()
                .map(example -> Question.of(images.get(example.image()), example.prompt()))
                .toList();
        List<String> alone = questions.stream().map(question -> model.ask(question).text()).toList();
        assertTrue(alone.stream().distinct().count() > 5, alone.toString());
        Map<Integer, String> together = new ConcurrentHashMap<>();
        List<Thread> threads = IntStream.range(0, THREADS)
                .mapToObj(i -> Thread.ofVirtual().start(() -> together.put(
                        i, model.ask(questions.get(i % questions.size())).text())))
                .toList();
        for (Thread thread : threads) {
            thread.join();
        }
        for (int i = 0; i < THREADS; i++) {
            assertEquals(alone.get(i % alone.size()), together.get(i));
        }
        assertEquals(alone, model.askAll(questions).stream().map(Answer::text).toList());
    }

    @Test
    void theSameSeedDrawsTheSame() {
        Question drawn = Question.of(Image.read(KITCHEN), "caption en").withSampling(2, 0, 1, 7);
        assertEquals(model.ask(drawn), model.ask(drawn));
        assertTrue(IntStream.range(0, 8)
                        .mapToObj(seed -> model.ask(drawn.withSampling(2, 0, 1, seed)).text())
                        .distinct()
                        .count()
                > 1);
    }

    /** Drawn answers of many questions, some about the same image: each is the one that is drawn alone. */
    @Test
    void manyAtOnceAreAnsweredAsEachAlone() throws InterruptedException {
        Image kitchen = Image.read(KITCHEN);
        Image sunset = Image.read(Path.of("examples", "sunset.png"));
        List<Question> questions = IntStream.range(0, 20)
                .mapToObj(i -> Question.of(i % 7 < 3 ? kitchen : sunset, i % 2 == 0 ? "caption en" : "detect star")
                        .withSampling(i % 3, 0, 1, i)
                        .withMaxTokens(1 + i % 11))
                .toList();
        List<Answer> alone = questions.stream().map(model::ask).toList();
        assertTrue(alone.stream().map(Answer::text).distinct().count() > 8);
        assertEquals(alone, model.askAll(questions));
        try (Stormsight three = Stormsight.embedded().backend("cpu").threads(2).parallel(3).open()) {
            assertEquals(alone, three.askAll(questions));
        }
        Map<Integer, List<Answer>> together = new ConcurrentHashMap<>();
        List<Thread> threads = IntStream.range(0, 4)
                .mapToObj(i -> Thread.ofVirtual()
                        .start(() -> together.put(i, model.askAll(questions.subList(5 * i, 5 * i + 5)))))
                .toList();
        for (Thread thread : threads) {
            thread.join();
        }
        for (int i = 0; i < 4; i++) {
            assertEquals(alone.subList(5 * i, 5 * i + 5), together.get(i));
        }
        assertEquals(List.of(), model.askAll(List.of()));
    }

    /** The first question that fails is told of, although images are cut ahead. */
    @Test
    void theFirstFailureIsTold() {
        try (Stormsight llava = Stormsight.model(Goldens.folder("llava-chat")).backend("cpu").threads(2).open()) {
            Question good = Question.of(Image.read(KITCHEN), "what is it?").withMaxTokens(1);
            Image line = Image.of(new BufferedImage(1, 1_000_000, BufferedImage.TYPE_INT_RGB));
            Question thin = Question.of(line, "what is it?").withMaxTokens(1);
            StormsightException e =
                    assertThrows(StormsightException.class, () -> llava.askAll(List.of(good, good, thin)));
            assertEquals(StormsightException.Kind.IMAGE, e.kind());
            assertTrue(e.getMessage().contains("question 3: image 1: "), e.getMessage());
            assertEquals(StormsightException.Kind.IMAGE, kindOf(() -> llava.ask(thin)));
            assertEquals(
                    StormsightException.Kind.TOO_LONG,
                    kindOf(() -> llava.askAll(List.of(good, good.withMaxTokens(100_000), thin))));
            assertEquals(2, llava.askAll(List.of(good, good)).size());
        }
    }

    /** One question that fails ends them all; an interrupt does, too; and the next are answered as ever. */
    @Test
    void oneThatFailsEndsThemAll() throws InterruptedException {
        Image image = Image.read(KITCHEN);
        Question caption = Question.of(image, "caption en");
        assertEquals(StormsightException.Kind.TOO_LONG,
                kindOf(() -> model.askAll(List.of(caption, caption.withMaxTokens(100_000), caption))));
        Map<String, Boolean> ended = new ConcurrentHashMap<>();
        Thread asking = Thread.ofPlatform().start(() -> {
            Thread.currentThread().interrupt();
            try {
                model.askAll(List.of(caption, caption));
            } catch (CancellationException e) {
                ended.put("interrupted", Thread.currentThread().isInterrupted());
            }
        });
        asking.join();
        assertEquals(Map.of("interrupted", true), ended);
        assertEquals(List.of(CAPTION, CAPTION),
                model.askAll(List.of(caption, caption)).stream().map(Answer::text).toList());
    }

    /** A listener that throws gives the answer up, and the next question is answered as ever. */
    @Test
    void aListenerMayGiveUp() {
        assertThrows(UncheckedIOException.class, () -> model.ask(
                Question.of(Image.read(KITCHEN), "caption en"), piece -> {
                    throw new UncheckedIOException(new IOException("gone"));
                }));
        assertEquals(CAPTION, model.ask(Image.read(KITCHEN), "caption en").text());
    }

    @Test
    void whatIsWrongIsNamed() {
        assertEquals(StormsightException.Kind.IMAGE, kindOf(() -> Image.read(Path.of("pom.xml"))));
        assertEquals(StormsightException.Kind.IMAGE, kindOf(() -> Image.decode(new byte[100])));
        assertEquals(StormsightException.Kind.MODEL, kindOf(() -> Stormsight.model(Path.of("no-such-model")).open()));
        assertEquals(StormsightException.Kind.BACKEND, kindOf(() -> Stormsight.embedded().backend("none").open()));
        assertEquals(StormsightException.Kind.MODEL, kindOf(() -> model.embed("a star")));
        Image image = Image.read(KITCHEN);
        assertEquals(StormsightException.Kind.TOO_LONG, kindOf(() -> model.ask(image, "caption en ".repeat(300))));
        assertEquals(StormsightException.Kind.TOO_LONG,
                kindOf(() -> model.ask(Question.of(image, "caption en").withMaxTokens(100_000))));
        assertThrows(IllegalArgumentException.class, () -> Question.of(image, "caption en").withMaxTokens(0));
        assertThrows(IllegalArgumentException.class,
                () -> new Question(List.of(), "caption en", 10, 0, 0, 1, 0, 1));
    }

    @Test
    void embeddingsHaveLengthOne() {
        try (Stormsight siglip = Stormsight.model(Path.of("models", "shapes-dual")).backend("cpu").open()) {
            Image image = Image.read(KITCHEN);
            float[] embedding = siglip.embed(image);
            double squares = 0;
            for (float value : embedding) {
                squares += (double) value * value;
            }
            assertEquals(1, squares, 1e-5);
            assertArrayEquals(embedding, siglip.embed(image));
            List<float[]> images = siglip.embedImages(List.of(Image.read(GRAVEL), image));
            assertEquals(2, images.size());
            assertArrayEquals(embedding, images.getLast());
            assertArrayEquals(siglip.embed("a star"), siglip.embedTexts(List.of("a ring", "a star")).getLast());
            assertEquals(List.of(), siglip.embedTexts(List.of()));
            assertEquals(StormsightException.Kind.MODEL, kindOf(() -> siglip.ask(image, "caption en")));
        }
    }

    /** Closing ends what is under way, and what comes later. */
    @Test
    void closingEndsCalls() throws InterruptedException {
        Stormsight closing = Stormsight.embedded().backend("cpu").threads(1).open();
        Image image = Image.read(KITCHEN);
        Map<Integer, String> ends = new ConcurrentHashMap<>();
        List<Thread> threads = IntStream.range(0, THREADS)
                .mapToObj(i -> Thread.ofVirtual().start(() -> {
                    try {
                        while (true) {
                            if (i % 2 == 0) {
                                closing.ask(image, "caption en");
                            } else {
                                closing.askAll(Collections.nCopies(50, Question.of(image, "caption en")));
                            }
                        }
                    } catch (CancellationException e) {
                        ends.put(i, "cancelled");
                    }
                }))
                .toList();
        Thread.sleep(200);
        closing.close();
        for (Thread thread : threads) {
            thread.join();
        }
        assertEquals(THREADS, ends.size());
        assertThrows(CancellationException.class, () -> closing.ask(image, "caption en"));
        assertThrows(
                CancellationException.class, () -> closing.askAll(List.of(Question.of(image, "caption en"))));
    }
}
