package stormsight.probe;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.Goldens;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.Executor;
import stormsight.backend.RunListener;
import stormsight.image.ImageDecoder;
import stormsight.model.ModelDirectory;
import stormsight.model.PaliGemma;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Step;
import stormsight.program.Tensor;

class ProbesTest {
    /** A sum of F32 probabilities. */
    private static final double ROUNDING = 1e-5;

    private ModelDirectory directory;
    private Arena arena;
    private PaliGemma model;
    private int[] prompt;

    @BeforeEach
    void open() {
        directory = ModelDirectory.open(Goldens.folder("paligemma-mqa"), Optional.empty());
        arena = Arena.ofShared();
        prompt = directory.prompt("caption en").ids();
        model = PaliGemma.bind(directory.config(), directory.checkpoint(), arena, new PaliGemma.Limits(prompt.length, 1),
                PaliGemma.Options.DEFAULT);
    }

    @AfterEach
    void close() {
        arena.close();
        directory.close();
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "scalar"})
    void aKnockoutOfNoEdgesChangesNothing(String backend) {
        float[] plain = logits(backend, model.prefill());
        Probes.Knockout knockout = Probes.knockout(model.prefill(), model.decoderLayers().segment(), prompt.length);
        int[] everyLayer = new int[directory.config().text().layers() * directory.config().text().heads().queryHeads()];
        Arrays.fill(everyLayer, 1);
        byte[] edges = new byte[prompt.length * prompt.length];
        assertArrayEquals(plain, logits(backend, knockout.program(), knockout, edges, everyLayer));
        // The same holds for edges in no layer, and edges in layers do matter.
        Arrays.fill(edges, (prompt.length - 1) * prompt.length, prompt.length * prompt.length - 1, (byte) 1);
        assertArrayEquals(plain, logits(backend, knockout.program(), knockout, edges, new int[everyLayer.length]));
        assertFalse(Arrays.equals(plain, logits(backend, knockout.program(), knockout, edges, everyLayer)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "scalar"})
    void tracesChangeNothingAndRowsOfAttentionSumToOne(String backendName) {
        float[] plain = logits(backendName, model.prefill());
        Probes.Probed weights = Probes.attentionWeights(model.prefill(), model.decoderLayers().segment(), prompt.length, "weights");
        Probes.Probed states = Probes.copy(weights.program(), model.decoderLayers().segment(), model.decoderLayers().result(), "states");
        try (Backend backend = Backends.open(backendName, BackendOptions.DEFAULT);
                Executor executor = backend.prepare(model.weights(), List.of(model.encode(), states.program()), RunListener.NONE)) {
            run(executor, states.program());
            assertArrayEquals(plain, read(executor, model.promptLogits()));
            float[] rows = read(executor, weights.output());
            for (int row = 0; row < rows.length / prompt.length; row++) {
                double sum = 0;
                for (int key = 0; key < prompt.length; key++) {
                    sum += rows[row * prompt.length + key];
                }
                assertEquals(1, sum, ROUNDING);
            }
        }
    }

    @Test
    void anOrdinaryProgramHoldsNoProbe() {
        for (Program program : model.programs()) {
            assertFalse(program.segments().stream().flatMap(segment -> segment.ops().stream()).anyMatch(op ->
                    op instanceof Op.Copy || op instanceof Op.AttentionWeights || op instanceof Op.AttentionPeak || op instanceof Op.RowMax
                            || op instanceof Op.BlockedAttention), program.name());
        }
    }

    @Test
    void refusesWhatIsNotThere() {
        assertThrows(IllegalArgumentException.class, () -> Probes.attentionWeights(model.prefill(), "no such segment", 8, "x"));
        assertThrows(IllegalArgumentException.class,
                () -> Probes.attentionWeights(model.prefill(), model.decoderEmbeddings().segment(), 8, "x"));
        assertThrows(IllegalArgumentException.class,
                () -> Probes.copy(model.prefill(), model.decoderEmbeddings().segment(), model.token(), "x"));
    }

    private float[] logits(String backendName, Program program) {
        return logits(backendName, program, null, null, null);
    }

    private float[] logits(String backendName, Program program, Probes.Knockout knockout, byte[] edges, int[] layers) {
        try (Backend backend = Backends.open(backendName, BackendOptions.DEFAULT);
                Executor executor = backend.prepare(model.weights(), List.of(model.encode(), program), RunListener.NONE)) {
            if (knockout != null) {
                executor.write(knockout.blocked(), arena.allocateFrom(ValueLayout.JAVA_BYTE, edges));
                executor.write(knockout.flags(), arena.allocateFrom(ValueLayout.JAVA_INT, layers));
            }
            run(executor, program);
            return read(executor, model.promptLogits());
        }
    }

    private void run(Executor executor, Program program) {
        MemorySegment patches = arena.allocate(model.patches().bytes());
        directory.preprocessing().writePatches(new ImageDecoder().decode(Goldens.folder("paligemma-mqa").resolve("input.png")),
                directory.config().vision().patchSize(), patches);
        executor.write(model.patches(), patches);
        int tokens = directory.config().vision().tokens();
        executor.run(model.encode(), new Step(0, tokens, tokens));
        executor.write(model.promptIds(), arena.allocateFrom(ValueLayout.JAVA_INT, prompt));
        executor.run(program, new Step(0, prompt.length, prompt.length));
    }

    private float[] read(Executor executor, Tensor output) {
        MemorySegment data = arena.allocate(output.bytes());
        executor.read(output, data);
        return data.toArray(ValueLayout.JAVA_FLOAT);
    }
}
