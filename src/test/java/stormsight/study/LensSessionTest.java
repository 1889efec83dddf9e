package stormsight.study;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.Goldens;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.RunListener;
import stormsight.checkpoint.Checkpoint;
import stormsight.generate.Generator;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Options.PromptRows;
import stormsight.model.Prompt;
import stormsight.model.Views;
import stormsight.model.family.Families;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class LensSessionTest {
    /** Softmax over F32 logits of sums in another order. */
    private static final double PROBABILITIES = 1e-5;
    /** Sums of one row in another order than those of many. */
    private static final float LOGITS = 2e-4f;

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "scalar"})
    void recordedProbabilitiesAgree(String backendName) throws IOException {
        Path folder = Goldens.folder("paligemma-mqa");
        JsonNode expected = JsonMapper.shared().readTree(Files.readString(folder.resolve("expected.json")));
        String prompt = expected.get("prompts").get(0).get("text").asString();
        int token = expected.get("knockout").get(0).get("base_token").asInt();
        try (ModelDirectory directory = Families.open(folder, Optional.empty());
                Backend backend = Backends.open(backendName, BackendOptions.DEFAULT);
                Checkpoint values = Checkpoint.openFile(folder.resolve("expected.safetensors"));
                LensSession session = LensSession.open(directory, backend,
                        new Limits(directory.promptTokensAtMost(prompt), 12), Options.DEFAULT, RunListener.NONE)) {
            RgbImage image = new ImageDecoder().decode(folder.resolve("input.png"));
            LensSession.States states =
                    session.ask(new Inquiry(image, prompt, prompt, Optional.empty(), 12), LensSession.LAST);
            assertArrayEquals(recorded(values, "p0.lens_probs"), states.probability(token, false), PROBABILITIES);
            assertArrayEquals(recorded(values, "p0.lens_probs_normed"), states.probability(token, true), PROBABILITIES);
            assertEquals(directory.describe().decoder().layers() + 1, states.probability(token, false).length);
        }
    }

    /** Behind the last layer a position's state makes the logits that the prompt has there. */
    @ParameterizedTest
    @ValueSource(strings = {"cpu", "scalar"})
    void theLastDepthIsThePromptsLogits(String backendName) throws IOException {
        Path folder = Goldens.folder("paligemma-mqa");
        RgbImage image = new ImageDecoder().decode(folder.resolve("input.png"));
        String text = "caption en the cat";
        Inquiry inquiry = new Inquiry(image, text, text, Optional.empty(), 1);
        try (ModelDirectory directory = Families.open(folder, Optional.empty());
                Backend backend = Backends.open(backendName, BackendOptions.DEFAULT)) {
            Limits limits = new Limits(directory.promptTokensAtMost(text), 1);
            List<Views> views = List.of(directory.processor().views(image));
            Prompt prompt = directory.prompt(text, views);
            float[] each = logits(directory, backend, limits, PromptRows.LOGITS, views, prompt);
            float[] last = logits(directory, backend, limits, PromptRows.STATES, views, prompt);
            try (LensSession session =
                    LensSession.open(directory, backend, limits, Options.DEFAULT, RunListener.NONE)) {
                for (int position = 0; position < prompt.length(); position++) {
                    LensSession.States states = session.ask(inquiry, position);
                    assertEquals(position, states.place().position());
                    assertEquals(prompt.isImage(position), states.place().token().isEmpty());
                    int vocabulary = states.vocabulary();
                    assertArrayEquals(
                            Arrays.copyOfRange(each, position * vocabulary, (position + 1) * vocabulary),
                            lastDepth(states),
                            LOGITS,
                            "position " + position);
                    assertArrayEquals(
                            states.normed(), session.ask(inquiry, position - prompt.length()).normed());
                }
                // One row as one row, bit for bit.
                assertArrayEquals(last, lastDepth(session.ask(inquiry, LensSession.LAST)));
            }
        }
    }

    private static float[] lastDepth(LensSession.States states) {
        return Arrays.copyOfRange(
                states.normed(), states.normed().length - states.vocabulary(), states.normed().length);
    }

    private static float[] logits(
            ModelDirectory directory,
            Backend backend,
            Limits limits,
            PromptRows rows,
            List<Views> views,
            Prompt prompt) {
        try (Generator generator =
                Generator.open(directory, backend, limits, Options.DEFAULT.withPromptRows(rows), RunListener.NONE,
                        List.of())) {
            generator.encodeViews(views);
            generator.prefill(prompt);
            return generator.read(generator.passes().prefill().output());
        }
    }

    private static double[] recorded(Checkpoint values, String name) {
        float[] floats = values.f32(List.of(name)).layers().getFirst().toArray(ValueLayout.JAVA_FLOAT);
        double[] doubles = new double[floats.length];
        for (int i = 0; i < floats.length; i++) {
            doubles[i] = floats[i];
        }
        return doubles;
    }
}
