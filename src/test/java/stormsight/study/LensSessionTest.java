package stormsight.study;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
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
import stormsight.image.ImageDecoder;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.family.Families;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class LensSessionTest {
    /** Softmax over F32 logits of sums in another order. */
    private static final double PROBABILITIES = 1e-5;

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
            LensSession.States states = session.ask(new Inquiry(
                    new ImageDecoder().decode(folder.resolve("input.png")), prompt, prompt, Optional.empty(), 12));
            assertArrayEquals(recorded(values, "p0.lens_probs"), states.probability(token, false), PROBABILITIES);
            assertArrayEquals(recorded(values, "p0.lens_probs_normed"), states.probability(token, true), PROBABILITIES);
            assertEquals(directory.describe().decoder().layers() + 1, states.probability(token, false).length);
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
