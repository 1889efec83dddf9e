package stormsight.generate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
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
import stormsight.model.Pass;
import stormsight.model.Passes;
import stormsight.model.Prompt;
import stormsight.model.Stage;
import stormsight.model.Views;
import stormsight.model.family.Families;
import stormsight.probe.Probe;
import stormsight.probe.Probes;
import stormsight.program.Program;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A probe of one's own, in one class, against recorded values. */
class ProbeTest {
    private static final String GOLDEN = "paligemma-mqa";
    /** Lengths of hidden states of some units, each element within 1e-4. */
    private static final double TOLERANCE = 1e-3;

    /**
     * Length of the last prompt token's hidden state after each decoder layer: the example of the package's
     * documentation.
     */
    private static final class StateLengths implements Probe {
        private Probes.Probed states;
        private double[] lengths;
        private final List<Pass> rewritten = new ArrayList<>();

        @Override
        public Program add(Pass pass, Program program, Passes passes) {
            rewritten.add(pass);
            if (pass != Pass.PREFILL) {
                return program;
            }
            states = Probes.copy(
                    program,
                    passes.stage(Stage.DECODER_LAYERS).segment(),
                    passes.stage(Stage.DECODER_LAYERS).result(),
                    "state_lengths");
            return states.program();
        }

        @Override
        public void read(Pass pass, Outputs outputs) {
            if (pass == Pass.PREFILL) {
                int tokens = states.output().rows();
                int width = states.output().columns();
                float[] all = outputs.read(states.output());
                lengths = new double[states.output().layers()];
                for (int layer = 0; layer < lengths.length; layer++) {
                    for (int i = 0; i < width; i++) {
                        lengths[layer] += Math.pow(all[((layer + 1) * tokens - 1) * width + i], 2);
                    }
                    lengths[layer] = Math.sqrt(lengths[layer]);
                }
            }
        }
    }

    @Test
    void aProbeInOneClassReadsWhatTheReferenceRecorded() throws IOException {
        JsonNode recorded = JsonMapper.shared()
                .readTree(Files.readString(Goldens.folder(GOLDEN).resolve("expected.json")))
                .get("prompts")
                .get(0);
        StateLengths lengths = new StateLengths();
        try (ModelDirectory directory = Families.open(Goldens.folder(GOLDEN), Optional.empty());
                Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
            Views image = directory
                    .processor()
                    .views(new ImageDecoder().decode(Goldens.folder(GOLDEN).resolve("input.png")));
            Prompt prompt = directory.processor().prompt(recorded.get("text").asString(), List.of(image));
            int most = recorded.get("greedy").size();
            try (Generator generator = Generator.open(
                    directory,
                    backend,
                    new Limits(prompt.length(), most),
                    Options.DEFAULT,
                    RunListener.NONE,
                    List.of(lengths))) {
                generator.encodeViews(List.of(image));
                List<Integer> answer = generator.greedy(prompt, most);
                assertEquals(List.of(Probe.Pass.values()), lengths.rewritten);
                // The probe does not change the answer.
                assertEquals(recorded.get("greedy").valueStream().map(JsonNode::asInt).toList(), answer);
            }
            try (Checkpoint values = Checkpoint.openFile(Goldens.folder(GOLDEN).resolve("expected.safetensors"))) {
                float[] layers =
                        values.f32(List.of("p0.dec.layers")).layers().getFirst().toArray(ValueLayout.JAVA_FLOAT);
                int width = directory.describe().decoder().hiddenSize();
                assertEquals(directory.describe().decoder().layers(), lengths.lengths.length);
                for (int layer = 0; layer < lengths.lengths.length; layer++) {
                    double square = 0;
                    for (int i = 0; i < width; i++) {
                        square += Math.pow(layers[((layer + 1) * prompt.length() - 1) * width + i], 2);
                    }
                    assertNotEquals(0, square);
                    assertEquals(Math.sqrt(square), lengths.lengths[layer], TOLERANCE);
                }
            }
        }
    }
}
