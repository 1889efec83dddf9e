package stormsight.study;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.Goldens;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.RunListener;
import stormsight.generate.Generator;
import stormsight.generate.LimitException;
import stormsight.generate.Probability;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Prompt;
import stormsight.model.Views;
import stormsight.model.family.Families;
import stormsight.probe.Flow;
import stormsight.program.Tensor;
import stormsight.study.KnockoutSession.Settings;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Knockouts through the names of spans, on a model whose knockouts transformers has recorded. */
class KnockoutSessionTest {
    /** Softmax over F32 logits of sums in another order. */
    private static final double PROBABILITIES = 1e-5;
    private static final int MOST_TOKENS = 12;

    private interface Body {
        void run(KnockoutSession session, JsonNode expected) throws IOException;
    }

    private static void open(String golden, String backendName, Options options, Body body) throws IOException {
        JsonNode expected = JsonMapper.shared()
                .readTree(Files.readString(Goldens.folder(golden).resolve("expected.json")));
        try (ModelDirectory directory = Families.open(Goldens.folder(golden), Optional.empty());
                Backend backend = Backends.open(backendName, BackendOptions.DEFAULT)) {
            int longest = expected.get("prompts")
                    .valueStream()
                    .mapToInt(prompt -> prompt.get("ids").size())
                    .max()
                    .orElseThrow();
            try (KnockoutSession session = KnockoutSession.open(
                    directory, backend, new Limits(longest + 2, MOST_TOKENS), options, RunListener.NONE)) {
                body.run(session, expected);
            }
        }
    }

    private static RgbImage image(String golden) {
        return new ImageDecoder().decode(Goldens.folder(golden).resolve("input.png"));
    }

    private static Inquiry inquiry(JsonNode expected, String question) {
        return new Inquiry(
                image("paligemma-mqa"),
                expected.get("prompts").get(0).get("text").asString(),
                question,
                Optional.of(List.of(1, 2, 5)),
                MOST_TOKENS);
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "scalar"})
    void recordedKnockoutsAgree(String backend) throws IOException {
        // How the record names a flow, and how it is named here.
        Map<String, Flow> flows = Map.of(
                "none",
                Flow.ofEdges(""),
                "image->last",
                Flow.IMAGE_TO_LAST,
                "question->last",
                Flow.QUESTION_TO_LAST,
                "last->last",
                Flow.LAST_TO_LAST,
                "image->question",
                Flow.IMAGE_TO_QUESTION,
                "question->image",
                Flow.QUESTION_TO_IMAGE,
                "image->question+question->image",
                Flow.BOTH_WAYS,
                "patches->question",
                Flow.OBJECT_TO_QUESTION);
        open("paligemma-mqa", backend, Options.DEFAULT, (session, expected) -> {
            KnockoutSession.Asked asked = session.ask(inquiry(
                    expected,
                    expected.get("knockout_positions").get("question_text").asString()));
            assertEquals(
                    ints(expected.get("knockout_positions").get("question")),
                    asked.layout(false).tokens("question"));
            int compared = 0;
            for (JsonNode experiment : expected.get("knockout")) {
                assertEquals(
                        experiment.get("base_token").asInt(), asked.answerIds().getFirst());
                assertEquals(experiment.get("p_base").asDouble(), asked.baseProbability(false), PROBABILITIES);
                for (String edge : experiment.get("edges").propertyNames()) {
                    double[] found = asked.knockOut(
                            flows.get(edge), new Settings(experiment.get("k").asInt(), Set.of(), false));
                    double[] wanted = experiment
                            .get("edges")
                            .get(edge)
                            .get("p_ko")
                            .valueStream()
                            .mapToDouble(JsonNode::asDouble)
                            .toArray();
                    assertArrayEquals(wanted, found, PROBABILITIES, edge);
                    compared++;
                }
            }
            assertEquals(2 * flows.size(), compared);
            // Any tokens do as well as a name.
            assertArrayEquals(
                    asked.knockOut(Flow.OBJECT_TO_QUESTION, new Settings(3, Set.of(), false)),
                    asked.knockOut(Flow.ofEdges("1-2->32-37,5->question"), new Settings(3, Set.of(), false)));
        });
    }

    /** Logits of every token of the prompt, of which only the last one's count. */
    @Test
    void everyRowChangesNothing() throws IOException {
        open("paligemma-mqa", "cpu", Options.DEFAULT.withPromptRows(Options.PromptRows.LOGITS), (session, expected) -> {
            double found = session.ask(inquiry(expected, "the cat")).baseProbability(false);
            assertEquals(expected.get("knockout").get(0).get("p_base").asDouble(), found, PROBABILITIES);
        });
    }

    private static List<Integer> ints(JsonNode array) {
        return array.valueStream().map(JsonNode::asInt).toList();
    }

    /** The base is what the model computes without any probe, and an empty flow is the base, bit for bit. */
    @ParameterizedTest
    @ValueSource(strings = {"cpu", "scalar"})
    void noEdgesChangeNothing(String backendName) throws IOException {
        open("paligemma-mqa", backendName, Options.DEFAULT, (session, expected) -> {
            Inquiry inquiry = inquiry(expected, "the cat");
            KnockoutSession.Asked asked = session.ask(inquiry);
            for (boolean whole : new boolean[] {false, true}) {
                double[] unchanged = new double[session.layers()];
                Arrays.fill(unchanged, asked.baseProbability(whole));
                assertArrayEquals(unchanged, asked.knockOut(Flow.ofEdges(""), new Settings(2, Set.of(), whole)));
            }
            assertEquals(plainProbability(backendName, inquiry), asked.baseProbability(false));
        });
    }

    private static double plainProbability(String backendName, Inquiry inquiry) {
        try (ModelDirectory directory = Families.open(Goldens.folder("paligemma-mqa"), Optional.empty());
                Backend backend = Backends.open(backendName, BackendOptions.DEFAULT)) {
            Views image = directory.processor().views(inquiry.image());
            Prompt prompt = directory.processor().prompt(inquiry.prompt(), List.of(image));
            try (Generator generator = Generator.open(
                    directory, backend, new Limits(prompt.length(), 1), Options.DEFAULT, RunListener.NONE, List.of())) {
                generator.encodeViews(List.of(image));
                generator.prefill(prompt);
                Tensor logits = generator.passes().prefill().output();
                return Probability.of(generator.read(logits), 0, logits.columns(), generator.token());
            }
        }
    }

    @Test
    void allHeadsAreTheSumOfHeads() throws IOException {
        open("paligemma-mqa", "cpu", Options.DEFAULT, (session, expected) -> {
            KnockoutSession.Asked asked = session.ask(inquiry(expected, "the cat"));
            double[] all = asked.knockOut(Flow.IMAGE_TO_LAST, new Settings(1, Set.of(), false));
            assertArrayEquals(all, asked.knockOut(Flow.IMAGE_TO_LAST, new Settings(1, Set.of(0, 1, 2), false)));
            double[] first = asked.knockOut(Flow.IMAGE_TO_LAST, new Settings(1, Set.of(0), false));
            double[] others = asked.knockOut(Flow.IMAGE_TO_LAST, new Settings(1, Set.of(1, 2), false));
            assertFalse(Arrays.equals(all, first));
            assertFalse(Arrays.equals(all, others));
            assertFalse(Arrays.equals(first, others));
        });
    }

    /**
     * Two generated tokens cannot see the image: the first of the answer, which the prompt predicts, does not care, the
     * whole answer does.
     */
    @Test
    void theWholeAnswerCountsGeneratedTokens() throws IOException {
        open("paligemma-mqa", "cpu", Options.DEFAULT, (session, expected) -> {
            KnockoutSession.Asked asked = session.ask(inquiry(expected, "the cat"));
            assertTrue(asked.answerIds().size() > 2);
            assertTrue(asked.baseProbability(true) < asked.baseProbability(false));
            Flow flow = Flow.ofEdges("image->generated");
            double[] found = asked.knockOut(flow, new Settings(9, Set.of(), true));
            assertTrue(Math.abs(found[0] - asked.baseProbability(true)) > 1e-6 * asked.baseProbability(true));
            assertEquals(
                    "image->generated: span 'generated': nothing is generated before the token that counts",
                    assertThrows(
                                    IllegalArgumentException.class,
                                    () -> asked.knockOut(flow, new Settings(9, Set.of(), false)))
                            .getMessage());
        });
    }

    @Test
    void refusalsNameTokenAndLayers() throws IOException {
        open("paligemma-mqa", "cpu", Options.DEFAULT, (session, expected) -> {
            KnockoutSession.Asked asked = session.ask(inquiry(expected, "the cat"));
            Flow blind = Flow.ofEdges("0-38->last");
            assertEquals(
                    "0-38->last: leaves token 38 ('\\n', last) nothing to see in layers 0 to 1",
                    assertThrows(
                                    IllegalArgumentException.class,
                                    () -> asked.knockOut(blind, new Settings(3, Set.of(), false)))
                            .getMessage());
            assertEquals(
                    "0-38->last: leaves token 38 ('\\n', last) nothing to see in layer 0, heads 0, 2",
                    assertThrows(
                                    IllegalArgumentException.class,
                                    () -> asked.knockOut(blind, new Settings(1, Set.of(2, 0), false)))
                            .getMessage());
            assertTrue(assertThrows(
                            IllegalArgumentException.class,
                            () -> asked.knockOut(Flow.IMAGE_TO_LAST, new Settings(1, Set.of(3), false)))
                    .getMessage()
                    .contains("head 3"));
            assertTrue(assertThrows(IllegalArgumentException.class, () -> session.ask(inquiry(expected, "the dog")))
                    .getMessage()
                    .contains("does not hold \"the dog\""));
            session.ask(inquiry(expected, "the cat"));
            assertThrows(IllegalStateException.class, () -> asked.knockOut(Flow.IMAGE_TO_LAST, Settings.DEFAULT));
        });
    }

    /** The session serves prompts shorter than it was prepared for, in any order. */
    @Test
    void servesOneQuestionAfterAnother() throws IOException {
        open("paligemma2", "cpu", Options.DEFAULT.withSlidingWindow(true), (session, expected) -> {
            RgbImage pixels = image("paligemma2");
            double[][] first = new double[2][];
            for (int round = 0; round < 2; round++) {
                for (int p = 0; p < expected.get("prompts").size(); p++) {
                    String text = expected.get("prompts").get(p).get("text").asString();
                    KnockoutSession.Asked asked = session.ask(new Inquiry(pixels, text, text, Optional.empty(), 2));
                    double[] found = asked.knockOut(Flow.IMAGE_TO_LAST, new Settings(1, Set.of(), true));
                    if (round == 0) {
                        first[p] = found;
                    } else {
                        assertArrayEquals(first[p], found);
                    }
                }
            }
            assertThrows(
                    LimitException.class,
                    () -> session.ask(new Inquiry(pixels, "x ".repeat(500), "x", Optional.empty(), 2)));
        });
    }
}
