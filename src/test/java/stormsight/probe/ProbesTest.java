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
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Options.PromptRows;
import stormsight.model.Passes;
import stormsight.model.Stage;
import stormsight.model.Views;
import stormsight.model.family.Families;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Step;
import stormsight.program.Tensor;

class ProbesTest {
    /** A sum of F32 probabilities. */
    private static final double ROUNDING = 1e-5;

    private ModelDirectory directory;
    private Arena arena;
    private ModelDirectory.Bound bound;
    private Passes model;
    private Views image;
    private int[] prompt;

    @BeforeEach
    void open() {
        directory = Families.open(Goldens.folder("paligemma-mqa"), Optional.empty());
        arena = Arena.ofShared();
        image = directory
                .processor()
                .views(new ImageDecoder().decode(Goldens.folder("paligemma-mqa").resolve("input.png")));
        prompt = directory.processor().prompt("caption en", List.of(image)).ids();
        bound = directory.bind(arena, new Limits(prompt.length, 1),
                Options.DEFAULT.withPromptRows(PromptRows.STATES));
        model = bound.passes();
    }

    private Stage layers() {
        return model.stage(Stage.DECODER_LAYERS);
    }

    @AfterEach
    void close() {
        arena.close();
        directory.close();
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "scalar"})
    void aKnockoutOfNoEdgesChangesNothing(String backend) {
        float[] plain = logits(backend, model.prefill().program());
        Probes.Knockout knockout = Probes.knockout(model.prefill().program(), layers().segment(), prompt.length);
        int[] everyLayer = new int
                [directory.describe().decoder().layers()
                        * directory.describe().decoder().heads().queryHeads()];
        Arrays.fill(everyLayer, 1);
        byte[] edges = new byte[prompt.length * prompt.length];
        assertArrayEquals(plain, logits(backend, knockout.program(), knockout, edges, everyLayer));
        // The same holds for edges in no layer, and edges in layers do matter.
        Arrays.fill(edges, (prompt.length - 1) * prompt.length, prompt.length * prompt.length - 1, (byte) 1);
        assertArrayEquals(plain, logits(backend, knockout.program(), knockout, edges, new int[everyLayer.length]));
        assertFalse(Arrays.equals(plain, logits(backend, knockout.program(), knockout, edges, everyLayer)));
    }

    /** Behind the last layer there would be what the one before it left. */
    @Test
    void statesThatAreNotComputedAreNotRead() {
        Program shorter = directory.unbound(new Limits(prompt.length, 1), Options.DEFAULT).prefill().program();
        String why = assertThrows(
                IllegalArgumentException.class,
                () -> Probes.copy(shorter, layers().segment(), layers().result(), "states")).getMessage();
        assertEquals("prefill, decoder.layers:3 does not write prefill.x, which is read there", why);
        assertThrows(
                IllegalArgumentException.class,
                () -> Probes.lens(shorter, layers().segment(), layers().result(), Probes.lensRow(prompt.length),
                        (state, logits) -> model.readOut().ops(state, logits, false),
                        model.prefill().output().columns(), "lens"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "scalar"})
    void tracesChangeNothingAndRowsOfAttentionSumToOne(String backendName) {
        float[] plain = logits(backendName, model.prefill().program());
        Probes.Probed weights =
                Probes.attentionWeights(model.prefill().program(), layers().segment(), prompt.length, "weights");
        Probes.Probed states = Probes.copy(weights.program(), layers().segment(), layers().result(), "states");
        try (Backend backend = Backends.open(backendName, BackendOptions.DEFAULT);
                Executor executor = backend.prepare(
                        bound.weights(), List.of(model.encode().program(), states.program()), RunListener.NONE)) {
            run(executor, states.program());
            assertArrayEquals(plain, read(executor, model.prefill().output()));
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
            assertFalse(
                    program.segments().stream()
                            .flatMap(segment -> segment.ops().stream())
                            .anyMatch(op -> op instanceof Op.Copy
                                    || op instanceof Op.AttentionWeights
                                    || op instanceof Op.AttentionPeak
                                    || op instanceof Op.RowMax
                                    || op instanceof Op.BlockedAttention),
                    program.name());
        }
    }

    @Test
    void refusesWhatIsNotThere() {
        assertThrows(
                IllegalArgumentException.class,
                () -> Probes.attentionWeights(model.prefill().program(), "no such segment", 8, "x"));
        assertThrows(
                IllegalArgumentException.class,
                () -> Probes.attentionWeights(
                        model.prefill().program(),
                        model.stage(Stage.DECODER_EMBEDDINGS).segment(),
                        8,
                        "x"));
        assertThrows(
                IllegalArgumentException.class,
                () -> Probes.copy(
                        model.prefill().program(),
                        model.stage(Stage.DECODER_EMBEDDINGS).segment(),
                        model.token(),
                        "x"));
    }

    private float[] logits(String backendName, Program program) {
        return logits(backendName, program, null, null, null);
    }

    private float[] logits(String backendName, Program program, Probes.Knockout knockout, byte[] edges, int[] layers) {
        try (Backend backend = Backends.open(backendName, BackendOptions.DEFAULT);
                Executor executor = backend.prepare(
                        bound.weights(), List.of(model.encode().program(), program), RunListener.NONE)) {
            if (knockout != null) {
                executor.write(knockout.blocked(), arena.allocateFrom(ValueLayout.JAVA_BYTE, edges));
                executor.write(knockout.flags(), arena.allocateFrom(ValueLayout.JAVA_INT, layers));
            }
            run(executor, program);
            return read(executor, model.prefill().output());
        }
    }

    private void run(Executor executor, Program program) {
        MemorySegment patches = arena.allocate(model.encode().input().bytes());
        image.write(0, patches);
        executor.write(model.encode().input(), patches);
        executor.run(model.encode().program(), model.encodeStep(0));
        executor.write(model.prefill().input(), arena.allocateFrom(ValueLayout.JAVA_INT, prompt));
        executor.run(program, new Step(0, prompt.length, prompt.length));
    }

    private float[] read(Executor executor, Tensor output) {
        MemorySegment data = arena.allocate(output.bytes());
        executor.read(output, data);
        return data.toArray(ValueLayout.JAVA_FLOAT);
    }
}
